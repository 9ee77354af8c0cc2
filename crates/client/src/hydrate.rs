//! `hydrate`: downloads a book's pages into a folder, byte for byte (`content/x` is `DIR/x`), and
//! with `--static-dir` its assets into another (`static/x`). Invariants: the folders never contain
//! an empty, partial or unverified file of `hydrate`'s; a foreign file is not overwritten without
//! `--full-rebuild` and not deleted without `--prune`; files that are not the book's are reported;
//! a run that was killed is completed by the next.
//!
//! # The steps
//! 1. Lock the state folder beside the output and read the state of the last run.
//! 2. `plan_build` with the state's manifest as target: the wanted files are the state's with the
//!    differences applied. Without a state, with `--full-rebuild` or if the server no longer knows
//!    the manifest, the answer is the whole book.
//! 3. Diff the disk: which files are there already, which are own and outdated, which are foreign.
//!    A foreign file at a wanted path ends the run.
//! 4. Fetch what is missing by hash into the staging folder, where a file gets its name only after
//!    its SHA-256 was verified and its bytes are durable: most of a book as one archive, a few
//!    files one by one (see `hydrate/fetch.rs`).
//! 5. When all of it is there, diff again: the folder may have changed meanwhile.
//! 6. Write into the state what is going to be installed, so that the next run recognizes a partial
//!    installation as own.
//! 7. Delete what is in the way of a file to install, a file where a folder is needed or the other
//!    way round; rename the files into place one by one; delete what else the book no longer has,
//!    and folders that this emptied.
//! 8. Write the state of the finished run, last of all; empty the staging folder.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use panaversity_model::{BookId, ContentHash};
use serde::Serialize;

use crate::client::Client;
use crate::digest;
use crate::progress::ProgressObserver;
use crate::report::{self, Problem, Report};
use crate::state::State;
use crate::sync::{CONTENT, SyncError, blocking};
use crate::tools::{BuildPlan, PlannedFile};
use crate::workspace::Workspace;

mod archive;
mod diff;
mod download;
mod fetch;
mod install;
mod staging;
mod twins;
mod unknown;

use diff::{Diff, Freedom};

/// Number of files that `--prune` deletes without `--force`, however small the book is, and in
/// folders that no run has filled before.
const PRUNED_AT_ONCE: usize = 100;
const PRUNED_AT_FIRST: usize = 10;
/// Number of unknown files listed in the text report; JSON lists all.
const UNKNOWN_SHOWN: usize = 50;

/// Options of [`hydrate`].
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct HydrateOptions {
    /// The book.
    pub book_id: BookId,
    /// Folder to fill with pages: `content/x` becomes `DIR/x`.
    pub output_dir: PathBuf,
    /// Folder to fill with assets: `static/x` becomes `DIR/x`. `None` leaves assets alone.
    pub static_dir: Option<PathBuf>,
    /// Do not trust the state: check every file, and overwrite those that differ.
    pub full_rebuild: bool,
    /// Delete files in these folders that are not the book's, except hidden ones.
    pub prune: bool,
    /// Allow `prune` to delete more files than the book has (at least 100), or more than 10 in
    /// folders that no run has filled before.
    pub force: bool,
    /// Observer of the progress.
    pub progress: Arc<dyn ProgressObserver>,
}

/// The wanted content of the folders, by book path.
type Wanted = BTreeMap<String, Want>;

/// The wanted content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Want {
    hash: ContentHash,
    /// Size as the server returned it; not trusted before the hash is verified.
    size: u64,
}

/// Report of a run.
#[derive(Debug, Default, Serialize)]
pub struct HydrateReport {
    /// `hydrate`.
    pub command: &'static str,
    /// The book.
    pub book_id: String,
    /// The state of the book that the folders hold now.
    pub manifest_hash: String,
    /// Files that were not there: pages by their path in the output folder, assets by their path in the
    /// book. So are all other files named here.
    pub added: Vec<String>,
    /// Files that held something else.
    pub modified: Vec<String>,
    /// Files that the book no longer has.
    pub deleted: Vec<String>,
    /// Files that are not the book's and were deleted.
    pub pruned: Vec<String>,
    /// Files that are not the book's and stay.
    pub unknown: Vec<String>,
    /// Number of files that held what they are to hold.
    pub unchanged: usize,
    /// Files read from the server in this run.
    pub transferred: usize,
}

/// Runs `hydrate` against a server.
///
/// # Errors
/// The run stopped as a whole; [`SyncError::files`] names the files that were the reason.
pub async fn hydrate(client: &Client, args: &HydrateOptions) -> Result<HydrateReport, SyncError> {
    // 1.
    let place = Arc::new(Workspace::open(&args.output_dir, args.static_dir.as_deref())?);
    let outcome = fill(client, &place, args).await;
    if outcome.is_err() {
        place.withdraw();
    }
    outcome
}

/// Steps 2 to 8, in folders that are locked.
async fn fill(
    client: &Client,
    place: &Arc<Workspace>,
    args: &HydrateOptions,
) -> Result<HydrateReport, SyncError> {
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
    let fetch = fetch::Fetch { client, book: &args.book_id, place, progress: &*args.progress, manifest_hash };
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

/// The state of the last run, or a new one.
fn known_state(place: &Workspace, args: &HydrateOptions) -> Result<State, SyncError> {
    let state = match place.load() {
        Err(_) if args.full_rebuild => None,
        state => state?,
    };
    match state {
        Some(state) if state.book_id != args.book_id.as_str() && !args.full_rebuild => {
            Err(SyncError::new(format!(
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

/// Applies the plan to the state; without a known manifest the plan is the whole book.
fn wanted_files(place: &Workspace, known: &State, plan: BuildPlan) -> Result<Wanted, SyncError> {
    let mut wanted = Wanted::new();
    if !plan.is_whole_book {
        for (path, entry) in &known.files {
            let hash = ContentHash::from_hex(&entry.hash).ok_or_else(|| {
                SyncError::new("the state of the last run is damaged; run with --full-rebuild")
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

/// Names of files in reports: a page's path in the output folder, an asset's path in the book.
fn names<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    paths.map(|path| output_name(path).to_owned()).collect()
}

/// Refuses to delete far more files than the book has: the folder is probably another one.
fn stop_if_too_many(
    found: &Diff,
    known: &State,
    wanted: &Wanted,
    args: &HydrateOptions,
) -> Result<(), SyncError> {
    let is_first = known.paths().next().is_none();
    let most = if is_first { PRUNED_AT_FIRST } else { wanted.len().max(PRUNED_AT_ONCE) };
    let doomed = found.prune.len();
    if !args.prune || args.force || doomed <= most {
        return Ok(());
    }
    Err(SyncError::new(format!(
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
                crate::sync::files(self.unknown.len())
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
