//! `ingest`: uploads a folder's files as a book's pages, path by path (`DIR/x` is `content/x`), and
//! with `--static-dir` another's as its assets (`static/x`). Invariants: an equal file is not
//! written; a run that was killed is completed by the next; every refused file is reported, and
//! then the exit code is not 0; without `--static-dir` no asset is touched.
//!
//! # The steps
//! 1. Request the book: its schema decides which paths are admitted. A new book gets `--schema`.
//! 2. Walk the folders. Hidden files and links are skipped by name; a path that the schema does not
//!    admit is refused here, by the same rule as on the server.
//! 3. `plan_build` without a target returns the server's content. Files of the same size are hashed
//!    and left alone if they are equal. A new file whose path conflicts with another is refused
//!    here.
//! 4. `--delete` marks files that the folders no longer have. An empty folder, or more than half of
//!    the pages or of the assets, needs `--force`; else the run ends here and nothing was changed.
//! 5. Create the book if it is new.
//! 6. Write the different files, assets and files beside pages before the pages that show them,
//!    each with the hash that the server had in step 3 as precondition: a file that changed since
//!    is refused, not overwritten.
//! 7. Delete the marked files, under the same precondition, unless something failed. (A file whose
//!    name only changed in case, or that is a folder now, is deleted before step 6: both may not
//!    exist at once.)

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use panaversity_model::{BookId, BookPath, ContentHash, ErrorCode, Schema};
use serde::Serialize;

use crate::client::{CallError, Client};
use crate::progress::ProgressObserver;
use crate::report::{Problem, Report};
use crate::sync::{CONTENT, STATIC, SyncError, blocking};
use crate::tools::BuildPlan;

mod assets;
mod compare;
mod conflicts;
mod send;
mod source;

/// Options of [`ingest`].
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct IngestOptions {
    /// The book.
    pub book_id: BookId,
    /// Folder of the pages: `DIR/x` becomes `content/x`.
    pub source_dir: PathBuf,
    /// Folder of the assets: `DIR/x` becomes `static/x`. `None` leaves assets alone.
    pub static_dir: Option<PathBuf>,
    /// Schema of the book. `None`: the book's own, or strict for a new book.
    pub schema: Option<Schema>,
    /// Delete pages that the folder no longer has, and with `static_dir` assets too.
    pub delete: bool,
    /// Allow `delete` to delete all, or more than half, of the pages or of the assets.
    pub force: bool,
    /// Report the changes without making them.
    pub dry_run: bool,
    /// Observer of the progress.
    pub progress: Arc<dyn ProgressObserver>,
}

/// Part of a book that a source folder maps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BookPart {
    Pages,
    Assets,
}

impl BookPart {
    fn folder(self) -> &'static str {
        match self {
            Self::Pages => CONTENT,
            Self::Assets => STATIC,
        }
    }

    /// Terms of messages: the part's files, the whole part, and the flag of its folder.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Pages => ("files below content/", "the book", "--source-dir"),
            Self::Assets => ("files below static/", "the book's static/", "--static-dir"),
        }
    }
}

/// Files to delete, with the expected hash of each.
type Doomed = Vec<(BookPath, ContentHash)>;
/// The server's files of a part of the book.
type Held = BTreeMap<String, HeldFile>;

#[derive(Debug, Clone, Copy)]
struct HeldFile {
    hash: ContentHash,
    size: u64,
}

/// Report of a run or a dry run.
#[derive(Debug, Default, Serialize)]
pub struct IngestReport {
    /// `ingest`.
    pub command: &'static str,
    /// The book.
    pub book_id: String,
    /// Nothing was changed: what was done is what would be done.
    pub dry_run: bool,
    /// Files that the book did not have, by their path in the book, as all files here.
    pub created: Vec<String>,
    /// Files that held something else.
    pub updated: Vec<String>,
    /// Files that the folders no longer have.
    pub deleted: Vec<String>,
    /// Number of files that the book held already.
    pub unchanged: usize,
    /// Number of files that were not tried, because too much failed before.
    pub not_tried: usize,
    /// Files that are not taken as they are.
    pub refused: Vec<Problem>,
    /// Files that could not be read or sent; a later run may do it.
    pub failed: Vec<Problem>,
    /// Files and folders that are left out on purpose.
    pub skipped: Vec<Problem>,
    /// Files that were taken in all the same.
    pub warnings: Vec<Problem>,
}

