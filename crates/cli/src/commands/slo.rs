//! `slo`: measures the success criteria of a running installation, by queries to Prometheus and by looking
//! through the store, and changes nothing. Exit code 1 if one is missed.

mod criteria;
mod prometheus;

use clap::Args;
use panaversity_service::Service;
use panaversity_service::reconcile::{Discrepancy, Finding, Mode};
use serde_json::json;

use self::criteria::{Criterion, Measured, QUERIES, Verdict};
use self::prometheus::Prometheus;
use super::maintenance::gather;
use crate::config::flags::McpFlags;
use crate::config::parsed::StoreSettings;
use crate::failure::{Failure, print};
use crate::runtime::MaintenanceRuntime;

/// Arguments of `slo`.
#[derive(Args)]
#[command(after_help = "Example: panaversity-fs slo --prometheus http://127.0.0.1:9090 --window 7d\n\n\
    It reads the store with the settings of the server. `no data` is no miss: nothing of the kind happened.")]
pub(crate) struct SloArgs {
    /// URL of the Prometheus that scrapes the servers
    #[arg(long, value_name = "URL")]
    prometheus: String,
    /// Time to look back, as Prometheus spells it
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = criteria::window)]
    window: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: McpFlags,
}

/// Runs `slo`.
pub(crate) async fn run(args: SloArgs) -> Result<(), Failure> {
    let sources = gather(args.flags.into_given())?;
    let settings = StoreSettings::read(&sources)?;
    let retention = settings.retention;
    let prometheus = Prometheus::at(&args.prometheus)?;
    prometheus.require_servers().await?;
    let mut measured = Vec::new();
    for criterion in QUERIES {
        let value = prometheus.value(&criterion.query(&args.window)).await?;
        measured.push(criterion.judge(value));
    }
    let beside = MaintenanceRuntime::open(settings).await?;
    let looked = look_through(&beside.service, retention).await;
    beside.close().await;
    measured.extend(looked?);
    measured.sort_by_key(|measured| measured.id);
    print(&if args.json { as_json(&measured) } else { as_text(&measured) })?;
    let missed = measured.iter().any(|measured| measured.verdict == Verdict::Missed);
    if missed { Err(Failure::Logged) } else { Ok(()) }
}

/// The criteria about the store itself.
async fn look_through(service: &Service, retention: std::time::Duration) -> Result<Vec<Measured>, Failure> {
    let stopped = |fault| Failure::Failed(format!("the store could not be looked through: {fault}"));
    let orphans = service.gc(retention, true).await.map_err(stopped)?.unknown_objects;
    let mut strays = 0_u64;
    let mut count = |finding: Finding| strays += u64::from(finding.trouble == Discrepancy::Foreign);
    service.reconcile(None, &Mode::Report, &mut count).await.map_err(stopped)?;
    let nameless = service.entries_without_agent().await.map_err(stopped)?;
    Ok(vec![
        Criterion::ORPHANS.judge_count(orphans),
        Criterion::STRAYS.judge_count(strays),
        Criterion::AGENTS.judge_count(nameless),
    ])
}

fn as_json(measured: &[Measured]) -> String {
    let shown = measured.iter().map(|one| {
        json!({
            "criterion": one.id,
            "name": one.name,
            "target": one.target,
            "measured": one.value,
            "verdict": one.verdict.as_str(),
        })
    });
    json!({ "criteria": shown.collect::<Vec<_>>() }).to_string()
}

fn as_text(measured: &[Measured]) -> String {
    let row = |id: &str, name: &str, target: &str, value: &str, verdict: &str| {
        format!("{id:<9} {name:<50} {target:<10} {value:<12} {verdict}")
    };
    let head = row("criterion", "name", "target", "measured", "verdict");
    let rows =
        measured.iter().map(|one| row(one.id, one.name, one.target, &one.shown(), one.verdict.as_str()));
    std::iter::once(head).chain(rows).collect::<Vec<_>>().join("\n")
}
