//! `PUT /uploads/{id}`: receives large uploads if the storage has no presigned URLs. Invariant: an
//! upload is stored only whole, by a link signed for it, with the signed size; it is never in memory as
//! a whole, and its next bytes have a timeout. A link can't fill a disk: each upload is
//! received once at a time, a bounded number concurrently, half of them of one caller, and none for longer
//! than its size allows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, BodyDataStream};
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CONTENT_LENGTH, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use futures::StreamExt;
use panaversity_model::audit::Operation;
use panaversity_model::fault::FaultKind;
use panaversity_model::ids::UploadId;
use panaversity_model::permission::Principal;
use panaversity_model::publication::time_to_put;
use panaversity_model::{AgentId, Error, ErrorCode, Fault, Refusal};
use panaversity_service::{Call, EndedCall};
use serde_json::json;
use tokio::time::Instant;

use super::HttpState;
use super::discard::discard_rest;
use super::middleware::client_address::CallerKey;
use crate::AppState;
use crate::call::{CallKind, claimed_agent};
use crate::error::{self, AGAIN_IN_SECONDS, error_response, status_of};
use crate::signed_url::{InvalidSignature, UPLOAD_FIELDS, upload_path};

/// The uploads that this server is receiving.
#[derive(Clone)]
pub(super) struct UploadSlots {
    at_once: usize,
    all: Arc<Mutex<HashMap<UploadId, CallerKey>>>,
}

/// Entry of one of them, removed when it is dropped.
struct UploadSlot {
    all: UploadSlots,
    id: UploadId,
}

/// Reason why an upload can't be received now.
#[derive(Debug, PartialEq, Eq)]
enum Busy {
    /// Another request is sending the same upload.
    Same,
    /// The caller sends half of the most concurrent uploads.
    Own,
    /// The limit of concurrent uploads is reached.
    Others,
}

impl UploadSlots {
    /// Slots for so many concurrent uploads.
    pub(super) fn new(at_once: usize) -> Self {
        Self { at_once, all: Arc::default() }
    }

