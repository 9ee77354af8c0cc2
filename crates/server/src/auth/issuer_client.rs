//! HTTP client for the authorization server: bounded in time and size, and it follows no redirect.

use std::time::Duration;

use futures::StreamExt;
use reqwest::{Client, Response, redirect};
use serde::de::DeserializeOwned;

/// Longest time of one request.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of an answer.
const MOST_BYTES: usize = 256 << 10;

pub(super) fn new() -> Result<Client, String> {
    let client = Client::builder().timeout(REQUEST_TIMEOUT).redirect(redirect::Policy::none());
    client.build().map_err(|error| error.to_string())
}

/// The JSON of a successful answer.
pub(super) async fn json<T: DeserializeOwned>(answer: Response) -> Result<T, String> {
    if !answer.status().is_success() {
        return Err(format!("the answer is {}", answer.status()));
    }
    let (mut bytes, mut body) = (Vec::new(), answer.bytes_stream());
    while let Some(some) = body.next().await {
        bytes.extend_from_slice(&some.map_err(in_words)?);
        if bytes.len() > MOST_BYTES {
            return Err("the answer is too large".to_owned());
        }
    }
    serde_json::from_slice(&bytes).map_err(|_| "the answer is not what was asked for".to_owned())
}

/// The error without its URL, which may hold a password.
pub(super) fn in_words(error: reqwest::Error) -> String {
    let error = error.without_url();
    match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