/// Runs `ingest` against a server.
///
/// # Errors
/// The run stopped as a whole. Files that were refused or failed one by one are in the report.
pub async fn ingest(client: &Client, args: &IngestOptions) -> Result<IngestReport, SyncError> {
    let folders: Vec<(BookPart, PathBuf)> =
        [(BookPart::Pages, Some(&args.source_dir)), (BookPart::Assets, args.static_dir.as_ref())]
            .into_iter()
            .filter_map(|(part, folder)| Some((part, folder?.clone())))
            .collect();
    if let Some((part, folder)) = folders.iter().find(|(_, folder)| !folder.is_dir()) {
        let (_, _, flag) = part.words();
        return Err(SyncError::usage(format!("{flag} {}: there is no such folder", folder.display())));
    }

    // 1. and 2.
    let (mut is_new, schema) = find_book(client, args).await?;
    let mut walked = Vec::new();
    for (part, folder) in folders {
        let files = blocking(move || source::walk(&folder, part, schema)).await?;
        walked.push((part, files));
    }

    // 3. and 4.
    let held = if is_new { None } else { held_files(client, &args.book_id).await? };
    is_new |= held.is_none();
    let held = held.unwrap_or_default();
    let mut report = IngestReport {
        command: "ingest",
        book_id: args.book_id.to_string(),
        dry_run: args.dry_run,
        ..IngestReport::default()
    };
    let (mut different, mut doomed) = (Vec::new(), Doomed::new());
    for (part, walked) in walked {
        let held: Held = below(part, &held);
        if args.delete {
            doomed.extend(doomed_in(part, &walked, &held, args)?);
        }
        let compared = compare::with_server(walked.files, &held).await?;
        report.unchanged += compared.unchanged;
        report.refused.extend(walked.refused);
        report.failed.extend(walked.failed);
        report.skipped.extend(walked.skipped);
        report.warnings.extend(walked.warnings);
        different.extend(compared.different);
    }
    let (different, refused) = conflicts::refuse(different, &held, &doomed);
    report.refused.extend(refused);

    // 5.
    if is_new && !args.dry_run {
        let created = client.create_book(&args.book_id, args.schema).await?;
        if created.schema != schema {
            return Err(SyncError::new("somebody else created the book just now; run again"));
        }
    }

    // 6. and 7.
    let sender = send::Sender::new(client, args);
    let (in_the_way, gone) = parted(doomed, &different);
    let (pages, assets): (Vec<_>, Vec<_>) = different.into_iter().partition(|job| job.file.path.is_page());
    sender.delete(in_the_way, &mut report).await;
    sender.write(assets, BookPart::Assets, &mut report).await?;
    sender.write(pages, BookPart::Pages, &mut report).await?;
    if report.failed.is_empty() && report.not_tried == 0 {
        sender.delete(gone, &mut report).await;
    } else {
        report.not_tried += gone.len();
    }
    report.sort();
    Ok(report)
}

/// Returns whether the book is new, and the schema it has or will get.
async fn find_book(client: &Client, args: &IngestOptions) -> Result<(bool, Schema), SyncError> {
    let Some(book) = client.book(&args.book_id).await? else {
        return Ok((true, args.schema.unwrap_or_default()));
    };
    match args.schema {
        Some(wanted) if wanted != book.schema && args.dry_run => Err(SyncError::new(format!(
            "the book's schema is `{}`; leave --schema out to keep it",
            book.schema.as_str()
        ))),
        // The server decides: it accepts another schema only while the book is empty.
        Some(wanted) if wanted != book.schema => {
            Ok((false, client.create_book(&args.book_id, args.schema).await?.schema))
        }
        _ => Ok((false, book.schema)),
    }
}

/// The server's files; `None` if there is no such book.
async fn held_files(client: &Client, book: &BookId) -> Result<Option<Held>, SyncError> {
    let plan: BuildPlan = match client.plan(book, None).await {
        Err(CallError::ServerError(refused)) if refused.is(ErrorCode::BookNotFound) => return Ok(None),
        plan => plan?,
    };
    let held = plan.files.into_iter().filter_map(|file| {
        let hash = file.current_hash?;
        Some((file.path, HeldFile { hash, size: file.size }))
    });
    Ok(Some(held.collect()))
}

