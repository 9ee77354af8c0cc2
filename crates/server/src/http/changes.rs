//! `GET /books/{book}/changes`: the feed of changes, as a page of JSON or as server-sent events. Invariant:
//! nothing is sent before the call is recorded; an overlay is shown to those who may see it (R5).
//!
//! 1. The caller is authenticated, and its rate and running calls are limited, as for `/mcp`.
//! 2. For `Accept: text/event-stream` a place among the [streams](stream) is taken; where there is none: 429.
//! 3. The book, the user and the position are parsed; `Last-Event-ID` wins over `since`. Without either the
//!    feed begins with the first change set, so that nothing is missed.
//! 4. A page is read, or a follower is made; the call is recorded; the answer begins.

pub(crate) mod rendered;
mod slots;
mod stream;

use axum::extract::{Path, RawQuery, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use panaversity_model::audit::Operation;
use panaversity_model::feed::FeedPosition;
use panaversity_model::permission::Principal;
use panaversity_model::suggestion::nearest_name;
use panaversity_model::{AgentId, BookId, Error, ErrorCode, Layer, Refusal, UserId};
use panaversity_service::Call;
use panaversity_service::feed::{FeedStart, PAGE_CHANGES};
use percent_encoding::percent_decode_str;
use tokio_util::sync::CancellationToken;

pub(crate) use self::slots::StreamSlots;
use self::stream::ChangeStream;
pub(crate) use self::stream::StreamAccess;
use crate::AppState;
use crate::call::CallKind;
use crate::error::{self, AGAIN_IN_SECONDS, error_response};

/// Change sets of a page, unless `limit` says otherwise.
const PAGE: usize = 100;
const PARAMETERS: [&str; 3] = ["since", "user_id", "limit"];
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// State of the route.
#[derive(Clone)]
pub(super) struct ChangesState {
    app: AppState,
    slots: StreamSlots,
    stop: CancellationToken,
}

impl ChangesState {
    /// The state; `stop` ends streams that still run when the drain timeout is over.
    pub(super) fn new(app: &AppState, stop: CancellationToken) -> Self {
        Self { app: app.clone(), slots: app.streams.clone(), stop }
    }
}

/// Parsed parameters.
struct Asked {
    layer: Layer,
    start: FeedStart,
    limit: usize,
}

/// A page, or the body of a stream.
enum Answer {
    Page(Response),
    Stream(Box<ChangeStream>),
}

/// Serves a page or a stream.
pub(super) async fn serve(
    State(state): State<ChangesState>,
    Path(book): Path<String>,
    RawQuery(query): RawQuery,
    extensions: Extensions,
    headers: HeaderMap,
) -> Response {
    let missing_scope = extensions.get().cloned().unwrap_or_default();
    let app = AppState { missing_scope, ..state.app.traced(&headers) };
    let principal = app.http_principal(&extensions, &headers);
    let slot = if wants_stream(&headers) {
        let Some(slot) = state.slots.take(app.proxies.caller(&extensions, &headers)) else { return busy() };
        Some(slot)
    } else {
        None
    };
    let named = principal.clone().unwrap_or_else(|_| Principal::unrestricted(AgentId::unnamed()));
    let use_case = async |call: &mut Call| {
        principal?;
        let book = BookId::parse(&book)?;
        let Asked { layer, start, limit } = asked(&query.unwrap_or_default(), &headers)?;
        let access = call.may_read(book, layer)?;
        if let Some(slot) = slot {
            let follower = call.follow_feed(&access, start).await?;
            let access = StreamAccess::new(&app, &headers, &access);
            let stream = ChangeStream::new(&app, follower, access, slot, state.stop.clone());
            return Ok(Answer::Stream(Box::new(stream)));
        }
        let page = call.change_feed(&access, start, limit).await?;
        Ok(Answer::Page(Json(rendered::page(access.book(), &page)).into_response()))
    };
    let ended = app.run(CallKind::Changes, named, Operation::Delta, use_case, |_| None).await;
    let mut response = match ended.result {
        Ok(Answer::Page(response)) => response,
        Ok(Answer::Stream(stream)) => streamed(*stream),
        Err(error) => refused(&ended.call, &error),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn streamed(stream: ChangeStream) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // Proxies that buffer answers would hold events back.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, stream.into_body()).into_response()
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|value| value.split(',')).filter_map(|entry| entry.split(';').next());
    types.any(|name| name.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// Parses the query and `Last-Event-ID`.
fn asked(query: &str, headers: &HeaderMap) -> Result<Asked, Refusal> {
    let mut asked = Asked { layer: Layer::Base, start: FeedStart::After(FeedPosition::start()), limit: PAGE };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| Refusal::argument(name, "it is not UTF-8"))?;
        match name {
            "since" => asked.start = start("since", &value)?,
            "user_id" => asked.layer = Layer::of(Some(UserId::parse(&value)?)),
            "limit" => asked.limit = limit(&value)?,
            _ => {
                let near = nearest_name(name, PARAMETERS).map(|near| format!("; did you mean `{near}`?"));
                let why = format!("there is no such parameter{}", near.unwrap_or_default());
                return Err(Refusal::argument(name, why));
            }
        }
    }
    if let Some(last) = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty()) {
        asked.start = start("Last-Event-ID", last.to_str().unwrap_or_default())?;
    }
    Ok(asked)
}

