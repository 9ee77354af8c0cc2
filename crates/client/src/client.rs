//! MCP client over HTTP: one tool call is one `POST /mcp`, which returns a result or an error.
//!
//! Invariant: a call counts as done only if the server said so. A lost answer, a 5xx and an unknown
//! outcome are retried a bounded number of times; after that the call has failed.
//!
//! # A call
//! 1. The request is one JSON-RPC `tools/call`, without session and handshake.
//! 2. [`response`] classifies the answer: result, refusal, or transient fault.
//! 3. Transient faults are retried after 0.1, 0.3, 0.9 and 2.7 s. Repeating a write is safe by the
//!    agent contract: the same bytes are `unchanged`, a deleted file does not exist.
//! 4. A rate limit is no fault: it is waited out for up to a minute.

use std::fmt;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::FutureExt;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, Url};
use serde_json::{Value, json};

use crate::http_clients::{HttpClients, root_cause};
use crate::response::{self, Decoded, ServerError};

use panaversity_model::masked_url;

/// Longest total time spent waiting for a rate limit.
pub(crate) const RATE_LIMIT_TIMEOUT: Duration = Duration::from_mins(1);
/// Longest single wait that is honored of a server's `Retry-After`.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Pauses before the retries of a request: about 0.1, 0.3, 0.9 and 2.7 seconds, up to twice as long by
/// chance, so that clients that failed together do not return together.
pub(crate) fn retry_pauses() -> ExponentialBackoff {
    let pauses = ExponentialBuilder::new().with_min_delay(Duration::from_millis(100)).with_factor(3.0);
    pauses.with_max_times(4).with_jitter().build()
}

/// Client of one server, which identifies itself by an agent's name.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    clients: HttpClients,
    pub(crate) endpoint: Url,
    pub(crate) agent: &'static str,
    /// `Bearer TOKEN`; marked as sensitive, so that it is never shown.
    authorization: Option<HeaderValue>,
}

/// Error of a call.
#[derive(Debug, Clone)]
pub enum CallError {
    /// The server refused the call.
    ServerError(ServerError),
    /// The server was unreachable or failed in every attempt.
    Unreachable(String),
    /// A response that is not of a `PanaversityFS` server.
    UnexpectedResponse(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerError(refused) => refused.fmt(f),
            Self::Unreachable(why) | Self::UnexpectedResponse(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for CallError {}

/// A result, and whether the call was retried: then `unchanged` may be the effect of the first
/// attempt.
pub(crate) struct HttpAnswer {
    pub(crate) value: Value,
    pub(crate) repeated: bool,
}

impl Client {
    /// A client of the server at `url`, with or without `/mcp` at its end. Messages never contain
    /// the parts of the URL that may be secret: password and query.
    pub fn new(url: &str, agent: &'static str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{}: {why}, such as http://127.0.0.1:8000", masked_url::mask(url));
        let mut endpoint = Url::parse(url).map_err(|_| wrong("it must be a URL"))?;
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.host_str().is_none() {
            return Err(wrong("it must be an http or https URL"));
        }
        if !endpoint.username().is_empty() || endpoint.password().is_some() {
            return Err(wrong("the server takes no user name and password; leave them out"));
        }
        if endpoint.query().is_some() || endpoint.fragment().is_some() {
            return Err(wrong("it must end with the path"));
        }
        let base = endpoint.path().trim_end_matches('/');
        let path = if base.ends_with("/mcp") { base.to_owned() } else { format!("{base}/mcp") };
        endpoint.set_path(&path);

        let clients = HttpClients::default();
        let http = clients.to(&endpoint)?;
        Ok(Self { http, clients, endpoint, agent, authorization: None })
    }

    /// The same client, which authenticates its tool calls with this token or key. It is sent to no other
    /// address, links included.
    ///
    /// # Errors
    /// A text that does not quote the token, if that can't be sent.
    pub fn with_token(self, token: &str) -> Result<Self, String> {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|_| "it holds characters that no token has".to_owned())?;
        value.set_sensitive(true);
        Ok(Self { authorization: Some(value), ..self })
    }

    /// The HTTP client for a URL.
    pub(crate) fn http_for(&self, url: &Url) -> Result<reqwest::Client, String> {
        self.clients.to(url)
    }

    /// Calls a tool, retrying transient faults.
    pub(crate) async fn call(&self, tool: &str, arguments: &Value) -> Result<HttpAnswer, CallError> {
        let request = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": tool, "arguments": arguments},
        });
        let mut pauses = retry_pauses();
        let (mut left, mut repeated) = (RATE_LIMIT_TIMEOUT, false);
        loop {
            let (why, wait) = match self.ask(&request).await {
                Decoded::HttpAnswer(value) => return Ok(HttpAnswer { value, repeated }),
                Decoded::ServerError(refused) => return Err(CallError::ServerError(refused)),
                Decoded::UnexpectedResponse(why) => {
                    return Err(CallError::UnexpectedResponse(format!("{}: {why}", self.endpoint)));
                }
                Decoded::Limited { why, wait } => {
                    let wait = wait.min(LONGEST_WAIT).min(left);
                    left -= wait;
                    (why, (!wait.is_zero()).then_some(wait))
                }
                Decoded::MayPass(why) => (why, pauses.next()),
            };
            let Some(wait) = wait else {
                let next =
                    "tried several times; check that the server runs and --url is right, then run again";
                return Err(CallError::Unreachable(format!("{}: {why}; {next}", self.endpoint)));
            };
            tokio::time::sleep(wait).await;
            repeated = true;
        }
    }

