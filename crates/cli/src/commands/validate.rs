//! `validate`: checks books as the tool `validate_book` does, on the store itself. It changes nothing and
//! may run while servers run. Exit codes: 0 every book is valid, 1 one is not.

use std::io::{IsTerminal, stderr};

use clap::Args;
use panaversity_client::progress::{PhaseObserver, ProgressObserver, Unit};
use panaversity_model::validation::ValidationReport;
use panaversity_model::{BookId, Error, Refusal};
use panaversity_server::validation_body;
use serde_json::{Value, json};

use super::maintenance::gather;
use crate::config::flags::McpFlags;
use crate::config::parsed::StoreSettings;
use crate::failure::{Failure, print};
use crate::progress::TerminalProgress;
use crate::runtime::MaintenanceRuntime;

/// Arguments of `validate`.
#[derive(Args)]
#[command(after_help = "Example: panaversity-fs validate --book-id ai-python --strict\n\n\
                        It reads the database and the storage, with or without a running server, and changes nothing. \
                        Exit code 1: a book is not valid.")]
pub(crate) struct ValidateArgs {
    /// Check this book only; all books if left out
    #[arg(long, value_name = "ID")]
    book_id: Option<String>,
    /// Take warnings for errors
    #[arg(long)]
    strict: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: McpFlags,
}

/// Runs `validate`.
pub(crate) async fn run(args: ValidateArgs) -> Result<(), Failure> {
    let book = args.book_id.as_deref().map(BookId::parse).transpose();
    let book = book.map_err(|refusal| Failure::Usage(refusal.to_string()))?;
    let sources = gather(args.flags.into_given())?;
    let beside = MaintenanceRuntime::open(StoreSettings::read(&sources)?).await?;
    let ended = validate_all(&beside, book, args.strict, args.json).await;
    beside.close().await;
    if ended? { Ok(()) } else { Err(Failure::Logged) }
}

/// Validates the book, or all, and prints the results; false: one is not valid.
async fn validate_all(
    beside: &MaintenanceRuntime,
    book: Option<BookId>,
    strict: bool,
    as_json: bool,
) -> Result<bool, Failure> {
    let is_one = book.is_some();
    let books = match book {
        Some(book) => vec![book],
        None => beside.service.book_ids().await.map_err(|fault| stopped(&fault.into()))?,
    };
    let (mut are_valid, mut bodies) = (true, Vec::new());
    for book in books {
        let mut bar: Option<Box<dyn PhaseObserver>> = None;
        let mut progress = |done: usize, all: usize| {
            // What is not a terminal wants the result alone.
            if !stderr().is_terminal() {
                return;
            }
            let begin = || TerminalProgress.begin(format!("validate {book}:"), all as u64, Unit::Files);
            bar.get_or_insert_with(begin).done(done as u64);
        };
        let report = match beside.service.validate_book(&book, &mut progress).await {
            // A book deleted since they were listed.
            Err(Error::Refused(Refusal::BookNotFound(_))) if !is_one => continue,
            ended => ended.map_err(|error| stopped(&error))?,
        };
        drop(bar);
        are_valid &= report.is_valid(strict);
        if as_json {
            let mut body = json!({ "book_id": book.as_str() });
            merge(&mut body, validation_body(&report, strict, true));
            bodies.push(body);
        } else {
            print(&as_text(&book, &report, strict))?;
        }
    }
    if as_json {
        print(&json!({ "valid": are_valid, "books": bodies }).to_string())?;
    }
    Ok(are_valid)
}

fn merge(body: &mut Value, more: Value) {
    if let (Value::Object(body), Value::Object(more)) = (body, more) {
        body.extend(more);
    }
}

fn stopped(error: &Error) -> Failure {
    Failure::Failed(match error {
        Error::Refused(Refusal::BookNotFound(id)) => format!("there is no book {id}"),
        Error::Refused(refusal) => refusal.to_string(),
        Error::Broken(fault) => format!("validate stopped: {fault}"),
    })
}

/// One line for the book, then two for each issue.
fn as_text(book: &BookId, report: &ValidationReport, strict: bool) -> String {
    let summary = &report.summary;
    let mut lines = vec![format!(
        "{book}: {}: {} files ({} content, {} assets), {} errors, {} warnings",
        if report.is_valid(strict) { "valid" } else { "not valid" },
        summary.total_files,
        summary.content_files,
        summary.asset_files,
        summary.error_count,
        summary.warning_count,
    )];
    for issue in report.errors.iter().chain(&report.warnings) {
        lines.push(format!("  {} {}: {}", issue.severity.as_str(), issue.path, issue.located_message()));
        lines.push(format!("      {}", issue.suggestion));
    }
    let cut = summary.error_count - report.errors.len() + summary.warning_count - report.warnings.len();
    if cut > 0 {
        lines.push(format!("  {cut} more are not listed: repair those that are, then validate again"));
    }
    lines.join("\n")
}
