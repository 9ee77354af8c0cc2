//! `subscriptions/listen`: tells when pages change, by `notifications/resources/updated`. Keeps R5: it stands
//! on the feed of the base, as resources do, so no overlay is told of.
//!
//! 1. Of the requested URIs those that name pages are accepted, up to [`MOST_URIS`] of [`MOST_BOOKS`]. rmcp
//!    acknowledges them before the caller is looked at, so the acknowledgment depends on nothing that is
//!    stored.
//! 2. A place among the streams of the caller is taken, as for `GET /books/{book}/changes`.
//! 3. Each book that is named is a call: authorized and recorded. One that is refused ends the subscription.
//! 4. The feed is followed from [`BEFORE`] on: what changes after the acknowledgment has arrived is told, and
//!    perhaps a change of the last moments before it.
//! 5. It ends as a stream of changes does: with its caller's token, or before the server stops.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::request::Parts;
use futures::stream::{self, BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use panaversity_model::audit::Operation;
use panaversity_model::feed::FeedPage;
use panaversity_model::permission::Principal;
use panaversity_model::{BookId, BookPath, Error, ErrorCode, Fault, Layer, Refusal};
use panaversity_service::Call;
use panaversity_service::feed::{FeedFollower, FeedStart};
use rmcp::ErrorData;
use rmcp::model::{ErrorCode as RpcErrorCode, SubscriptionFilter};
use rmcp::service::SubscriptionContext;
use serde_json::json;
use tokio::time::{Instant, interval_at};

use super::resources::place_of;
use crate::AppState;
use crate::call::CallKind;
use crate::error;
use crate::http::StreamAccess;
use crate::http::middleware::auth::MissingScope;
use crate::mcp::message::INVALID_REQUEST;

/// Most URIs of one subscription.
const MOST_URIS: usize = 1_000;
/// Most books of one subscription: each is followed, and its caller checked, for itself.
const MOST_BOOKS: usize = 16;
/// Time before a subscription from which on changes are told.
const BEFORE: Duration = Duration::from_secs(5);

/// URIs of subscribed pages, by the page.
type Subscribed = HashMap<(BookId, BookPath), Vec<String>>;
/// Pages of the feeds of the subscribed books.
type Feeds = SelectAll<BoxStream<'static, (BookId, Result<FeedPage, Fault>)>>;

/// Step 1.
pub(super) fn accepted(requested: &SubscriptionFilter) -> SubscriptionFilter {
    let mut accepted = SubscriptionFilter::new();
    let mut books = BTreeSet::new();
    let is_accepted = |uri: &&String| {
        let Ok((book, _)) = place_of(uri) else { return false };
        books.contains(&book) || (books.len() < MOST_BOOKS && books.insert(book))
    };
    let uris = requested.resource_subscriptions.iter().flatten().filter(is_accepted);
    let uris: Vec<String> = uris.take(MOST_URIS).cloned().collect();
    accepted.resource_subscriptions = (!uris.is_empty()).then_some(uris);
    accepted
}

/// Steps 2 to 5.
pub(super) async fn listen(
    app: &AppState,
    principal: Result<Principal, Refusal>,
    subscription: &SubscriptionContext,
) -> Result<(), ErrorData> {
    let http = subscription.request_context().extensions.get::<Parts>();
    // Over stdio there is one caller.
    let _slot = match http.map(|parts| app.proxies.caller(&parts.extensions, &parts.headers)) {
        Some(caller) => Some(app.streams.take(caller).ok_or_else(busy)?),
        None => None,
    };
    let mut subscribed = Subscribed::new();
    for uri in subscription.accepted().resource_subscriptions.iter().flatten() {
        if let Ok(page) = place_of(uri) {
            subscribed.entry(page).or_default().push(uri.clone());
        }
    }
    let none = HeaderMap::new();
    let headers = http.map_or(&none, |parts| &parts.headers);
    let (mut feeds, mut accesses) = (Feeds::new(), Vec::new());
    for book in subscribed.keys().map(|(book, _)| book.clone()).collect::<BTreeSet<_>>() {
        let (follower, access) = follow(app, principal.clone(), book.clone(), headers).await?;
        feeds.push(pages(book, follower));
        accesses.push(access);
    }
    let every = app.limits.stream_checked_every;
    let mut checks = interval_at(Instant::now() + every, every);
    loop {
        let next = async {
            match feeds.next().await {
                Some(next) => next,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = subscription.cancelled() => return Ok(()),
            () = app.draining.cancelled() => return Ok(()),
            _ = checks.tick() => {
                for access in &accesses {
                    if !access.is_valid().await {
                        return Ok(());
                    }
                }
            }
            (book, page) = next => {
                let page = page.map_err(|fault| ended(&fault))?;
                for uri in changed(&subscribed, &book, &page) {
                    if subscription.sink().notify_resource_updated(uri).await.is_err() {
                        // The client is gone.
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Step 3.
async fn follow(
    app: &AppState,
    principal: Result<Principal, Refusal>,
    book: BookId,
    headers: &HeaderMap,
) -> Result<(FeedFollower, StreamAccess), ErrorData> {
    let named = principal.clone().unwrap_or_else(|_| super::dispatch::unnamed());
    let use_case = async |call: &mut Call| {
        principal?;
        let access = call.may_read(book, Layer::Base)?;
        let follower = call.follow_feed(&access, FeedStart::Before(BEFORE)).await?;
        Ok((follower, StreamAccess::new(app, headers, &access)))
    };
    // The answer has begun, so a scope that is missing is no longer told by its status.
    let app = AppState { missing_scope: MissingScope::default(), ..app.clone() };
    let ended = app.run(CallKind::Subscription, named, Operation::Delta, use_case, |_| None).boxed().await;
    ended.result.map_err(|error| {
        let body = error::error_body(&error, &ended.call);
        let message = body["error"]["message"].as_str().unwrap_or_default().to_owned();
        let code = match error {
            Error::Refused(_) => RpcErrorCode::INVALID_PARAMS,
            Error::Broken(_) => RpcErrorCode::INTERNAL_ERROR,
        };
        ErrorData::new(code, message, Some(body["error"].clone()))
    })
}

fn pages(book: BookId, follower: FeedFollower) -> BoxStream<'static, (BookId, Result<FeedPage, Fault>)> {
    stream::unfold((book, follower), async |(book, mut follower)| {
        let page = follower.next().await;
        Some(((book.clone(), page), (book, follower)))
    })
    .boxed()
}

/// The subscribed URIs of the pages that change sets have changed, each once.
fn changed<'a>(subscribed: &'a Subscribed, book: &BookId, page: &FeedPage) -> BTreeSet<&'a str> {
    let files = page.items.iter().flat_map(|item| &item.files);
    let uris = files.filter_map(|file| subscribed.get(&(book.clone(), file.path.clone())));
    uris.flatten().map(String::as_str).collect()
}

fn busy() -> ErrorData {
    let hint = "End one of the subscriptions or streams of changes that are open";
    let data = json!({ "code": ErrorCode::RateLimited.as_str(), "hint": hint });
    let message = "Too many subscriptions are open, of this caller or in all";
    ErrorData::new(RpcErrorCode(INVALID_REQUEST), message, Some(data))
}

fn ended(fault: &Fault) -> ErrorData {
    tracing::warn!(target: "panaversity_fs.tools", error = %fault, "a subscription has ended");
    let data = json!({ "code": fault.kind.code().as_str(), "hint": "Subscribe again in a few seconds" });
    ErrorData::internal_error("The feed of changes can't be read", Some(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_follows_pages_of_so_many_books_and_names_what_it_accepted() {
        let uri = |book: usize, page: usize| format!("book://book-{book}/content/{page}.md");
        let asked = (0..100).flat_map(|book| [uri(book, 1), uri(book, 2), "file:///etc/passwd".to_owned()]);
        let mut filter = SubscriptionFilter::new();
        filter.resource_subscriptions = Some(asked.chain([uri(0, 3)]).collect());
        let accepted = accepted(&filter).resource_subscriptions.unwrap();
        let first = (0..MOST_BOOKS).flat_map(|book| [uri(book, 1), uri(book, 2)]);
        assert_eq!(accepted, first.chain([uri(0, 3)]).collect::<Vec<_>>());
    }
}
