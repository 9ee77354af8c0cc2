//! Mapping of errors to answers: one exhaustive table from refusals and faults to codes, messages and
//! hints. No internals are exposed: a fault's detail goes only to the log.

mod hint;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use panaversity_model::change::PlannedChange;
use panaversity_model::conflict::ConflictDetails;
use panaversity_model::edit::NearLine;
use panaversity_model::fault::FaultKind;
use panaversity_model::merge::ConflictRegion;
use panaversity_model::{ContentHash, Error, ErrorCode, Fault, Refusal};
use panaversity_service::Call;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::mcp::message::INVALID_REQUEST;
use crate::signed_url::InvalidSignature;
use hint::hint;

/// Value of `Retry-After` while the server is busy.
pub(crate) const AGAIN_IN_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// Most regions of a conflict in an answer, and most characters of one side of a region.
const REGIONS_SHOWN: usize = 20;
const REGION_CHARS: usize = 2_000;

/// Correction of a refused argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// It is required, and was given.
    Correct,
    /// It is optional, and was given.
    LeaveOut,
    /// It was not given.
    Give,
    /// No argument has this name.
    Rename,
}

/// `{"error": {code, message, hint, ...}}`, the body of a failed call's answer.
pub(crate) fn error_body(error: &Error, call: &Call) -> Value {
    tool_error_body(error, call, |_| Remedy::Correct)
}

/// The same for a tool. `remedy` returns the correction for a refused argument.
pub(crate) fn tool_error_body(error: &Error, call: &Call, remedy: impl Fn(&str) -> Remedy) -> Value {
    let fields = match error {
        Error::Refused(refusal) => refused(refusal, call, remedy),
        Error::Broken(fault) => broken(fault, call),
    };
    json!({ "error": fields })
}

/// A JSON-RPC error for a request whose tool is not known yet; `id` is null if it is unknown.
pub(crate) fn rpc_error(id: &Value, rpc_code: i32, message: &str, code: ErrorCode) -> Value {
    rpc_answer(id, &json!({ "code": rpc_code, "message": message, "data": { "code": code.as_str() } }))
}

/// Answer to a request that middleware refuses before its message, and so its id, is read. `data` has the
/// code and the hint.
pub(crate) fn refused_request(status: StatusCode, message: &str, data: &Value) -> Response {
    let error = json!({ "code": INVALID_REQUEST, "message": message, "data": data });
    (status, Json(rpc_answer(&Value::Null, &error))).into_response()
}

/// The JSON-RPC message that answers the request of this id with an error.
pub(crate) fn rpc_answer(id: &Value, error: &impl Serialize) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}

fn refused(refusal: &Refusal, call: &Call, remedy: impl Fn(&str) -> Remedy) -> Map<String, Value> {
    let mut fields = fields(refusal.code(), &refusal.to_string(), hint(refusal, call, remedy));
    match refusal {
        Refusal::InvalidArgument { argument, .. } => put(&mut fields, "argument", argument.as_str()),
        Refusal::InvalidPath { why, .. } => put(&mut fields, "why", why.as_str()),
        Refusal::SchemaViolation { suggestion, .. } => {
            if let Some(path) = suggestion {
                put(&mut fields, "suggestion", path.as_str());
            }
        }
        Refusal::NotFound { suggestions, .. } => put(&mut fields, "suggestions", suggestions.clone()),
        Refusal::NotText { .. } => put(&mut fields, "argument", "path"),
        Refusal::SectionNotFound { suggestions, .. } => {
            put(&mut fields, "suggestions", suggestions.clone());
        }
        Refusal::SectionAmbiguous { slugs, .. } => {
            put(&mut fields, "argument", "section");
            put(&mut fields, "suggestions", slugs.clone());
        }
        Refusal::LinesBeyondEnd { total_lines } => {
            put(&mut fields, "argument", "lines");
            put(&mut fields, "total_lines", *total_lines);
        }
        Refusal::NoLinks | Refusal::Forbidden { scope: None } => {}
        Refusal::Forbidden { scope: Some(scope) } => put(&mut fields, "scope", scope.to_string()),
        Refusal::BookNotFound(book) => put(&mut fields, "book_id", book.as_str()),
        Refusal::Conflict { current, details, .. } => {
            put_hash(&mut fields, current.as_ref());
            if let Some(details) = details {
                put_details(&mut fields, details);
            }
        }
        Refusal::EditNotUnique { edit, count, lines, nearest } => {
            put(&mut fields, "edit", *edit);
            put(&mut fields, "count", *count);
            put(&mut fields, "lines", lines.clone());
            if !nearest.is_empty() {
                let near = |near: &NearLine| json!({ "line": near.line, "text": near.text });
                put(&mut fields, "nearest", nearest.iter().map(near).collect::<Vec<_>>());
            }
        }
        Refusal::ChangesRefused(changes) => {
            let changes: Vec<Value> = changes.iter().map(|change| planned(change, call)).collect();
            put(&mut fields, "changes", changes);
        }
        Refusal::BytesMissing(path) => put(&mut fields, "path", path.as_str()),
        Refusal::HashRequired { current } | Refusal::ManifestRequired { current } => {
            put_hash(&mut fields, Some(current));
        }
        Refusal::TooLarge { actual, limit, .. } | Refusal::TooManyFiles { actual, limit } => {
            put(&mut fields, "actual", *actual);
            put(&mut fields, "limit", *limit);
        }
        Refusal::UploadIncomplete { expected, arrived, .. } => {
            put(&mut fields, "expected_size", *expected);
            put(&mut fields, "arrived_size", *arrived);
        }
    }
    fields
}

