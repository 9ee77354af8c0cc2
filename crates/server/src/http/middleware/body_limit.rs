//! Middleware of `/mcp`: the size limit, clients that ask for no media type, and bodies that are no
//! message. Every refusal is a JSON-RPC error, never bare text (`refusals`), under the id of the
//! request where the body tells it.
//!
//! A body may contain a whole asset in base64. So that many at once do not fill the memory, a large
//! one is read under a permit of the memory budget, and kept no longer than it takes to parse it. All
//! bodies together, small ones too, have a budget that each takes from as its bytes arrive.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_LENGTH};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;
use serde_json::Value;
use tokio::time::Instant;

use super::auth::identify_again;
use super::caller_share::CallerShare;
use super::held_answer::with_memory;
use crate::AppState;
use crate::limits::ServerLimits;
use crate::mcp::envelope::Envelope;
use crate::mcp::message::{self, ParsedText};
use crate::mcp::refusals::{self, Question, is_json};
use crate::memory_budget::{BodiesFull, BodyBudget, BodyPermits, MemoryPermit, SMALL};

/// A body beyond the limit is read on up to here, or twice the limit, and thrown away, so that a
/// client which sends first and listens later still gets the answer.
const DISCARDED_BYTES: usize = 32 << 20;
/// Bodies up to this size are kept until they are answered: should one be no message, its answer
/// says why. Of a larger one the top level is read first, and kept.
const KEPT_BYTES: usize = 64 << 10;
/// How much of a body is kept to tell the request's id, should the body be too large or too slow.
const HEAD_BYTES: usize = 1 << 10;
/// What a body costs, in bytes of memory for one of its own: what was parsed stands beside it, and
/// the bytes of an asset beside their base64.
const COST_OF_A_BODY: u64 = 2;
/// A caller whose body takes longer is identified again: its key may have been revoked meanwhile.
const IDENTIFIED_FOR: Duration = Duration::from_millis(100);

/// Reads the body, repairs what may be missing, and puts refusals into the protocol's words.
pub(crate) async fn admit(State(app): State<AppState>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return refusals::in_protocol(next.run(request).await, &Question::default(), None).await;
    }
    let (mut parts, body) = request.into_parts();
    let began = Instant::now();
    // Removed, so that a subscription does not keep its caller's permit for a call.
    let share = parts.extensions.remove::<CallerShare>();
    let hold = MemoryPermit::new(app.budget.clone(), share.as_ref().map(|share| share.memory.clone()));
    let bodies =
        BodyBudget { all: app.bodies.clone(), share: share.as_ref().map(|share| share.bodies.clone()) };
    // Kept until the call has its answer.
    let mut arrived = BodyPermits::new(bodies);
    let body = match read(body, &parts.headers, &app.limits, &hold, &mut arrived).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    if let Some(auth) = &app.auth
        && began.elapsed() > IDENTIFIED_FOR
        && let Err(refusal) = identify_again(auth, &mut parts).await
    {
        return refusal;
    }
    if !is_json(&parts.headers) {
        return refusals::unsupported_media_type(&Question::of(body).id());
    }
    let body = match message::arrive(body) {
        ParsedText::Sound(body) => body,
        ParsedText::Unreadable(body, unreadable) => {
            unreadable.log();
            parts.extensions.insert(unreadable);
            body
        }
        ParsedText::Rejected(rejection) => return refusals::no_message(&rejection),
    };
    let question = if body.len() <= KEPT_BYTES {
        Question::of(body.clone())
    } else {
        match Envelope::read(&body) {
            (envelope, Ok(kind)) => Question::Read(Box::new(envelope), kind),
            (_, Err(_)) => return refusals::no_message(&message::reject(&body)),
        }
    };
    if accepts_json(&parts.headers) {
        // rmcp wants both types by name; which one it then sends, it decides by itself.
        let both = HeaderValue::from_static("application/json, text/event-stream");
        parts.headers.insert(ACCEPT, both);
    }
    parts.extensions.insert(hold.clone());
    let version = parts.headers.get(refusals::VERSION_HEADER).cloned();
    let answer = next.run(Request::from_parts(parts, Body::from(body))).await;
    let answer = refusals::in_protocol(answer, &question, version.as_ref()).await;
    with_memory(answer, &hold)
}

