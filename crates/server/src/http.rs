//! The HTTP door: the route table, and what every request passes through on its way.
//!
//! Invariant: a request is counted under a route of the table, whatever path it names; what the
//! guard refuses reaches no handler; an answer never holds anything of the server's inside.

mod guard;
mod health;
mod passage;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json};
use axum::routing::get;
use axum::{Router, middleware};
use serde_json::json;
use tokio_util::sync::CancellationToken;

pub(crate) use self::guard::Hosts;

use crate::app::App;

/// What the routes of this door work with.
#[derive(Clone)]
struct Door {
    app: App,
    began: Instant,
}

/// All routes. `stop` ends what is still running when the time to drain is over.
pub(crate) fn router(app: App, hosts: Hosts, stop: CancellationToken) -> Router {
    let door = Door { app: app.clone(), began: Instant::now() };
    let probes = hosts.for_probes();

    let guarded = crate::mcp::router(app.clone(), stop)
        .layer(middleware::from_fn_with_state(Arc::new(hosts), guard::admit));
    let open = Router::new()
        .route("/health", get(health::full))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(metrics))
        .with_state(door)
        .layer(middleware::from_fn_with_state(Arc::new(probes), guard::admit));

    Router::new()
        .merge(guarded)
        .merge(open)
        .fallback(nowhere)
        .layer(middleware::from_fn_with_state(app, passage::through))
}

async fn metrics(State(door): State<Door>) -> impl IntoResponse {
    let text = door.app.metrics.scrape(&door.app.service).await;
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text)
}

async fn nowhere() -> impl IntoResponse {
    let error = json!({
        "code": "NOT_FOUND",
        "message": "There is nothing at this path.",
        "hint": "MCP is POST /mcp; GET /health tells how the server is.",
    });
    (StatusCode::NOT_FOUND, Json(json!({ "error": error })))
}
