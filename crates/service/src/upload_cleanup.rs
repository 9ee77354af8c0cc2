//! What is left of uploads goes away: what has arrived of those that are over, and what nobody
//! knows any more. Nothing that an open upload may still be completed with is touched.
//!
//! # A round
//! 1. An upload is over an hour after it has expired, whether it was completed or not: a URL lives
//!    until it expires, and what was begun before that may arrive a little later. What has arrived
//!    of it is removed, and that is noted in its row.
//! 2. What lies in the inbox or is staged for more than a day, and belongs to no upload whose row
//!    says that something of it may lie there, is removed: servers that died left it.
//!
//! Rows go with `gc`, when their upload expired longer ago than the retention.

use std::time::Duration;

use futures::StreamExt;
use panaversity_model::upload::UploadEntry;
use panaversity_model::{Fault, Timestamp};

use crate::service::Service;

/// How long after it has expired an upload may still arrive.
const LATE_BY: Duration = Duration::from_hours(1);
/// How old a leftover must be that belongs to no upload.
const LEFT_FOR: Duration = Duration::from_hours(24);
/// How long after its start the background task makes its first round, and how often then.
const FIRST_ROUND: Duration = Duration::from_secs(10);
const ROUND_EVERY: Duration = Duration::from_mins(5);
/// Uploads looked at in one go.
const AT_ONCE: usize = 64;
/// Removals side by side.
const SIDE_BY_SIDE: usize = 8;

impl Service {
    /// One round; gives how many uploads and leftovers there were, all of which are gone unless
    /// it is a dry run. What could not be removed is left to the next round.
    pub async fn remove_abandoned(&self, dry_run: bool) -> Result<u64, Fault> {
        let now = self.inner.journal.now().await?;
        Ok(self.clear_over(now, dry_run).await? + self.sweep_unknown_uploads(now, dry_run).await?)
    }

    /// Lets the rows of cleared uploads go that expired that long ago.
    pub(crate) async fn forget_uploads(&self, unused_since: Timestamp) -> Result<(), Fault> {
        self.inner.journal.forget_uploads(unused_since).await.map(drop)
    }

    /// The background task; runs until it is dropped.
    pub async fn run_upload_cleanup(&self) {
        tokio::time::sleep(FIRST_ROUND).await;
        loop {
            if let Err(fault) = self.remove_abandoned(false).await {
                tracing::warn!(error = %fault, "what is left of uploads could not be removed; it is tried again");
            }
            tokio::time::sleep(ROUND_EVERY).await;
        }
    }

    /// Step 1.
    async fn clear_over(&self, now: Timestamp, dry_run: bool) -> Result<u64, Fault> {
        let (mut after, mut count) = (None, 0);
        loop {
            let over = self.inner.journal.uploads_over(now.before(LATE_BY), after, AT_ONCE).await?;
            let Some(last) = over.last() else { return Ok(count) };
            after = Some(*last);
            if dry_run {
                count += over.len() as u64;
                continue;
            }
            let removed = futures::stream::iter(over)
                .map(|id| async move { (id, self.inner.inbox.discard(id).await) })
                .buffer_unordered(SIDE_BY_SIDE)
                .collect::<Vec<_>>()
                .await;
            let mut cleared = Vec::with_capacity(removed.len());
            for (id, result) in removed {
                match result {
                    Ok(()) => cleared.push(id),
                    Err(fault) => {
                        tracing::warn!(upload = %id, error = %fault, "an upload could not be removed");
                    }
                }
            }
            self.inner.journal.clear_uploads(&cleared).await?;
            count += cleared.len() as u64;
        }
    }

    /// Step 2.
    async fn sweep_unknown_uploads(&self, now: Timestamp, dry_run: bool) -> Result<u64, Fault> {
        let (mut listing, mut count) = (self.inner.inbox.list_arrived(), 0);
        while let Some(page) = listing.next().await? {
            let is_old = |seen: &UploadEntry| seen.put_at.is_some_and(|at| at <= now.before(LEFT_FOR));
            let old: Vec<_> = page.into_iter().filter(is_old).collect();
            let ids: Vec<_> = old.iter().filter_map(|seen| seen.id).collect();
            let wanted = self.inner.journal.uncleared(&ids).await?;
            for seen in old.iter().filter(|seen| seen.id.is_none_or(|id| !wanted.contains(&id))) {
                if !dry_run {
                    self.inner.inbox.sweep(seen).await?;
                }
                count += 1;
            }
        }
        Ok(count)
    }
}