    fn begin(&self, id: UploadId, caller: CallerKey) -> Result<UploadSlot, Busy> {
        let mut all = self.all();
        if all.contains_key(&id) {
            return Err(Busy::Same);
        }
        if all.values().filter(|other| **other == caller).count() >= self.at_once.div_ceil(2) {
            return Err(Busy::Own);
        }
        if all.len() >= self.at_once {
            return Err(Busy::Others);
        }
        all.insert(id, caller);
        Ok(UploadSlot { all: self.clone(), id })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<UploadId, CallerKey>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UploadSlot {
    fn drop(&mut self) {
        self.all.all().remove(&self.id);
    }
}

/// Receives an upload.
pub(super) async fn receive(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    caller: CallerKey,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let app = &state.app.traced(&headers);
    let mut frames = body.into_data_stream();
    let opened = app.links.open(&upload_path(&id), &query.unwrap_or_default(), UPLOAD_FIELDS);
    let opened =
        opened.and_then(|[size]| Ok((UploadId::from_stored(&id).ok_or(InvalidSignature::Forged)?, size)));
    let answer = match opened {
        Err(invalid) => closed(invalid),
        Ok((id, size)) => match state.uploads.begin(id, caller) {
            Err(busy) => turned_away(&busy),
            Ok(_arrival) => {
                let use_case =
                    async |call: &mut Call| attempt(call, id, &size, &headers, &mut frames, app).await;
                let size = |size: &u64| Some(*size);
                let principal = Principal::unrestricted(AgentId::unnamed());
                let ended = app.run(CallKind::Upload, principal, Operation::Upload, use_case, size).await;
                answer(id, &ended)
            }
        },
    };
    if !answer.status().is_success() {
        let (most, within) = (app.service.limits().asset_bytes, app.limits.upload_stall_timeout);
        discard_rest(frames, most, within).await;
    }
    answer
}

async fn attempt(
    call: &mut Call,
    id: UploadId,
    signed_size: &str,
    headers: &HeaderMap,
    frames: &mut BodyDataStream,
    app: &AppState,
) -> Result<u64, Error> {
    let upload = call.linked_upload(id).await?;
    let announced = &upload.announced;
    (call.book, call.path) = (Some(announced.book.clone()), Some(announced.path.clone()));
    // The link's holder acts as the agent that it was given to, unless `X-Agent-Id` names another and
    // nobody is authenticated.
    call.caller.principal.agent = announced.agent.clone();
    if !app.authenticates()
        && let Some(claimed) = claimed_agent(headers)?
    {
        call.caller.principal.agent = claimed;
    }
    call.require_open(&upload).await?;
    if announced.size.to_string() != signed_size {
        return Err(Refusal::not_found("The upload was announced with another size").into());
    }
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(declared) = declared.filter(|declared| *declared != announced.size) {
        let why = format!("The body has {declared} bytes; {} were announced", announced.size);
        return Err(
            Refusal::UploadIncomplete { why, expected: announced.size, arrived: Some(declared) }.into()
        );
    }
    let mut incoming = call.receive(&upload).await?;
    let deadline = Instant::now() + time_to_put(announced.size);
    loop {
        let late = |_| Fault::new(FaultKind::Timeout, "the next bytes of an upload did not come in time");
        let until = deadline.min(Instant::now() + app.limits.upload_stall_timeout);
        match tokio::time::timeout_at(until, frames.next()).await.map_err(late)? {
            Some(Ok(frame)) => incoming.write(&frame).await?,
            Some(Err(_)) => return Err(Refusal::argument("body", "it broke off").into()),
            None => break,
        }
    }
    incoming.finish().await?;
    Ok(announced.size)
}

fn answer(id: UploadId, ended: &EndedCall<u64>) -> Response {
    match &ended.result {
        Ok(size) => {
            let body = json!({ "status": "received", "upload_id": id.to_string(), "file_size": size,
                "hint": "Call complete_upload with this upload_id." });
            (StatusCode::OK, Json(body)).into_response()
        }
        Err(error) => (status(error), Json(error::error_body(error, &ended.call))).into_response(),
    }
}

fn status(error: &Error) -> StatusCode {
    match error {
        Error::Refused(Refusal::UploadIncomplete { expected, arrived, .. }) if *arrived > Some(*expected) => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        Error::Refused(Refusal::NotFound { .. }) => StatusCode::NOT_FOUND,
        Error::Refused(_) => StatusCode::BAD_REQUEST,
        Error::Broken(fault) => match fault.kind {
            FaultKind::Timeout => StatusCode::REQUEST_TIMEOUT,
            _ => status_of(fault),
        },
    }
}

fn turned_away(busy: &Busy) -> Response {
    let mut answer = match busy {
        Busy::Same => error_response(
            StatusCode::CONFLICT,
            ErrorCode::Conflict,
            "Another request is sending this upload now.",
            "Let it end, then call complete_upload; if it broke off, repeat the request in a few seconds.",
        ),
        Busy::Own => error_response(
            StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::RateLimited,
            "You send too many uploads at once.",
            "Let one of them end, then repeat the request.",
        ),
        Busy::Others => error_response(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Timeout,
            "Too many uploads arrive now.",
            "Repeat the request in a few seconds.",
        ),
    };
    answer.headers_mut().insert(RETRY_AFTER, AGAIN_IN_SECONDS);
    answer
}

fn closed(invalid: InvalidSignature) -> Response {
    let hint = "Call upload_asset again: it gives a new link.";
    error::link_refused(invalid, "The link is not one that upload_asset gave.", hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_arrives_once_at_a_time_and_few_do_at_all() {
        let (all, id) = (UploadSlots::new(32), |n| UploadId::new(uuid::Uuid::from_u128(n)));
        let address = |last: u8| CallerKey::Address(std::net::Ipv4Addr::new(10, 0, 0, last).into());
        let first = all.begin(id(0), address(1)).unwrap();
        assert_eq!(all.begin(id(0), address(2)).err(), Some(Busy::Same));
        let own: Vec<_> = (1..16).map(|n| all.begin(id(n), address(1)).unwrap()).collect();
        assert_eq!(all.begin(id(99), address(1)).err(), Some(Busy::Own), "half are for others");
        let others: Vec<_> = (16..32).map(|n| all.begin(id(n), address(2)).unwrap()).collect();
        assert_eq!(all.begin(id(99), address(3)).err(), Some(Busy::Others));
        drop(first);
        let again = all.begin(id(0), address(1)).unwrap();
        assert_eq!(all.begin(id(1), address(3)).err(), Some(Busy::Same));
        drop((own, others, again));
        assert!(all.begin(id(1), address(1)).is_ok());
    }
}