/// One change of a refused set, with its own error if it was refused by itself.
fn planned(change: &PlannedChange, call: &Call) -> Value {
    let mut fields = Map::new();
    put(&mut fields, "path", change.path.as_str());
    put(&mut fields, "would_pass", change.result.is_ok());
    match &change.result {
        Ok(effect) => put(&mut fields, "mode", effect.as_str()),
        Err(refusal) => put(&mut fields, "error", refused(refusal, call, |_| Remedy::Correct)),
    }
    Value::Object(fields)
}

/// What happened to the file of a conflict, and the regions that could not be merged.
fn put_details(fields: &mut Map<String, Value>, details: &ConflictDetails) {
    if let Some(changed) = &details.changed {
        let mut by = json!({ "agent_id": changed.agent.as_str(), "at": changed.at.to_string() });
        if let Some(message) = &changed.message {
            by["message"] = message.as_str().into();
        }
        put(fields, "changed_by", by);
    }
    if let Some(diff) = &details.diff {
        put(fields, "diff", diff.as_str());
    }
    if !details.regions.is_empty() {
        let shown = details.regions.iter().take(REGIONS_SHOWN);
        put(fields, "regions", shown.map(marked).collect::<Vec<_>>());
        put(fields, "region_count", details.regions.len());
    }
}

/// A region of a conflict, marked as merge tools mark it, with the base between the two sides.
fn marked(region: &ConflictRegion) -> Value {
    let ended = |text: &str| {
        let shown: String = text.chars().take(REGION_CHARS).collect();
        let cut = if shown.len() < text.len() { "…" } else { "" };
        let end = if shown.is_empty() || (cut.is_empty() && shown.ends_with('\n')) { "" } else { "\n" };
        format!("{shown}{cut}{end}")
    };
    let (current, base, new) = (ended(&region.current), ended(&region.base), ended(&region.new));
    let text = format!("<<<<<<< current\n{current}||||||| base\n{base}=======\n{new}>>>>>>> yours\n");
    json!({ "first_line": region.first_line, "text": text })
}

fn broken(fault: &Fault, call: &Call) -> Map<String, Value> {
    let (message, hint) = match fault.kind {
        FaultKind::Storage => ("The storage does not answer", "Repeat the same call in a few seconds"),
        FaultKind::Database => ("The database does not answer", "Repeat the same call in a few seconds"),
        FaultKind::Schema => (
            "The database's schema does not fit this server",
            "Repeating the call does not help. Tell the operator: `panaversity-fs migrate current` shows what the database is at, `panaversity-fs migrate upgrade` brings it up to this version",
        ),
        FaultKind::Timeout => (
            "The call took too long",
            "Repeat the same call in a few seconds; if it takes too long again, ask for less: one book, one folder, one user",
        ),
        FaultKind::Corrupt if fault.path.is_some() && fault.path != call.path => (
            "The stored bytes of one of the files are damaged and are not served",
            "Read the other files one by one with read_content; write the one that `path` names again with write_content if you know what it held, else tell the operator the request_id",
        ),
        FaultKind::Corrupt => (
            "The stored bytes are damaged and are not served",
            "Write the file again with write_content if you know what it held; else tell the operator the request_id",
        ),
        FaultKind::Internal => ("Something went wrong inside the server", "Tell the operator the request_id"),
    };
    let unknown = "The change may have happened: repeat the same call; if it did, the answer is a success that changes nothing";
    let mut fields = fields(fault.kind.code(), message, if fault.outcome_unknown { unknown } else { hint });
    if fault.outcome_unknown {
        put(&mut fields, "outcome", "unknown");
    }
    if let Some(path) = &fault.path {
        put(&mut fields, "path", path.as_str());
    }
    put(&mut fields, "request_id", call.caller.request.to_string());
    fields
}

