//! Observation of requests: each is counted under its route and status. Answers of a server that is about
//! to stop close their connections, so that no client sends another request into the stop.

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::Next;
use axum::response::Response;

use crate::AppState;

/// Label of requests to paths that are no route.
const NO_ROUTE: &str = "unmatched";

/// Counts a request when it is answered.
pub(crate) async fn observe(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let nested = is_mcp(request.uri().path());
    let mut response = next.run(request).await;
    if app.draining.is_cancelled() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    // A nested service hides its route behind a wildcard, or has none.
    let label = match &route {
        _ if nested => "/mcp",
        Some(route) => route.as_str(),
        None => NO_ROUTE,
    };
    app.metrics.http_answered(label, response.status().as_u16());
    response
}

fn is_mcp(path: &str) -> bool {
    path.strip_prefix("/mcp").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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
