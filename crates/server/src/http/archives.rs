//! `GET /books/{book}/archive.zip`: downloads by the links of `get_book_archive`. Invariant: a link
//! yields the promised bytes, or none; nothing is sent before the download is recorded; no download
//! lasts longer than the operator allows, however slowly its client reads.
//!
//! 1. The link is verified: it was signed for this book, state, scope and layout.
//! 2. The archive is looked up; if it is gone: 410.
//! 3. Conditions and range are evaluated against its length and tag: a range, all, or nothing.
//! 4. The first bytes are read, so that damage at the start is an error and not a broken download; the
//!    download is recorded; the answer begins.
//! 5. Every end of it is counted; see [`transfer_record`](super::response_body::transfer_record).

use std::ops::Range;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::CONTENT_DISPOSITION;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use panaversity_model::audit::Operation;
use panaversity_model::fault::FaultKind;
use panaversity_model::permission::Principal;
use panaversity_model::{AgentId, BookId, ContentHash, Error, Layer, Refusal};
use panaversity_service::Call;
use panaversity_service::archive::ArchiveScope;

use super::HttpState;
use super::connection::ConnectionAbort;
use super::range_response::{RangeSource, sent};
use super::response_body::transfer_record::TransferRecord;
use crate::AppState;
use crate::call::CallKind;
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
    let app = &state.app.traced(&headers);
    let link = match opened(app, &book, &query.unwrap_or_default()) {
        Ok(link) => link,
        Err(invalid) => return closed(invalid),
    };
    let is_get = method == Method::GET;
    let abort = connection.map(|Extension(abort)| abort.0).unwrap_or_default();
    let use_case = async |call: &mut Call| {
        let access = call.linked(link.book.clone(), Layer::Base);
        let archive = call.open_archive(&access, link.manifest, link.scope, link.layout).await?;
        let gone =
            || Refusal::not_found("The archive can't be given any more: files of it are lost or purged");
        let archive = archive.ok_or_else(gone)?;
        let (length, hash) = (archive.bytes(), archive.hash());
        let source = RangeSource { length, hash, media_type: "application/zip", cache: "private" };
        let download = async |range: Range<u64>| {
            let bytes = range.end - range.start;
            let record = TransferRecord::new(app, call, link.scope, &archive, bytes, abort);
            record.begin(app.service.download(archive.clone(), range)).await
        };
        let response = source.respond(&method, &headers, download).await?;
        // Nothing is given away: the client has it, or gets nothing.
        call.recorded = response.body().is_none();
        Ok(response)
    };
    let principal = Principal::unrestricted(link.agent.clone());
    let ended = if is_get {
        app.run(CallKind::Archive, principal, Operation::Archive, use_case, |_| None).await
    } else {
        app.run_unrecorded(CallKind::Archive, principal, Operation::Archive, use_case).await
    };
    match ended.result {
        Ok(mut response) => {
            if response.status().is_success() {
                let value = HeaderValue::from_str(&format!("attachment; filename=\"{}.zip\"", link.book));
                // Book ids are ASCII.
                response.headers_mut().extend(value.ok().map(|value| (CONTENT_DISPOSITION, value)));
            }
            sent(response)
        }
        Err(error) => refused(&ended.call, &error),
    }
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

fn refused(call: &Call, error: &Error) -> Response {
    let status = match error {
        // The damage is marked now: this archive can never be completed.
        Error::Broken(fault) if fault.kind == FaultKind::Corrupt => StatusCode::GONE,
        error => error::link_status(error),
    };
    error::link_failed(call, error, status, "Call get_book_archive again: it gives a link to what there is.")
}

fn closed(invalid: InvalidSignature) -> Response {
    let hint = "Call get_book_archive again: it gives a new link.";
    error::link_refused(invalid, "The link is not one that get_book_archive gave.", hint)
}
