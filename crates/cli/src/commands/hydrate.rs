//! `hydrate`: downloads a book into folders, through a running server.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use panaversity_client::SyncError;
use panaversity_client::hydrate::{HydrateOptions, HydrateReport, hydrate};
use panaversity_model::BookId;

use super::server_args::ServerArgs;
use crate::progress::TerminalProgress;
use crate::report::finish;

const AGENT: &str = "panaversity-fs-hydrate";

/// Make folders hold a book: content/x becomes DIR/x, static/x another DIR/x
#[derive(Debug, Clone, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct HydrateArgs {
    /// The book
    #[arg(long, value_name = "ID", value_parser = BookId::parse)]
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

/// Runs `hydrate`.
pub(crate) async fn run(args: HydrateArgs) -> ExitCode {
    let json = args.json;
    finish("hydrate", json, run_against_server(args).await)
}

async fn run_against_server(args: HydrateArgs) -> Result<HydrateReport, SyncError> {
    let client = args.server.client(AGENT)?;
    let options = HydrateOptions {
        book_id: args.book_id,
        output_dir: args.output_dir,
        static_dir: args.static_dir,
        full_rebuild: args.full_rebuild,
        prune: args.prune,
        force: args.force,
        progress: Arc::new(TerminalProgress),
    };
    hydrate(&client, &options).await
}