fn below(part: BookPart, held: &Held) -> Held {
    let files = held.iter().filter(|(path, _)| path.starts_with(part.folder()));
    files.map(|(path, file)| (path.clone(), *file)).collect()
}

/// The files of this part that the folder no longer has, unless that looks like a mistake. A name
/// that exists but was refused or skipped, and everything below a skipped folder, is not marked.
fn doomed_in(
    part: BookPart,
    walked: &source::Walked,
    held: &Held,
    args: &IngestOptions,
) -> Result<Doomed, SyncError> {
    let (files, whole, flag) = part.words();
    // An empty folder of pages is an error whatever the book contains.
    if !args.force && walked.is_empty() && (part == BookPart::Pages || !held.is_empty()) {
        let folder =
            args.static_dir.as_ref().filter(|_| part == BookPart::Assets).unwrap_or(&args.source_dir);
        return Err(SyncError::new(format!(
            "{} holds no files: --delete would empty {whole}. Check {flag}; --force if you mean it",
            folder.display()
        )));
    }
    let may_hold = walked.may_hold();
    let gone = held.iter().filter(|(path, _)| !may_hold(path));
    let doomed: Doomed =
        gone.filter_map(|(path, file)| Some((BookPath::parse(path).ok()?, file.hash))).collect();
    if !args.force && doomed.len() * 2 > held.len() {
        return Err(SyncError::new(format!(
            "--delete would delete {} of the book's {} {files}. Check {flag}; --force if you mean it",
            doomed.len(),
            held.len()
        )));
    }
    Ok(doomed)
}

/// Splits deletions into those that must precede the writes, and those that can wait: no two files
/// may have names that differ only by case, and none may lie under another's path.
fn parted(doomed: Doomed, different: &[compare::Job]) -> (Doomed, Doomed) {
    let coming: HashSet<String> = different.iter().map(|job| job.file.path.folded()).collect();
    let above =
        |path: &str| path.match_indices('/').map(|(end, _)| path[..end].to_owned()).collect::<Vec<_>>();
    let folders: HashSet<String> = coming.iter().flat_map(|path| above(path)).collect();
    doomed.into_iter().partition(|(path, _)| {
        let path = path.folded();
        coming.contains(&path) || folders.contains(&path) || above(&path).iter().any(|it| coming.contains(it))
    })
}

impl IngestReport {
    fn sort(&mut self) {
        for paths in [&mut self.created, &mut self.updated, &mut self.deleted] {
            paths.sort();
        }
        for problems in [&mut self.refused, &mut self.failed, &mut self.skipped, &mut self.warnings] {
            problems.sort();
        }
    }
}

impl Report for IngestReport {
    fn lines(&self) -> Vec<String> {
        let would = if self.dry_run { "would be " } else { "" };
        let mut lines = Vec::new();
        for (verb, paths) in
            [("created", &self.created), ("updated", &self.updated), ("deleted", &self.deleted)]
        {
            lines.extend(paths.iter().map(|path| format!("{would}{verb} {path}")));
        }
        for (verb, problems) in [
            ("skipped", &self.skipped),
            ("warning", &self.warnings),
            ("refused", &self.refused),
            ("failed", &self.failed),
        ] {
            lines.extend(problems.iter().map(|problem| problem.line(verb)));
        }
        let mut summary = format!(
            "ingest {}{}: {} written, {} deleted, {} unchanged, {} refused",
            self.book_id,
            if self.dry_run { " (dry run, nothing changed)" } else { "" },
            self.created.len() + self.updated.len(),
            self.deleted.len(),
            self.unchanged,
            self.refused.len()
        );
        if !self.failed.is_empty() {
            let _ = write!(summary, ", {} failed", self.failed.len());
        }
        if self.not_tried > 0 {
            let _ = write!(summary, ", {} not tried: run again", self.not_tried);
        }
        lines.push(summary);
        lines
    }

    fn is_success(&self) -> bool {
        self.refused.is_empty() && self.failed.is_empty() && self.not_tried == 0
    }
}
