//! Conditional and range requests, as the fuzz targets evaluate them.

use std::ops::Range;

use axum::http::{HeaderMap, Method, Response};

use super::conditional::Selection;

/// The head of the answer to a GET of a file of this length and entity tag, and the bytes that it has.
pub fn evaluate(headers: &HeaderMap, length: u64, tag: &str) -> (Response<()>, Option<Range<u64>>) {
    let selection = Selection::of(&Method::GET, headers, length, tag);
    (selection.response((), length, tag, "text/plain", "no-store"), selection.bytes(length))
}
