//! `reconcile`: compares the storage with the journal, and repairs or adopts differences. It may
//! run while servers run. Exit codes: 0 nothing differs or all is mended, 1 something is left.

use clap::Args;
use panaversity_model::{BookId, Error, Refusal};
use panaversity_service::reconcile::{Finding, Mode, ReconcileProgress, Reconciled};
use serde_json::{Value, json};

use super::maintenance::gather;
use super::operator::operator;
use crate::config::flags::McpFlags;
use crate::config::parsed::StoreSettings;
use crate::failure::{Failure, print};
use crate::progress::MaintenanceProgress;
use crate::runtime::MaintenanceRuntime;

/// Maximum number of findings listed in a JSON document; all are counted.
const LISTED: usize = 10_000;

/// Arguments of `reconcile`.
#[derive(Args)]
pub(crate) struct ReconcileArgs {
    /// Publish files again, restore objects, and move what is foreign to .panaversity/lost+found
    #[arg(long, conflicts_with = "adopt")]
    repair: bool,
    /// Take in what was put or edited by hand below books/, as writes of yours
    #[arg(long)]
    adopt: bool,
    /// Who adopts, as the audit log names them; your user name if left out
    #[arg(long, value_name = "NAME", requires = "adopt")]
    agent_id: Option<String>,
    /// Look at this book only, and not at the objects
    #[arg(long, value_name = "ID")]
    book_id: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: McpFlags,
}

/// Runs `reconcile`.
pub(crate) async fn run(args: ReconcileArgs) -> Result<(), Failure> {
    let mode = mode(&args)?;
    let book = args.book_id.as_deref().map(BookId::parse).transpose();
    let book = book.map_err(|refusal| Failure::Usage(refusal.to_string()))?;
    let sources = gather(args.flags.into_given())?;
    let beside = MaintenanceRuntime::open(StoreSettings::read(&sources)?).await?;
    let (mut listed, mut printed, as_json) = (Vec::new(), Ok(()), args.json);
    let progress = MaintenanceProgress::new(as_json);
    let files = if progress.is_shown() { files_of(&beside, book.as_ref()).await } else { None };
    let mut show = |now: ReconcileProgress| match now {
        ReconcileProgress::Objects(done) => progress.at("reconcile: objects", done, None),
        ReconcileProgress::Files(done) => progress.at("reconcile: files", done, files),
        ReconcileProgress::Entries(done) => progress.at("reconcile: published copy", done, None),
    };
    let mut tell = |finding: Finding| {
        if !as_json {
            // A failed write to stdout does not stop a repair halfway; it is reported at the end.
            let before = std::mem::replace(&mut printed, Ok(()));
            printed = before.and_then(|()| progress.beside(|| print(&as_text(&finding))));
        } else if listed.len() < LISTED {
            listed.push(shown(&finding));
        }
    };
    let done = match &book {
        Some(id)
            if beside.service.require_book(id).await.is_err_and(|error| unknown(&error))
                && mode == Mode::Report =>
        {
            Err(Failure::Failed(format!(
                "there is no book {id}; --adopt would create it from what lies below books/{id}"
            )))
        }
        book => {
            let done = beside.service.reconcile_with_progress(book.as_ref(), &mode, &mut tell, &mut show);
            done.await.map_err(|fault| {
                Failure::Failed(format!(
                    "reconcile stopped: {fault} (what it has mended stays mended; run it again)"
                ))
            })
        }
    };
    beside.close().await;
    drop(progress);
    let done = done?;
    printed?;
    print(&if as_json { summary_json(&done, &listed) } else { summary(&done) })?;
    if done.left == 0 { Ok(()) } else { Err(Failure::Logged) }
}

/// Number of files of the book, or of all; `None` if it can't be told.
async fn files_of(beside: &MaintenanceRuntime, book: Option<&BookId>) -> Option<u64> {
    let counts = beside.service.journal_counts().await.ok()?;
    let of_book = counts.iter().filter(|(id, _)| book.is_none_or(|book| book == id));
    u64::try_from(of_book.map(|(_, files)| files).sum::<i64>()).ok()
}

fn unknown(error: &Error) -> bool {
    matches!(error, Error::Refused(Refusal::BookNotFound(_)))
}

/// The mode that the arguments select. R7: what is adopted is attributed to an agent.
fn mode(args: &ReconcileArgs) -> Result<Mode, Failure> {
    if args.repair {
        return Ok(Mode::Repair);
    }
    if !args.adopt {
        return Ok(Mode::Report);
    }
    operator(args.agent_id.as_deref()).map(Mode::Adopt)
}

fn as_text(finding: &Finding) -> String {
    let Finding { trouble, location, remedy } = finding;
    let detail = remedy.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    format!("{} {location}: {}{detail}", trouble.as_str(), remedy.as_str())
}

fn shown(finding: &Finding) -> Value {
    let Finding { trouble, location, remedy } = finding;
    let mut shown = json!({ "kind": trouble.as_str(), "location": location, "outcome": remedy.as_str() });
    if let Some(detail) = remedy.detail() {
        shown["detail"] = detail.into();
    }
    shown
}

fn status(done: &Reconciled) -> &'static str {
    match (done.found, done.left) {
        (0, _) => "clean",
        (_, 0) => "mended",
        _ => "drift",
    }
}

fn summary(done: &Reconciled) -> String {
    let Reconciled { files, objects, pending, found, left } = done;
    format!(
        "{}: {files} files and {objects} objects looked at, {pending} on their way, {found} found, {left} left",
        status(done)
    )
}

fn summary_json(done: &Reconciled, findings: &[Value]) -> String {
    let Reconciled { files, objects, pending, found, left } = done;
    json!({
        "status": status(done),
        "files": files,
        "objects": objects,
        "pending": pending,
        "found": found,
        "left": left,
        "truncated": *found > findings.len() as u64,
        "findings": findings,
    })
    .to_string()
}