    /// A request of this client to a URL of the server.
    pub(crate) fn request(&self, url: Url) -> RequestBuilder {
        self.identified(self.http.get(url))
    }

    fn identified(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.header("X-Agent-Id", self.agent);
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        }
    }

    async fn ask(&self, request: &Value) -> Decoded {
        let sent = self.identified(self.http.post(self.endpoint.clone())).json(request);
        // Boxed: the request's future is large, and many calls are in flight.
        match sent.send().boxed().await {
            Ok(response) => read(response).await,
            Err(error) => Decoded::MayPass(root_cause(&error)),
        }
    }
}

async fn read(response: Response) -> Decoded {
    let status = response.status();
    let wait = retry_after(response.headers());
    match response.bytes().await {
        Ok(body) => response::judge(status, wait, &body),
        Err(error) => Decoded::MayPass(root_cause(&error)),
    }
}

/// The value of `Retry-After`, in seconds.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_is_found_from_any_form_of_the_url() {
        for (url, endpoint) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/mcp"),
            ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/mcp"),
            ("https://books.example.org/fs/mcp", "https://books.example.org/fs/mcp"),
            ("https://books.example.org/fs/", "https://books.example.org/fs/mcp"),
        ] {
            assert_eq!(Client::new(url, "test").unwrap().endpoint.as_str(), endpoint);
        }
        for bad in ["", "localhost:8000", "ftp://x/", "127.0.0.1"] {
            assert!(Client::new(bad, "test").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_url_with_a_secret_is_refused_without_showing_it() {
        for given in [
            "http://ada:s3cret@127.0.0.1:8000",
            "https://s3cret@books.example.org/mcp",
            "https://:s3cret@books.example.org/mcp",
            "http://ada:s3cret@:8000",
            "http://ada:s3cret@book s.example",
            "http://ada:s3cret/?#@x y",
            "ada:s3cret@books.example.org",
            "ftp://ada:s3cret@x/",
            "https://books.example.org/mcp?token=s3cret",
            "https://books.example.org/mcp#s3cret",
            "nonsense?token=s3cret",
        ] {
            let said = Client::new(given, "test").err().unwrap_or_else(|| panic!("{given} was taken"));
            assert!(!said.contains("s3cret"), "{said}");
        }
        let said = Client::new("http://ada:s3cret@127.0.0.1:8000", "test").err().unwrap();
        assert!(said.starts_with("http://***@127.0.0.1:8000: ") && said.contains("leave them out"), "{said}");
    }
}
