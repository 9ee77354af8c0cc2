//! `GET /books/{book}/archive.zip`: downloads by the links of `get_book_archive`. Invariant: a link
//! yields the promised bytes, or none; nothing is sent before the download is recorded; no download
//! lasts longer than the operator allows, however slowly its client reads.
//!
//! 1. The link is verified: it was signed for this book, state, scope and layout.
//! 2. The archive is looked up; if it is gone: 410.
//! 3. Conditions and range are evaluated against its length and tag: a range, all, or nothing.
//! 4. The first bytes are read, so that damage at the start is an error and not a broken download; the
//!    download is recorded; the answer begins.
//! 5. Every end of it is counted; see [`body::archive`](super::body::archive).

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use panaversity_model::audit::{Operation, Outcome};
use panaversity_model::fault::FaultKind;
use panaversity_model::{AgentId, BookId, ContentHash, Error, Fault, Refusal};
use panaversity_service::Call;
use panaversity_service::archive::{Archive, ArchiveScope};
use panaversity_service::audit::outcome_of;

use super::body::archive::{ArchiveBody, TransferRecord};
use super::conditional::Selection;
use super::connection::ConnectionAbort;
use super::{HttpState, error_response, status_of};
use crate::AppState;
use crate::error;
use crate::signed_url::{ARCHIVE_FIELDS, InvalidSignature, archive_path};

/// Parsed parameters of a link.
struct ArchiveLink {
    book: BookId,
    manifest: ContentHash,
    scope: ArchiveScope,
    layout: ContentHash,
    agent: AgentId,
}

/// Serves an archive or a range of it, or for HEAD its headers.
pub(super) async fn serve(
    State(state): State<HttpState>,
    method: Method,
    Path(book): Path<String>,
    RawQuery(query): RawQuery,
    connection: Option<Extension<ConnectionAbort>>,
    headers: HeaderMap,
) -> Response {
    let app = &state.app;
    let link = match opened(app, &book, &query.unwrap_or_default()) {
        Ok(link) => link,
        Err(InvalidSignature::Forged) => return closed("The link is not one that get_book_archive gave."),
        Err(InvalidSignature::Expired) => return closed("The link has expired."),
    };
    let mut call = app.service.begin(link.agent.clone(), Operation::Archive);
    call.book = Some(link.book.clone());
    let ArchiveLink { book, manifest, scope, layout, .. } = &link;
    let archive = match app.service.open_archive(book, *manifest, *scope, *layout).await {
        Ok(Some(archive)) => archive,
        Ok(None) => {
            let gone =
                Refusal::not_found("The archive can't be given any more: files of it are lost or let go");
            return refused(app, &call, gone.into()).await;
        }
        Err(fault) => return refused(app, &call, fault.into()).await,
    };
    let tag = format!("\"{}\"", archive.hash());
    let asked = Selection::of(&method, &headers, archive.bytes(), &tag);
    let body = match asked.bytes(archive.bytes()).filter(|_| method == Method::GET) {
        Some(range) => {
            let abort = connection.map(|Extension(abort)| abort.0);
            let (bytes, abort) = (range.end - range.start, abort.unwrap_or_default());
            let tally = TransferRecord::new(app, &call, *scope, &archive, bytes, abort);
            let sending = ArchiveBody::new(app.service.download(archive.clone(), range), tally);
            match begun(app, &call, sending).await {
                Ok(body) => body,
                Err(fault) => return refused(app, &call, fault.into()).await,
            }
        }
        None => Body::empty(),
    };
    answer(&link.book, &archive, &asked, &tag, body)
}

fn opened(app: &AppState, book: &str, query: &str) -> Result<ArchiveLink, InvalidSignature> {
    let book = BookId::parse(book).map_err(|_| InvalidSignature::Forged)?;
    let [manifest, scope, layout, agent] = app.links.open(&archive_path(&book), query, ARCHIVE_FIELDS)?;
    let read = || {
        let (manifest, layout) = (ContentHash::from_hex(&manifest)?, ContentHash::from_hex(&layout)?);
        Some(ArchiveLink {
            book,
            manifest,
            scope: ArchiveScope::parse(&scope)?,
            layout,
            agent: AgentId::parse(&agent).ok()?,
        })
    };
    read().ok_or(InvalidSignature::Forged)
}

/// Step 4: reads the first bytes and records the download.
async fn begun(app: &AppState, call: &Call, mut sending: ArchiveBody) -> Result<Body, Fault> {
    sending.begin().await?;
    if let Err(fault) = app.service.record(call, Outcome::Success).await {
        sending.failed();
        return Err(fault);
    }
    Ok(sending.into_body())
}

fn answer(book: &BookId, archive: &Arc<Archive>, asked: &Selection, tag: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = asked.status();
    let mut put = |name, value: &str| {
        // Tags, lengths and book ids are ASCII.
        response.headers_mut().extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
    };
    put(ETAG, tag);
    put(ACCEPT_RANGES, "bytes");
    put(CACHE_CONTROL, "private");
    if let Some(range) = asked.bytes(archive.bytes()) {
        put(CONTENT_TYPE, "application/zip");
        put(CONTENT_LENGTH, &(range.end - range.start).to_string());
        put(CONTENT_DISPOSITION, &format!("attachment; filename=\"{book}.zip\""));
    }
    if let Some(unsent) = asked.unsent_length(archive.bytes()) {
        put(CONTENT_LENGTH, &unsent.to_string());
    }
    if let Some(range) = asked.content_range(archive.bytes()) {
        put(CONTENT_RANGE, &range);
    }
    response
}

/// Records and logs a refused download; returns the answer.
async fn refused(app: &AppState, call: &Call, error: Error) -> Response {
    if let Err(fault) = app.service.record(call, outcome_of(&error)).await {
        tracing::warn!(target: "panaversity_fs.audit", request_id = %call.request, error = %fault,
            "a refused download could not be recorded");
    }
    tracing::warn!(
        target: "panaversity_fs.http",
        request_id = %call.request,
        agent_id = call.agent.as_str(),
        book_id = call.book.as_ref().map(BookId::as_str),
        error_code = error.code(),
        error = %error,
        "an archive could not be given"
    );
    let status = match &error {
        Error::Refused(_) => StatusCode::GONE,
        Error::Broken(fault) => match fault.kind {
            // The damage is marked now: this archive can never be completed.
            FaultKind::Corrupt => StatusCode::GONE,
            _ => status_of(fault),
        },
    };
    let mut body = error::error_body(&error, call);
    if status == StatusCode::GONE {
        body["error"]["hint"] = "Call get_book_archive again: it gives a link to what there is.".into();
    }
    (status, Json(body)).into_response()
}

fn closed(message: &str) -> Response {
    let hint = "Call get_book_archive again: it gives a new link.";
    error_response(StatusCode::FORBIDDEN, "FORBIDDEN", message, hint)
}
