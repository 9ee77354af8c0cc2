//! Pages of refusals and faults: what happened, its code, the next step, and the id under which the log has
//! it. Invariant: they say what the JSON answers say and nothing more, so that no internals are shown.

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use maud::html;
use panaversity_model::{AgentId, Error, ErrorCode, Refusal};
use panaversity_service::Call;
use serde_json::{Value, json};

use super::layout::{self, WebPage};
use super::sign_in;
use crate::AppState;
use crate::auth::AuthError;
use crate::error::{error_body, status_of};

/// Most bytes of a JSON answer that is made a page of.
const MOST_BYTES: usize = 64 << 10;

/// The page of a failed call.
pub(super) fn respond(error: &Error, call: &Call, signed_in: Option<AgentId>) -> Response {
    let body = error_body(error, call);
    let page = page(&body["error"], &call.caller.request.to_string());
    layout::respond(status(error), &WebPage { signed_in, ..page })
}

/// The page of an error outside a call of the service.
pub(super) fn of(error: &Error) -> Response {
    let (message, hint) = match error {
        Error::Refused(refusal) => (refusal.to_string(), "Go back, and try again from there"),
        Error::Broken(_) => (
            "The server could not do this".to_owned(),
            "Try again in some seconds; the server's log says why",
        ),
    };
    let fields = json!({ "code": error.code().as_str(), "message": message, "hint": hint });
    layout::respond(status(error), &page(&fields, ""))
}

fn status(error: &Error) -> StatusCode {
    let refusal = match error {
        Error::Broken(fault) => return status_of(fault),
        Error::Refused(refusal) => refusal,
    };
    match refusal.code() {
        ErrorCode::NotFound | ErrorCode::BookNotFound | ErrorCode::InvalidPath => StatusCode::NOT_FOUND,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::Conflict | ErrorCode::HashRequired => StatusCode::CONFLICT,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        _ if matches!(refusal, Refusal::InvalidArgument { argument, .. } if argument == "book_id") => {
            StatusCode::NOT_FOUND
        }
        _ => StatusCode::BAD_REQUEST,
    }
}

/// A page of an error with these fields.
fn page(error: &Value, request: &str) -> WebPage {
    let text = |name: &str| error[name].as_str().unwrap_or_default();
    let code = text("code");
    let suggestions: Vec<&str> =
        error["suggestions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let main = html! {
        p.problem role="alert" dir="auto" { (text("message")) }
        p { (text("hint")) "." }
        @if !suggestions.is_empty() {
            p { "Near names:" }
            ul { @for near in suggestions { li { bdi { (near) } } } }
        }
        dl.facts {
            dt { "Code" } dd { code { (code) } }
            @if !request.is_empty() { dt { "Request" } dd { code { (request) } } }
        }
        p { a href="/" { "All books" } }
    };
    WebPage { main, ..WebPage::titled(title_of(code)) }
}

fn title_of(code: &str) -> &'static str {
    match code {
        "NOT_FOUND" | "BOOK_NOT_FOUND" | "INVALID_PATH" => "Not found",
        "FORBIDDEN" => "Not permitted",
        "UNAUTHENTICATED" => "Sign in",
        "RATE_LIMITED" => "Too many requests",
        "CONFLICT" | "HASH_REQUIRED" => "It has changed meanwhile",
        "INVALID_ARGUMENT" | "SCHEMA_VIOLATION" | "TOO_LARGE" => "That can't be done",
        _ => "Something went wrong",
    }
}

/// `GET` of a path that is no page.
pub(super) async fn nowhere() -> Response {
    let error = json!({
        "code": ErrorCode::NotFound.as_str(),
        "message": "There is no such page",
        "hint": "Start from the list of books",
    });
    layout::respond(StatusCode::NOT_FOUND, &page(&error, ""))
}

/// Makes pages of the JSON in which middleware refuses requests for pages.
pub(crate) async fn as_page(State(app): State<AppState>, request: Request, run: Next) -> Response {
    let is_page = super::is_page(request.uri().path());
    let next = request.uri().path_and_query().filter(|_| request.method() == Method::GET);
    let next = next.map_or("/", PathAndQuery::as_str).to_owned();
    let wants_json = accepts_only_json(request.headers());
    // A browser that follows a link of another site sends no strict cookie, but does when this page leads on.
    let is_linked = request.headers().get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    let go_on = is_linked.then(|| next.clone());
    let response = run.run(request).await;
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|value| value == "application/json");
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    if !is_page || wants_json || !is_json || !is_error {
        return response;
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, MOST_BYTES).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let error = &body["error"];
    // A JSON-RPC error has its code and hint in `data`.
    let mut fields = if error["data"].is_object() { error["data"].clone() } else { error.clone() };
    if fields["message"].is_null() && fields.is_object() {
        fields["message"] = error["message"].clone();
    }
    let page = match &app.auth {
        Some(auth) if parts.status == StatusCode::UNAUTHORIZED => {
            let message = fields["message"].as_str().unwrap_or_default();
            let main = html! {
                @if message != AuthError::Missing.message() { p.problem role="alert" { (message) } }
                (sign_in::ways(&next, auth.code_flow().is_some()))
            };
            WebPage { main, go_on, ..WebPage::titled("Sign in") }
        }
        _ => page(&fields, ""),
    };
    let mut answer = layout::respond(parts.status, &page);
    for (name, value) in &parts.headers {
        if name != CONTENT_TYPE && name != CONTENT_LENGTH {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

fn accepts_only_json(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).is_some_and(|accept| accept == "application/json")
}
