//! `GET /books/{book}/static/...`: published base assets, for everybody. Invariant: what leaves is
//! what the journal's base holds at that path, every byte of it checked; no browser runs it as a
//! page of this server.
//!
//! An asset may be anything an agent has uploaded. As part of a page of somebody else's it works;
//! opened by itself, an SVG has no scripts and no origin (`sandbox`), and what is a page is saved
//! instead of shown. What can run nothing has no such policy: browsers would not show all of it.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use panaversity_model::{BookId, BookPath, Fault, media};
use panaversity_service::assets::OpenAsset;
use percent_encoding::percent_decode_str;

use super::ranges::Asked;
use super::{Door, error};

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Serves an asset, a range of it, or what it would be.
pub(super) async fn serve(
    State(door): State<Door>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some((book, path)) = named(uri.path()) else { return nothing() };
    match door.app.service.open_asset(&book, &path).await {
        Ok(Some(asset)) => match answer(&door, asset, &method, &headers).await {
            Ok(response) => response,
            Err(fault) => broken(&path, &fault),
        },
        Ok(None) => nothing(),
        Err(fault) => broken(&path, &fault),
    }
}

/// The book and path that a URL's path names. Each segment is decoded by itself, so that an
/// encoded slash is none.
fn named(path: &str) -> Option<(BookId, BookPath)> {
    let (book, rest) = path.strip_prefix("/books/")?.split_once('/')?;
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
    let path = BookPath::parse(&plain).ok().filter(BookPath::is_asset)?;
    Some((BookId::parse(book).ok()?, path))
}

async fn answer(
    door: &Door,
    asset: OpenAsset,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Fault> {
    let (length, tag) = (asset.record.size, format!("\"{}\"", asset.record.hash));
    let asked = Asked::of(method, headers, length, &tag);
    let media_type = media::type_of(&asset.record.path);
    let range = asked.bytes(length);
    let body = match range.clone() {
        Some(range) if *method == Method::GET => {
            let bytes = range.end - range.start;
            door.pace.body(door.app.service.asset_parts(asset, range), bytes).await?
        }
        _ => Body::empty(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = asked.status();
    let mut put = |name, value: &str| {
        // Tags, lengths and types are plain text.
        response.headers_mut().extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
    };
    put(ETAG, &tag);
    put(ACCEPT_RANGES, "bytes");
    put(CACHE_CONTROL, "public, max-age=60");
    put(RESOURCE_POLICY, "cross-origin");
    if may_run(media_type) {
        put(CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; sandbox");
    }
    if let Some(range) = range {
        put(CONTENT_TYPE, media_type);
        put(CONTENT_LENGTH, &(range.end - range.start).to_string());
        if is_a_page(media_type) {
            put(CONTENT_DISPOSITION, "attachment");
        }
    }
    if let Some(range) = asked.content_range(length) {
        put(CONTENT_RANGE, &range);
    }
    Ok(response)
}

/// Might a browser run something of it in this origin, opened by itself? It takes pictures, sounds,
/// films, fonts and PDF for nothing else (`nosniff`), and in a sandbox it shows no PDF at all.
fn may_run(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default();
    match essence.split_once('/') {
        Some(("audio" | "video" | "font", _)) => false,
        Some(("application", kind)) => kind != "pdf" && !kind.starts_with("font-"),
        Some(("image", kind)) => kind.ends_with("xml"),
        _ => true,
    }
}

/// Would a browser show it as a document of its own kind, with scripts?
fn is_a_page(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence == "text/html"
        || essence.ends_with("/xml")
        || (essence.ends_with("+xml") && essence != "image/svg+xml")
}

fn nothing() -> Response {
    let hint = "list_assets gives each asset's cdn_url.";
    error(StatusCode::NOT_FOUND, "NOT_FOUND", "There is no such asset.", hint).into_response()
}

fn broken(path: &BookPath, fault: &Fault) -> Response {
    tracing::warn!(target: "panaversity_fs.http", path = path.as_str(), error = %fault, "an asset could not be served");
    super::broken(fault)
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

    #[test]
    fn only_what_runs_nothing_leaves_the_sandbox() {
        for (ends, runs) in [
            ("svg svgz html xhtml xml txt css js mjs json wasm swf zip unknown", true),
            ("pdf png jpg gif webp avif ico bmp mp3 wav ogg m4a mp4 webm mov woff woff2 ttf otf", false),
        ] {
            for end in ends.split(' ') {
                let media_type = media::type_of(&BookPath::parse(&format!("static/a.{end}")).unwrap());
                assert_eq!(may_run(media_type), runs, "{end}: {media_type}");
            }
        }
    }

    #[test]
    fn pages_are_told_from_pictures() {
        for page in ["text/html; charset=utf-8", "application/xhtml+xml", "text/xml", "application/xml"] {
            assert!(is_a_page(page), "{page}");
        }
        for other in ["image/svg+xml", "image/png", "application/pdf", "text/plain; charset=utf-8"] {
            assert!(!is_a_page(other), "{other}");
        }
    }
}
