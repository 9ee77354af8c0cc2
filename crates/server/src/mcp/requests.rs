//! What arrives at `/mcp` before it is a message: the size limit, clients that ask for no media
//! type, and bodies that are no JSON-RPC. Every refusal is a JSON-RPC error, never bare text.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;
use serde::de::IgnoredAny;

use crate::wire;

/// Most bytes of a request.
pub(super) const MAX_BODY_BYTES: usize = 4 << 20;
/// A body beyond the limit is read on up to here and thrown away, so that a client which sends
/// first and listens later still gets the answer.
const MAX_DISCARDED_BYTES: usize = 32 << 20;

const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
const INTERNAL_ERROR: i32 = -32603;

/// Reads the body, repairs what may be missing, and puts refusals into the protocol's words.
pub(super) async fn admit(request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return in_protocol(next.run(request).await);
    }
    let (mut parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        return error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            INVALID_REQUEST,
            "Content-Type must be application/json",
        );
    }
    let body = match read(body, &parts.headers).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    if accepts_anything(&parts.headers) {
        // rmcp wants both types by name; which one it then sends, it decides by itself.
        let both = HeaderValue::from_static("application/json, text/event-stream");
        parts.headers.insert(ACCEPT, both);
    }
    let answer = next.run(Request::from_parts(parts, Body::from(body.clone()))).await;
    if answer.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        no_message(&body)
    } else {
        in_protocol(answer)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// Asks for no type, for any, or for JSON alone, as plain HTTP clients do.
fn accepts_anything(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().all(|value| {
        value.to_str().is_ok_and(|types| {
            types.split(',').all(|entry| {
                let essence = entry.split(';').next().unwrap_or_default().trim();
                matches!(essence, "*/*" | "application/*" | "application/json")
            })
        })
    })
}

async fn read(body: Body, headers: &HeaderMap) -> Result<Bytes, Response> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|bytes| bytes > MAX_DISCARDED_BYTES) {
        return Err(too_large());
    }
    let mut whole = Vec::with_capacity(declared.unwrap_or_default().min(MAX_BODY_BYTES));
    let (mut seen, mut chunks) = (0, body.into_data_stream());
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else {
            return Err(error(StatusCode::BAD_REQUEST, PARSE_ERROR, "The body broke off"));
        };
        seen += chunk.len();
        if seen > MAX_DISCARDED_BYTES {
            break;
        }
        if seen > MAX_BODY_BYTES {
            whole = Vec::new();
        } else {
            whole.extend_from_slice(&chunk);
        }
    }
    if seen > MAX_BODY_BYTES { Err(too_large()) } else { Ok(whole.into()) }
}

/// rmcp answers a body that is no message with 415 and its parser's words.
fn no_message(body: &[u8]) -> Response {
    let (code, message) = if std::str::from_utf8(body).is_err() {
        (PARSE_ERROR, "The body is not UTF-8".to_owned())
    } else if let Err(why) = serde_json::from_slice::<IgnoredAny>(body) {
        (PARSE_ERROR, format!("The body is not JSON: {why}"))
    } else {
        (INVALID_REQUEST, "The body is not one JSON-RPC 2.0 message; batches are not supported".to_owned())
    };
    error(StatusCode::BAD_REQUEST, code, &message)
}

/// Gives a refusal in bare text a JSON-RPC body; its status and headers stay.
fn in_protocol(answer: Response) -> Response {
    let status = answer.status();
    if status.as_u16() < 400 || is_json(answer.headers()) {
        return answer;
    }
    let message = match status {
        StatusCode::NOT_ACCEPTABLE => "Accept must allow application/json and text/event-stream",
        StatusCode::METHOD_NOT_ALLOWED => "Use POST: there are no sessions and no standing streams",
        _ => status.canonical_reason().unwrap_or("The request is refused"),
    };
    let (rpc_code, code) = if status.is_server_error() {
        (INTERNAL_ERROR, "INTERNAL")
    } else {
        (INVALID_REQUEST, "INVALID_ARGUMENT")
    };
    let mut repaired = respond(status, &wire::rpc_error(rpc_code, message, code));
    for (name, value) in answer.headers() {
        if name != CONTENT_TYPE && name != CONTENT_LENGTH {
            repaired.headers_mut().insert(name, value.clone());
        }
    }
    repaired
}

fn too_large() -> Response {
    let message = format!("The request has more than {MAX_BODY_BYTES} bytes");
    respond(StatusCode::PAYLOAD_TOO_LARGE, &wire::rpc_error(INVALID_REQUEST, &message, "TOO_LARGE"))
}

fn error(status: StatusCode, rpc_code: i32, message: &str) -> Response {
    respond(status, &wire::rpc_error(rpc_code, message, "INVALID_ARGUMENT"))
}

fn respond(status: StatusCode, body: &serde_json::Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
