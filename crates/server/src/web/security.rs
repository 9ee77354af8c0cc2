//! Headers of the pages, and their stylesheet, script and icon. Invariant: a page runs and loads nothing that
//! is not embedded in this program, whatever a book contains, and is shown in no frame.
//!
//! The name of an asset has a hash of its bytes, so a browser may keep it for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use panaversity_model::ContentHash;

use super::problems;

/// What a page may load: its stylesheet, script, icon, images of this server, and its feed of changes.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// A file that is embedded in the program.
struct EmbeddedAsset {
    name: String,
    media_type: &'static str,
    text: &'static str,
}

/// Names of the embedded files, with their hashes.
pub(super) struct AssetUrls {
    pub(super) style: String,
    pub(super) script: String,
    pub(super) icon: String,
}

static ASSETS: LazyLock<[EmbeddedAsset; 3]> = LazyLock::new(|| {
    [
        embedded("style", "css", "text/css; charset=utf-8", include_str!("../../assets/style.css")),
        embedded("script", "js", "text/javascript; charset=utf-8", include_str!("../../assets/script.js")),
        embedded("icon", "svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
    ]
});

fn embedded(stem: &str, end: &str, media_type: &'static str, text: &'static str) -> EmbeddedAsset {
    let hash = ContentHash::of(text.as_bytes()).to_string();
    EmbeddedAsset { name: format!("{stem}.{}.{end}", &hash[..16]), media_type, text }
}

/// URLs of the embedded files.
pub(super) fn urls() -> AssetUrls {
    let url = |asset: &EmbeddedAsset| format!("/ui/assets/{}", asset.name);
    let [style, script, icon] = &*ASSETS;
    AssetUrls { style: url(style), script: url(script), icon: url(icon) }
}

/// `GET /ui/assets/{name}`.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return problems::nowhere().await;
    };
    let headers = [(CONTENT_TYPE, asset.media_type), (CACHE_CONTROL, FOR_EVER)];
    (headers, asset.text).into_response()
}

/// A page with its headers. Its referrer goes to this server alone: with none at all, browsers would name no
/// origin for the forms, by which they are told from those of other sites.
pub(super) fn respond(status: StatusCode, page: String) -> Response {
    let mut headers = HeaderMap::new();
    let mut put = |name, value| headers.insert(name, HeaderValue::from_static(value));
    put(CONTENT_TYPE, "text/html; charset=utf-8");
    put(CONTENT_SECURITY_POLICY, POLICY);
    put(REFERRER_POLICY, "same-origin");
    put(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    put(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    (status, headers, page).into_response()
}
