//! Publisher: brings the tree up to date with the journal, by the protocol in the model's `publication`.
//! Keeps the last part of R2: once the publisher is idle, the tree matches the journal.
//!
//! A large file may take minutes, so a semaphore bounds how many are in progress. A large file without a
//! permit is returned to the backlog and claimed again after all paths that were not returned; the
//! background publisher runs each large file in a task of its own. So large files delay no others.

use std::time::Duration;

use futures::StreamExt;
use panaversity_model::Fault;
use panaversity_model::blob::StoredBlob;
use panaversity_model::fault::FaultKind;
use panaversity_model::ids::LeaseId;
use panaversity_model::layer::Layer;
use panaversity_model::precondition::TargetContent;
use panaversity_model::publication::{Attempt, Publication, Settled, lease_for};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::JoinSet;

use crate::blob_reader::WHOLE_BYTES;
use crate::limits::TaskTimes;
use crate::service::Service;

/// Longest time that a request waits for its own change to reach the tree.
const IN_REQUEST: Duration = Duration::from_millis(250);
/// Interval at which the background publisher looks for paths that nobody is publishing.
const PUBLISHER_EVERY: Duration = Duration::from_secs(1);
/// Interval between clean points, which make published files durable.
const CLEAN_POINT_EVERY: Duration = Duration::from_secs(30);
/// Paths claimed in one statement.
const CLAIMED_AT_ONCE: usize = 64;
/// Paths marked synced in one statement by a clean point.
const CLEANED_AT_ONCE: usize = 10_000;
/// Concurrent publications of one claim.
const SIDE_BY_SIDE: usize = 8;

/// Age at which a lease is no longer used: the put might end after the lease does.
const LEASE_USED_FOR: Duration = Duration::from_secs(5);

/// Publication of a change that was just committed.
pub(crate) struct PendingPublish {
    pub(crate) publication: Publication,
    /// Content to publish; `Present` without bytes: they are read from the journal.
    pub(crate) content: TargetContent<Option<Vec<u8>>>,
}

/// A large file with its permit.
struct Large {
    stored: StoredBlob,
    _permit: OwnedSemaphorePermit,
}

/// Result of reading and publishing a path's content.
enum Read {
    /// The content was put or removed.
    Put,
    /// The file is large and has not been put yet.
    Large(Large),
    /// The file is large, and no permit is free.
    NoPermit,
}

/// Outcome of publishing a claimed path.
enum PublishOutcome {
    Done,
    /// The file is large and needs a task of its own.
    Large(Publication, Large),
    /// The path was returned to the backlog until a permit is free.
    NoPermit,
    Failed(Publication, Fault),
}

impl Service {
    /// Publishes the files of a commit in the background, and waits a short while for it.
    ///
    /// A semaphore bounds the publications in progress, so that bytes do not pile up while the storage
    /// hangs; the rest is left to the background publisher.
    pub(crate) async fn publish_fresh(&self, all: Vec<PendingPublish>, since: Duration) {
        let mut under_way = Vec::with_capacity(all.len());
        for PendingPublish { publication, content } in all {
            let (service, permit) = (self.clone(), self.inner.publications.clone().try_acquire_owned());
            let Ok(permit) = permit else {
                tokio::spawn(async move {
                    service.acknowledge(&publication, Attempt::Failed).await;
                    service.inner.backlog.notify_one();
                });
                continue;
            };
            let (reached, wait) = oneshot::channel();
            tokio::spawn(async move {
                service.publish_one(publication, content, since, reached).await;
                drop(permit);
            });
            under_way.push(wait);
        }
        let all_reached = futures::future::join_all(under_way);
        let _ = tokio::time::timeout(IN_REQUEST, all_reached).await;
    }

    /// Publishes one path; signals `reached` after the attempt to put it, before the path is settled.
    async fn publish_one(
        &self,
        publication: Publication,
        content: TargetContent<Option<Vec<u8>>>,
        since: Duration,
        reached: oneshot::Sender<()>,
    ) {
        let put = match content {
            TargetContent::Absent => self.put_or_remove(&publication, None, since).await,
            TargetContent::Present(Some(bytes)) => {
                self.put_or_remove(&publication, Some(&bytes), since).await
            }
            TargetContent::Present(None) => match self.read_and_put(&publication, since).await {
                Ok(Read::Put) => Ok(()),
                Ok(Read::Large(large)) => self.put_large(&publication, large).await,
                Ok(Read::NoPermit) => return self.acknowledge(&publication, Attempt::Failed).await,
                Err(fault) => Err(fault),
            },
        };
        let _ = reached.send(());
        if let Err(fault) = &put {
            warn_of(&publication, fault);
        }
        self.acknowledge(&publication, attempt_of(&put)).await;
    }

