//! Requests for pages: who asks, for what; and the run of their calls. Invariant: no page reaches the store
//! but through a call of its caller.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use panaversity_model::audit::Operation;
use panaversity_model::path::Folder;
use panaversity_model::permission::{Permission, Principal};
use panaversity_model::{AgentId, BookId, BookPath, ContentHash, Error, Layer, Refusal, Timestamp, UserId};
use panaversity_service::Call;
use tokio::time::timeout;

use super::layout::{self, WebPage};
use super::problems;
use crate::AppState;
use crate::auth::has_token;
use crate::call::CallKind;
use crate::http::HttpState;
use crate::http::assets::decoded;
use crate::http::middleware::caller_share::CallerShare;
use crate::http::middleware::held_answer::with_memory;
use crate::memory_budget::MemoryPermit;

/// Most bytes of a value in a query.
const MOST_VALUE_BYTES: usize = 4_096;
/// Longest time in which a form arrives.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

/// The query of a URL, or the fields of a form.
#[derive(Debug, Clone, Default)]
pub(super) struct QueryPairs(Vec<(String, String)>);

impl QueryPairs {
    pub(super) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// Reads the fields of a form; `None` if it is too long, or arrives too slowly.
    pub(super) async fn of_form(body: Body, most_bytes: usize) -> Option<Self> {
        let read = timeout(FORM_TIMEOUT, to_bytes(body, most_bytes)).await;
        Some(Self::parse(&read.ok()?.ok()?))
    }

    /// The first value of that name which is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let named = self.0.iter().find(|(given, value)| given == name && !value.is_empty());
        named.map(|(_, value)| value.as_str())
    }

    /// The same, of a bounded length and without control characters.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let Some(value) = self.get(name) else { return Ok(None) };
        if value.len() > MOST_VALUE_BYTES || value.chars().any(char::is_control) {
            return Err(Refusal::argument(name, "it is too long, or has control characters"));
        }
        Ok(Some(value))
    }

    /// The layer that `user` names.
    pub(super) fn layer(&self) -> Result<Layer, Refusal> {
        Ok(Layer::of(self.get("user").map(UserId::parse).transpose()?))
    }

    pub(super) fn book(&self, name: &str) -> Result<Option<BookId>, Refusal> {
        self.get(name).map(BookId::parse).transpose()
    }

    pub(super) fn path(&self, name: &str) -> Result<Option<BookPath>, Refusal> {
        self.get(name).map(BookPath::parse).transpose()
    }

    pub(super) fn folder(&self) -> Result<Option<Folder>, Refusal> {
        self.get("folder").map(Folder::parse).transpose()
    }

    pub(super) fn hash(&self, name: &str) -> Result<Option<ContentHash>, Refusal> {
        let parse =
            |text| ContentHash::from_hex(text).ok_or_else(|| Refusal::argument(name, "it is no hash"));
        self.get(name).map(parse).transpose()
    }

    /// A moment, as RFC 3339, or a day.
    pub(super) fn moment(&self, name: &str) -> Result<Option<Timestamp>, Refusal> {
        let parse = |text: &str| {
            let whole = Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")));
            // The control of browsers for a time has neither seconds nor an offset.
            let whole = whole.or_else(|| Timestamp::parse(&format!("{text}:00Z")));
            whole.ok_or_else(|| {
                Refusal::argument(name, "it must be a day or a time such as 2026-01-31T12:00:00Z")
            })
        };
        self.get(name).map(parse).transpose()
    }

    /// A number counted from 1; 1 if it is not given.
    pub(super) fn number(&self, name: &str) -> Result<usize, Refusal> {
        let parse = |text: &str| text.parse().ok().filter(|number| *number > 0);
        self.get(name).map_or(Ok(1), |text| {
            parse(text).ok_or_else(|| Refusal::argument(name, "it must be a whole number from 1"))
        })
    }
}

/// A request for a page.
pub(super) struct PageRequest {
    pub(super) app: AppState,
    pub(super) state: HttpState,
    principal: Result<Principal, Refusal>,
    /// True if the caller has authenticated by the cookie of a session.
    has_session: bool,
    pub(super) query: QueryPairs,
    /// Path as received.
    path: String,
}

