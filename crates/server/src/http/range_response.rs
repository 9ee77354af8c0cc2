//! Response to a conditional or range request for a file or an archive, which differ in where their bytes
//! come from.

use std::ops::Range;

use axum::body::Body;
use axum::http::{self, HeaderMap, Method};
use axum::response::Response;
use panaversity_model::{ContentHash, Fault};

use super::conditional::Selection;
use super::response_body::DownloadBody;

/// Bytes that are served by ranges, and how they may be cached.
pub(super) struct RangeSource<'a> {
    pub(super) length: u64,
    /// Hash of all the bytes: the strong entity tag.
    pub(super) hash: ContentHash,
    pub(super) media_type: &'a str,
    /// Value of `Cache-Control`.
    pub(super) cache: &'a str,
}

impl RangeSource<'_> {
    /// Responds with the requested bytes, whose download `open` begins; without a body for HEAD, and where
    /// the client gets no bytes.
    ///
    /// # Errors
    /// A fault found in the first bytes, before anything is sent.
    pub(super) async fn respond(
        &self,
        method: &Method,
        headers: &HeaderMap,
        open: impl AsyncFnOnce(Range<u64>) -> Result<DownloadBody, Fault>,
    ) -> Result<http::Response<Option<DownloadBody>>, Fault> {
        let tag = format!("\"{}\"", self.hash);
        let selection = Selection::of(method, headers, self.length, &tag);
        let body = match selection.bytes(self.length) {
            Some(range) if *method == Method::GET => Some(open(range).await?),
            _ => None,
        };
        Ok(selection.response(body, self.length, &tag, self.media_type, self.cache))
    }
}

/// The response, whose body is sent from now on.
pub(super) fn sent(response: http::Response<Option<DownloadBody>>) -> Response {
    response.map(|body| body.map_or_else(Body::empty, DownloadBody::into_body))
}
