//! Pages of refusals and faults: what happened, its code, the next step, and the id under which the log has
//! it. Invariant: they say what the JSON answers say and nothing more, so that no internals are shown.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use maud::html;
use panaversity_model::{Error, ErrorCode, Refusal};
use panaversity_service::Call;
use serde_json::Value;

use super::layout::{self, WebPage};
use crate::error::{error_body, status_of};

/// Most bytes of a JSON answer that is made a page of.
const MOST_BYTES: usize = 64 << 10;

/// The page of a failed call.
pub(super) fn respond(error: &Error, call: &Call) -> Response {
    let body = error_body(error, call);
    layout::respond(status(error), &page(&body["error"], &call.caller.request.to_string()))
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
        @if code == ErrorCode::Unauthenticated.as_str() {
            p {
                "This server asks callers for a key. Send it with each request, in the header "
                code { "Authorization: Bearer …" } " or " code { "x-api-key" }
                "; the operator makes one with " code { "panaversity-fs keys create" } "."
            }
        } @else {
            p { (text("hint")) "." }
        }
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
        "UNAUTHENTICATED" => "Who are you?",
        "RATE_LIMITED" => "Too many requests",
        "CONFLICT" | "HASH_REQUIRED" => "It has changed meanwhile",
        "INVALID_ARGUMENT" | "SCHEMA_VIOLATION" | "TOO_LARGE" => "That can't be done",
        _ => "Something went wrong",
    }
}

/// `GET` of a path that is no page.
pub(super) async fn nowhere() -> Response {
    let error = serde_json::json!({
        "code": ErrorCode::NotFound.as_str(),
        "message": "There is no such page",
        "hint": "Start from the list of books",
    });
    layout::respond(StatusCode::NOT_FOUND, &page(&error, ""))
}

/// Makes pages of the JSON in which middleware refuses requests for pages.
pub(crate) async fn as_page(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_page = path == "/" || path == "/ui" || path.starts_with("/ui/");
    let wants_json = accepts_only_json(request.headers());
    let response = next.run(request).await;
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
    let mut answer = layout::respond(parts.status, &page(&fields, ""));
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
