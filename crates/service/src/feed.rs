//! The feed of changes for one caller: a page of it, or all that comes from a position on. Keeps R5: a view
//! shows the base and at most its owner's overlay; see [`panaversity_model::feed`] for the order.
//!
//! # Following
//! 1. A follower reads page after page until it has seen all there is.
//! 2. Then it waits for a signal that the book may have changed, for 2 seconds at most, because signals may
//!    be lost; and for 20 ms at least, so that many commits cost one reading.
//! 3. While sets are held back, because one may still come before them, it looks again soon, at first after
//!    20 ms and then less and less often.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use panaversity_model::feed::{FeedPage, FeedPosition};
use panaversity_model::{BookId, Error, Fault, View};

use crate::authorize::ReadAccess;
use crate::call::Call;
use crate::limits::{FEED_PAUSE, FEED_POLL};
use crate::service::Service;

/// Most change sets on a page.
pub const PAGE_CHANGES: usize = 1_000;
/// Change sets that a follower reads at once.
const FOLLOWED_CHANGES: usize = 20;

/// Beginning of a reading of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedStart {
    /// After a position; [`FeedPosition::start`] is before all change sets.
    After(FeedPosition),
    /// With the sets that are committed from now on. One of the last moments may be among them.
    Now,
    /// With those that were committed so long ago.
    Before(Duration),
}

/// Follows the feed. It holds no connection while it waits.
pub struct FeedFollower {
    service: Service,
    book: BookId,
    view: View,
    position: FeedPosition,
    /// Most change sets of a page.
    page: usize,
    wakes: BoxStream<'static, ()>,
    /// Whether there may be sets to read.
    is_due: bool,
    /// Whether the last page left out sets.
    is_held_back: bool,
    /// Longest time of the next wait.
    wait: Duration,
}

impl Call {
    /// Up to `limit` change sets, in the order of the feed.
    pub async fn change_feed(
        &self,
        access: &ReadAccess,
        start: FeedStart,
        limit: usize,
    ) -> Result<FeedPage, Error> {
        self.service.require_book(access.book()).await?;
        let after = self.service.position_of(start).await?;
        let limit = limit.clamp(1, PAGE_CHANGES);
        Ok(self.service.inner.journal.feed(access.book(), &access.view(), after, limit).await?)
    }

    /// A follower of the feed. It reads nothing yet.
    pub async fn follow_feed(&self, access: &ReadAccess, start: FeedStart) -> Result<FeedFollower, Error> {
        self.service.require_book(access.book()).await?;
        let position = self.service.position_of(start).await?;
        Ok(self.service.follower(access.book(), access.view(), position, FOLLOWED_CHANGES))
    }
}

impl Service {
    /// A follower of the base of a book, for a webhook, which an operator has permitted. It reads nothing yet, and
    /// then up to `page` change sets at once.
    pub fn follow_base(&self, book: &BookId, after: FeedPosition, page: usize) -> FeedFollower {
        self.follower(book, View::base(), after, page)
    }

    fn follower(&self, book: &BookId, view: View, position: FeedPosition, page: usize) -> FeedFollower {
        FeedFollower {
            service: self.clone(),
            book: book.clone(),
            view,
            position,
            page,
            wakes: self.inner.journal.wakes(book),
            is_due: true,
            is_held_back: false,
            wait: FEED_POLL,
        }
    }

    async fn position_of(&self, start: FeedStart) -> Result<FeedPosition, Fault> {
        match start {
            FeedStart::After(position) => Ok(position),
            FeedStart::Now => self.inner.journal.feed_end().await,
            FeedStart::Before(time) => {
                let end = self.inner.journal.feed_end().await?;
                Ok(FeedPosition::before(end.at.before(time)))
            }
        }
    }
}

impl FeedFollower {
    /// The next page with change sets, as soon as there are any. If the future is dropped, nothing is lost.
    pub async fn next(&mut self) -> Result<FeedPage, Fault> {
        loop {
            if !self.is_due {
                tokio::time::sleep(FEED_PAUSE).await;
                // Where signals have ended, the time alone wakes.
                let signal = async {
                    if self.wakes.next().await.is_none() {
                        std::future::pending::<()>().await;
                    }
                };
                let _ = tokio::time::timeout(self.wait, signal).await;
                self.is_due = true;
            }
            let journal = &self.service.inner.journal;
            let page = journal.feed(&self.book, &self.view, self.position, self.page).await?;
            (self.position, self.is_due) = (page.next, page.has_more);
            let was_held_back = std::mem::replace(&mut self.is_held_back, page.is_held_back);
            self.wait = match (page.is_held_back, was_held_back) {
                (true, true) => (self.wait * 2).min(FEED_POLL),
                (true, false) => FEED_PAUSE,
                (false, _) => FEED_POLL,
            };
            if !page.items.is_empty() {
                return Ok(page);
            }
        }
    }

    /// The position from which it reads on.
    pub fn position(&self) -> FeedPosition {
        self.position
    }
}
