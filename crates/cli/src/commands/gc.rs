//! `gc`: purges content that no request can reach any more. It may run while servers run; after an
//! abort it is run again.

use clap::Args;
use panaversity_model::gc::GcEstimate;
use panaversity_service::gc::{GcWatch, Swept};
use serde_json::json;

use super::maintenance::gather;
use crate::config::flags::McpFlags;
use crate::config::parsed::StoreSettings;
use crate::failure::{Failure, print};
use crate::progress::MaintenanceProgress;
use crate::runtime::MaintenanceRuntime;

/// Arguments of `gc`.
#[derive(Args)]
pub(crate) struct GcArgs {
    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: McpFlags,
}

/// Runs `gc`.
pub(crate) async fn run(args: GcArgs) -> Result<(), Failure> {
    let sources = gather(args.flags.into_given())?;
    let settings = StoreSettings::read(&sources)?;
    let retention = settings.retention;
    let beside = MaintenanceRuntime::open(settings).await?;
    let progress = MaintenanceProgress::new(args.json);
    let mut show = |swept: &Swept, expected: &GcEstimate| {
        let done = swept.removed.versions + swept.removed.blobs;
        progress.at("gc: old versions and blobs", done, Some(expected.versions + expected.blobs));
    };
    let watch: Option<GcWatch<'_>> = if progress.is_shown() { Some(&mut show) } else { None };
    let swept = beside.service.gc_with_progress(retention, args.dry_run, watch).await;
    beside.close().await;
    drop(progress);
    let swept = swept.map_err(|fault| {
        Failure::Failed(format!(
            "gc stopped: {fault} (nothing that is still named was touched; run it again)"
        ))
    })?;
    print(&if args.json { as_json(&swept, args.dry_run) } else { as_text(&swept, args.dry_run) })?;
    match swept.left {
        0 => Ok(()),
        left => Err(Failure::Failed(format!(
            "{left} blobs could not be deleted; the next gc tries again (the log says why)"
        ))),
    }
}

fn as_json(swept: &Swept, dry_run: bool) -> String {
    let Swept { removed, unknown_objects, unknown_bytes, left, uploads } = swept;
    json!({
        "dry_run": dry_run,
        "manifests": removed.manifests,
        "versions": removed.versions,
        "blobs": removed.blobs,
        "bytes": removed.bytes,
        "unknown_objects": unknown_objects,
        "unknown_bytes": unknown_bytes,
        "uploads": uploads,
        "left": left,
    })
    .to_string()
}

fn as_text(swept: &Swept, dry_run: bool) -> String {
    let Swept { removed, unknown_objects, unknown_bytes, uploads, .. } = swept;
    format!(
        "{}: {} blobs ({} bytes), {} old versions, {} manifests, {unknown_objects} unknown objects ({unknown_bytes} bytes), {uploads} uploads",
        if dry_run { "would delete" } else { "deleted" },
        removed.blobs,
        removed.bytes,
        removed.versions,
        removed.manifests
    )
}
