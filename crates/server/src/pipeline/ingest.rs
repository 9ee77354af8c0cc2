//! `ingest`: makes a book's pages on the server what a folder holds, path by path (`DIR/x` is
//! `content/x`). Invariants: an equal file is not written; a run that was killed is completed by
//! the next; whatever was refused is named, and then the exit code is not 0.
//!
//! # The steps
//! 1. Ask for the book: its schema decides which paths are admitted. A new book gets `--schema`.
//! 2. Walk the folder. Hidden files and links are skipped by name; a path that the schema does not
//!    admit is refused here, by the same law as on the server.
//! 3. `plan_build` without a target tells what the server holds. Files of the same size are hashed
//!    and left alone if they are equal.
//! 4. `--delete` marks pages that the folder no longer has. An empty folder, or more than half of
//!    the pages, needs `--force`; else the run ends here and nothing was changed.
//! 5. Create the book if it is new.
//! 6. Write the different files, 32 in flight, each with the hash that the server had in step 3 as
//!    precondition: a page that somebody changed since is refused, not overwritten.
//! 7. Delete the marked pages, under the same precondition, unless something failed. (A page whose
//!    name only changed in case goes before step 6: both may not exist at once.)

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use panaversity_model::{BookId, BookPath, ContentHash, Schema};
use serde::Serialize;

use super::report::{self, Problem, Report};
use super::{CONTENT, Failure, ServerArgs, blocking};
use crate::client::tools::Plan;
use crate::client::{CallError, Client};

mod compare;
mod send;
mod source;
#[cfg(test)]
mod tests;

const AGENT: &str = "panaversity-fs-ingest";

/// Make a book hold what a folder holds: DIR/x becomes content/x
#[derive(Debug, Clone, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub(crate) struct IngestArgs {
    /// The book
    #[arg(long, value_name = "ID", value_parser = super::parse_book)]
    pub(crate) book_id: BookId,
    /// The folder to read: DIR/x becomes content/x
    #[arg(long, value_name = "DIR")]
    pub(crate) source_dir: PathBuf,
    /// The schema of the book: strict or docusaurus [default: the book's own, else strict]
    #[arg(long, value_name = "SCHEMA", value_parser = super::parse_schema)]
    pub(crate) schema: Option<Schema>,
    /// Delete pages that the folder no longer has (never assets)
    #[arg(long)]
    pub(crate) delete: bool,
    /// Let --delete empty the book or delete more than half of it
    #[arg(long)]
    pub(crate) force: bool,
    /// Say what would happen and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Print the result as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the server holds of the book: pages only.
type Held = BTreeMap<String, HeldFile>;

#[derive(Debug, Clone, Copy)]
struct HeldFile {
    hash: ContentHash,
    size: u64,
}

/// What a run did, or would do.
#[derive(Debug, Default, Serialize)]
struct IngestReport {
    command: &'static str,
    book_id: String,
    dry_run: bool,
    created: Vec<String>,
    updated: Vec<String>,
    deleted: Vec<String>,
    unchanged: usize,
    /// Not tried, because too much failed before.
    not_tried: usize,
    refused: Vec<Problem>,
    failed: Vec<Problem>,
    skipped: Vec<Problem>,
}

/// Runs the command.
pub(crate) async fn run(args: IngestArgs) -> ExitCode {
    let outcome = ingest(&args).await;
    report::finish("ingest", args.json, outcome)
}

