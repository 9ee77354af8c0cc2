//! The HTTP transport: the route table, and the middleware that every request passes.
//!
//! Invariant: a request is counted under a route of the table, whatever its path; a request that the
//! host check refuses reaches no handler; an answer never contains the server's internals.

mod archives;
pub(crate) mod assets;
mod changes;
mod conditional;
mod connection;
mod content;
mod discard;
pub(crate) mod file_response;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod health;
pub(crate) mod listener;
pub(crate) mod middleware;
mod range_response;
mod response_body;
mod starting;
mod uploads;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, put};
use panaversity_model::ErrorCode;
use panaversity_service::health::{Health, Probe};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use self::changes::ChangesState;
pub(crate) use self::changes::{StreamAccess, StreamSlots, rendered};
pub(crate) use self::connection::ConnectionAbort;
use self::health::SharedProbe;
use self::middleware::allowed_hosts::{self, AllowedHosts};
use self::middleware::caller_share::{self, CallerShares};
use self::middleware::client_address::CallerKey;
use self::middleware::rate_limit::{self, RateLimiter};
use self::middleware::{auth, observe};
use self::response_body::throttle::DownloadLimiter;
pub use self::starting::{Gate, name_of};
use self::uploads::UploadSlots;

use crate::AppState;
use crate::auth::METADATA_PATH;
use crate::error::{self, error_response};
use crate::host::Origin;
use crate::web::{self, WebRoutes};

/// Time for which a browser need not ask again whether a page may call this server.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_mins(10);

/// State of the routes.
#[derive(Clone)]
pub(crate) struct HttpState {
    pub(crate) app: AppState,
    pub(crate) began: Instant,
    readiness: Arc<SharedProbe<(Probe, Probe)>>,
    health: Arc<SharedProbe<Health>>,
    downloads: DownloadLimiter,
    uploads: UploadSlots,
}

impl FromRequestParts<HttpState> for CallerKey {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Infallible> {
        Ok(state.app.proxies.caller(&parts.extensions, &parts.headers))
    }
}

/// All routes. `stop` ends requests that still run when the drain timeout is over.
pub fn router(app: AppState, hosts: AllowedHosts, stop: CancellationToken) -> Router {
    let state = HttpState {
        app: app.clone(),
        began: Instant::now(),
        readiness: Arc::default(),
        health: Arc::default(),
        downloads: DownloadLimiter::new(&app.limits),
        uploads: UploadSlots::new(app.limits.uploads_at_once),
    };
    let (probes, origins) = (hosts.for_probes(), hosts.origins().to_vec());

    let changes = Router::new()
        .route("/books/{book}/changes", get(changes::serve))
        .with_state(ChangesState::new(&app, stop.clone()));
    let web = if app.web { web::routes(&state) } else { WebRoutes::default() };
    let called = crate::mcp::router(app.clone(), stop).merge(changes).merge(web.pages);
    let called = limited_to_callers(called, web.sign_in, &app);
    let guarded = called.layer(from_fn_with_state(Arc::new(hosts), allowed_hosts::admit));
    let guarded =
        if app.web { guarded.layer(from_fn_with_state(app.clone(), web::as_page)) } else { guarded };
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
        .merge(web.assets)
        .merge(resource_metadata(&app))
        .layer(from_fn_with_state(Arc::new(probes), allowed_hosts::admit));

    let routes = Router::new()
        .merge(guarded)
        .merge(open)
        .fallback(nowhere)
        .layer(CatchPanicLayer::custom(|_| error::panicked_response()));
    cross_origin(routes, &origins)
        .layer(from_fn_with_state(app, observe::observe))
        .layer(unless_set(header::REFERRER_POLICY, "no-referrer"))
        .layer(unless_set(header::CACHE_CONTROL, "no-store"))
        .layer(nosniff())
}

/// The routes behind authentication and the limits of each caller.
///
/// 1. The caller is identified, if this server authenticates.
/// 2. Its rate is limited, if there is such a limit; one that is not identified counts by its address.
/// 3. One that is not identified is refused, unless it is about to sign in.
/// 4. Its running calls, and the memory that they hold, are limited.
fn limited_to_callers(mut routes: Router, sign_in: Router, app: &AppState) -> Router {
    let share = from_fn_with_state(CallerShares::new(app), caller_share::share);
    routes = routes.layer(share.clone());
    if let Some(auth) = &app.auth {
        routes = routes.layer(from_fn_with_state(auth.clone(), auth::require));
    }
    routes = routes.merge(sign_in.layer(share));
    if let Some(limiter) = RateLimiter::new(app.limits.rate, app.shared_rates.clone(), app.proxies.clone()) {
        routes = routes.layer(from_fn_with_state(limiter, rate_limit::limit_rate));
    }
    if let Some(auth) = &app.auth {
        routes = routes.layer(from_fn_with_state(auth.clone(), auth::identify));
    }
    routes
}

/// Metadata by which clients find the authorization server (RFC 9728); nothing while nobody has to
/// authenticate.
fn resource_metadata(app: &AppState) -> Router {
    let Some(auth) = app.auth.clone() else { return Router::new() };
    let paths =
        BTreeSet::from(["", "/mcp", auth.resource_path()].map(|path| format!("{METADATA_PATH}{path}")));
    let answer = get(async move || match auth.metadata() {
        Some(metadata) => Json(metadata).into_response(),
        None => nowhere().await,
    });
    paths.iter().fold(Router::new(), |routes, path| routes.route(path, answer.clone()))
}

/// The routes for web pages of the allowed origins, preflight requests included; without origins, for none.
fn cross_origin(routes: Router, origins: &[Origin]) -> Router {
    const HEADERS: [&str; 7] = [
        "x-api-key",
        "x-agent-id",
        "mcp-protocol-version",
        "mcp-method",
        "mcp-name",
        "range",
        "last-event-id",
    ];
    if origins.is_empty() {
        return routes;
    }
    let named = HEADERS.map(HeaderName::from_static);
    let headers = [header::AUTHORIZATION, header::CONTENT_TYPE].into_iter().chain(named);
    let cors = CorsLayer::new()
        .allow_origin(origins.iter().map(|origin| origin.header().clone()).collect::<Vec<_>>())
        .allow_methods([Method::GET, Method::POST, Method::PUT])
        .allow_headers(headers.collect::<Vec<_>>())
        .expose_headers([header::WWW_AUTHENTICATE, header::RETRY_AFTER, header::ETAG, header::CONTENT_RANGE])
        .max_age(PREFLIGHT_MAX_AGE);
    routes.layer(cors)
}

/// Middleware that sets a header of answers that do not have it.
fn unless_set(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
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
