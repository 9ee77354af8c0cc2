//! What every request passes: it is counted by its route, a panic becomes an answer, and no
//! browser is let guess what an answer is.

use std::panic::AssertUnwindSafe;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Json, Response};
use futures::FutureExt;
use serde_json::json;

use crate::AppState;

/// The label of requests to paths that are no route.
const NO_ROUTE: &str = "unmatched";

/// Lets a request through.
pub(crate) async fn observe(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let nested = is_mcp(request.uri().path());
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answer.unwrap_or_else(|_| bug());
    // A nested service hides its route behind a wildcard, or has none.
    let label = match &route {
        _ if nested => "/mcp",
        Some(route) => route.as_str(),
        None => NO_ROUTE,
    };
    app.metrics.http_answered(label, response.status().as_u16());
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn is_mcp(path: &str) -> bool {
    path.strip_prefix("/mcp").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What happened stands in the log, written by the panic itself.
fn bug() -> Response {
    let error = json!({
        "code": "INTERNAL",
        "message": "The server failed to answer.",
        "hint": "Try again; if it happens again, tell the operator the time.",
    });
    (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": error }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::is_mcp;

    #[test]
    fn only_mcp_is_counted_as_mcp() {
        assert!(is_mcp("/mcp") && is_mcp("/mcp/") && is_mcp("/mcp/x"));
        assert!(!is_mcp("/mcpx") && !is_mcp("/") && !is_mcp("/health"));
    }
}
