//! Response with a file of a book, and with restrictions for browsers. Invariant: no browser runs the file
//! as a page of this server's origin.
//!
//! A file may be anything an agent has uploaded. Embedded in a page of another site it works; opened
//! directly, an SVG has no scripts and no origin (`sandbox`), and a document that can run scripts is
//! saved instead of displayed. Types that can run nothing have no such policy: browsers would not
//! display all of them.

use std::ops::Range;

use axum::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::Response;
use panaversity_model::file::Found;
use panaversity_model::{Fault, media};

use super::HttpState;
use super::middleware::client_address::CallerKey;
use super::range_response::{RangeSource, sent};

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Responds with a file or the requested range of it, or for HEAD its headers; `cache` is the value of
/// `Cache-Control`.
///
/// # Errors
/// A fault found in the first bytes, before anything is sent.
pub(crate) async fn respond(
    state: &HttpState,
    file: Found,
    method: &Method,
    headers: &HeaderMap,
    caller: &CallerKey,
    cache: &str,
) -> Result<Response, Fault> {
    let (length, hash) = (file.record.size, file.record.hash);
    let media_type = media::type_of(&file.record.path);
    let parts = async |range: Range<u64>| {
        let bytes = range.end - range.start;
        state.downloads.body(caller, state.app.service.asset_parts(file, range), bytes).await
    };
    let response = RangeSource { length, hash, media_type, cache }.respond(method, headers, parts).await?;
    let mut response = sent(response);
    let has_bytes = response.status().is_success();
    let mut put = |name, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
    put(RESOURCE_POLICY, "cross-origin");
    if may_run(media_type) {
        put(CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; sandbox");
    }
    if has_bytes && is_a_page(media_type) {
        put(CONTENT_DISPOSITION, "attachment");
    }
    Ok(response)
}

/// True if a browser might run scripts of it in this origin when it is opened directly. Images, audio,
/// video, fonts and PDF are never interpreted as anything else (`nosniff`), and in a sandbox browsers
/// show no PDF.
fn may_run(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default();
    match essence.split_once('/') {
        Some(("audio" | "video" | "font", _)) => false,
        Some(("application", kind)) => kind != "pdf" && !kind.starts_with("font-"),
        Some(("image", kind)) => kind.ends_with("xml"),
        _ => true,
    }
}

/// True if a browser would show it as a document that can run scripts.
fn is_a_page(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence == "text/html"
        || essence.ends_with("/xml")
        || (essence.ends_with("+xml") && essence != "image/svg+xml")
}

#[cfg(test)]
mod tests {
    use panaversity_model::BookPath;

    use super::*;

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
