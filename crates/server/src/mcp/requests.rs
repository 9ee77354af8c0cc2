//! What arrives at `/mcp` before it is a message: the size limit, clients that ask for no media
//! type, and bodies that are no JSON-RPC. Every refusal is a JSON-RPC error, never bare text.
//!
//! A body may hold a whole asset in base64. So that many at once do not fill the memory, a large
//! one is read when its turn has come (`memory`), and kept no longer than it takes to parse it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use futures::{StreamExt, stream};
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::app::App;
use crate::http::Hangup;
use crate::memory::{Budget, Hold, SMALL, keeping};
use crate::wire;

/// Most bytes of a request, unless an asset in base64 needs more.
const USUAL_BYTES: u64 = 4 << 20;
/// A body beyond the limit is read on up to here, or twice the limit, and thrown away, so that a
/// client which sends first and listens later still gets the answer.
const DISCARDED_BYTES: usize = 32 << 20;
/// Bodies up to this size are kept until they are answered: should one be no message, its answer
/// says why. Of a larger one it is looked at first whether it is JSON.
const KEPT_BYTES: usize = 64 << 10;
/// What a body costs, in bytes of memory for one of its own: what was parsed stands beside it, and
/// the bytes of an asset beside their base64.
const COST_OF_A_BODY: u64 = 2;
/// What of a large answer is handed on at once.
const PIECE_BYTES: usize = 256 << 10;
/// How long a body that has a turn may let its next bytes wait.
const NEXT_BYTES: Duration = Duration::from_secs(15);
/// How long it may take in all; and the answer of one that has a turn.
const ALL_BYTES: Duration = Duration::from_mins(3);

const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
const INTERNAL_ERROR: i32 = -32603;

/// What bodies are held to.
#[derive(Clone)]
pub(super) struct Admission {
    pub(super) most: usize,
    budget: Budget,
}

impl Admission {
    /// Bodies that may hold an asset as large as may come inside a call, lines broken and all.
    pub(super) fn of(app: &App) -> Self {
        let largest = (app.service.limits().direct_bytes / 2 * 3 + (64 << 10)).max(USUAL_BYTES);
        Self { most: usize::try_from(largest).unwrap_or(usize::MAX), budget: app.budget.clone() }
    }
}

/// Reads the body, repairs what may be missing, and puts refusals into the protocol's words.
pub(super) async fn admit(State(admission): State<Admission>, request: Request, next: Next) -> Response {
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
    let hold = Hold::new(admission.budget.clone());
    let body = match read(body, &parts.headers, &admission, &hold).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let kept = if body.len() <= KEPT_BYTES {
        body.clone()
    } else if is_valid(&body) {
        Bytes::from_static(b"{}")
    } else {
        return no_message(&body);
    };
    if accepts_anything(&parts.headers) {
        // rmcp wants both types by name; which one it then sends, it decides by itself.
        let both = HeaderValue::from_static("application/json, text/event-stream");
        parts.headers.insert(ACCEPT, both);
    }
    parts.extensions.insert(hold.clone());
    let hangup = parts.extensions.get::<ConnectInfo<Hangup>>().map(|ConnectInfo(hangup)| hangup.clone());
    let answer = next.run(Request::from_parts(parts, Body::from(body))).await;
    if answer.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        no_message(&kept)
    } else {
        held_until_sent(in_protocol(answer), &hold, hangup)
    }
}

