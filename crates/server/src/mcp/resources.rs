//! The files below `content/` as MCP resources: `book://{book_id}/{+path}`. Keeps R5: resources belong
//! to the base, so no overlay is visible in a list, a completion or a page.
//!
//! A path never contains `%`, so a URI may be escaped or not and names the same page.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use panaversity_model::audit::Operation;
use panaversity_model::path::Prefix;
use panaversity_model::permission::Principal;
use panaversity_model::{BookId, BookPath, Error, Layer, Refusal, media};
use panaversity_service::Call;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use rmcp::ErrorData;
use rmcp::model::{CompletionInfo, Resource, ResourceContents, ResourceTemplate};
use serde_json::json;

use crate::AppState;
use crate::call::CallKind;
use crate::mcp::cursor::{cursor, position};
use crate::mcp::dispatch::{self, ResourceContent};
use crate::mcp::search::SearchCursor;

/// URI template of a page.
pub(super) const TEMPLATE: &str = "book://{book_id}/{+path}";
const SCHEME: &str = "book://";
/// Characters that would end a path in a URI, or are not allowed in one.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

pub(super) fn template() -> ResourceTemplate {
    ResourceTemplate::new(TEMPLATE, "page")
        .with_title("A page of a book, or a file beside it")
        .with_description(
            "A page or a file beside pages below content/, as it is now, without overlays; what is no text is a blob",
        )
}

/// A page of the list of all pages of all books, and the cursor of the next.
pub(super) async fn list(
    app: &AppState,
    principal: Principal,
    after: Option<&str>,
) -> Result<(Vec<Resource>, Option<String>), ErrorData> {
    let after = after
        .map(|raw| position::<SearchCursor>(raw)?.place())
        .transpose()
        .map_err(|refusal| refused(&refusal))?;
    let kind = CallKind::Names("resources/list");
    let ended = app.run_unrecorded(kind, principal, Operation::Search, async |call: &mut Call| {
        let access = call.may_search(None, Layer::Base)?;
        call.glob_search(&access, &Prefix::content(), after, |_| true).await
    });
    let ended = ended.await;
    let page = ended.result.map_err(unavailable)?;
    let resources = page.matches.iter().map(|(book, path)| {
        Resource::new(address(book, path), path.as_str()).with_mime_type(mime_type(path))
    });
    let next =
        page.next.as_ref().and_then(|next| cursor(&SearchCursor::from(next)).as_str().map(str::to_owned));
    Ok((resources.collect(), next))
}

/// Reads a page; a URI that names no page is not found.
pub(super) async fn read(
    app: &AppState,
    principal: Result<Principal, Refusal>,
    uri: &str,
) -> Result<ResourceContents, ErrorData> {
    let file = dispatch::read_resource(app, principal, place_of(uri)).await;
    file.map(|file| contents(uri, file)).map_err(|(error, mut fields)| {
        let message = error.to_string();
        match error {
            Error::Refused(Refusal::InvalidArgument { argument, .. }) if argument != "uri" => {
                ErrorData::invalid_params(message, Some(fields))
            }
            Error::Refused(_) => {
                fields["uri"] = uri.into();
                ErrorData::resource_not_found(message, Some(fields))
            }
            Error::Broken(_) => {
                let shown = fields["message"].as_str().unwrap_or_default().to_owned();
                ErrorData::internal_error(shown, Some(fields))
            }
        }
    })
}

fn contents(uri: &str, file: dispatch::Resource) -> ResourceContents {
    let mime = mime_type(&file.record.path);
    match file.content {
        ResourceContent::Text(text) => ResourceContents::text(text, uri).with_mime_type(mime),
        ResourceContent::Blob(bytes) => {
            ResourceContents::blob(BASE64_STANDARD.encode(bytes), uri).with_mime_type(mime)
        }
    }
}

fn address(book: &BookId, path: &BookPath) -> String {
    format!("{SCHEME}{}/{}", book.as_str(), utf8_percent_encode(path.as_str(), ESCAPED))
}

