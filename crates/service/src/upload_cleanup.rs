//! Cleanup of uploads: removes received bytes of uploads that are over, and entries that belong to no
//! upload. Bytes with which an open upload may still be completed are never removed.
//!
//! # A round
//! 1. An upload is over an hour after it has expired, completed or not: its URL is valid until it
//!    expires, and a request begun before may arrive a little later. Its received bytes are removed, and
//!    its row notes that.
//! 2. An entry of the upload store or a staged file older than a day is removed unless its upload's row says
//!    that bytes may still be there: servers that crashed left it.
//!
//! `gc` deletes the rows of uploads that expired longer ago than the retention.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use panaversity_model::upload::UploadEntry;
use panaversity_model::{Fault, Timestamp};

use crate::limits::TaskTimes;
use crate::service::Service;

/// Time after the expiry of an upload during which bytes may still arrive.
const LATE_BY: Duration = Duration::from_hours(1);
/// Minimum age of a leftover that belongs to no upload.
const LEFT_FOR: Duration = Duration::from_hours(24);
/// Interval between rounds of the background task.
const ROUND_EVERY: Duration = Duration::from_mins(5);
/// Uploads read in one statement.
const AT_ONCE: usize = 64;
/// Concurrent removals.
const SIDE_BY_SIDE: usize = 8;

impl Service {
    /// Runs one round; returns the number of uploads and leftovers found, all of which are removed
    /// unless it is a dry run. An upload that can't be removed is left to the next round.
    pub async fn remove_abandoned(&self, dry_run: bool) -> Result<u64, Fault> {
        let now = self.inner.journal.now().await?;
        Ok(self.clear_over(now, dry_run).await? + self.sweep_unknown_uploads(now, dry_run).await?)
    }

    /// Deletes the rows of cleared uploads that expired no later than this.
    pub(crate) async fn forget_uploads(&self, unused_since: Timestamp) -> Result<(), Fault> {
        self.inner.journal.forget_uploads(unused_since).await.map(drop)
    }

    /// The background task; runs until its future is dropped.
    pub async fn run_upload_cleanup(&self, times: TaskTimes) {
        tokio::time::sleep(times.first_cleanup).await;
        loop {
            if let Err(fault) = self.remove_abandoned(false).await {
                tracing::warn!(error = %fault, "what is left of uploads could not be removed; it is tried again");
            }
            tokio::time::sleep(ROUND_EVERY).await;
        }
    }

    /// Step 1: clears uploads that are over.
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
                .map(|id| async move { (id, self.inner.upload_store.discard(id).await) })
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

    /// Step 2: removes entries that belong to no upload.
    async fn sweep_unknown_uploads(&self, now: Timestamp, dry_run: bool) -> Result<u64, Fault> {
        let (mut listing, mut count) = (self.inner.upload_store.list_arrived(), 0);
        while let Some(page) = listing.try_next().await? {
            let is_old = |seen: &UploadEntry| seen.put_at.is_some_and(|at| at <= now.before(LEFT_FOR));
            let old: Vec<_> = page.into_iter().filter(is_old).collect();
            let ids: Vec<_> = old.iter().filter_map(|seen| seen.id).collect();
            let wanted = self.inner.journal.uncleared(&ids).await?;
            for seen in old.iter().filter(|seen| seen.id.is_none_or(|id| !wanted.contains(&id))) {
                if !dry_run {
                    self.inner.upload_store.sweep(seen).await?;
                }
                count += 1;
            }
        }
        Ok(count)
    }
}
