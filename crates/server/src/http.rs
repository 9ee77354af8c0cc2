//! The HTTP transport: the route table, and the middleware that every request passes.
//!
//! Invariant: a request is counted under a route of the table, whatever its path; a request that the
//! host check refuses reaches no handler; an answer never contains the server's internals.

mod archives;
mod assets;
mod conditional;
mod connection;
mod content;
mod file_response;
mod health;
pub(crate) mod listener;
pub(crate) mod middleware;
mod response_body;
mod starting;
mod uploads;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, put};
use panaversity_model::ErrorCode;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

pub(crate) use self::connection::ConnectionAbort;
pub(crate) use self::middleware::allowed_hosts::{self, AllowedHosts};
use self::middleware::rate_limit::{self, RateLimiter};
use self::middleware::{auth, observe};
use self::response_body::throttle::DownloadLimiter;
pub use self::starting::{Gate, name_of};
use self::uploads::UploadSlots;

use crate::AppState;
use crate::auth::METADATA_PATH;
use crate::error::{self, error_response};

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

    let mcp = authenticated(rate_limited(crate::mcp::router(app.clone(), stop), &app), &app);
    let guarded = mcp.layer(from_fn_with_state(Arc::new(hosts), allowed_hosts::admit));
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
        .merge(resource_metadata(&app))
        .layer(from_fn_with_state(Arc::new(probes), allowed_hosts::admit));

    Router::new()
        .merge(guarded)
        .merge(open)
        .fallback(nowhere)
        .layer(CatchPanicLayer::custom(|_| error::panicked_response()))
        .layer(from_fn_with_state(app, observe::observe))
        .layer(nosniff())
}

/// The routes behind the rate limit, if there is one.
fn rate_limited(routes: Router, app: &AppState) -> Router {
    match RateLimiter::new(app.limits.rate, app.auth.is_some()) {
        Some(limiter) => routes.layer(from_fn_with_state(limiter, rate_limit::limit_rate)),
        None => routes,
    }
}

/// The routes behind authentication, if this server authenticates.
fn authenticated(routes: Router, app: &AppState) -> Router {
    match &app.auth {
        Some(auth) => routes.layer(from_fn_with_state(auth.clone(), auth::authenticate)),
        None => routes,
    }
}

/// Metadata by which clients find the authorization server (RFC 9728); none without authentication.
fn resource_metadata(app: &AppState) -> Router {
    let Some(auth) = &app.auth else { return Router::new() };
    let metadata = auth.metadata();
    let answer = get(async move || Json(metadata));
    let paths =
        BTreeSet::from(["", "/mcp", auth.resource_path()].map(|path| format!("{METADATA_PATH}{path}")));
    paths.iter().fold(Router::new(), |routes, path| routes.route(path, answer.clone()))
}

/// Middleware that forbids browsers to guess what an answer is.
fn nosniff() -> SetResponseHeaderLayer<HeaderValue> {
    let value = HeaderValue::from_static("nosniff");
    SetResponseHeaderLayer::overriding(header::X_CONTENT_TYPE_OPTIONS, value)
}

async fn metrics(State(state): State<HttpState>) -> impl IntoResponse {
    let text = state.app.metrics.scrape(&state.app.service, state.app.limits.scrape_timeout).await;
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text)
}

async fn nowhere() -> Response {
    let hint = "MCP is POST /mcp; GET /health tells how the server is.";
    error_response(StatusCode::NOT_FOUND, ErrorCode::NotFound, "There is nothing at this path.", hint)
}