pub(super) fn place_of(uri: &str) -> Result<(BookId, BookPath), Refusal> {
    let place = uri.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/'));
    let wrong = || Refusal::argument("uri", format!("a page's address reads {TEMPLATE}"));
    let (book, path) = place.ok_or_else(wrong)?;
    let path = percent_decode_str(path).decode_utf8().map_err(|_| wrong())?;
    let (book, path) = (BookId::parse(book).map_err(|_| wrong())?, BookPath::parse(&path)?);
    if path.is_asset() {
        return Err(Refusal::not_found("Assets are no resources: only files below content/ are"));
    }
    Ok((book, path))
}

/// The media type without parameters: resources are UTF-8 wherever they are text.
fn mime_type(path: &BookPath) -> &'static str {
    media::type_of(path).split(';').next().unwrap_or_default()
}

/// Possible values of the argument `name` that start with `typed`: books, or the pages of the book that
/// is already chosen.
pub(super) async fn complete(
    app: &AppState,
    principal: Principal,
    name: &str,
    typed: &str,
    book: Option<&str>,
) -> Result<CompletionInfo, ErrorData> {
    let most = CompletionInfo::MAX_VALUES;
    let kind = CallKind::Names("completion/complete");
    let ended = app.run_unrecorded(kind, principal, Operation::Search, async |call: &mut Call| {
        Ok(match (name, book.map(BookId::parse)) {
            ("book_id", _) => {
                let access = call.may_search(None, Layer::Base)?;
                let books = call.books_named(&access, typed, most + 1).await?;
                books.into_iter().map(|book| book.as_str().to_owned()).collect()
            }
            ("path", Some(Ok(book))) => pages(call, book, typed).await?,
            _ => Vec::new(),
        })
    });
    let ended = ended.await;
    let mut values: Vec<String> = ended.result.map_err(unavailable)?;
    let more = values.len() > most;
    values.truncate(most);
    CompletionInfo::with_pagination(values, None, more).map_err(|why| ErrorData::internal_error(why, None))
}

async fn pages(call: &mut Call, book: BookId, typed: &str) -> Result<Vec<String>, Error> {
    let is_page = |path: &str| path.starts_with("content/");
    let Some(prefix) = Prefix::parse(typed) else { return Ok(Vec::new()) };
    let Ok(access) = call.may_search(Some(book), Layer::Base) else { return Ok(Vec::new()) };
    match call.glob_search(&access, &prefix, None, is_page).await {
        Ok(page) => Ok(page.matches.into_iter().map(|(_, path)| path.as_str().to_owned()).collect()),
        Err(Error::Refused(_)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn refused(refusal: &Refusal) -> ErrorData {
    ErrorData::invalid_params(refusal.to_string(), Some(json!({ "code": refusal.code().as_str() })))
}

/// Error for a list or completion.
fn unavailable(error: Error) -> ErrorData {
    match error {
        Error::Refused(refusal) => refused(&refusal),
        Error::Broken(fault) => ErrorData::internal_error(
            "The list could not be read: repeat in a few seconds",
            Some(json!({ "code": fault.kind.code().as_str() })),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_page_has_no_place() {
        for uri in [
            "",
            "book://",
            "book://ai-python",
            "book://ai-python/",
            "book://x/content/a.md",
            "file:///etc/passwd",
            "book://ai-python/../x",
            "book://ai-python/content/%2e%2e/x",
            "book://ai-python/content/%ff.md",
            "book://ai-python/users/eve/content/a.md",
            "book://ai-python/static/img/a.png",
            "BOOK://ai-python/content/a.md",
        ] {
            assert!(place_of(uri).is_err(), "{uri}");
        }
        let (book, path) = place_of("book://ai-python/content/a b#?.md").unwrap();
        assert_eq!((book.as_str(), path.as_str()), ("ai-python", "content/a b#?.md"));
    }

    proptest! {
        #[test]
        fn an_address_leads_back_to_its_page(name in "[a-z #?&+\\[\\]{}äß你😀'\"-]{1,20}") {
            let path = BookPath::parse(&format!("content/{name}.md"));
            prop_assume!(path.is_ok());
            let (book, path) = (BookId::parse("ai-python").unwrap(), path.unwrap());
            let uri = address(&book, &path);
            prop_assert!(uri.is_ascii() && !uri.contains(['#', '?', ' ']), "{uri}");
            prop_assert_eq!(place_of(&uri).unwrap(), (book, path));
        }
    }
}