fn fields(code: ErrorCode, message: &str, hint: &str) -> Map<String, Value> {
    let named = [("code", code.as_str()), ("message", message), ("hint", hint)];
    named.into_iter().map(|(name, text)| (name.to_owned(), Value::from(text))).collect()
}

fn put(fields: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    fields.insert(name.to_owned(), value.into());
}

fn put_hash(fields: &mut Map<String, Value>, current: Option<&ContentHash>) {
    if let Some(hash) = current {
        put(fields, "current_hash", hash.to_string());
    }
}

/// Body of an error of a route that is no tool.
pub(crate) fn error_response(status: StatusCode, code: ErrorCode, message: &str, hint: &str) -> Response {
    let error = json!({ "code": code.as_str(), "message": message, "hint": hint });
    (status, Json(json!({ "error": error }))).into_response()
}

/// Answer to a request by a signed link that opens nothing. `forged` is the message if it was never
/// signed.
pub(crate) fn link_refused(invalid: InvalidSignature, forged: &str, hint: &str) -> Response {
    let message = match invalid {
        InvalidSignature::Forged => forged,
        InvalidSignature::Expired => "The link has expired.",
    };
    error_response(StatusCode::FORBIDDEN, ErrorCode::Forbidden, message, hint)
}

/// Answer to a failed call by a signed link to content. `hint` is the next step if the content is gone.
pub(crate) fn link_failed(call: &Call, error: &Error, status: StatusCode, hint: &str) -> Response {
    let mut body = error_body(error, call);
    if status == StatusCode::GONE {
        body["error"]["hint"] = hint.into();
    }
    (status, Json(body)).into_response()
}

/// HTTP status of a failed call by a signed link to content.
pub(crate) fn link_status(error: &Error) -> StatusCode {
    match error {
        Error::Refused(_) => StatusCode::GONE,
        Error::Broken(fault) => status_of(fault),
    }
}

/// Answer to a request whose handler panicked. The panic itself is in the log.
pub(crate) fn panicked_response() -> Response {
    let hint = "Try again; if it happens again, tell the operator the time.";
    error_response(
        StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::Internal,
        "The server failed to answer.",
        hint,
    )
}

/// Answer for a fault outside of a call.
pub(crate) fn broken_response(fault: &Fault) -> Response {
    let (message, hint) = match fault.kind {
        FaultKind::Corrupt => {
            ("The stored bytes are damaged and are not served.", "Tell the operator the time.")
        }
        FaultKind::Internal => ("The server failed to answer.", "Tell the operator the time."),
        FaultKind::Schema => (
            "The database's schema does not fit this server.",
            "Tell the operator: `panaversity-fs migrate current` shows what the database is at.",
        ),
        FaultKind::Storage | FaultKind::Database | FaultKind::Timeout => {
            ("The server can't answer now.", "Repeat the request in a few seconds.")
        }
    };
    let mut answer = error_response(status_of(fault), fault.kind.code(), message, hint);
    if answer.status() == StatusCode::SERVICE_UNAVAILABLE && fault.kind != FaultKind::Schema {
        answer.headers_mut().insert(header::RETRY_AFTER, AGAIN_IN_SECONDS);
    }
    answer
}

/// HTTP status of a fault.
pub(crate) fn status_of(fault: &Fault) -> StatusCode {
    match fault.kind {
        FaultKind::Storage | FaultKind::Database | FaultKind::Schema | FaultKind::Timeout => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        FaultKind::Corrupt | FaultKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