async fn ingest(args: &IngestArgs) -> Result<IngestReport, Failure> {
    let client = args.server.client(AGENT)?;
    let source = args.source_dir.clone();
    if !source.is_dir() {
        return Err(Failure::usage(format!("--source-dir {}: there is no such folder", source.display())));
    }

    // 1. and 2.
    let (mut is_new, schema) = find_book(&client, args).await?;
    let walked = blocking(move || source::walk(&source, schema)).await?;
    if args.delete && !args.force && walked.is_empty() {
        return Err(Failure::new(format!(
            "{} holds no files: --delete would empty the book. Check --source-dir; --force if you mean it",
            args.source_dir.display()
        )));
    }

    // 3.
    let held = if is_new { None } else { held_pages(&client, &args.book_id).await? };
    is_new |= held.is_none();
    let held = held.unwrap_or_default();
    let doomed = if args.delete { doomed(&walked, &held) } else { Vec::new() };
    let compared = compare::with_server(walked.files, &held).await?;
    let mut report = IngestReport {
        command: "ingest",
        book_id: args.book_id.to_string(),
        dry_run: args.dry_run,
        unchanged: compared.unchanged,
        refused: walked.refused,
        failed: walked.failed,
        skipped: walked.skipped,
        ..IngestReport::default()
    };

    // 4.
    if !args.force && doomed.len() * 2 > held.len() {
        return Err(Failure::new(format!(
            "--delete would delete {} of the book's {} pages. Check --source-dir; --force if you mean it",
            doomed.len(),
            held.len()
        )));
    }

    // 5.
    if is_new && !args.dry_run {
        let created = client.create_book(&args.book_id, args.schema).await?;
        if created.schema != schema {
            return Err(Failure::new("somebody else created the book just now; run again"));
        }
    }

    // 6. and 7.
    let sender = send::Sender::new(&client, &args.book_id, args.dry_run);
    let folded: HashSet<String> = compared.different.iter().map(|job| job.file.path.folded()).collect();
    let (renamed, gone): (Vec<_>, Vec<_>) = doomed
        .into_iter()
        .partition(|(path, _)| BookPath::parse(path).is_ok_and(|path| folded.contains(&path.folded())));
    sender.delete(renamed, &mut report).await;
    sender.write(compared.different, &mut report).await?;
    if report.failed.is_empty() && report.not_tried == 0 {
        sender.delete(gone, &mut report).await;
    } else {
        report.not_tried += gone.len();
    }
    report.sort();
    Ok(report)
}

/// Is the book new, and what is its schema or going to be?
async fn find_book(client: &Client, args: &IngestArgs) -> Result<(bool, Schema), Failure> {
    let Some(book) = client.book(&args.book_id).await? else {
        return Ok((true, args.schema.unwrap_or_default()));
    };
    match args.schema {
        Some(wanted) if wanted != book.schema && args.dry_run => Err(Failure::new(format!(
            "the book's schema is `{}`; leave --schema out to keep it",
            book.schema.as_str()
        ))),
        // The server decides: it takes another schema only while the book is empty.
        Some(wanted) if wanted != book.schema => {
            Ok((false, client.create_book(&args.book_id, args.schema).await?.schema))
        }
        _ => Ok((false, book.schema)),
    }
}

/// The pages that the server holds; `None` if there is no such book.
async fn held_pages(client: &Client, book: &BookId) -> Result<Option<Held>, Failure> {
    let plan: Plan = match client.plan(book, None).await {
        Err(CallError::Refused(refused)) if refused.code == "BOOK_NOT_FOUND" => return Ok(None),
        plan => plan?,
    };
    let pages = plan.files.into_iter().filter(|file| file.path.starts_with(CONTENT));
    let held = pages.filter_map(|file| {
        let hash = file.current_hash?;
        Some((file.path, HeldFile { hash, size: file.size }))
    });
    Ok(Some(held.collect()))
}

/// The pages that the folder no longer has. A name that is there but was refused or skipped, and
/// everything below a skipped folder, is not gone.
fn doomed(walked: &source::Walked, held: &Held) -> Vec<(String, ContentHash)> {
    let there: HashSet<&str> = walked.names().collect();
    let is_there = |path: &str| {
        there.contains(path) || path.match_indices('/').any(|(end, _)| there.contains(&path[..end]))
    };
    held.iter().filter(|(path, _)| !is_there(path)).map(|(path, file)| (path.clone(), file.hash)).collect()
}

impl IngestReport {
    fn sort(&mut self) {
        for paths in [&mut self.created, &mut self.updated, &mut self.deleted] {
            paths.sort();
        }
        for problems in [&mut self.refused, &mut self.failed, &mut self.skipped] {
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
        for (verb, problems) in
            [("skipped", &self.skipped), ("refused", &self.refused), ("failed", &self.failed)]
        {
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
