//! `health`: asks a running server how it is. Exit code 0 only if it says that it is up, so that
//! containers and scripts can use it as their health check.

use clap::Args;
use panaversity_client::health::HealthCheck;
use serde_json::Value;

use crate::config::Sources;
use crate::config::parsed::HttpSettings;
use crate::failure::{Failure, print};

/// Arguments of `health`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  panaversity-fs health\n  panaversity-fs health --ready --url https://books.example.com"
)]
pub(crate) struct HealthArgs {
    /// The server's URL [default: env `PANAVERSITY_URL`, else this machine at the port of the settings]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Only whether the process answers; touches neither database nor storage
    #[arg(long, conflicts_with = "ready")]
    live: bool,
    /// Only whether traffic may be sent to it
    #[arg(long)]
    ready: bool,
    /// Print the server's JSON document
    #[arg(long)]
    json: bool,
}

/// Runs `health`.
pub(crate) async fn run(args: HealthArgs) -> Result<(), Failure> {
    let check = match (args.live, args.ready) {
        (true, _) => HealthCheck::Live,
        (_, true) => HealthCheck::Ready,
        _ => HealthCheck::Full,
    };
    let url = match args.url.or_else(|| std::env::var("PANAVERSITY_URL").ok()).filter(|url| !url.is_empty()) {
        Some(url) => url,
        None => local_url()?,
    };
    let report = check.ask(&url).await.map_err(Failure::Failed)?;
    print(&if args.json { report.document.to_string() } else { as_text(&report.document) })?;
    if report.is_up { Ok(()) } else { Err(Failure::Logged) }
}

/// URL of the server that these settings would start.
fn local_url() -> Result<String, Failure> {
    let settings = HttpSettings::read(&Sources::gather(std::collections::BTreeMap::new())?)?;
    let host = match settings.host.as_str() {
        "0.0.0.0" | "::" | "[::]" => "127.0.0.1".to_owned(),
        host if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
        host => host.to_owned(),
    };
    Ok(format!("http://{host}:{}", settings.port))
}

/// A line for the server and one for each part.
fn as_text(document: &Value) -> String {
    let mut lines = vec![document["status"].as_str().unwrap_or("unknown").to_owned()];
    for (name, value) in document.as_object().into_iter().flatten().filter(|(name, _)| *name != "status") {
        let shown = match value {
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| format!("{name} {}", plain(value)))
                .collect::<Vec<_>>()
                .join(", "),
            value => plain(value),
        };
        lines.push(format!("  {name}: {shown}"));
    }
    lines.join("\n")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "unknown".to_owned(),
        other => other.to_string(),
    }
}