/// Whether the client takes JSON (RFC 9110, section 12.5.1): it names no type, or one of its entries
/// admits JSON and is not weighted with 0.
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    types.peek().is_none()
        || types.flat_map(|types| types.split(',')).any(|entry| {
            let (essence, parameters) = entry.split_once(';').unwrap_or((entry, ""));
            let essence = essence.trim().to_ascii_lowercase();
            let refused = parameters.split(';').filter_map(|parameter| parameter.split_once('=')).any(
                |(name, value)| {
                    name.trim() == "q" && value.trim().parse().is_ok_and(|weight: f32| weight == 0.0)
                },
            );
            matches!(essence.as_str(), "*/*" | "application/*" | "application/json") && !refused
        })
}

async fn read(
    body: Body,
    headers: &HeaderMap,
    limits: &ServerLimits,
    hold: &MemoryPermit,
    arrived: &mut BodyPermits,
) -> Result<Bytes, Response> {
    let most = limits.request_bytes;
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let discarded = DISCARDED_BYTES.max(2 * most);
    if declared.is_some_and(|bytes| bytes > discarded) {
        return Err(refusals::too_large(&Value::Null, most));
    }
    let fits = |bytes: usize| bytes.max(declared.unwrap_or_default()) <= most;
    let room = declared.filter(|bytes| fits(*bytes)).unwrap_or_default();
    // A body of unknown length takes a permit once it has become large.
    let mut has_permit = declared.is_some();
    take(hold, room, limits).await?;
    let mut deadline = Instant::now() + limits.request_timeout;
    let (mut whole, mut no_room) = (Vec::with_capacity(room), None);
    let mut head = Vec::with_capacity(HEAD_BYTES.min(room));
    let (mut seen, mut chunks) = (0, body.into_data_stream());
    loop {
        let until = deadline.min(Instant::now() + limits.request_stall_timeout);
        let Ok(next) = tokio::time::timeout_at(until, chunks.next()).await else {
            return Err(refusals::too_slow(&id_in(&head)));
        };
        let Some(chunk) = next else { break };
        let Ok(chunk) = chunk else {
            return Err(refusals::broken_off(&id_in(&head)));
        };
        head.extend_from_slice(&chunk[..chunk.len().min(HEAD_BYTES - head.len())]);
        seen += chunk.len();
        if seen > discarded {
            break;
        }
        if !fits(seen) {
            whole = Vec::new();
            continue;
        }
        if no_room.is_none() {
            no_room = arrived.grow(seen).err();
        }
        if no_room.is_some() {
            // The rest is read away, so that the client gets the answer.
            whole = Vec::new();
            arrived.release();
            continue;
        }
        if !has_permit && seen as u64 > SMALL {
            has_permit = true;
            take(hold, most, limits).await?;
            deadline = Instant::now() + limits.request_timeout;
        }
        whole.extend_from_slice(&chunk);
    }
    if let Some(full) = no_room {
        return Err(refusals::too_many_bodies(&id_in(&head), full));
    }
    if fits(seen) { Ok(whole.into()) } else { Err(refusals::too_large(&id_in(&head), most)) }
}

/// Waits for memory for a body of so many bytes.
async fn take(hold: &MemoryPermit, bytes: usize, limits: &ServerLimits) -> Result<(), Response> {
    let taken = tokio::time::timeout(limits.call_timeout, hold.take(bytes as u64 * COST_OF_A_BODY)).await;
    taken.map_err(|_| refusals::too_many_bodies(&Value::Null, BodiesFull::OfAll))
}

/// The id of the request whose body begins so.
fn id_in(head: &[u8]) -> Value {
    Envelope::read(head).0.answerable_id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_takes_json_in_any_way_gets_an_answer() {
        let accepts = |types: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in types {
                headers.append(ACCEPT, value.parse().unwrap());
            }
            accepts_json(&headers)
        };
        for types in [
            &[][..],
            &["*/*"],
            &["application/json"],
            &["application/*, text/event-stream;q=0.1"],
            &["text/event-stream", "Application/JSON; charset=utf-8;q=0.5"],
        ] {
            assert!(accepts(types), "{types:?}");
        }
        for types in [&["text/html"][..], &["text/event-stream"], &["application/json;q=0"], &["*/*; q=0.0"]]
        {
            assert!(!accepts(types), "{types:?}");
        }
    }
}
