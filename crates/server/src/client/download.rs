//! Getting bytes that are too many for an answer: archives and assets. Invariant: bytes are given
//! as the rest of what was had before only if the server said that they are that, by range and
//! `ETag`; whether they are the right ones, the caller must check.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, IF_MATCH, IF_RANGE, RANGE};
use reqwest::{Response, StatusCode, Url};

use super::{ANSWER_TIMEOUT, Client, retry_after, root_cause};

/// Longest silence in the middle of a download.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest `ETag` that is remembered.
const LONGEST_ETAG: usize = 128;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RangeRequest<'a> {
    pub(crate) url: &'a Url,
    /// Bytes that are there already; beyond 0 only with an `etag`.
    pub(crate) from: u64,
    /// The version that they are of, as [`DownloadResponse::Whole`] named it.
    pub(crate) etag: Option<&'a str>,
    /// Any other version is of no use.
    pub(crate) only: bool,
}

/// What came.
pub(crate) enum DownloadResponse {
    /// What follows the bytes that are there.
    Rest(Body),
    /// Everything from the beginning, and which version it is, if that can be named again.
    Whole(Body, Option<String>),
    /// Nothing follows the bytes that are there.
    Nothing,
    /// The link opens nothing any more.
    Over(String),
    /// That version is not there any more.
    Gone,
    /// A fault of the moment: ask again.
    MayPass(String),
    /// Too many calls: ask again after `wait`.
    Limited { why: String, wait: Duration },
    /// Not an answer of a server of ours.
    UnexpectedResponse(String),
}

/// Bytes on their way.
pub(crate) struct Body(Response);

impl Body {
    /// The next part; `None`: the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        match tokio::time::timeout(SILENCE, self.0.chunk()).await {
            Ok(part) => part.map_err(|error| root_cause(&error)),
            Err(_) => Err(format!("nothing came for {} s", SILENCE.as_secs())),
        }
    }
}

impl Client {
    /// Asks for bytes, once.
    pub(crate) async fn get(&self, wish: RangeRequest<'_>) -> DownloadResponse {
        let http = match self.http_for(wish.url) {
            Ok(http) => http,
            Err(why) => return DownloadResponse::UnexpectedResponse(why),
        };
        // The whole download may take longer than any answer.
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

/// What a strong `ETag` of letters, digits and `-` says; any other could not be asked for again,
/// or be a file's name.
fn etag_of(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(ETAG)?.to_str().ok()?.strip_prefix('"')?.strip_suffix('"')?;
    is_name(tag).then(|| tag.to_owned())
}

/// Is it a version that a server may have named?
pub(crate) fn is_name(tag: &str) -> bool {
    (1..=LONGEST_ETAG).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// `bytes 5-9/10` begins at 5.
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
