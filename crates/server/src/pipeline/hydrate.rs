//! `hydrate`: makes a folder hold a book's pages, byte for byte (`content/x` is `DIR/x`), and with
//! `--static-dir` another its assets (`static/x`). Invariants: the folders never hold an empty,
//! partial or unchecked file of ours; nothing that is not ours is overwritten without
//! `--full-rebuild` or deleted without `--prune`; what is not the book's is named; a run that was
//! killed is completed by the next.
//!
//! # The steps
//! 1. Lock the state folder beside the output and read the state of the last run.
//! 2. `plan_build` with the state's manifest as target: the wanted files are the state's with the
//!    differences applied. Without a state, with `--full-rebuild` or if the server no longer knows
//!    the manifest, the answer is the whole book.
//! 3. Diff the disk: which files are there already, which are ours and outdated, which are
//!    somebody else's. A file of somebody else in the way ends the run.
//! 4. Fetch what is missing by hash into the staging folder, where a file gets its name only after
//!    its SHA-256 was checked and its bytes are durable: the most of a book as one archive, a few
//!    files one by one (see [`fetch`]).
//! 5. When all of it is there, diff again: the folder may have changed meanwhile.
//! 6. Write into the state what is going to be installed, so that the next run knows a half-done
//!    installation as ours.
//! 7. Delete what is in the way of a file that comes, a file where a folder is needed or the other
//!    way round; rename the files into place one by one; delete what else the book no longer has, and
//!    folders that this emptied.
//! 8. Write the state of the finished run, last of all; empty the staging folder.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use panaversity_model::{BookId, ContentHash};
use serde::Serialize;

use super::report::{self, Problem, Report};
use super::state::State;
use super::workspace::Workspace;
use super::{CONTENT, Failure, ServerArgs, blocking, digest};
use crate::client::Client;
use crate::client::tools::{Plan, PlannedFile};

mod archive;
mod diff;
mod download;
mod fetch;
mod install;
mod staging;
#[cfg(test)]
mod tests;
mod twins;
mod unknown;

use diff::{Diff, Freedom};

const AGENT: &str = "panaversity-fs-hydrate";
/// Files that `--prune` deletes without `--force`, however small the book is, and in folders that no run
/// has filled before.
const PRUNED_AT_ONCE: usize = 100;
const PRUNED_AT_FIRST: usize = 10;
/// Unknown files that are named one by one; JSON names all.
const UNKNOWN_SHOWN: usize = 50;

/// Make folders hold a book: content/x becomes DIR/x, static/x another DIR/x
#[derive(Debug, Clone, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
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
    /// Delete files in these folders that are not the book's, hidden ones excepted
    #[arg(long)]
    pub(crate) prune: bool,
    /// Let --prune delete many files: more than the book has, or 10 where no run was before
    #[arg(long)]
    pub(crate) force: bool,
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
    /// Files that are not the book's and were deleted.
    pruned: Vec<String>,
    /// Files that are not the book's and stay.
    unknown: Vec<String>,
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
    let place = Arc::new(Workspace::open(&args.output_dir, args.static_dir.as_deref())?);
    let outcome = fill(&client, &place, args).await;
    if outcome.is_err() {
        place.withdraw();
    }
    outcome
}

/// Steps 2 to 8, in folders that are locked.
async fn fill(client: &Client, place: &Arc<Workspace>, args: &HydrateArgs) -> Result<HydrateReport, Failure> {
    let with_assets = place.static_dir.is_some();
    let known = Arc::new(known_state(place, args)?);

    // 2.
    let target = known.manifest(with_assets).filter(|_| !args.full_rebuild);
    let plan = client.plan(&args.book_id, target).await?;
    let manifest_hash = plan.manifest_hash;
    let wanted = Arc::new(wanted_files(place, &known, plan)?);

    // 3.
    blocking({
        let (place, known) = (place.clone(), known.clone());
        move || install::remove_parts(&place, &known)
    })
    .await??;
    let diff = || {
        let (place, known, wanted) = (place.clone(), known.clone(), wanted.clone());
        let freedom = Freedom { overwrite: args.full_rebuild, prune: args.prune };
        async move { blocking(move || Diff::take(&place, &known, &wanted, freedom)).await? }
    };
    let mut found = diff().await?;
    found.stop_if_blocked()?;
    stop_if_too_many(&found, &known, &wanted, args)?;

    // 4. and 5.
    let fetch = fetch::Fetch { client, book: &args.book_id, place, manifest_hash };
    let transferred = fetch.all(&found, &wanted).await?;
    if transferred > 0 {
        found = diff().await?;
        found.stop_if_blocked()?;
        stop_if_too_many(&found, &known, &wanted, args)?;
    }

    // 6., 7. and 8.
    let report = HydrateReport {
        command: "hydrate",
        book_id: args.book_id.to_string(),
        manifest_hash: manifest_hash.to_string(),
        added: names(found.install.iter().filter(|job| job.before.is_none()).map(|job| job.path.as_str())),
        modified: names(found.install.iter().filter(|job| job.before.is_some()).map(|job| job.path.as_str())),
        deleted: names(found.delete.iter().map(|job| job.path.as_str())),
        pruned: names(found.prune.iter().map(|unknown| unknown.path.as_str())),
        unknown: names(found.unknown.iter().map(|unknown| unknown.path.as_str())),
        unchanged: found.unchanged.len(),
        transferred,
    };
    let state = known.next(&args.book_id, manifest_hash, with_assets);
    let place = place.clone();
    blocking(move || install::run(&place, &known, found, state)).await??;
    Ok(report)
}

/// What the last run left, or a new state.
fn known_state(place: &Workspace, args: &HydrateArgs) -> Result<State, Failure> {
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
fn wanted_files(place: &Workspace, known: &State, plan: Plan) -> Result<Wanted, Failure> {
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
fn names<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    paths.map(|path| output_name(path).to_owned()).collect()
}

/// A folder that holds far more than the book is probably another one.
fn stop_if_too_many(found: &Diff, known: &State, wanted: &Wanted, args: &HydrateArgs) -> Result<(), Failure> {
    let is_first = known.paths().next().is_none();
    let most = if is_first { PRUNED_AT_FIRST } else { wanted.len().max(PRUNED_AT_ONCE) };
    let doomed = found.prune.len();
    if !args.prune || args.force || doomed <= most {
        return Ok(());
    }
    Err(Failure::new(format!(
        "nothing was changed: --prune would delete {doomed} files, and the book has {}. Check --output-dir \
         and --static-dir; --force if you mean it",
        wanted.len()
    )))
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
        for (verb, paths) in [
            ("added", &self.added),
            ("modified", &self.modified),
            ("deleted", &self.deleted),
            ("pruned", &self.pruned),
        ] {
            lines.extend(paths.iter().map(|path| format!("{verb} {}", report::printable(path))));
        }
        let shown = self.unknown.iter().take(UNKNOWN_SHOWN);
        lines.extend(
            shown.map(|path| format!("unknown {}: not the book's, stays there", report::printable(path))),
        );
        if let Some(more @ 1..) = self.unknown.len().checked_sub(UNKNOWN_SHOWN) {
            lines.push(format!("unknown {more} more"));
        }
        if !self.unknown.is_empty() {
            lines.push(format!(
                "{} unknown: --prune deletes what is not the book's",
                super::files(self.unknown.len())
            ));
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
