//! Watches a book: the change sets of its feed, one after the other, also beyond restarts of the server.
//! Invariant: each is returned once, in the order of the feed, and none is left out.
//!
//! # Protocol
//! 1. The feed is requested as a stream of events, from the cursor of the last one on.
//! 2. The first event tells the cursor at which the stream begins, so that a watch that began with `now` goes
//!    on from there, even if nothing has come yet.
//! 3. A stream that ends, breaks or is silent for longer than its heartbeats allow is requested again; pauses
//!    grow while that fails. A watch that never got a stream gives up after some attempts.
//! 4. A refusal ends the watch.

use std::collections::VecDeque;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use panaversity_model::{BookId, UserId};
use reqwest::header::ACCEPT;
use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::client::{CallError, Client, LONGEST_WAIT, retry_after, retry_pauses};
use crate::http_clients::root_cause;
use crate::response::ServerError;
use crate::server_events::EventParser;

/// Longest silence of a stream: three of the server's heartbeats.
const SILENCE: Duration = Duration::from_secs(45);
/// Longest time of one stream, after which it is requested again.
const STREAM_TIME: Duration = Duration::from_hours(24);

/// What to watch.
#[derive(Debug, Clone)]
pub struct WatchOptions {
    /// The book.
    pub book_id: BookId,
    /// User whose overlay is watched as well.
    pub user_id: Option<UserId>,
    /// Where to begin: a cursor, `now`, or `start`.
    pub since: String,
}

/// Event of a watch.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchEvent {
    /// A change set.
    Change(WatchedChange),
    /// The stream broke; it is requested again.
    Interrupted(String),
}

/// A change set, as the server described it.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchedChange {
    /// Cursor from which a watch goes on with the next one.
    pub cursor: String,
    /// Id of the set.
    pub change_id: String,
    /// All that the server said about it.
    pub body: Value,
}

/// A running watch.
pub struct Watch {
    client: Client,
    options: WatchOptions,
    /// The cursor of the last event, else where to begin.
    cursor: String,
    stream: Option<OpenStream>,
    pauses: ExponentialBackoff,
    is_told: bool,
}

struct OpenStream {
    response: Response,
    parser: EventParser,
    arrived: VecDeque<WatchedChange>,
}

/// Reason why there is no stream.
enum NoStream {
    MayPass(String, Option<Duration>),
    Refused(CallError),
}

impl Client {
    /// A watch of a book; it requests nothing yet.
    pub fn watch(&self, options: WatchOptions) -> Watch {
        let cursor = options.since.clone();
        let (client, pauses) = (self.clone(), retry_pauses());
        Watch { client, options, cursor, stream: None, pauses, is_told: false }
    }
}

/// Pauses before a stream is requested again, without end.
fn reconnect_pauses() -> ExponentialBackoff {
    let pauses = ExponentialBuilder::new().with_min_delay(Duration::from_millis(100)).with_factor(3.0);
    pauses.with_max_delay(LONGEST_WAIT).without_max_times().with_jitter().build()
}

impl Watch {
    /// The next event.
    ///
    /// # Errors
    /// The server refuses the request, or was not reached in several attempts.
    pub async fn next(&mut self) -> Result<WatchEvent, CallError> {
        loop {
            if let Some(change) = self.stream.as_mut().and_then(|stream| stream.arrived.pop_front()) {
                self.cursor.clone_from(&change.cursor);
                return Ok(WatchEvent::Change(change));
            }
            let lost = match &mut self.stream {
                Some(stream) => stream.read(&mut self.cursor).await,
                None => match self.request().await {
                    Ok(stream) => {
                        self.stream = Some(stream);
                        continue;
                    }
                    Err(NoStream::Refused(error)) => return Err(error),
                    Err(NoStream::MayPass(why, wait)) => {
                        let pause = self.pauses.next().ok_or_else(|| self.unreachable(&why))?;
                        tokio::time::sleep(wait.map_or(pause, |wait| wait.min(LONGEST_WAIT).max(pause)))
                            .await;
                        Err(why)
                    }
                },
            };
            match lost {
                Ok(()) => (self.pauses, self.is_told) = (reconnect_pauses(), false),
                Err(why) => {
                    self.stream = None;
                    if !std::mem::replace(&mut self.is_told, true) {
                        return Ok(WatchEvent::Interrupted(why));
                    }
                }
            }
        }
    }

