//! `GET /books/{book}/content/...`: a version of a file below `content/`, by a signed link that expires.
//! Content is public only in a site built from it. Invariant: a link opens the version of the book, path
//! and layer that it was signed for, and nothing else; nothing is sent before the read is recorded.
//!
//! 1. The link is verified: it was signed for this path, version, layer and agent.
//! 2. The version is looked up; if it is gone: 410.
//! 3. The response starts with its first bytes; a GET is recorded as a read of the agent.

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use panaversity_model::audit::Operation;
use panaversity_model::permission::Principal;
use panaversity_model::publication::FileKey;
use panaversity_model::{AgentId, ContentHash, Error, Layer, Refusal};
use panaversity_service::Call;

use super::HttpState;
use super::assets::file_named;
use super::file_response::respond;
use super::middleware::client_address::CallerKey;
use crate::call::CallKind;
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
    caller: CallerKey,
    headers: HeaderMap,
) -> Response {
    let ContentLink { file, hash, agent } = match opened(&state, uri.path(), &query.unwrap_or_default()) {
        Ok(link) => link,
        Err(invalid) => return closed(invalid),
    };
    let use_case = async |call: &mut Call| {
        let access = call.linked(file.book.clone(), file.layer.clone());
        call.path = Some(file.path.clone());
        let version = call.open_version(&access, &file.path, hash).await?;
        let gone = || Refusal::not_found("That version of the file is not kept any more");
        Ok(respond(&state, version.ok_or_else(gone)?, &method, &headers, &caller, CACHE).await?)
    };
    let (app, principal) = (state.app.traced(&headers), Principal::unrestricted(agent));
    let ended = if method == Method::HEAD {
        app.run_unrecorded(CallKind::Content, principal, Operation::Read, use_case).await
    } else {
        app.run(CallKind::Content, principal, Operation::Read, use_case, |_| None).await
    };
    ended.result.unwrap_or_else(|error| refused(&ended.call, &error))
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

fn refused(call: &Call, error: &Error) -> Response {
    let hint = "Call get_asset again: it gives a link to what the file holds now.";
    error::link_failed(call, error, error::link_status(error), hint)
}

fn closed(invalid: InvalidSignature) -> Response {
    let hint = "Call get_asset with asset_type=content, or read_content: they give a new link.";
    error::link_refused(invalid, "The link is not one that a tool gave.", hint)
}
