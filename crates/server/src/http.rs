//! The HTTP transport: the route table, and the middleware that every request passes.
//!
//! Invariant: a request is counted under a route of the table, whatever its path; a request that the
//! host check refuses reaches no handler; an answer never contains the server's internals.

mod archives;
mod assets;
mod body;
mod conditional;
mod connection;
mod content;
mod file_response;
mod health;
pub(crate) mod listener;
pub(crate) mod middleware;
mod starting;
mod uploads;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, put};
use panaversity_model::Fault;
use panaversity_model::fault::FaultKind;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::body::throttle::DownloadLimiter;
pub(crate) use self::connection::ConnectionAbort;
pub(crate) use self::middleware::allowed_hosts::{self, AllowedHosts};
use self::middleware::observe;
pub use self::starting::{Gate, name_of};
use self::uploads::UploadSlots;

use crate::AppState;

/// Value of `Retry-After` while the server is busy.
const AGAIN_IN_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// State of the routes.
#[derive(Clone)]
struct HttpState {
    app: AppState,
    began: Instant,
    downloads: DownloadLimiter,
    uploads: UploadSlots,
}

/// All routes. `stop` ends requests that still run when the drain timeout is over.
pub fn router(app: AppState, hosts: AllowedHosts, stop: CancellationToken) -> Router {
    let state = HttpState {
        app: app.clone(),
        began: Instant::now(),
        downloads: DownloadLimiter::new(&app.limits),
        uploads: UploadSlots::new(app.limits.uploads_at_once),
    };
    let probes = hosts.for_probes();

    let guarded = crate::mcp::router(app.clone(), stop)
        .layer(from_fn_with_state(Arc::new(hosts), allowed_hosts::admit));
    let open = Router::new()
        .route("/health", get(health::full))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(metrics))
        .route("/books/{book}/static/{*path}", get(assets::serve))
        .route("/books/{book}/content/{*path}", get(content::serve))
        .route("/uploads/{id}", put(uploads::receive))
        .route("/books/{book}/archive.zip", get(archives::serve))
        .with_state(state)
        .layer(from_fn_with_state(Arc::new(probes), allowed_hosts::admit));

    Router::new()
        .merge(guarded)
        .merge(open)
        .fallback(nowhere)
        .layer(from_fn_with_state(app, observe::observe))
}

async fn metrics(State(state): State<HttpState>) -> impl IntoResponse {
    let text = state.app.metrics.scrape(&state.app.service, state.app.limits.scrape_timeout).await;
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text)
}

async fn nowhere() -> Response {
    let hint = "MCP is POST /mcp; GET /health tells how the server is.";
    error_response(StatusCode::NOT_FOUND, "NOT_FOUND", "There is nothing at this path.", hint)
}

/// Body of an error of a route that is no tool.
fn error_response(status: StatusCode, code: &str, message: &str, hint: &str) -> Response {
    let error = json!({ "code": code, "message": message, "hint": hint });
    (status, Json(json!({ "error": error }))).into_response()
}

/// Answer for a fault outside of a call.
fn broken(fault: &Fault) -> Response {
    let (message, hint) = match fault.kind {
        FaultKind::Corrupt => {
            ("The stored bytes are damaged and are not served.", "Tell the operator the time.")
        }
        FaultKind::Internal => ("The server failed to answer.", "Tell the operator the time."),
        FaultKind::Schema => (
            "The database's schema does not fit this server.",
            "Tell the operator: `panaversity-fs migrate current` shows what the database is at.",
        ),
        FaultKind::Storage | FaultKind::Database | FaultKind::Timeout => {
            ("The server can't answer now.", "Repeat the request in a few seconds.")
        }
    };
    let mut answer = error_response(status_of(fault), fault.kind.code(), message, hint);
    if answer.status() == StatusCode::SERVICE_UNAVAILABLE && fault.kind != FaultKind::Schema {
        answer.headers_mut().insert(header::RETRY_AFTER, AGAIN_IN_SECONDS);
    }
    answer
}

fn status_of(fault: &Fault) -> StatusCode {
    match fault.kind {
        FaultKind::Storage | FaultKind::Database | FaultKind::Schema | FaultKind::Timeout => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        FaultKind::Corrupt | FaultKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