    /// The cursor from which a later watch goes on; `now` before the server was reached.
    pub fn cursor(&self) -> &str {
        &self.cursor
    }

    fn unreachable(&self, why: &str) -> CallError {
        let next = "tried several times; check that the server runs and --url is right, then run again";
        CallError::Unreachable(format!("{}: {why}; {next}", self.client.endpoint))
    }

    async fn request(&self) -> Result<OpenStream, NoStream> {
        let mut url = self.client.changes_url(&self.options.book_id);
        url.query_pairs_mut().append_pair("since", &self.cursor);
        if let Some(user) = &self.options.user_id {
            url.query_pairs_mut().append_pair("user_id", user.as_str());
        }
        let request = self.client.request(url).header(ACCEPT, "text/event-stream").timeout(STREAM_TIME);
        let sent = tokio::time::timeout(SILENCE, request.send()).await;
        let sent = sent.map_err(|_| NoStream::MayPass("no answer in time".to_owned(), None))?;
        let response = sent.map_err(|error| NoStream::MayPass(root_cause(&error), None))?;
        let status = response.status();
        let is_stream =
            response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
        if status.is_success() && is_stream {
            return Ok(OpenStream { response, parser: EventParser::default(), arrived: VecDeque::new() });
        }
        let (wait, body) = (retry_after(response.headers()), response.bytes().await.unwrap_or_default());
        Err(no_stream(status, wait, &body))
    }
}

/// Classifies an answer that is no stream.
fn no_stream(status: StatusCode, wait: Option<Duration>, body: &[u8]) -> NoStream {
    let error =
        serde_json::from_slice::<Value>(body).ok().and_then(|mut body| Some(body.get_mut("error")?.take()));
    // What middleware refuses has its code beside the number of a JSON-RPC error.
    let refused = error.and_then(|error| {
        let data = error.get("data").filter(|data| data.is_object()).unwrap_or(&error);
        let mut refused: ServerError = serde_json::from_value(data.clone()).ok()?;
        if refused.message.is_empty() {
            error["message"].as_str().unwrap_or_default().clone_into(&mut refused.message);
        }
        Some(refused)
    });
    let may_pass = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    match refused {
        _ if status.is_success() => {
            let why = "the answer is no stream of changes; check --url".to_owned();
            NoStream::Refused(CallError::UnexpectedResponse(why))
        }
        Some(refused) if may_pass => NoStream::MayPass(refused.to_string(), wait),
        None if may_pass => NoStream::MayPass(format!("HTTP {status}"), wait),
        Some(refused) => NoStream::Refused(CallError::ServerError(refused)),
        None => NoStream::Refused(CallError::UnexpectedResponse(format!("HTTP {status}; check --url"))),
    }
}

impl OpenStream {
    /// Reads what arrives next. `cursor` follows events without a change set.
    async fn read(&mut self, cursor: &mut String) -> Result<(), String> {
        let arrived = tokio::time::timeout(SILENCE, self.response.chunk()).await;
        let arrived = arrived.map_err(|_| "the stream is silent".to_owned())?;
        let chunk = arrived.map_err(|error| root_cause(&error))?.ok_or("the server ended the stream")?;
        let unreadable = || "the server sent what is no event".to_owned();
        for event in self.parser.parse(&chunk).map_err(|_| unreadable())? {
            let id = event.id.ok_or_else(unreadable)?;
            if event.data.is_empty() {
                *cursor = id;
                continue;
            }
            let body: Value = serde_json::from_str(&event.data).map_err(|_| unreadable())?;
            let change_id = body["change_id"].as_str().ok_or_else(unreadable)?.to_owned();
            self.arrived.push_back(WatchedChange { cursor: id, change_id, body });
        }
        Ok(())
    }
}
