//! `GET /ui/books/{book}/files/{path}`: a file. A page is rendered, with its front matter as a table and its
//! outline; other text is shown as it is, and of what is no text what is known of it. `view=text` shows any
//! text as it is, `version` a former one. `GET /ui/books/{book}/bytes/{path}`: its bytes, for images and
//! downloads.

use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use maud::{Markup, html};
use panaversity_model::audit::Operation;
use panaversity_model::file::FileRecord;
use panaversity_model::path::Folder;
use panaversity_model::{BookPath, Error, Fault, Refusal, media};
use panaversity_service::read::{FileContent, FileRead, ReadFile, ReadPart};
use panaversity_service::{Call, ReadAccess};

use super::layout::WebPage;
use super::links::BookLinks;
use super::markdown::{self, PageSource};
use super::request::{PageRequest, may_write};
use super::{book, live, restore, shown, text, tree};
use crate::http::HttpState;
use crate::http::file_response::respond;
use crate::http::middleware::client_address::CallerKey;

/// Cache policy of bytes: they may change with each request.
const CACHE: &str = "private, no-cache";

pub(super) async fn page(request: PageRequest) -> Response {
    let request = &request;
    request
        .show("GET /ui/files", Operation::Read, async |call| {
            let (access, path) = read_access(request, call)?;
            let links = BookLinks::new(access.book(), access.layer());
            let version = request.query.hash("version")?;
            let read = ReadFile { version, ..ReadFile::whole(access.clone(), path.clone()) };
            let folder = Folder::holding(&path);
            let file = async { read_any(call, &read).await };
            let (way, file) = futures::try_join!(tree::read(call, &access, &folder), file)?;
            let current = match version {
                Some(_) => call.hash_of(&access, &path).await?,
                None => Some(file.record.hash),
            };
            let as_text = request.query.get("view") == Some("text") || !path.is_page();
            let from = request.query.number("from")?;
            let body = content(file.content, &links, &path, (as_text, from, version.is_some())).await?;
            let is_former = version.is_some() && current != Some(file.record.hash);
            let main = html! {
                @if version.is_none() { (live::notices(&links, Some(&file.record))) }
                (facts(&file.record, &links))
                @if is_former {
                    div.notice {
                        p {
                            "This is a former version. " a href=(links.file(&path)) { "Show the current one" }
                        }
                        @if may_write(call, access.book(), access.layer()) {
                            (restore::form(&request.app, call, &links, &path, file.record.hash, current))
                        }
                    }
                }
                @if file.base_change.is_some() {
                    p.notice { "The book below this overlay's file has changed since it was written." }
                }
                (body)
            };
            let crumbs = book::crumbs(&links, Some(&folder), true);
            let aside = tree::render(&way, &links, Some(&path));
            Ok(WebPage { crumbs, aside: Some(aside), main, ..WebPage::titled(path.name()) })
        })
        .await
}

/// Reads a file; of an asset only its row is read.
async fn read_any(call: &Call, read: &ReadFile) -> Result<FileRead, Error> {
    if read.path.is_asset() && read.version.is_none() {
        let record = call.get_asset(&read.access, &read.path).await?.record;
        return Ok(FileRead { record, content: FileContent::Binary, base_change: None });
    }
    call.read_file(&ReadFile { part: ReadPart::Whole, ..read.clone() }).await
}

/// The content of a file; as text from a line on, or rendered.
async fn content(
    content: FileContent,
    links: &BookLinks,
    path: &BookPath,
    (as_text, from, is_version): (bool, usize, bool),
) -> Result<Markup, Error> {
    let FileContent::Text(text) = content else { return Ok(binary(links, path, is_version)) };
    if !as_text {
        let source = PageSource { links: links.clone(), path: path.clone(), text };
        return Ok(off_thread(move || markdown::page(&source)).await?);
    }
    let window = text::window(&text, from);
    let url = |from| links.text(path, None, from);
    Ok(html! {
        @if path.is_page() && !is_version { p { a href=(links.file(path)) { "Show it rendered" } } }
        (text::render(&window, url))
    })
}

fn binary(links: &BookLinks, path: &BookPath, is_version: bool) -> Markup {
    let media_type = media::type_of(path);
    html! {
        @if is_version {
            p { "This version is no text." }
        } @else {
            p { "This is no text, but " code { (media_type) } "." }
            @if media_type.starts_with("image/") {
                p { img.shown src=(links.bytes(path)) alt=(path.name()); }
            }
            p { a.button href=(links.bytes(path)) download { "Download" } }
        }
    }
}

fn facts(record: &FileRecord, links: &BookLinks) -> Markup {
    let path = &record.path;
    html! {
        ul.actions {
            @if path.is_page() { li { a href=(links.text(path, None, 1)) { "Text" } } }
            li { a href=(links.history(path)) { "History" } }
            @if !path.is_asset() { li { a href=(links.blame(path, 1)) { "Who wrote it" } } }
            li { a href=(links.bytes(path)) download { "Download" } }
        }
        dl.facts {
            dt { "Changed" } dd { (shown::time(record.written_at)) }
            dt { "Size" } dd { (shown::size(record.size)) }
            dt { "SHA-256" } dd { (shown::hash(record.hash)) }
            @if links.user().is_some() { dt { "Layer" } dd { (record.layer.kind()) } }
        }
    }
}

/// The access to the file that a request names, and its path.
pub(super) fn read_access(request: &PageRequest, call: &mut Call) -> Result<(ReadAccess, BookPath), Refusal> {
    let access = call.may_read(request.book()?, request.query.layer()?)?;
    let path = request.file()?;
    call.path = Some(path.clone());
    Ok((access, path))
}

pub(super) async fn bytes(
    State(state): State<HttpState>,
    method: Method,
    caller: CallerKey,
    headers: HeaderMap,
    request: PageRequest,
) -> Response {
    let request = &request;
    request
        .answer("GET /ui/bytes", Operation::Read, async |call| {
            let (access, path) = read_access(request, call)?;
            let found = call.find_current(&access, &path).await?;
            Ok(respond(&state, found, &method, &headers, &caller, CACHE).await?)
        })
        .await
}

/// Runs what computes long on a blocking thread.
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|error| Fault::internal(format!("a page was not rendered: {error}")))
}
