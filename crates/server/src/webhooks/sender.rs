//! HTTP client of the webhooks: one attempt to deliver, and what its answer means. Invariants: redirects are not
//! followed; of an answer's body no more than [`MOST_BODY_BYTES`] is read, and nothing is believed; an attempt
//! ends within its time.
//!
//! A status of 2xx accepts a set, whatever follows it. 410 ends the webhook. Everything else is a failure: another
//! status, no connection, a connection that ends before the head of the answer, no answer in time.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::StreamExt;
use panaversity_model::webhook::LeasedWebhook;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode};

use super::resolver::GuardedResolver;
use super::signature::signature;
use crate::clock::unix_now;

/// Most bytes of an answer's body that are read, so that the connection can be used again.
const MOST_BODY_BYTES: usize = 16 << 10;
/// Longest time for them.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// Most characters of a cause in a reason.
const MOST_CAUSE: usize = 120;

/// The client. Cheap to clone.
#[derive(Clone)]
pub(super) struct WebhookSender {
    client: Client,
    timeout: Duration,
}

/// Outcome of an attempt, with the reason if it failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SendOutcome {
    Accepted,
    Refused(String),
    Gone(String),
}

impl WebhookSender {
    pub(super) fn new(timeout: Duration) -> Result<Self, String> {
        let client = Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(GuardedResolver))
            .user_agent(concat!("panaversity-fs/", env!("CARGO_PKG_VERSION")))
            .pool_max_idle_per_host(2)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { client, timeout })
    }

    /// Sends a body once, signed.
    pub(super) async fn send(&self, webhook: &LeasedWebhook, id: &str, body: Bytes) -> SendOutcome {
        let seconds = unix_now();
        let request = self
            .client
            .post(webhook.url.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signature(&webhook.secret, id, seconds, &body))
            .body(body);
        match request.send().await {
            Ok(answer) => {
                let outcome = meaning(answer.status());
                discard(answer).await;
                outcome
            }
            Err(error) => SendOutcome::Refused(self.in_words(error)),
        }
    }

    /// The reason of a failure, without the URL, which may contain a secret.
    fn in_words(&self, error: reqwest::Error) -> String {
        let error = error.without_url();
        if error.is_timeout() {
            return format!("no answer within {:?}", self.timeout);
        }
        if !error.is_connect() {
            return "the connection ended before an answer".to_owned();
        }
        let mut cause: &dyn Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let cause: String = cause.to_string().chars().take(MOST_CAUSE).collect();
        format!("no connection: {cause}")
    }
}

fn meaning(status: StatusCode) -> SendOutcome {
    match status {
        _ if status.is_success() => SendOutcome::Accepted,
        StatusCode::GONE => SendOutcome::Gone("the answer was 410".to_owned()),
        _ if status.is_redirection() => {
            SendOutcome::Refused(format!("the answer was {}: redirects are not followed", status.as_u16()))
        }
        _ => SendOutcome::Refused(format!("the answer was {}", status.as_u16())),
    }
}

/// Reads the body of an answer if it is short and quick; else the connection is closed.
async fn discard(answer: Response) {
    let mut body = answer.bytes_stream();
    let read = async {
        let mut bytes = 0;
        while let Some(Ok(some)) = body.next().await {
            bytes += some.len();
            if bytes > MOST_BODY_BYTES {
                return;
            }
        }
    };
    // An answer that is not read in time is no failure.
    let _ = tokio::time::timeout(BODY_TIMEOUT, read).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_accepts_refuses_or_ends_a_webhook() {
        let of = |code: u16| meaning(StatusCode::from_u16(code).unwrap());
        for code in [200, 201, 202, 204, 299] {
            assert_eq!(of(code), SendOutcome::Accepted);
        }
        for code in [301, 302, 307, 308, 400, 401, 404, 429, 500, 503] {
            assert!(matches!(of(code), SendOutcome::Refused(why) if why.contains(&code.to_string())));
        }
        assert_eq!(of(410), SendOutcome::Gone("the answer was 410".to_owned()));
    }
}
