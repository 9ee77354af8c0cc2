//! Mapping of errors to answers: one exhaustive table from refusals and faults to codes, messages and
//! hints. No internals are exposed: a fault's detail goes only to the log.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use panaversity_model::audit::Operation;
use panaversity_model::fault::FaultKind;
use panaversity_model::{BookPath, ContentHash, Error, ErrorCode, Fault, Layer, Refusal};
use panaversity_service::Call;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::mcp::message::INVALID_REQUEST;
use crate::signed_url::InvalidSignature;

/// Value of `Retry-After` while the server is busy.
pub(crate) const AGAIN_IN_SECONDS: HeaderValue = HeaderValue::from_static("5");

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
        Refusal::Conflict { current, .. } => put_hash(&mut fields, current.as_ref()),
        Refusal::HashRequired { current } => put_hash(&mut fields, Some(current)),
        Refusal::TooLarge { actual, limit, .. } => {
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

fn argument_hint(argument: &str, remedy: Remedy) -> &'static str {
    match (argument, remedy) {
        ("user_id", Remedy::LeaveOut) => {
            "Leave user_id out to work on the book that everybody reads, or give the user's id, and repeat the call"
        }
        (_, Remedy::Correct) => "Correct this argument and repeat the call",
        (_, Remedy::LeaveOut) => "Correct it, or leave it out, and repeat the call",
        (_, Remedy::Give) => "Give this argument and repeat the call",
        (_, Remedy::Rename) => "Leave it out, or give it the name that the tool knows, and repeat the call",
    }
}

/// The next step, with the tool to call.
fn hint(refusal: &Refusal, call: &Call, remedy: impl Fn(&str) -> Remedy) -> &'static str {
    let overlay = matches!(call.layer, Layer::Overlay(_));
    match refusal {
        Refusal::InvalidArgument { argument, .. } => argument_hint(argument, remedy(argument)),
        Refusal::NotText { .. } => {
            "Call upload_asset: with asset_type=content and, as filename, the path without content/ to put the file beside pages (docusaurus books), or with asset_type=img, images, slides, videos or audio to put it below static/"
        }
        Refusal::SectionNotFound { .. } => {
            "Repeat read_content with one of the suggestions as section, or with outline=true in its place to see all sections"
        }
        Refusal::SectionAmbiguous { .. } => {
            "Repeat read_content with one of the suggestions as section; outline=true in its place shows the lines of each, which lines reads"
        }
        Refusal::LinesBeyondEnd { .. } => {
            "Repeat read_content with lines up to total_lines; without the last one, such as 120-, it reads to the end"
        }
        Refusal::NoLinks => {
            "Set PANAVERSITY_PUBLIC_URL to the address of a running `panaversity-fs serve` on the same database and storage; small files go inside the call: upload_asset with binary_data, get_asset with include_binary"
        }
        Refusal::Forbidden { scope: Some(_) } => {
            "Use a token or key with this scope, or ask the operator for one; other calls are not affected"
        }
        Refusal::Forbidden { scope: None } => {
            "Pass your own user_id; only overlay:any and admin reach the overlays of others, and a caller tied to a user changes no base"
        }
        Refusal::SchemaViolation { .. }
            if call.operation == Operation::Write && call.path.as_ref().is_some_and(BookPath::is_asset) =>
        {
            "Call upload_asset: asset_type is the folder below static/ (static itself for others), filename the rest of the path"
        }
        Refusal::InvalidPath { .. } => {
            "Use a path inside the book, such as content/01-Part/01-Chapter/01-lesson.md; list_books with include_structure=all shows the paths there are"
        }
        Refusal::SchemaViolation { suggestion: Some(_), .. } => {
            "Repeat the call with the suggested path, or with another that fits"
        }
        Refusal::SchemaViolation { suggestion: None, .. } => {
            "Choose a path that fits; list_books shows the book's schema and, with include_structure=all, its paths"
        }
        Refusal::NotFound { suggestions, .. } => match call.operation {
            Operation::Write if overlay => {
                "This user's overlay has no such file yet: repeat write_content without expected_hash to create it"
            }
            Operation::Write => {
                "Repeat write_content without expected_hash to create the file, or read_content to see what there is"
            }
            Operation::Upload => {
                "Call upload_asset again, without expected_hash if the asset is not there: it gives a new upload_id and upload_url"
            }
            Operation::Archive => {
                "Call get_book_archive without manifest_hash: it gives the book's state now"
            }
            _ if suggestions.is_empty() => {
                "list_books with include_structure=all shows the book's paths; read_content without hash gives the current version"
            }
            _ => "Try one of the suggestions, or call list_books with include_structure=all to see all paths",
        },
        Refusal::BookNotFound(_) => {
            "list_books shows the books there are; create_book, or the first write_content, makes a new one"
        }
        Refusal::Conflict { current: Some(_), .. } => match call.operation {
            Operation::Delete => {
                "Read the file again with read_content; if it should still go, repeat with expected_hash set to its file_hash_sha256"
            }
            Operation::Upload => {
                "get_asset shows what it holds now; if yours should replace that, call upload_asset again with expected_hash set to current_hash"
            }
            _ => {
                "Read the file again with read_content, work your change into what it holds now, and repeat with expected_hash set to its file_hash_sha256"
            }
        },
        Refusal::Conflict { current: None, .. } => match call.operation {
            Operation::Create => {
                "list_books shows the book's schema: keep it, or choose another book_id for the other schema"
            }
            _ => {
                "list_books with include_structure=all shows the paths there are: choose another path, or remove what is in the way with delete_content"
            }
        },
        Refusal::HashRequired { .. } if call.operation == Operation::Upload => {
            "If yours should replace it, call upload_asset again with expected_hash set to current_hash"
        }
        Refusal::HashRequired { .. } => {
            "Read the file with read_content, then repeat with expected_hash set to its file_hash_sha256"
        }
        Refusal::UploadIncomplete { .. } => {
            "PUT exactly the announced bytes to upload_url, then call complete_upload again; upload_asset gives a new URL if it has expired"
        }
        Refusal::TooLarge { what: "binary_data", .. } => {
            "Call upload_asset with file_size instead of binary_data, PUT the bytes to the upload_url it gives, then call complete_upload"
        }
        Refusal::TooLarge { .. } => match call.operation {
            Operation::Upload => {
                "Make the asset smaller, or ask the operator to raise PANAVERSITY_MAX_ASSET_SIZE_MB"
            }
            Operation::Read => {
                "Call get_asset without include_binary and GET the bytes from its cdn_url or download_url"
            }
            _ => {
                "Split it into several files below the limit and write each with write_content, or put it as a whole with upload_asset and asset_type=content"
            }
        },
    }
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
