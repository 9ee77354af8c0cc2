//! `GET /ui/state`: how this server is: its engines, what waits, its connections, the audit chains, the
//! success criteria, its limits. It says no more than `/health` and `/metrics`, which are for everybody; and to
//! administrators how the webhooks are.

use axum::response::Response;
use maud::{Markup, html};
use panaversity_model::audit::Operation;
use panaversity_model::connection_pool::PoolUsage;
use panaversity_model::permission::Permission;
use panaversity_service::health::{Health, Probe};

use super::layout::WebPage;
use super::request::PageRequest;
use super::{shown, sparkline, webhooks};
use crate::AppState;
use crate::metrics::criteria::CriterionReading;

pub(super) async fn page(request: PageRequest) -> Response {
    let request = &request;
    request
        .show("GET /ui/state", Operation::List, async |call| {
            let app = &request.app;
            let webhooks = if call.caller.principal.may_all(Permission::Admin, None) {
                webhooks::section(app).await
            } else {
                Markup::default()
            };
            let pool = app.service.pool_usage();
            let health = app.service.health(app.limits.probe_timeout).await;
            let uptime = request.state.began.elapsed().as_secs();
            let main = html! {
                (parts(&health, app))
                h2 { "Work" }
                (work(&health, pool, uptime))
                (webhooks)
                h2 { "Success criteria" }
                p {
                    "As this server alone measured them since its start. " code { "panaversity-fs slo" }
                    " measures all servers, by Prometheus."
                }
                (criteria(&app.metrics.criteria()))
                h2 { "Limits" }
                (limits(app))
            };
            Ok(WebPage { main, ..WebPage::titled("State") })
        })
        .await
}

fn parts(health: &Health, app: &AppState) -> Markup {
    let is_ready = health.database.up && health.storage.up && !app.draining.is_cancelled();
    html! {
        p.health.problem[!is_ready] {
            @if is_ready { "This server is ready." } @else { "This server is not ready." }
        }
        div.scroll tabindex="0" role="region" aria-label="Engines" {
            table {
                thead {
                    tr {
                        th scope="col" { "Part" }
                        th scope="col" { "Kind" }
                        th scope="col" { "Answers" }
                        th scope="col" { "In" }
                    }
                }
                tbody { (engine("Database", &health.database)) (engine("Storage", &health.storage)) }
            }
        }
    }
}

fn engine(name: &str, probe: &Probe) -> Markup {
    html! {
        tr {
            th scope="row" { (name) }
            td { (probe.backend) }
            td { @if probe.up { "yes" } @else { strong.problem { "no" } } }
            td.number { (format!("{:.1} ms", probe.latency.as_secs_f64() * 1_000.0)) }
        }
    }
}

fn work(health: &Health, pool: PoolUsage, uptime: u64) -> Markup {
    let known = |count: Option<i64>| count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
    let connections = format!("{} in use, {} idle, at most {}", pool.in_use, pool.idle, pool.max);
    let verified = &health.verified;
    html! {
        dl.facts {
            dt { "Publications that wait" } dd { (known(health.pending_publications)) }
            dt { "Files with damaged content" } dd { (known(health.damaged_blobs)) }
            dt { "Connections to the database" }
            dd { (connections) " " (sparkline::part(pool.in_use.into(), pool.max.into(), &connections)) }
            dt { "Broken audit chains" } dd { (verified.breaks.len()) }
            dt { "Entries checked until" }
            dd { @if let Some(at) = verified.checked_at { (shown::time(at)) } @else { "not yet" } }
            dt { "Running for" } dd { (uptime / 3_600) " h " (uptime / 60 % 60) " min" }
            dt { "Version" } dd { (env!("CARGO_PKG_VERSION")) }
        }
    }
}

fn criteria(readings: &[CriterionReading]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Success criteria" {
            table {
                thead {
                    tr {
                        th scope="col" { "Criterion" } th scope="col" { "What" } th scope="col" { "Target" }
                        th scope="col" { "Measured" }
                        th scope="col" { "Met" }
                        th scope="col" { "Distribution" }
                    }
                }
                tbody {
                    @for reading in readings {
                        tr {
                            td { (reading.id) }
                            th scope="row" { (reading.name) }
                            td { (reading.target) }
                            td.number { (reading.value.as_deref().unwrap_or("nothing yet")) }
                            td {
                                @if reading.target.is_empty() { "" }
                                @else if reading.is_met { "yes" }
                                @else { strong.problem { "no" } }
                            }
                            td {
                                @if !reading.buckets.is_empty() { (sparkline::of_buckets(&reading.buckets)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn limits(app: &AppState) -> Markup {
    let shown = app.limits.shown();
    html! {
        details {
            summary { (shown::count(shown.len(), "limit", "limits")) " of this server" }
            dl.facts { @for (name, value) in &shown { dt { (name) } dd { (value) } } }
        }
    }
}
