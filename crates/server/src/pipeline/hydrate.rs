//! `hydrate`: makes a folder hold a book's pages, byte for byte (`content/x` is `DIR/x`), and with
//! `--static-dir` another its assets (`static/x`). Invariants: the folders never hold an empty,
//! partial or unchecked file of ours; nothing that is not ours is overwritten or deleted without
//! `--full-rebuild`; a run that was killed is completed by the next.
//!
//! # The steps
//! 1. Lock the state folder beside the output and read the state of the last run.
//! 2. `plan_build` with the state's manifest as target: the wanted files are the state's with the
//!    differences applied. Without a state, with `--full-rebuild` or if the server no longer knows
//!    the manifest, the answer is the whole book.
//! 3. Survey the disk: which files are there already, which are ours and outdated, which are
//!    somebody else's. A file of somebody else in the way ends the run.
//! 4. Fetch what is missing by hash into the staging folder, where a file gets its name only after
//!    its SHA-256 was checked and its bytes are durable: the most of a book as one archive, a few
//!    files one by one (see [`fetch`]).
//! 5. When all of it is there, survey again: the folder may have changed meanwhile.
//! 6. Write into the state what is going to be installed, so that the next run knows a half-done
//!    installation as ours.
//! 7. Rename the files into place one by one, then delete what the book no longer has, then
//!    folders that this emptied.
//! 8. Write the state of the finished run, last of all; empty the staging folder.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use panaversity_model::{BookId, BookPath, ContentHash};
use serde::Serialize;

use super::place::Place;
use super::report::{self, Problem, Report};
use super::state::State;
use super::{CONTENT, Failure, ServerArgs, blocking, digest};
use crate::client::tools::{Plan, PlannedFile};

mod archive;
mod download;
mod fetch;
mod install;
mod staging;
mod survey;
#[cfg(test)]
mod tests;

use survey::Survey;

const AGENT: &str = "panaversity-fs-hydrate";

/// Make folders hold a book: content/x becomes DIR/x, static/x another DIR/x
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct HydrateArgs {
    /// The book
    #[arg(long, value_name = "ID", value_parser = super::parse_book)]
    pub(crate) book_id: BookId,
    /// The folder to fill: content/x becomes DIR/x
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: PathBuf,
    /// The folder to fill with assets: static/x becomes DIR/x [default: assets are left alone]
    #[arg(long, value_name = "DIR")]
    pub(crate) static_dir: Option<PathBuf>,
    /// Trust nothing that is there: check every file, overwrite what differs
    #[arg(long)]
    pub(crate) full_rebuild: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Print the result as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the folders are to hold, by book path.
type Wanted = BTreeMap<String, Want>;

/// The bytes that a file is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Want {
    hash: ContentHash,
    /// As the server said: not to be trusted before the hash was checked.
    size: u64,
}

/// What a run did.
#[derive(Debug, Default, Serialize)]
struct HydrateReport {
    command: &'static str,
    book_id: String,
    manifest_hash: String,
    added: Vec<String>,
    modified: Vec<String>,
    deleted: Vec<String>,
    unchanged: usize,
    /// Files read from the server in this run.
    transferred: usize,
}

/// Runs the command.
pub(crate) async fn run(args: HydrateArgs) -> ExitCode {
    let outcome = hydrate(&args).await;
    report::finish("hydrate", args.json, outcome)
}

