//! `audit`: queries, verifies and exports the audit log, straight from the database. It may run beside
//! servers and writes nothing to the database, so a role that may only read is enough. Exit codes: 0 done,
//! 1 a break was found or the command failed, 2 wrong usage.

mod export;
mod file;
mod query;
mod verify;

use clap::{Args, Subcommand};
use panaversity_model::chain::ChainError;
use panaversity_model::{BookId, Fault, Refusal};
use panaversity_service::audit::AuditReader;
use panaversity_service::verify::ChainScope;
use panaversity_store::{Database, SqlJournal};
use serde_json::{Value, json};

use super::maintenance::gather;
use crate::config::flags::MigrateFlags;
use crate::config::parsed::DatabaseSettings;
use crate::failure::Failure;
use crate::progress::MaintenanceProgress;
use crate::runtime::connect_current;

/// Arguments of `audit`.
#[derive(Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    action: AuditAction,
}

#[derive(Subcommand)]
enum AuditAction {
    /// Print entries, newest first
    #[command(after_help = "Example: panaversity-fs audit query --book-id ai-python --path 'content/**' \
        --since 2026-11-01")]
    Query(query::QueryArgs),
    /// Verify the chains in the database, or a file that `audit export` wrote
    #[command(after_help = "Examples:\n  panaversity-fs audit verify\n  \
        panaversity-fs audit verify --against audit-2026-10.jsonl\n  \
        panaversity-fs audit verify audit-2026-11.jsonl --against audit-2026-10.jsonl\n\n\
        Exit code 1 if anything is broken. --against finds even a log that the owner of the database \
        rewrote.")]
    Verify(verify::VerifyArgs),
    /// Write the log with the digest of its chains, as JSON lines that can be verified offline
    #[command(after_help = "Example: panaversity-fs audit export --output audit-2026-11.jsonl\n\n\
        Each chain is exported up to a tip that is read once; later entries are not in it. A log that is \
        broken is exported too, with exit code 1.")]
    Export(export::ExportArgs),
}

/// Runs `audit`.
pub(crate) async fn run(args: AuditArgs) -> Result<(), Failure> {
    match args.action {
        AuditAction::Query(args) => query::run(args).await,
        AuditAction::Verify(args) => verify::run(args).await,
        AuditAction::Export(args) => export::run(args).await,
    }
}

/// Opens the log of these settings' database.
async fn open(flags: MigrateFlags) -> Result<(AuditReader, Database), Failure> {
    let settings = DatabaseSettings::read(&gather(flags.into_given())?)?;
    let database = connect_current(settings).await?;
    Ok((AuditReader::new(SqlJournal::audit_log(database.clone())), database))
}

/// Shows on a bar the number of entries that a command has read of those in its scope. The total is asked for
/// only where somebody sees it.
async fn entries_shown<'a>(
    bar: &'a MaintenanceProgress,
    phase: &'static str,
    reader: &AuditReader,
    scope: &ChainScope,
) -> impl FnMut(u64) + use<'a> {
    let total = if bar.is_shown() { reader.entry_count(scope).await.unwrap_or(None) } else { None };
    move |entries: u64| {
        if entries.is_multiple_of(100) {
            bar.at(phase, entries, total);
        }
    }
}

/// End of a command that streams.
enum Interrupted {
    Database(Fault),
    Output(std::io::Error),
}

impl From<Fault> for Interrupted {
    fn from(fault: Fault) -> Self {
        Self::Database(fault)
    }
}

impl From<std::io::Error> for Interrupted {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<Interrupted> for Failure {
    fn from(interrupted: Interrupted) -> Self {
        Self::Failed(match interrupted {
            Interrupted::Database(fault) => format!("the audit log cannot be read: {fault}"),
            Interrupted::Output(error) => format!("cannot write the result: {error}"),
        })
    }
}

fn book_id(text: &str) -> Result<BookId, Refusal> {
    BookId::parse(text)
}

/// A break as JSON.
fn break_json(found: &ChainError) -> Value {
    let ChainError { key, id, reason } = found;
    json!({ "book_id": key.book, "path": key.path, "user_id": key.user, "id": id, "reason": reason })
}

/// A break as a line.
fn break_line(found: &ChainError) -> String {
    let ChainError { key, id, reason } = found;
    let entry = id.as_ref().map(|id| format!(", entry {id}")).unwrap_or_default();
    let chain = format!("book {:?}, path {:?}, user {:?}", key.book, key.path, key.user);
    printable(&format!("broken: {chain}{entry}: {reason}"))
}

/// Text with control characters escaped: what stands in the database may have been put there to confuse a
/// terminal.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
