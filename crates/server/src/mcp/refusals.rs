//! Refusals of the HTTP transport: each is a JSON-RPC error that names the problem and the supported
//! values, under the request's id if that can be found. rmcp's own refusals, many of which are plain
//! text, are replaced; their status and headers stay.

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use panaversity_model::ErrorCode;
use rmcp::ErrorData;
use serde_json::Value;

use super::envelope::Envelope;
use super::message::{self, INVALID_REQUEST, PARSE_ERROR, Rejection};
use super::methods;
use crate::error;
use crate::memory_budget::BodiesFull;

const INTERNAL_ERROR: i32 = -32603;
pub(crate) const VERSION_HEADER: &str = "mcp-protocol-version";
/// Largest answer that is searched for errors of rmcp's.
const MOST_ERROR_BYTES: u64 = 4 << 10;
/// Bytes with which an error in an answer begins.
const ERROR: &[u8] = b"\"error\":{\"code\":-32";

/// The request that is answered: its text, or its envelope and kind.
pub(crate) enum Question {
    Text(Bytes),
    Read(Box<Envelope>, &'static str),
}

impl Default for Question {
    fn default() -> Self {
        Self::Text(Bytes::new())
    }
}

impl Question {
    pub(crate) fn of(body: Bytes) -> Self {
        Self::Text(body)
    }

    pub(crate) fn id(&self) -> Value {
        match self {
            Self::Text(body) => Envelope::read(body).0.answerable_id(),
            Self::Read(envelope, _) => envelope.answerable_id(),
        }
    }

    fn rejection(&self) -> Rejection {
        match self {
            Self::Text(body) => message::reject(body),
            Self::Read(envelope, kind) => message::no_message(envelope, kind),
        }
    }
}

/// The answer, with a refusal of rmcp's replaced by a JSON-RPC error.
pub(crate) async fn in_protocol(
    answer: Response,
    question: &Question,
    version: Option<&HeaderValue>,
) -> Response {
    let status = answer.status();
    if is_json(answer.headers()) {
        return clarified(answer).await;
    }
    if status.as_u16() < 400 {
        return answer;
    }
    // rmcp answers a body that is no message with 415.
    if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        return no_message(&question.rejection());
    }
    let mut repaired = respond(status, &body_of(status, &question.id(), version));
    for (name, value) in answer.headers() {
        if name != CONTENT_TYPE && name != CONTENT_LENGTH {
            repaired.headers_mut().insert(name, value.clone());
        }
    }
    repaired
}

fn body_of(status: StatusCode, id: &Value, version: Option<&HeaderValue>) -> Value {
    let version = version.map(|version| String::from_utf8_lossy(version.as_bytes()));
    if status == StatusCode::BAD_REQUEST
        && let Some(version) = version.filter(|version| !methods::speaks(version))
    {
        return error::rpc_answer(id, &methods::unsupported_version(&version));
    }
    if status.is_server_error() {
        return error::rpc_error(id, INTERNAL_ERROR, "The server failed to answer", ErrorCode::Internal);
    }
    let message = match status {
        StatusCode::NOT_ACCEPTABLE => "Accept must allow application/json and text/event-stream",
        StatusCode::METHOD_NOT_ALLOWED => "Use POST: there are no sessions and no standing streams",
        _ => status.canonical_reason().unwrap_or("The request is refused"),
    };
    error::rpc_error(id, INVALID_REQUEST, message, ErrorCode::InvalidArgument)
}

/// The answer; an error that lacks the supported values is replaced.
async fn clarified(answer: Response) -> Response {
    if answer.body().size_hint().exact().is_none_or(|bytes| bytes > MOST_ERROR_BYTES) {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    // It is already in memory.
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        let failed = error::rpc_error(
            &Value::Null,
            INTERNAL_ERROR,
            "The server failed to answer",
            ErrorCode::Internal,
        );
        return respond(StatusCode::INTERNAL_SERVER_ERROR, &failed);
    };
    let bytes = match in_other_words(&bytes) {
        Some(text) => {
            parts.headers.remove(CONTENT_LENGTH);
            text.into()
        }
        None => bytes,
    };
    Response::from_parts(parts, Body::from(bytes))
}

fn in_other_words(answer: &[u8]) -> Option<String> {
    if !answer.windows(ERROR.len()).any(|window| window == ERROR) {
        return None;
    }
    let mut answer: Value = serde_json::from_slice(answer).ok()?;
    let mut error: ErrorData = serde_json::from_value(answer["error"].clone()).ok()?;
    if !methods::clarify(&mut error) {
        return None;
    }
    answer["error"] = serde_json::to_value(error).ok()?;
    Some(answer.to_string())
}

/// Answer to a body that is no message.
pub(crate) fn no_message(rejection: &Rejection) -> Response {
    rejection.log();
    respond(StatusCode::BAD_REQUEST, &rejection.body())
}

pub(crate) fn unsupported_media_type(id: &Value) -> Response {
    error(StatusCode::UNSUPPORTED_MEDIA_TYPE, id, INVALID_REQUEST, "Content-Type must be application/json")
}

pub(crate) fn broken_off(id: &Value) -> Response {
    error(StatusCode::BAD_REQUEST, id, PARSE_ERROR, "The body broke off")
}

pub(crate) fn too_large(id: &Value, most: usize) -> Response {
    let error = error::rpc_error(id, INVALID_REQUEST, &message::too_large(most), ErrorCode::TooLarge);
    respond(StatusCode::PAYLOAD_TOO_LARGE, &error)
}

pub(crate) fn too_slow(id: &Value) -> Response {
    let message = "The body took too long to arrive";
    respond(StatusCode::REQUEST_TIMEOUT, &error::rpc_error(id, INVALID_REQUEST, message, ErrorCode::Timeout))
}

pub(crate) fn too_many_bodies(id: &Value, full: BodiesFull) -> Response {
    let (status, code, message) = match full {
        BodiesFull::OfCaller => (
            StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::RateLimited,
            "The calls of this caller hold as many bytes as one caller may: let some end first",
        ),
        BodiesFull::OfAll => (
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Timeout,
            "The server holds as many bodies as it may: repeat the call in a few seconds",
        ),
    };
    let mut response = respond(status, &error::rpc_error(id, INVALID_REQUEST, message, code));
    response.headers_mut().insert(RETRY_AFTER, error::AGAIN_IN_SECONDS);
    response
}

pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn error(status: StatusCode, id: &Value, rpc_code: i32, message: &str) -> Response {
    respond(status, &error::rpc_error(id, rpc_code, message, ErrorCode::InvalidArgument))
}

fn respond(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
