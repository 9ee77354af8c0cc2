//! Routes of a server whose engines are not open yet: live, not ready. [`Gate`] stands in front of all
//! routes and passes requests on once they are there, also on connections made before.
//!
//! Invariant: the host check holds here as well; an answer names what is waited for, and nothing else of
//! the server's internals.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use panaversity_model::fault::FaultKind;
use serde_json::json;
use tower::ServiceExt;

use super::middleware::allowed_hosts::{self, AllowedHosts};
use super::{health, nosniff};
use crate::error::{self, AGAIN_IN_SECONDS, error_response};
use crate::mcp;

/// Most bytes of a message that is searched for its id, and the timeout for reading them.
const MESSAGE: usize = 1 << 20;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Service of the listener: answers that the server is starting, until the routes are there.
#[derive(Clone)]
pub struct Gate {
    state: Arc<Starting>,
    meanwhile: Router,
}

struct Starting {
    began: Instant,
    database: &'static str,
    storage: &'static str,
    /// Whether the database was open at the last attempt.
    has_database: AtomicBool,
    routes: OnceLock<Router>,
}

impl Gate {
    /// A gate of a server with these engines, which is closed.
    pub fn new(hosts: AllowedHosts, database: &'static str, storage: &'static str) -> Self {
        let state = Arc::new(Starting {
            began: Instant::now(),
            database,
            storage,
            has_database: AtomicBool::new(false),
            routes: OnceLock::new(),
        });
        let probes = Router::new()
            .route("/health", get(not_ready))
            .route("/health/live", get(health::live))
            .route("/health/ready", get(not_ready))
            .layer(middleware::from_fn_with_state(Arc::new(hosts.for_probes()), allowed_hosts::admit));
        let rest = Router::new()
            .route("/mcp", post(no_call).fallback(nothing))
            .fallback(nothing)
            .layer(middleware::from_fn_with_state(Arc::new(hosts), allowed_hosts::admit));
        let meanwhile = Router::new().merge(probes).merge(rest).with_state(state.clone()).layer(nosniff());
        Self { state, meanwhile }
    }

    /// Sets what is waited for.
    pub fn waits_for(&self, kind: FaultKind) {
        self.state.has_database.store(kind == FaultKind::Storage, Ordering::Release);
    }

    /// Opens it: all requests are passed on to these routes from now on.
    pub fn open(&self, routes: Router) {
        // It is opened once.
        let _ = self.state.routes.set(routes);
    }

    /// The router of the listener.
    pub fn router(&self) -> Router {
        Router::new().fallback(pass).with_state(self.clone())
    }
}

impl Starting {
    fn missing(&self) -> FaultKind {
        if self.has_database.load(Ordering::Acquire) { FaultKind::Storage } else { FaultKind::Database }
    }
}

/// Name of what is waited for, as in settings and health.
pub fn name_of(kind: FaultKind) -> &'static str {
    if kind == FaultKind::Storage { "storage" } else { "database" }
}

async fn pass(State(gate): State<Gate>, request: Request) -> Response {
    let is_open = gate.state.routes.get();
    let Ok(response) = is_open.unwrap_or(&gate.meanwhile).clone().oneshot(request).await;
    response
}

/// `GET /health` and `GET /health/ready`.
async fn not_ready(State(starting): State<Arc<Starting>>) -> Response {
    let missing = starting.missing();
    let database = if missing == FaultKind::Storage { "ok" } else { "unavailable" };
    let body = json!({
        "status": "starting",
        "waiting_for": name_of(missing),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": starting.began.elapsed().as_secs(),
        "database": { "status": database, "backend": starting.database },
        "storage": { "status": "unavailable", "backend": starting.storage },
    });
    later((StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response())
}

/// `POST /mcp`.
async fn no_call(State(starting): State<Arc<Starting>>, request: Request) -> Response {
    let body = axum::body::to_bytes(request.into_body(), MESSAGE);
    let body = tokio::time::timeout(BODY_TIMEOUT, body).await.ok().and_then(Result::ok).unwrap_or_default();
    let kind = starting.missing();
    let error = json!({
        "code": -32603,
        "message": message_of(kind),
        "data": {
            "code": kind.code().as_str(),
            "hint": "Repeat the call in a few seconds; GET /health/ready tells when the server is ready.",
        },
    });
    let answer = error::rpc_answer(&mcp::answerable_id(body), &error);
    later((StatusCode::SERVICE_UNAVAILABLE, Json(answer)).into_response())
}

/// Everything else.
async fn nothing(State(starting): State<Arc<Starting>>) -> Response {
    let kind = starting.missing();
    let hint = "Repeat the request in a few seconds; GET /health/ready tells when the server is ready.";
    later(error_response(StatusCode::SERVICE_UNAVAILABLE, kind.code(), &message_of(kind), hint))
}

fn message_of(kind: FaultKind) -> String {
    format!("The server is starting and waits for its {}.", name_of(kind))
}

fn later(mut response: Response) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, AGAIN_IN_SECONDS);
    response
}