/// The call's turn is over when its answer has gone: it is handed on in pieces, each of which keeps
/// the turn, because what was taken may wait for a slow client. A client that takes too long for
/// all of it loses its connection, so that others get their turn.
fn held_until_sent(mut answer: Response, hold: &Hold, hangup: Option<Hangup>) -> Response {
    let Some(turn) = hold.given_on() else { return answer };
    if let Some(length) = answer.body().size_hint().exact() {
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    let (over, wait) = oneshot::channel::<()>();
    tokio::spawn(async move {
        if tokio::time::timeout(ALL_BYTES, wait).await.is_err()
            && let Some(Hangup(hangup)) = hangup
        {
            hangup.cancel();
        }
    });
    let kept = Arc::new((turn, over));
    answer.map(|body| {
        let frames = body.into_data_stream().flat_map(|frame| stream::iter(in_pieces(frame)));
        Body::from_stream(frames.map(move |piece| piece.map(|bytes| keeping(bytes, kept.clone()))))
    })
}

fn in_pieces(frame: Result<Bytes, axum::Error>) -> Vec<Result<Bytes, axum::Error>> {
    let mut rest = match frame {
        Ok(frame) => frame,
        Err(error) => return vec![Err(error)],
    };
    let mut pieces = Vec::with_capacity(rest.len().div_ceil(PIECE_BYTES));
    while !rest.is_empty() {
        pieces.push(Ok(rest.split_to(rest.len().min(PIECE_BYTES))));
    }
    pieces
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

async fn read(
    body: Body,
    headers: &HeaderMap,
    admission: &Admission,
    hold: &Hold,
) -> Result<Bytes, Response> {
    let most = admission.most;
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let discarded = DISCARDED_BYTES.max(2 * most);
    if declared.is_some_and(|bytes| bytes > discarded) {
        return Err(too_large(most));
    }
    let fits = |bytes: usize| bytes.max(declared.unwrap_or_default()) <= most;
    let room = declared.filter(|bytes| fits(*bytes)).unwrap_or_default();
    // Who does not say how much it is gets a turn when it has become much.
    let mut has_turn = declared.is_some();
    hold.take(room as u64 * COST_OF_A_BODY).await;
    let deadline = Instant::now() + ALL_BYTES;
    let mut whole = Vec::with_capacity(room);
    let (mut seen, mut chunks) = (0, body.into_data_stream());
    loop {
        let until = deadline.min(Instant::now() + NEXT_BYTES);
        let Ok(next) = tokio::time::timeout_at(until, chunks.next()).await else { return Err(too_slow()) };
        let Some(chunk) = next else { break };
        let Ok(chunk) = chunk else {
            return Err(error(StatusCode::BAD_REQUEST, PARSE_ERROR, "The body broke off"));
        };
        seen += chunk.len();
        if seen > discarded {
            break;
        }
        if !fits(seen) {
            whole = Vec::new();
            continue;
        }
        if !has_turn && seen as u64 > SMALL {
            has_turn = true;
            hold.take(most as u64 * COST_OF_A_BODY).await;
        }
        whole.extend_from_slice(&chunk);
    }
    if fits(seen) { Ok(whole.into()) } else { Err(too_large(most)) }
}

fn is_valid(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
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
    let mut repaired = respond(status, &wire::rpc_error(&Value::Null, rpc_code, message, code));
    for (name, value) in answer.headers() {
        if name != CONTENT_TYPE && name != CONTENT_LENGTH {
            repaired.headers_mut().insert(name, value.clone());
        }
    }
    repaired
}

fn too_large(most: usize) -> Response {
    let message = format!(
        "The request has more than {most} bytes: upload_asset takes file_size instead of binary_data"
    );
    respond(
        StatusCode::PAYLOAD_TOO_LARGE,
        &wire::rpc_error(&Value::Null, INVALID_REQUEST, &message, "TOO_LARGE"),
    )
}

fn too_slow() -> Response {
    let message = "The body took too long to arrive";
    respond(StatusCode::REQUEST_TIMEOUT, &wire::rpc_error(&Value::Null, INVALID_REQUEST, message, "TIMEOUT"))
}

fn error(status: StatusCode, rpc_code: i32, message: &str) -> Response {
    respond(status, &wire::rpc_error(&Value::Null, rpc_code, message, "INVALID_ARGUMENT"))
}

fn respond(status: StatusCode, body: &serde_json::Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_lasts_until_the_last_piece_of_the_answer_has_gone() {
        let budget = Budget::of(2 << 20);
        let hold = Hold::new(budget.clone());
        hold.take(2 << 20).await;
        let answer = held_until_sent(Response::new(Body::from(vec![7; 600 << 10])), &hold, None);
        let mut pieces: Vec<_> = answer.into_body().into_data_stream().collect().await;
        assert_eq!(pieces.len(), 3);
        let mut next = Box::pin(budget.turn(2 << 20));
        pieces.truncate(1);
        assert!(futures::poll!(&mut next).is_pending(), "a piece keeps all of the answer in memory");
        drop(pieces);
        assert!(next.await.is_some());
    }
}
