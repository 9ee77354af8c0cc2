//! `GET /books/{book}/static/...`: base assets, served publicly. Invariant: a response has the current
//! content of the path in the journal's base, every byte of it checked.

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use panaversity_model::{BookId, BookPath, ErrorCode, Fault};
use percent_encoding::percent_decode_str;

use super::HttpState;
use super::file_response::respond;
use super::middleware::client_address::CallerKey;
use crate::error::{broken_response, error_response};

/// Cache policy: browsers and CDNs may use an asset this long without asking again.
const CACHE: &str = "public, max-age=60";

/// Serves an asset or a range of it, or for HEAD its headers.
pub(super) async fn serve(
    State(state): State<HttpState>,
    method: Method,
    uri: Uri,
    caller: CallerKey,
    headers: HeaderMap,
) -> Response {
    let Some((book, path)) = named(uri.path()) else { return nothing() };
    match state.app.service.open_asset(&book, &path).await {
        Ok(Some(asset)) => match respond(&state, asset, &method, &headers, &caller, CACHE).await {
            Ok(response) => response,
            Err(fault) => broken(&path, &fault),
        },
        Ok(None) => nothing(),
        Err(fault) => broken(&path, &fault),
    }
}

/// The book and path of the asset that a URL's path names.
fn named(path: &str) -> Option<(BookId, BookPath)> {
    file_named(path).filter(|(_, path)| path.is_asset())
}

/// The book and path that a URL's path names. Each segment is decoded by itself, so an encoded slash is
/// refused.
pub(super) fn file_named(path: &str) -> Option<(BookId, BookPath)> {
    let (book, rest) = path.strip_prefix("/books/")?.split_once('/')?;
    Some((BookId::parse(book).ok()?, BookPath::parse(&decoded(rest)?).ok()?))
}

/// A path as it is written in a URL; `None`: a segment is not UTF-8, or has a slash.
pub(crate) fn decoded(rest: &str) -> Option<String> {
    let mut plain = String::with_capacity(rest.len());
    for segment in rest.split('/') {
        let segment = percent_decode_str(segment).decode_utf8().ok()?;
        if segment.contains('/') {
            return None;
        }
        if !plain.is_empty() {
            plain.push('/');
        }
        plain.push_str(&segment);
    }
    Some(plain)
}

fn nothing() -> Response {
    let hint = "list_assets gives each asset's cdn_url.";
    error_response(StatusCode::NOT_FOUND, ErrorCode::NotFound, "There is no such asset.", hint)
        .into_response()
}

fn broken(path: &BookPath, fault: &Fault) -> Response {
    tracing::warn!(target: "panaversity_fs.http", path = path.as_str(), error = %fault, "an asset could not be served");
    broken_response(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_one_asset_or_none() {
        let of = |path| named(path).map(|(book, path)| format!("{book} {path}"));
        assert_eq!(
            of("/books/ai-python/static/img/a%20b%C3%A9.png").unwrap(),
            "ai-python static/img/a bé.png"
        );
        assert_eq!(of("/books/ai-python/static/CNAME").unwrap(), "ai-python static/CNAME");
        for bad in [
            "/books/ai-python/content/README.md",
            "/books/ai-python/static/",
            "/books/ai-python/static",
            "/books/ai-python/static/../content/README.md",
            "/books/ai-python/static/%2e%2e/content/README.md",
            "/books/ai-python/static%2Fimg/x.png",
            "/books/ai-python/static/img%2Fx.png",
            "/books/ai-python/static/img%5Cx.png",
            "/books/ai-python/static/img//x.png",
            "/books/ai-python/static/img/%2525.png",
            "/books/ai-python/static/img/%00.png",
            "/books/ai-python/static/img/%FF.png",
            "/books/ai-python/users/eve/static/img/x.png",
            "/books/ai-python/static/users/../../users/eve/x.png",
            "/books/../static/img/x.png",
            "/books/AI/static/img/x.png",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