    /// Publishes the current content of a claimed path. After a failure the lease is kept until it ends,
    /// so that the next claim returns other paths: a path that can't be published delays no others.
    async fn publish_claimed(&self, publication: Publication, since: Duration) -> PublishOutcome {
        match self.read_and_put(&publication, since).await {
            Ok(Read::Put) => {
                self.acknowledge(&publication, Attempt::Done).await;
                PublishOutcome::Done
            }
            Ok(Read::Large(large)) => PublishOutcome::Large(publication, large),
            Ok(Read::NoPermit) => {
                self.acknowledge(&publication, Attempt::Failed).await;
                PublishOutcome::NoPermit
            }
            Err(fault) => {
                if fault.outcome_unknown {
                    self.acknowledge(&publication, Attempt::Unknown).await;
                }
                PublishOutcome::Failed(publication, fault)
            }
        }
    }

    /// Publishes a claimed large file; returns whether that succeeded. Its lease is long, so after a
    /// failure the path is returned to the backlog, unless the bytes are damaged: another attempt would
    /// only read them again.
    async fn publish_large(&self, publication: Publication, large: Large) -> bool {
        let put = self.put_large(&publication, large).await;
        if let Err(fault) = &put {
            warn_of(&publication, fault);
        }
        if !put.as_ref().is_err_and(|fault| fault.kind == FaultKind::Corrupt) {
            self.acknowledge(&publication, attempt_of(&put)).await;
        }
        put.is_ok()
    }

    async fn read_and_put(&self, publication: &Publication, since: Duration) -> Result<Read, Fault> {
        let bytes = match self.inner.journal.current_file(&publication.key).await? {
            Some(found) if found.blob.blob.size > WHOLE_BYTES && self.is_shown(publication) => {
                return Ok(match self.inner.large.clone().try_acquire_owned() {
                    Ok(permit) => Read::Large(Large { stored: found.blob, _permit: permit }),
                    Err(_) => Read::NoPermit,
                });
            }
            // On an error the path stays pending, and the next attempt reads the then current content.
            Some(found) => Some(self.bytes_of(&found.blob).await?.ok_or_else(|| {
                Fault::storage("the file was changed, and its bytes deleted, while it was published")
            })?),
            None => None,
        };
        self.put_or_remove(publication, bytes.as_deref(), since).await.map(|()| Read::Put)
    }

    /// Puts a large file. That takes longer than a lease, so the lease is extended first.
    async fn put_large(&self, publication: &Publication, large: Large) -> Result<(), Fault> {
        let (size, journal) = (large.stored.blob.size, &self.inner.journal);
        let since = self.inner.clock.monotonic();
        if !journal.extend_lease(publication, lease_for(size)).await? {
            return Err(Fault::storage("its lease was lost before it was begun"));
        }
        self.check_lease(since)?;
        let parts = self.parts_of(large.stored, 0..size);
        self.inner.tree.put_parts(&publication.key, parts, size).await
    }

    /// True if the layer may be published. Files published while it was allowed are still removed.
    fn is_shown(&self, publication: &Publication) -> bool {
        publication.key.layer == Layer::Base || self.inner.limits.publish_overlays
    }

    /// Refuses a lease that is too old; `since` is a time before the lease began.
    fn check_lease(&self, since: Duration) -> Result<(), Fault> {
        if self.inner.clock.monotonic().saturating_sub(since) >= LEASE_USED_FOR {
            return Err(Fault::storage("its turn came too late for its lease"));
        }
        Ok(())
    }

    /// Puts the bytes, or removes the path for `None`; `since` is a time before the lease began.
    async fn put_or_remove(
        &self,
        publication: &Publication,
        bytes: Option<&[u8]>,
        since: Duration,
    ) -> Result<(), Fault> {
        self.check_lease(since)?;
        match bytes {
            Some(_) if !self.is_shown(publication) => Ok(()),
            Some(bytes) => self.inner.tree.put(&publication.key, bytes).await,
            None => self.inner.tree.remove(&publication.key).await,
        }
    }

    /// Settles a publication. A path that changed meanwhile wakes the background publisher.
    async fn acknowledge(&self, publication: &Publication, attempt: Attempt) {
        match self.inner.journal.acknowledge(publication, attempt).await {
            Ok(Settled::Pending) if attempt == Attempt::Done => self.inner.backlog.notify_one(),
            Ok(Settled::Published | Settled::Pending) => {}
            // The lease expires, and a publisher claims the path again.
            Err(fault) => {
                tracing::warn!(path = %publication.key.path, error = %fault, "a publication was not settled");
            }
        }
    }