fn start(name: &str, value: &str) -> Result<FeedStart, Refusal> {
    match value {
        "" | "start" => Ok(FeedStart::After(FeedPosition::start())),
        "now" => Ok(FeedStart::Now),
        cursor => {
            let why = "it must be `start`, `now`, or a cursor of this feed: the `next` of a page, or the `cursor` of a change";
            FeedPosition::parse(cursor).map(FeedStart::After).ok_or_else(|| Refusal::argument(name, why))
        }
    }
}

fn limit(value: &str) -> Result<usize, Refusal> {
    let number = value.parse().ok().filter(|number| (1..=PAGE_CHANGES).contains(number));
    number.ok_or_else(|| Refusal::argument("limit", format!("it must be a number from 1 to {PAGE_CHANGES}")))
}

fn refused(call: &Call, error: &Error) -> Response {
    let status = match error {
        Error::Refused(Refusal::BookNotFound(_) | Refusal::NotFound { .. }) => StatusCode::NOT_FOUND,
        Error::Refused(Refusal::Forbidden { .. }) => StatusCode::FORBIDDEN,
        Error::Refused(_) => StatusCode::BAD_REQUEST,
        Error::Broken(fault) => error::status_of(fault),
    };
    let mut response = (status, Json(error::error_body(error, call))).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, AGAIN_IN_SECONDS);
    }
    response
}

/// The answer where there is no place for another stream.
fn busy() -> Response {
    let message = "Too many streams of changes are open, of this caller or in all.";
    let hint = "End one of them, or read pages: the same address without Accept: text/event-stream.";
    let mut response = error_response(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, message, hint);
    response.headers_mut().insert(RETRY_AFTER, AGAIN_IN_SECONDS);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(named: &[(HeaderName, &'static str)]) -> HeaderMap {
        named.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_last_event_wins_over_since_and_what_is_no_cursor_is_refused() {
        let cursor = "1.5.0123456789abcdef0123456789abcdef";
        let at = FeedStart::After(FeedPosition::parse(cursor).unwrap());
        let query = format!("since={cursor}&user_id=eve&limit=7");
        let both = asked(&query, &HeaderMap::new()).unwrap();
        assert_eq!((both.start, both.limit, both.layer.as_str()), (at, 7, "eve"));
        assert_eq!(asked("since=now", &HeaderMap::new()).unwrap().start, FeedStart::Now);
        let last = headers(&[(LAST_EVENT_ID, "1.5.0123456789abcdef0123456789abcdef")]);
        assert_eq!(asked("since=now", &last).unwrap().start, at);
        for bad in [
            "since=1",
            "since=yesterday",
            "limit=0",
            "limit=1001",
            "limit=x",
            "user_id=",
            "sinse=now",
            "a=%ff",
        ] {
            assert!(asked(bad, &HeaderMap::new()).is_err(), "{bad}");
        }
        assert!(asked("", &headers(&[(LAST_EVENT_ID, "7")])).is_err());
    }

    #[test]
    fn a_client_that_takes_events_gets_them_and_any_other_a_page() {
        for (accept, stream) in [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.5", true),
            ("*/*", false),
            ("text/html", false),
        ] {
            assert_eq!(wants_stream(&headers(&[(ACCEPT, accept)])), stream, "{accept}");
        }
    }
}
