//! Health endpoints of the contract. Invariant: `live` depends on nothing, so a slow database never gets
//! a server killed that could still answer.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use panaversity_service::health::{Health, Probe};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::HttpState;
use crate::auth::Authenticator;

/// Least time from the beginning of a probe to that of the next.
const BETWEEN: Duration = Duration::from_millis(100);

/// A probe that all share who ask for it while it is awaited. So the health endpoints, which everybody may
/// ask as often as they like, cost database and storage at most one probe every [`BETWEEN`]. A result is
/// never older than the request that it answers.
pub(crate) struct SharedProbe<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for SharedProbe<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> SharedProbe<T> {
    async fn result(&self, probe: impl Future<Output = T>) -> T {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        if let Some((began, result)) = &*last {
            if *began >= asked {
                return result.clone();
            }
            sleep_until(*began + BETWEEN).await;
        }
        let began = Instant::now();
        let result = probe.await;
        *last = Some((began, result.clone()));
        result
    }
}

/// `GET /health/live`: the process answers.
pub(super) async fn live() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// `GET /health/ready`: traffic may be sent to this server.
pub(super) async fn ready(State(state): State<HttpState>) -> Response {
    if state.app.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "stopping" }))).into_response();
    }
    let (database, storage) =
        state.readiness.result(state.app.service.readiness(state.app.limits.probe_timeout)).await;
    let up = database.up && storage.up;
    let body = json!({
        "status": if up { "ok" } else { "unavailable" },
        "database": engine(&database),
        "storage": engine(&storage),
    });
    (code(up), Json(body)).into_response()
}

/// `GET /health`: all known state.
pub(super) async fn full(State(state): State<HttpState>) -> Response {
    let health = state.health.result(state.app.service.health(state.app.limits.probe_timeout)).await;
    let up = health.database.up && health.storage.up;
    let auth = state.app.auth.as_ref().map(Authenticator::methods).unwrap_or_default();
    let mut report = report(&health, state.began.elapsed(), &auth);
    if let Some(shared) = &state.app.shared_rates {
        // No part of the overall status: everything works without it.
        report["redis"] = json!({ "status": if shared.is_up() { "ok" } else { "unavailable" } });
    }
    (code(up), Json(report)).into_response()
}

fn code(up: bool) -> StatusCode {
    if up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn report(health: &Health, uptime: Duration, auth: &[&str]) -> Value {
    json!({
        "status": status(health),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": uptime.as_secs(),
        "database": engine(&health.database),
        "storage": engine(&health.storage),
        "auth": if auth.is_empty() { "none".to_owned() } else { auth.join(", ") },
        "pending_publications": health.pending_publications,
        "damaged_blobs": health.damaged_blobs,
        "audit_chain": {
            "valid": health.verified.breaks.is_empty(),
            "checked_at": health.verified.checked_at.map(|at| at.to_string()),
            "full_pass_age_seconds": health.full_pass_age.map(|age| age.as_secs()),
        },
    })
}

/// Overall status. A broken chain or blob needs a person, not a restart: the server still serves.
fn status(health: &Health) -> &'static str {
    if !(health.database.up && health.storage.up) {
        "unavailable"
    } else if health.verified.breaks.is_empty() && health.damaged_blobs.unwrap_or(0) == 0 {
        "ok"
    } else {
        "degraded"
    }
}

fn engine(probe: &Probe) -> Value {
    // Two decimals: a local database answers in a fraction of a millisecond.
    let latency = (probe.latency.as_secs_f64() * 100_000.0).round() / 100.0;
    json!({
        "status": if probe.up { "ok" } else { "unavailable" },
        "backend": probe.backend,
        "latency_ms": latency,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use panaversity_model::Timestamp;
    use panaversity_model::audit::ChainKey;
    use panaversity_model::chain::ChainError;
    use panaversity_service::verify::Verified;

    use super::*;

    fn probe(backend: &'static str, up: bool) -> Probe {
        Probe { backend, up, latency: Duration::from_micros(412) }
    }

    fn healthy() -> Health {
        Health {
            database: probe("sqlite", true),
            storage: probe("fs", true),
            pending_publications: Some(2),
            damaged_blobs: Some(0),
            verified: Verified {
                checked_at: Timestamp::parse("2025-12-04T10:30:00Z"),
                ..Verified::default()
            },
            full_pass_age: Some(Duration::from_secs(7)),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_while_a_probe_is_awaited_shares_the_next_one() {
        let (shared, count) = (SharedProbe::default(), AtomicUsize::new(0));
        let probe = async || {
            tokio::time::sleep(Duration::from_millis(1)).await;
            count.fetch_add(1, Ordering::Relaxed)
        };
        let began = Instant::now();
        let asked = (0..1_000).map(|_| shared.result(probe()));
        futures::future::join_all(asked).await;
        assert!(count.load(Ordering::Relaxed) <= 2, "{count:?}");
        assert!(began.elapsed() < 2 * BETWEEN);
        let (before, asked) = (count.load(Ordering::Relaxed), Instant::now());
        assert_eq!(shared.result(probe()).await, before, "a later request gets a new result");
        assert!(asked.elapsed() <= BETWEEN + Duration::from_millis(2));
    }

    #[test]
    fn a_report_has_every_field_of_the_contract() {
        let expected = json!({
            "status": "ok",
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": 61,
            "database": { "status": "ok", "backend": "sqlite", "latency_ms": 0.41 },
            "storage": { "status": "ok", "backend": "fs", "latency_ms": 0.41 },
            "auth": "none",
            "pending_publications": 2,
            "damaged_blobs": 0,
            "audit_chain": {
                "valid": true, "checked_at": "2025-12-04T10:30:00.000000Z", "full_pass_age_seconds": 7,
            },
        });
        assert_eq!(report(&healthy(), Duration::from_secs(61), &["none"]), expected);
    }

    #[test]
    fn what_is_down_is_unavailable_and_what_is_broken_is_degraded() {
        let down = Health { storage: probe("fs", false), ..healthy() };
        assert_eq!(status(&down), "unavailable");
        assert_eq!(status(&Health { damaged_blobs: Some(1), ..healthy() }), "degraded");
        let key = ChainKey { book: "b".into(), path: "p".into(), user: "__base__".into() };
        let mut broken = healthy();
        broken.verified.breaks.insert(key.clone(), ChainError { key, id: None, reason: "cut off".into() });
        assert_eq!(status(&broken), "degraded");
        assert_eq!(report(&broken, Duration::ZERO, &["none"])["audit_chain"]["valid"], false);
    }
}
