//! Change sets as server-sent events. Invariant: a stream sends one set at a time, when its client has taken
//! those before; it goes on no longer than its caller may read.
//!
//! 1. It begins with the time after which a client should connect again, and the cursor of its beginning, so
//!    that a client that began with `now` misses nothing if it loses the connection before the first event.
//! 2. An event is a change set; its id is the cursor from which a client goes on.
//! 3. When there is nothing to send for some time, a comment tells that the connection works.
//! 4. Every [`stream_checked_every`](crate::limits::ServerLimits::stream_checked_every) the caller is
//!    identified again: a stream whose token has expired, was revoked or reads this book no more ends.
//! 5. It ends when the server is about to stop, or can't read the feed. The client connects again and goes on
//!    by the id of the last event.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::{HeaderMap, HeaderName};
use futures::stream;
use panaversity_model::feed::FeedItem;
use panaversity_model::permission::Permission;
use panaversity_model::{BookId, Layer};
use panaversity_service::authorize::ReadAccess;
use panaversity_service::feed::FeedFollower;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::rendered;
use super::slots::StreamSlot;
use crate::AppState;
use crate::auth::Authenticator;

/// Milliseconds after which a client should connect again.
const RETRY_MS: u32 = 2_000;
const HEARTBEAT: &[u8] = b":\n\n";
/// Headers by which a caller is identified.
const CREDENTIALS: [HeaderName; 3] = [AUTHORIZATION, HeaderName::from_static("x-api-key"), COOKIE];

/// A stream of changes of one client.
pub(super) struct ChangeStream {
    app: AppState,
    follower: FeedFollower,
    access: StreamAccess,
    stop: CancellationToken,
    has_begun: bool,
    waiting: VecDeque<FeedItem>,
    checked_at: Instant,
    sent_at: Instant,
    _slot: StreamSlot,
}

/// What a caller must still be permitted while its stream goes on.
pub(crate) struct StreamAccess {
    auth: Option<Authenticator>,
    credentials: HeaderMap,
    book: BookId,
    layer: Layer,
}

impl StreamAccess {
    /// The access of a request with these headers.
    pub(crate) fn new(app: &AppState, headers: &HeaderMap, access: &ReadAccess) -> Self {
        let given = CREDENTIALS.into_iter().flat_map(|name| {
            let values: Vec<_> = headers.get_all(&name).iter().cloned().collect();
            values.into_iter().map(move |value| (name.clone(), value))
        });
        let credentials = given.collect();
        let (book, layer) = (access.book().clone(), access.layer().clone());
        Self { auth: app.auth.clone(), credentials, book, layer }
    }

    /// Whether the caller may still read.
    pub(crate) async fn is_valid(&self) -> bool {
        let Some(auth) = &self.auth else { return true };
        match auth.authenticate_browser(&self.credentials).await {
            Ok(None) => true,
            Ok(Some(principal)) => {
                let (read, book) = (Permission::Read, Some(&self.book));
                principal.require(read, book).and(principal.require_layer(read, book, &self.layer)).is_ok()
            }
            Err(_) => false,
        }
    }
}

impl ChangeStream {
    pub(super) fn new(
        app: &AppState,
        follower: FeedFollower,
        access: StreamAccess,
        slot: StreamSlot,
        stop: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        Self {
            app: app.clone(),
            follower,
            access,
            stop,
            has_begun: false,
            waiting: VecDeque::new(),
            checked_at: now,
            sent_at: now,
            _slot: slot,
        }
    }

    /// The body, which reads when the client has taken what was sent.
    pub(super) fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, async |mut stream| {
            let chunk = stream.next_chunk().await?;
            stream.sent_at = Instant::now();
            Some((Ok::<_, Infallible>(chunk), stream))
        }))
    }

    async fn next_chunk(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.has_begun, true) {
            return Some(format!("retry: {RETRY_MS}\nid: {}\n\n", self.follower.position()).into());
        }
        let (draining, limits) = (self.app.draining.clone(), self.app.limits);
        loop {
            let check_at = self.checked_at + limits.stream_checked_every;
            if check_at <= Instant::now() {
                if !self.access.is_valid().await {
                    return None;
                }
                self.checked_at = Instant::now();
                continue;
            }
            if draining.is_cancelled() || self.stop.is_cancelled() {
                return None;
            }
            if let Some(item) = self.waiting.pop_front() {
                return Some(event(&item));
            }
            tokio::select! {
                biased;
                () = draining.cancelled() => return None,
                () = self.stop.cancelled() => return None,
                read = self.follower.next() => match read {
                    Ok(page) => self.waiting.extend(page.items),
                    Err(fault) => {
                        tracing::warn!(target: "panaversity_fs.http", error = %fault, "a stream of changes has ended");
                        return None;
                    }
                },
                () = sleep_until(check_at) => {}
                () = sleep_until(self.sent_at + limits.stream_heartbeat) => return Some(Bytes::from_static(HEARTBEAT)),
            }
        }
    }
}

/// One event. JSON has no line breaks, so its data is one line.
fn event(item: &FeedItem) -> Bytes {
    format!("id: {}\nevent: change\ndata: {}\n\n", item.position, rendered::change(item)).into()
}
