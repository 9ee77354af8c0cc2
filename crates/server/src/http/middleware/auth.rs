//! Authentication of requests to `/mcp`, the feed and the pages, before their bodies are read.
//!
//! A request without a valid token gets 401 with the way to one (`WWW-Authenticate`, RFC 6750 and 9728).
//! A call that needs a scope which its token lacks is answered with 403 and that scope, so that a client
//! can ask for it; the body is still the call's answer. Tokens in the query are refused: they would be
//! in logs. The cookie of a browser's session counts for pages and the feed alone: what changes books is
//! `/mcp`, and the one form that does so is told from those of other sites.

use std::sync::{Arc, OnceLock};

use axum::extract::{Request, State};
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use panaversity_model::ErrorCode;
use panaversity_model::permission::{Principal, Scope};
use serde_json::json;

use crate::auth::{AuthError, Authenticator};
use crate::error::{self, AGAIN_IN_SECONDS};
use crate::http::discard::discard;
use crate::web;

/// Scope that a call of the request lacked.
#[derive(Clone, Default)]
pub(crate) struct MissingScope(Arc<OnceLock<Scope>>);

impl MissingScope {
    /// Records the scope; the first one counts.
    pub(crate) fn set(&self, scope: Scope) {
        let _ = self.0.set(scope);
    }
}

/// Identifies the caller of a request: adds its principal, or the reason why it has none. The request goes
/// on either way, so that refused ones count against the rate of their address.
pub(crate) async fn identify(
    State(authenticator): State<Authenticator>,
    mut request: Request,
    next: Next,
) -> Response {
    let authenticated = if authenticator.is_required() && has_token_in_query(request.uri()) {
        Err(AuthError::Malformed("it must be in a header, not in the query"))
    } else {
        authenticate(&authenticator, request.uri(), request.headers()).await
    };
    match authenticated {
        Ok(Some(principal)) => drop(request.extensions_mut().insert(principal)),
        Ok(None) => {}
        Err(error) => drop(request.extensions_mut().insert(error)),
    }
    next.run(request).await
}

/// Identifies the caller of a request again, when its body has arrived: its key may have been revoked, or its
/// session ended, meanwhile.
pub(crate) async fn identify_again(authenticator: &Authenticator, parts: &mut Parts) -> Result<(), Response> {
    let authenticated = authenticate(authenticator, &parts.uri, &parts.headers).await;
    if let Some(principal) = authenticated.map_err(|error| refused(authenticator, error))? {
        parts.extensions.insert(principal);
    }
    Ok(())
}

/// Authenticates a request by what its path takes.
async fn authenticate(
    authenticator: &Authenticator,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Option<Principal>, AuthError> {
    if takes_cookie(uri.path()) {
        authenticator.authenticate_browser(headers).await
    } else {
        authenticator.authenticate(headers).await
    }
}

/// Refuses a request whose caller is not identified.
pub(crate) async fn require(
    State(authenticator): State<Authenticator>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(error) = request.extensions().get::<AuthError>().copied() {
        discard(request.into_body()).await;
        return refused(&authenticator, error);
    }
    let missing = MissingScope::default();
    request.extensions_mut().insert(missing.clone());
    let mut response = next.run(request).await;
    if let Some(scope) = missing.0.get() {
        *response.status_mut() = StatusCode::FORBIDDEN;
        response.headers_mut().insert(WWW_AUTHENTICATE, authenticator.step_up(scope));
    }
    response
}

/// True for pages, and for the feed, which keeps them up to date.
fn takes_cookie(path: &str) -> bool {
    web::is_page(path) || (path.starts_with("/books/") && path.ends_with("/changes"))
}

fn has_token_in_query(uri: &Uri) -> bool {
    let names = uri.query().unwrap_or_default().split('&').map(|pair| pair.split('=').next().unwrap_or(""));
    names.into_iter().any(|name| {
        ["access_token", "token", "api_key", "x-api-key"].iter().any(|one| name.eq_ignore_ascii_case(one))
    })
}

fn refused(authenticator: &Authenticator, reason: AuthError) -> Response {
    let message = reason.message();
    tracing::info!(target: "panaversity_fs.auth", reason = message, "a request was not authenticated");
    let (status, code, hint) = match reason {
        AuthError::Missing | AuthError::Invalid(_) | AuthError::SignedOut => (
            StatusCode::UNAUTHORIZED,
            ErrorCode::Unauthenticated,
            "Get a token from the authorization server or the operator, and send it as Authorization: Bearer; the commands read it from PANAVERSITY_TOKEN",
        ),
        AuthError::Malformed(_) => (
            StatusCode::BAD_REQUEST,
            ErrorCode::Unauthenticated,
            "Send one token, in the header Authorization: Bearer, or x-api-key",
        ),
        AuthError::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Timeout,
            "The keys that tokens are checked with can't be read now: repeat the request in a few seconds",
        ),
    };
    let mut response =
        error::refused_request(status, &message, &json!({ "code": code.as_str(), "hint": hint }));
    response.headers_mut().insert(WWW_AUTHENTICATE, authenticator.challenge(reason));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, AGAIN_IN_SECONDS);
    }
    response
}