    /// Publishes all paths that are pending and not leased; returns how many it tried and how many of
    /// them failed. Stops when every path of a claim failed, or a large file failed. Large files that
    /// wait for permits of other operations stay pending.
    pub async fn publish_pending(&self) -> Result<(usize, usize), Fault> {
        let (mut large, mut go_on) = (JoinSet::new(), true);
        let (mut tried, mut refused) = (0, 0);
        loop {
            if go_on {
                let (more_tried, more_refused) = self.publish_claims(&mut large).await?;
                tried += more_tried;
                refused += more_refused;
            }
            // A large file that has ended has freed its permit for another.
            let Some(ended) = large.join_next().await else { return Ok((tried, refused)) };
            if !matches!(ended, Ok(true)) {
                refused += 1;
                go_on = false;
            }
        }
    }

    /// Publishes the backlog as [`publish_pending`](Self::publish_pending) does, but only starts the
    /// large files: each is a task of `large`, which returns whether it was published. A claim in which
    /// every path failed or was returned ends the loop, so that returned paths are not claimed again and
    /// again.
    async fn publish_claims(&self, large: &mut JoinSet<bool>) -> Result<(usize, usize), Fault> {
        let (mut tried, mut refused) = (0, 0);
        loop {
            let leases: Vec<_> =
                (0..CLAIMED_AT_ONCE).map(|_| LeaseId::new(self.inner.ids.new_id())).collect();
            let since = self.inner.clock.monotonic();
            let claimed = self.inner.journal.claim(&leases).await?;
            let found = claimed.len();
            let publish = |publication| self.publish_claimed(publication, since);
            let mut all = futures::stream::iter(claimed).map(publish).buffer_unordered(SIDE_BY_SIDE);
            let (mut failures, mut waiting) = (0, 0);
            while let Some(went) = all.next().await {
                match went {
                    PublishOutcome::Done => {}
                    PublishOutcome::Large(publication, file) => {
                        let service = self.clone();
                        large.spawn(async move { service.publish_large(publication, file).await });
                    }
                    PublishOutcome::NoPermit => waiting += 1,
                    PublishOutcome::Failed(publication, fault) => {
                        if failures == 0 {
                            warn_of(&publication, &fault);
                        }
                        failures += 1;
                    }
                }
            }
            tried += found - waiting;
            refused += failures;
            if found < CLAIMED_AT_ONCE || failures + waiting == found {
                return Ok((tried, refused));
            }
        }
    }

    /// Clean point: makes all files published so far survive a power cut, so that the next start does
    /// not check them again.
    pub async fn fsync_checkpoint(&self) -> Result<(), Fault> {
        loop {
            let paths = self.inner.journal.unsynced(CLEANED_AT_ONCE).await?;
            if paths.is_empty() {
                return Ok(());
            }
            self.inner.tree.sync().await?;
            self.inner.journal.synced(&paths).await?;
            if paths.len() < CLEANED_AT_ONCE {
                return Ok(());
            }
        }
    }

    /// After a start: marks the files published since the last clean point pending again.
    pub async fn recheck_published(&self) -> Result<u64, Fault> {
        self.inner.journal.requeue_unsynced().await
    }

    /// Number of pending paths.
    pub async fn pending_publications(&self) -> Result<i64, Fault> {
        self.inner.journal.pending().await
    }

    /// The background publisher; runs until its future is dropped.
    pub async fn run_publisher(&self, times: TaskTimes) {
        let (mut clean_points, mut large) = (tokio::time::interval(CLEAN_POINT_EVERY), JoinSet::new());
        loop {
            let mut refused = 0;
            tokio::select! {
                _ = clean_points.tick() => {
                    if let Err(fault) = self.fsync_checkpoint().await {
                        tracing::warn!(error = %fault, "no clean point was reached; the next start checks more files again");
                    }
                }
                Some(ended) = large.join_next() => refused = usize::from(!matches!(ended, Ok(true))),
                () = self.inner.backlog.notified() => {}
                () = tokio::time::sleep(PUBLISHER_EVERY) => {}
            }
            match self.publish_claims(&mut large).await {
                Ok((_, more)) if refused + more == 0 => {}
                Ok(_) => tokio::time::sleep(times.publisher_pause).await,
                Err(fault) => {
                    tracing::warn!(error = %fault, "the publisher could not read its backlog; it tries again");
                    tokio::time::sleep(times.publisher_pause).await;
                }
            }
        }
    }
}

fn attempt_of(put: &Result<(), Fault>) -> Attempt {
    match put {
        Ok(()) => Attempt::Done,
        Err(fault) if fault.outcome_unknown => Attempt::Unknown,
        Err(_) => Attempt::Failed,
    }
}

fn warn_of(publication: &Publication, fault: &Fault) {
    tracing::warn!(
        book_id = publication.key.book.as_str(),
        path = publication.key.path.as_str(),
        error = %fault,
        "a file could not be published; it stays pending and is tried again"
    );
}
