//! Typed calls of the tools for assets, and uploads of large assets to the URL that the server
//! returns. Invariants: an asset counts as stored only if the server returns the hash of what was
//! sent; a large file is streamed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{Stream, stream};
use panaversity_model::asset::AssetType;
use panaversity_model::{BookId, BookPath, ContentHash};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::client::{CallError, Client, HttpAnswer, retry_after, retry_pauses};
use crate::http_clients::{ANSWER_TIMEOUT, root_cause};
use crate::tools::Mode;

/// Size of a chunk read from a file, in bytes.
const PART: usize = 256 * 1024;
/// Lowest assumed throughput of an upload, in bytes per second. It determines the timeout.
const SLOWEST: u64 = 32 * 1024;

/// URL and headers for the upload of a large asset.
#[derive(Debug)]
pub(crate) struct UploadTarget {
    id: String,
    url: Url,
    headers: HeaderMap,
}

/// Response to the announcement of a large asset.
#[derive(Debug)]
pub(crate) enum Announced {
    /// The server has these bytes already.
    Held(Mode),
    /// The asset is to be uploaded.
    UploadTarget(Box<UploadTarget>),
}

/// Error of an upload.
#[derive(Debug)]
pub(crate) enum PutError {
    /// The upload URL is no longer valid; a new one may work.
    Over(String),
    /// Reading the file failed, or the transfer.
    Failed(CallError),
}

#[derive(Deserialize)]
struct Kept {
    status: String,
    file_hash_sha256: String,
}

#[derive(Deserialize)]
struct Offered {
    upload_id: String,
    upload_url: String,
    #[serde(default)]
    headers: Map<String, Value>,
}

/// The asset of a call, and the hash of the content that it replaces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) book: &'a BookId,
    pub(crate) path: &'a BookPath,
    pub(crate) expected: Option<ContentHash>,
}

impl Target<'_> {
    fn arguments(self) -> Value {
        // The server refuses a path outside `content/` and `static/`.
        let (kind, filename) =
            AssetType::of(self.path).unwrap_or((AssetType::Static, self.path.as_str().into()));
        let mut arguments =
            json!({"book_id": self.book.as_str(), "asset_type": kind.as_str(), "filename": filename});
        if let Some(expected) = self.expected {
            arguments["expected_hash"] = expected.to_string().into();
        }
        arguments
    }

    /// The effect of a successful call. After a retry, `skipped` may be the effect of the first
    /// attempt.
    fn mode(self, status: &str, repeated: bool) -> Mode {
        match self.expected {
            _ if status == "skipped" && !repeated => Mode::Unchanged,
            Some(_) => Mode::Updated,
            None => Mode::Created,
        }
    }
}

impl Client {
    /// Uploads a small asset inside the call.
    pub(crate) async fn upload(&self, target: Target<'_>, bytes: &[u8]) -> Result<Mode, CallError> {
        let sent = ContentHash::of(bytes);
        let mut arguments = target.arguments();
        if bytes.is_empty() {
            arguments["file_size"] = 0.into();
        } else {
            arguments["binary_data"] = STANDARD.encode(bytes).into();
        }
        let answer = self.call("upload_asset", &arguments).await?;
        kept(target, sent, answer)
    }