async fn hydrate(args: &HydrateArgs) -> Result<HydrateReport, Failure> {
    let client = args.server.client(AGENT)?;

    // 1.
    let place = Arc::new(Place::open(&args.output_dir, args.static_dir.as_deref())?);
    let with_assets = place.static_dir.is_some();
    let known = Arc::new(known_state(&place, args)?);

    // 2.
    let target = known.manifest(with_assets).filter(|_| !args.full_rebuild);
    let plan = client.plan(&args.book_id, target).await?;
    let manifest_hash = plan.manifest_hash;
    let wanted = Arc::new(wanted_files(&place, &known, plan)?);

    // 3.
    let survey = || {
        let (place, known, wanted) = (place.clone(), known.clone(), wanted.clone());
        let overwrite = args.full_rebuild;
        async move { blocking(move || Survey::take(&place, &known, &wanted, overwrite)).await? }
    };
    let mut found = survey().await?;
    found.stop_if_blocked()?;

    // 4. and 5.
    let fetch = fetch::Fetch { client: &client, book: &args.book_id, place: &place, manifest_hash };
    let transferred = fetch.all(&found, &wanted).await?;
    if transferred > 0 {
        found = survey().await?;
        found.stop_if_blocked()?;
    }

    // 6., 7. and 8.
    let report = HydrateReport {
        command: "hydrate",
        book_id: args.book_id.to_string(),
        manifest_hash: manifest_hash.to_string(),
        added: names(found.install.iter().filter(|job| job.before.is_none()).map(|job| &job.path)),
        modified: names(found.install.iter().filter(|job| job.before.is_some()).map(|job| &job.path)),
        deleted: names(found.delete.iter().map(|job| &job.path)),
        unchanged: found.unchanged.len(),
        transferred,
    };
    let state = known.next(&args.book_id, manifest_hash, with_assets);
    blocking(move || install::run(&place, &known, found, state)).await??;
    Ok(report)
}

/// What the last run left, or a new state.
fn known_state(place: &Place, args: &HydrateArgs) -> Result<State, Failure> {
    let state = match place.load() {
        Err(_) if args.full_rebuild => None,
        state => state?,
    };
    match state {
        Some(state) if state.book_id != args.book_id.as_str() && !args.full_rebuild => {
            Err(Failure::new(format!(
                "{} holds the book {}; choose another --output-dir, or replace it with --full-rebuild",
                place.output.display(),
                state.book_id
            )))
        }
        state => {
            let mut state = state.unwrap_or_else(|| State::new(&args.book_id));
            state.about(place.static_name());
            Ok(state)
        }
    }
}

/// Applies the plan to what the state says; without a known manifest the plan is the whole book.
fn wanted_files(place: &Place, known: &State, plan: Plan) -> Result<Wanted, Failure> {
    let mut wanted = Wanted::new();
    if !plan.is_whole_book {
        for (path, entry) in &known.files {
            let hash = ContentHash::from_hex(&entry.hash).ok_or_else(|| {
                Failure::new("the state of the last run is damaged; run with --full-rebuild")
            })?;
            wanted.insert(path.clone(), Want { hash, size: entry.size });
        }
    }
    for PlannedFile { path, current_hash, size } in plan.files {
        match current_hash {
            _ if !place.covers(&path) => {}
            Some(hash) => {
                wanted.insert(path, Want { hash, size });
            }
            None => {
                wanted.remove(&path);
            }
        }
    }
    Ok(wanted)
}

/// The names of files: of a page that in the output folder, of an asset its path in the book.
fn names<'a>(paths: impl Iterator<Item = &'a BookPath>) -> Vec<String> {
    paths.map(|path| output_name(path.as_str()).to_owned()).collect()
}

fn output_name(path: &str) -> &str {
    path.strip_prefix(CONTENT).unwrap_or(path)
}

fn problem(path: &str, reason: impl Into<String>) -> Problem {
    Problem::new(output_name(path), reason)
}

impl Report for HydrateReport {
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (verb, paths) in
            [("added", &self.added), ("modified", &self.modified), ("deleted", &self.deleted)]
        {
            lines.extend(paths.iter().map(|path| format!("{verb} {path}")));
        }
        lines.push(format!(
            "hydrate {}: {} fetched, {} deleted, {} unchanged",
            self.book_id,
            self.added.len() + self.modified.len(),
            self.deleted.len(),
            self.unchanged
        ));
        lines
    }

    fn is_success(&self) -> bool {
        true
    }
}
