//! `GET /books/{book}/content/...`: a version of a file below `content/`, by a signed link that expires.
//! Content is public only in a site built from it. Invariant: a link opens the version of the book, path
//! and layer that it was signed for, and nothing else; nothing is sent before the read is recorded.
//!
//! 1. The link is verified: it was signed for this path, version, layer and agent.
//! 2. The version is looked up; if it is gone: 410.
//! 3. The response starts with its first bytes; a GET is recorded as a read of the agent.

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use panaversity_model::audit::{Operation, Outcome};
use panaversity_model::publication::FileKey;
use panaversity_model::{AgentId, ContentHash, Error, Layer, Refusal};
use panaversity_service::Call;
use panaversity_service::audit::outcome_of;

use super::assets::file_named;
use super::file_response::respond;
use super::{HttpState, error_response, status_of};
use crate::error;
use crate::signed_url::{CONTENT_FIELDS, InvalidSignature, content_path};

/// Cache policy. The bytes under a link never change, but access is granted by the link alone.
const CACHE: &str = "private, max-age=60";

/// Parsed parameters of a link.
struct ContentLink {
    file: FileKey,
    hash: ContentHash,
    agent: AgentId,
}

/// Serves a version of a file or a range of it, or for HEAD its headers.
pub(super) async fn serve(
    State(state): State<HttpState>,
    method: Method,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let ContentLink { file, hash, agent } = match opened(&state, uri.path(), &query.unwrap_or_default()) {
        Ok(link) => link,
        Err(InvalidSignature::Forged) => return closed("The link is not one that a tool gave."),
        Err(InvalidSignature::Expired) => return closed("The link has expired."),
    };
    let mut call = state.app.service.begin(agent, Operation::Read);
    (call.book, call.path, call.layer) =
        (Some(file.book.clone()), Some(file.path.clone()), file.layer.clone());
    let answer = match state.app.service.open_version(&file, hash).await {
        Ok(Some(version)) => respond(&state, version, &method, &headers, CACHE).await.map_err(Error::from),
        Ok(None) => Err(Refusal::not_found("That version of the file is not kept any more").into()),
        Err(fault) => Err(fault.into()),
    };
    match recorded(&state, &call, &method, answer).await {
        Ok(response) => response,
        Err(error) => refused(&call, &error),
    }
}

fn opened(state: &HttpState, path: &str, query: &str) -> Result<ContentLink, InvalidSignature> {
    let (book, path) = file_named(path).ok_or(InvalidSignature::Forged)?;
    let [hash, user, agent] = state.app.links.open(&content_path(&book, &path), query, CONTENT_FIELDS)?;
    let read = || {
        let layer = Layer::from_stored(&user).ok()?;
        let (hash, agent) = (ContentHash::from_hex(&hash)?, AgentId::parse(&agent).ok()?);
        Some(ContentLink { file: FileKey { book, path, layer }, hash, agent })
    };
    read().ok_or(InvalidSignature::Forged)
}

/// Step 3: records the read; a read that can't be recorded is refused.
async fn recorded(
    state: &HttpState,
    call: &Call,
    method: &Method,
    answer: Result<Response, Error>,
) -> Result<Response, Error> {
    if *method == Method::HEAD {
        return answer;
    }
    let outcome = answer.as_ref().map_or_else(outcome_of, |_| Outcome::Success);
    match state.app.service.record(call, outcome).await {
        Err(fault) if answer.is_ok() => Err(fault.into()),
        Err(fault) => {
            tracing::warn!(target: "panaversity_fs.audit", request_id = %call.request, error = %fault,
                "a refused download could not be recorded");
            answer
        }
        Ok(()) => answer,
    }
}

fn refused(call: &Call, error: &Error) -> Response {
    tracing::warn!(
        target: "panaversity_fs.http",
        request_id = %call.request,
        agent_id = call.agent.as_str(),
        book_id = call.book.as_ref().map(panaversity_model::BookId::as_str),
        path = call.path.as_ref().map(panaversity_model::BookPath::as_str),
        error_code = error.code(),
        error = %error,
        "a file could not be given"
    );
    let status = match error {
        Error::Refused(_) => StatusCode::GONE,
        Error::Broken(fault) => status_of(fault),
    };
    let mut body = error::error_body(error, call);
    if status == StatusCode::GONE {
        body["error"]["hint"] = "Call get_asset again: it gives a link to what the file holds now.".into();
    }
    (status, Json(body)).into_response()
}

fn closed(message: &str) -> Response {
    let hint = "Call get_asset with asset_type=content, or read_content: they give a new link.";
    error_response(StatusCode::FORBIDDEN, "FORBIDDEN", message, hint)
}
