//! Downloads of archives and assets, with ranges. Invariant: bytes are returned as the continuation
//! of earlier ones only if the server confirmed that, by range and `ETag`; the caller must check
//! the hash.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, IF_MATCH, IF_RANGE, RANGE};
use reqwest::{Response, StatusCode, Url};

use crate::client::{Client, retry_after};
use crate::http_clients::{ANSWER_TIMEOUT, root_cause};

/// Read timeout of a download.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest `ETag` that is kept for a later request, in bytes.
const LONGEST_ETAG: usize = 128;

/// A request for the rest of a file, or for all of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RangeRequest<'a> {
    pub(crate) url: &'a Url,
    /// Offset of the first byte wanted, which is the number of bytes already present. Above 0 only
    /// with an `etag`.
    pub(crate) from: u64,
    /// Version of the bytes already present, as [`DownloadResponse::Whole`] returned it.
    pub(crate) etag: Option<&'a str>,
    /// Accept that version only (`If-Match`).
    pub(crate) only: bool,
}

/// Response to a [`RangeRequest`].
pub(crate) enum DownloadResponse {
    /// The bytes from the requested offset on.
    Rest(Body),
    /// All bytes from the beginning, and their version if it can be used in a later request.
    Whole(Body, Option<String>),
    /// The requested offset is the end of the file.
    Nothing,
    /// The link is no longer valid.
    Over(String),
    /// The requested version no longer exists.
    Gone,
    /// A transient fault: retry.
    MayPass(String),
    /// The rate limit was exceeded: retry after `wait`.
    Limited { why: String, wait: Duration },
    /// Not the response of a `PanaversityFS` server.
    UnexpectedResponse(String),
}

/// Body of a response, read in chunks.
pub(crate) struct Body(Response);

impl Body {
    /// The next chunk; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        match tokio::time::timeout(SILENCE, self.0.chunk()).await {
            Ok(part) => part.map_err(|error| root_cause(&error)),
            Err(_) => Err(format!("nothing came for {} s", SILENCE.as_secs())),
        }
    }
}

impl Client {
    /// Sends one request, without retries.
    pub(crate) async fn get(&self, wish: RangeRequest<'_>) -> DownloadResponse {
        let http = match self.http_for(wish.url) {
            Ok(http) => http,
            Err(why) => return DownloadResponse::UnexpectedResponse(why),
        };
        // The client's timeout is for tool calls; a download may take longer.
        let mut request = http.get(wish.url.clone()).header("X-Agent-Id", self.agent).timeout(Duration::MAX);
        if let Some(etag) = wish.etag {
            if wish.only {
                request = request.header(IF_MATCH, quoted(etag));
            }
            if wish.from > 0 {
                request =
                    request.header(RANGE, format!("bytes={}-", wish.from)).header(IF_RANGE, quoted(etag));
            }
        }
        match tokio::time::timeout(ANSWER_TIMEOUT, request.send()).await {
            Ok(Ok(response)) => judge(response, wish),
            Ok(Err(error)) => DownloadResponse::MayPass(root_cause(&error)),
            Err(_) => DownloadResponse::MayPass("no answer in time".to_owned()),
        }
    }
}

fn judge(response: Response, wish: RangeRequest<'_>) -> DownloadResponse {
    let status = response.status();
    let etag = etag_of(response.headers());
    match status {
        StatusCode::OK => DownloadResponse::Whole(Body(response), etag),
        StatusCode::PARTIAL_CONTENT
            if begins_at(response.headers()) == Some(wish.from) && etag.as_deref() == wish.etag =>
        {
            DownloadResponse::Rest(Body(response))
        }
        StatusCode::RANGE_NOT_SATISFIABLE => DownloadResponse::Nothing,
        StatusCode::FORBIDDEN | StatusCode::GONE => DownloadResponse::Over(format!("HTTP {status}")),
        StatusCode::NOT_FOUND | StatusCode::PRECONDITION_FAILED => DownloadResponse::Gone,
        StatusCode::TOO_MANY_REQUESTS => {
            let wait = retry_after(response.headers()).unwrap_or(Duration::from_secs(1));
            DownloadResponse::Limited { why: format!("HTTP {status}"), wait }
        }
        status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
            DownloadResponse::MayPass(format!("HTTP {status}"))
        }
        status => DownloadResponse::UnexpectedResponse(format!(
            "HTTP {status}, which does not answer what was asked"
        )),
    }
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// The value of a strong `ETag` of letters, digits and `-`. Any other is not used for a later
/// request, and could not be part of a file name.
fn etag_of(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(ETAG)?.to_str().ok()?.strip_prefix('"')?.strip_suffix('"')?;
    is_name(tag).then(|| tag.to_owned())
}

/// Returns true for a text that may be a version returned by a server.
pub(crate) fn is_name(tag: &str) -> bool {
    (1..=LONGEST_ETAG).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// First offset of `Content-Range`: 5 for `bytes 5-9/10`.
fn begins_at(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_named_by_what_can_be_asked_for_again() {
        let named = |tag: &'static str| etag_of(&HeaderMap::from_iter([(ETAG, tag.parse().unwrap())]));
        assert_eq!(named("\"abc-09\"").as_deref(), Some("abc-09"));
        for odd in ["abc", "W/\"abc\"", "\"\"", "\"../x\"", "\"a b\"", "\"a", "\"a/b\""] {
            assert_eq!(named(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_range_begins_where_it_says() {
        let begins =
            |range: &'static str| begins_at(&HeaderMap::from_iter([(CONTENT_RANGE, range.parse().unwrap())]));
        assert_eq!(begins("bytes 5-9/10"), Some(5));
        for odd in ["5-9/10", "bytes */10", "bytes -9/10", "items 5-9/10"] {
            assert_eq!(begins(odd), None, "{odd}");
        }
    }
}