    /// Announces a large asset.
    pub(crate) async fn announce(
        &self,
        target: Target<'_>,
        size: u64,
        hash: ContentHash,
    ) -> Result<Announced, CallError> {
        let mut arguments = target.arguments();
        arguments["file_size"] = size.into();
        arguments["sha256"] = hash.to_string().into();
        let answer = self.call("upload_asset", &arguments).await?;
        if answer.value["status"] != "presigned_url" {
            return kept(target, hash, answer).map(Announced::Held);
        }
        let Offered { upload_id: id, upload_url, headers } = parsed("upload_asset", answer.value)?;
        let url = self.address(&upload_url, &format!("/uploads/{id}"))?;
        let headers = headers.into_iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value.as_str()?).ok()?;
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
        });
        let headers = headers.collect::<Option<_>>().ok_or_else(|| {
            CallError::UnexpectedResponse("upload_asset answered with headers that cannot be sent".to_owned())
        })?;
        Ok(Announced::UploadTarget(Box::new(UploadTarget { id, url, headers })))
    }

    /// Uploads a file of this size; every attempt starts from the beginning.
    pub(crate) async fn put(&self, ticket: &UploadTarget, file: &Path, size: u64) -> Result<(), PutError> {
        let http =
            self.http_for(&ticket.url).map_err(|why| PutError::Failed(CallError::UnexpectedResponse(why)))?;
        let mut headers = ticket.headers.clone();
        // Set explicitly, because the length of a streamed body is unknown and object storages
        // refuse uploads without one.
        headers.insert(CONTENT_LENGTH, size.into());
        let mut pauses = retry_pauses();
        loop {
            let sent = http
                .put(ticket.url.clone())
                .headers(headers.clone())
                .timeout(ANSWER_TIMEOUT + Duration::from_secs(size / SLOWEST))
                .body(Body::wrap_stream(parts(file.to_owned(), size)))
                .send();
            let (why, asked) = match sent.await {
                Ok(response) if response.status().is_success() => return Ok(()),
                Ok(response) => match response.status() {
                    status @ (StatusCode::FORBIDDEN | StatusCode::GONE | StatusCode::NOT_FOUND) => {
                        return Err(PutError::Over(format!("HTTP {status}")));
                    }
                    status
                        if status.is_server_error()
                            || matches!(
                                status,
                                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                            ) =>
                    {
                        (format!("HTTP {status}"), retry_after(response.headers()))
                    }
                    status => {
                        let why = format!("{}: HTTP {status}", shown(&ticket.url));
                        return Err(PutError::Failed(CallError::UnexpectedResponse(why)));
                    }
                },
                Err(error) => (root_cause(&error), None),
            };
            let Some(wait) = pauses.next() else {
                let why = format!("{}: {why}; tried several times, run again", shown(&ticket.url));
                return Err(PutError::Failed(CallError::Unreachable(why)));
            };
            tokio::time::sleep(wait.max(asked.unwrap_or_default().min(crate::client::LONGEST_WAIT))).await;
        }
    }

    /// Completes the upload: the uploaded bytes become the asset.
    pub(crate) async fn complete(
        &self,
        target: Target<'_>,
        ticket: &UploadTarget,
        hash: ContentHash,
    ) -> Result<Mode, CallError> {
        let arguments = json!({"book_id": target.book.as_str(), "upload_id": ticket.id});
        // A retried call gets the first answer again, so its status always describes the upload
        // itself.
        let answer = HttpAnswer { repeated: false, ..self.call("complete_upload", &arguments).await? };
        kept(target, hash, answer)
    }

    /// Deletes an asset whose current content must have hash `expected`.
    pub(crate) async fn delete_asset(&self, target: Target<'_>) -> Result<(), CallError> {
        self.call("delete_asset", &target.arguments()).await.map(|_| ())
    }
}

fn kept(target: Target<'_>, sent: ContentHash, answer: HttpAnswer) -> Result<Mode, CallError> {
    let kept: Kept = parsed("upload_asset", answer.value)?;
    if ContentHash::from_hex(&kept.file_hash_sha256) != Some(sent) {
        return Err(CallError::UnexpectedResponse(format!(
            "the server holds other bytes than were sent: {} instead of {sent}",
            kept.file_hash_sha256
        )));
    }
    Ok(target.mode(&kept.status, answer.repeated))
}

fn parsed<T: serde::de::DeserializeOwned>(tool: &str, value: Value) -> Result<T, CallError> {
    serde_json::from_value(value).map_err(|error| crate::tools::unknown_form(tool, &error))
}

/// The URL without its query, which contains the signature.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.into()
}

/// Stream of the first `size` bytes of a file; fails if the file is shorter.
fn parts(file: PathBuf, size: u64) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    stream::try_unfold((None, file, size), async |(open, path, left): (Option<File>, PathBuf, u64)| {
        if left == 0 {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || {
            let mut open = open.map_or_else(|| File::open(&path), Ok)?;
            let mut part = Vec::with_capacity(PART);
            Read::by_ref(&mut open).take(left.min(PART as u64)).read_to_end(&mut part)?;
            if part.is_empty() {
                return Err(std::io::Error::other("the file became shorter while it was sent"));
            }
            let left = left - part.len() as u64;
            Ok(Some((Bytes::from(part), (Some(open), path, left))))
        });
        read.await.map_err(std::io::Error::other)?
    })
}
