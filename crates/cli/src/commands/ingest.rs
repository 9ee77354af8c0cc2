//! `ingest`: uploads folders into a book, through a running server.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use panaversity_client::SyncError;
use panaversity_client::ingest::{IngestOptions, IngestReport, ingest};
use panaversity_model::{BookId, Schema};

use super::server_args::ServerArgs;
use crate::progress::TerminalProgress;
use crate::report::finish;

const AGENT: &str = "panaversity-fs-ingest";

/// Make a book hold what folders hold: DIR/x becomes content/x, another DIR/x static/x
#[derive(Debug, Clone, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct IngestArgs {
    /// The book
    #[arg(long, value_name = "ID", value_parser = BookId::parse)]
    pub(crate) book_id: BookId,
    /// The folder to read: DIR/x becomes content/x
    #[arg(long, value_name = "DIR")]
    pub(crate) source_dir: PathBuf,
    /// The folder of the assets: DIR/x becomes static/x [default: assets are left alone]
    #[arg(long, value_name = "DIR")]
    pub(crate) static_dir: Option<PathBuf>,
    /// The schema of the book: strict or docusaurus [default: the book's own, else strict]
    #[arg(long, value_name = "SCHEMA", value_parser = Schema::parse)]
    pub(crate) schema: Option<Schema>,
    /// Delete pages that the folder no longer has, with --static-dir assets too
    #[arg(long)]
    pub(crate) delete: bool,
    /// Let --delete take all, or more than half, of the pages or of the assets
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

/// Runs `ingest`.
pub(crate) async fn run(args: IngestArgs) -> ExitCode {
    let json = args.json;
    finish("ingest", json, run_against_server(args).await)
}

async fn run_against_server(args: IngestArgs) -> Result<IngestReport, SyncError> {
    let client = args.server.client(AGENT)?;
    let options = IngestOptions {
        book_id: args.book_id,
        source_dir: args.source_dir,
        static_dir: args.static_dir,
        schema: args.schema,
        delete: args.delete,
        force: args.force,
        dry_run: args.dry_run,
        progress: Arc::new(TerminalProgress),
    };
    ingest(&client, &options).await
}