impl FromRequestParts<HttpState> for PageRequest {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Infallible> {
        let mut app = state.app.traced(&parts.headers);
        let host = parts.headers.get(axum::http::header::HOST).and_then(|host| host.to_str().ok());
        app.links = app.links.for_host(host);
        let share = parts.extensions.get::<CallerShare>();
        app.hold = MemoryPermit::new(app.budget.clone(), share.map(|share| share.memory.clone()));
        app.missing_scope = parts.extensions.get().cloned().unwrap_or_default();
        let principal = app.http_principal(&parts.extensions, &parts.headers);
        let has_session = parts.extensions.get::<Principal>().is_some() && !has_token(&parts.headers);
        let query = QueryPairs::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let path = parts.uri.path().to_owned();
        Ok(Self { app, state: state.clone(), principal, has_session, query, path })
    }
}

impl PageRequest {
    /// Segments of the path behind `/ui/books/`: the book, and the rest.
    fn below_books(&self) -> Option<(&str, &str)> {
        let rest = self.path.strip_prefix("/ui/books/")?;
        Some(rest.split_once('/').unwrap_or((rest, "")))
    }

    /// The book that the path names.
    pub(super) fn book(&self) -> Result<BookId, Refusal> {
        BookId::parse(self.below_books().map_or("", |(book, _)| book))
    }

    /// The file that the path names.
    pub(super) fn file(&self) -> Result<BookPath, Refusal> {
        let (_, rest) = self.below_books().unwrap_or_default();
        let raw = rest.split_once('/').map_or("", |(_, path)| path);
        let unreadable = || Refusal::InvalidPath { path: raw.to_owned(), why: "it is not UTF-8".to_owned() };
        BookPath::parse(&decoded(raw).ok_or_else(unreadable)?)
    }

    /// The last segment of the path.
    pub(super) fn last_segment(&self) -> Result<String, Refusal> {
        let raw = self.path.rsplit_once('/').map_or("", |(_, last)| last);
        let text = percent_encoding::percent_decode_str(raw).decode_utf8();
        text.map(Into::into).map_err(|_| Refusal::not_found("There is nothing at this path"))
    }

    /// Runs the call of a page and answers with it. `name` is that of the log.
    pub(super) async fn show(
        &self,
        name: &'static str,
        operation: Operation,
        use_case: impl AsyncFnOnce(&mut Call) -> Result<WebPage, Error>,
    ) -> Response {
        let made = self.answer(name, operation, async |call: &mut Call| {
            let page = use_case(call).await?;
            Ok(layout::respond(StatusCode::OK, &WebPage { signed_in: self.signed_in(), ..page }))
        });
        made.await
    }

    /// Runs a call that gives any answer.
    pub(super) async fn answer(
        &self,
        name: &'static str,
        operation: Operation,
        use_case: impl AsyncFnOnce(&mut Call) -> Result<Response, Error>,
    ) -> Response {
        let caller = self.principal.clone();
        let caller = caller.unwrap_or_else(|_| Principal::unrestricted(AgentId::unnamed()));
        let use_case = async |call: &mut Call| {
            // A caller without a valid name is refused, and the refusal recorded.
            self.principal.clone()?;
            use_case(call).await
        };
        let ended = self.app.run(CallKind::Page(name), caller, operation, use_case, |_| None).await;
        let answer =
            ended.result.unwrap_or_else(|error| problems::respond(&error, &ended.call, self.signed_in()));
        with_memory(answer, &self.app.hold)
    }

    /// The agent that has signed in by this browser.
    fn signed_in(&self) -> Option<AgentId> {
        self.principal.as_ref().ok().filter(|_| self.has_session).map(|principal| principal.agent.clone())
    }
}

/// True if the caller may change a layer of a book.
pub(super) fn may_write(call: &Call, book: &BookId, layer: &Layer) -> bool {
    let principal = &call.caller.principal;
    principal.require(Permission::Write, Some(book)).is_ok()
        && principal.require_layer(Permission::Write, Some(book), layer).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_query_are_parsed_or_refused() {
        let query = QueryPairs::parse(b"a=&a=x+y&user=ann&at=2026-01-31&from=0&late=2026-01-31T12:30");
        assert_eq!(query.get("a"), Some("x y"));
        assert_eq!(query.layer().unwrap().as_str(), "ann");
        assert_eq!(query.moment("at").unwrap(), Timestamp::parse("2026-01-31T00:00:00Z"));
        assert_eq!(query.moment("late").unwrap(), Timestamp::parse("2026-01-31T12:30:00Z"));
        assert!(query.number("from").is_err());
        assert_eq!(query.number("none").unwrap(), 1);
        assert!(QueryPairs::parse(b"q=a%0ab").text("q").is_err());
        assert!(QueryPairs::parse(b"user=__base__").layer().is_err());
    }
}
