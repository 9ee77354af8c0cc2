//! Publishing: the tree catches up with the journal, by the protocol in the model's
//! `publication`. Keeps the last part of R2: once the publisher is idle, the tree holds what the
//! journal says.
//!
//! A large file may take minutes, and only so many are under way. One whose turn it is not is given
//! back, to be claimed again after everything that was not; the background publisher gives each
//! that it begins a task of its own. So neither holds up anything else.

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
use crate::service::Service;

/// How long a request waits for its own change to reach the tree.
const IN_REQUEST: Duration = Duration::from_millis(250);
/// How often the background publisher looks for paths nobody is publishing.
const PUBLISHER_EVERY: Duration = Duration::from_secs(1);
/// How long the background publisher rests after the storage or the database refused.
const AFTER_A_FAILURE: Duration = Duration::from_secs(5);
/// How often published files are made durable.
const CLEAN_POINT_EVERY: Duration = Duration::from_secs(30);
/// Paths claimed at once.
const CLAIMED_AT_ONCE: usize = 64;
/// Paths one clean point forgets at once.
const CLEANED_AT_ONCE: usize = 10_000;
/// Publications of one claim under way at once.
const SIDE_BY_SIDE: usize = 8;

/// A lease this old is not used any more: the put might end after the lease does.
const LEASE_USED_FOR: Duration = Duration::from_secs(5);

/// Large files under way at once: each has parts of several MiB in memory.
pub(crate) const LARGE_AT_ONCE: usize = 2;

/// A publication of a change that was made a moment ago.
pub(crate) struct PendingPublish {
    pub(crate) publication: Publication,
    /// Present without bytes: they are read from the journal.
    pub(crate) content: TargetContent<Option<Vec<u8>>>,
}

/// A large file whose turn it is.
struct Large {
    stored: StoredBlob,
    _turn: OwnedSemaphorePermit,
}

/// What came of reading what a path holds.
enum Read {
    /// It was put or removed.
    Put,
    /// It is large and is yet to be put.
    Large(Large),
    /// It is large, and all turns are taken.
    NoTurn,
}

/// How the publication of a claimed path went.
enum PublishOutcome {
    Done,
    /// It is large: it takes a task of its own.
    Large(Publication, Large),
    /// It was given back until there is a turn.
    NoTurn,
    Failed(Publication, Fault),
}

impl Service {
    /// Publishes what was just committed, in the background, and waits a short while for it.
    ///
    /// Only so many are under way at once, so that bytes do not pile up while the storage hangs;
    /// the others are left to the background publisher.
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

    /// Publishes one path; `reached` is told when the tree holds it, before it is settled.
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
                Ok(Read::NoTurn) => return self.acknowledge(&publication, Attempt::Failed).await,
                Err(fault) => Err(fault),
            },
        };
        let _ = reached.send(());
        if let Err(fault) = &put {
            warn_of(&publication, fault);
        }
        self.acknowledge(&publication, attempt_of(&put)).await;
    }

    /// Publishes what a claimed path holds now. After a failure the lease is kept until it ends,
    /// so that the next claim finds other paths: what can't be published holds up nothing else.
    async fn publish_claimed(&self, publication: Publication, since: Duration) -> PublishOutcome {
        match self.read_and_put(&publication, since).await {
            Ok(Read::Put) => {
                self.acknowledge(&publication, Attempt::Done).await;
                PublishOutcome::Done
            }
            Ok(Read::Large(large)) => PublishOutcome::Large(publication, large),
            Ok(Read::NoTurn) => {
                self.acknowledge(&publication, Attempt::Failed).await;
                PublishOutcome::NoTurn
            }
            Err(fault) => {
                if fault.outcome_unknown {
                    self.acknowledge(&publication, Attempt::Unknown).await;
                }
                PublishOutcome::Failed(publication, fault)
            }
        }
    }

    /// The same for a large file; was it published? Its lease is long: after a failure it is given
    /// back, unless its bytes are damaged, which another attempt would only read again.
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
                    Ok(turn) => Read::Large(Large { stored: found.blob, _turn: turn }),
                    Err(_) => Read::NoTurn,
                });
            }
            // It stays pending, and the next attempt finds what it holds by then.
            Some(found) => Some(self.bytes_of(&found.blob).await?.ok_or_else(|| {
                Fault::storage("the file was changed, and its bytes let go, while it was published")
            })?),
            None => None,
        };
        self.put_or_remove(publication, bytes.as_deref(), since).await.map(|()| Read::Put)
    }

    /// A large file takes longer than a lease, so the lease is made to last first.
    async fn put_large(&self, publication: &Publication, large: Large) -> Result<(), Fault> {
        let (size, journal) = (large.stored.blob.size, &self.inner.journal);
        let since = self.inner.clock.monotonic();
        if !journal.extend_lease(publication, lease_for(size)).await? {
            return Err(Fault::storage("its lease was lost before it was begun"));
        }
        self.check_lease(since)?;
        let parts = Box::new(self.parts_of(large.stored, 0..size));
        self.inner.tree.put_parts(&publication.key, parts, size).await
    }

    /// What was published while it was allowed still goes away.
    fn is_shown(&self, publication: &Publication) -> bool {
        publication.key.layer == Layer::Base || self.inner.limits.publish_overlays
    }

    /// `since`: a moment before the lease began.
    fn check_lease(&self, since: Duration) -> Result<(), Fault> {
        if self.inner.clock.monotonic().saturating_sub(since) >= LEASE_USED_FOR {
            return Err(Fault::storage("its turn came too late for its lease"));
        }
        Ok(())
    }

    /// `since`: a moment before the lease began.
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

    /// A path that moved on meanwhile is for the background publisher, at once.
    async fn acknowledge(&self, publication: &Publication, attempt: Attempt) {
        match self.inner.journal.acknowledge(publication, attempt).await {
            Ok(Settled::Pending) if attempt == Attempt::Done => self.inner.backlog.notify_one(),
            Ok(Settled::Published | Settled::Pending) => {}
            // The lease expires by itself and somebody publishes the path again.
            Err(fault) => {
                tracing::warn!(path = %publication.key.path, error = %fault, "a publication was not settled");
            }
        }
    }

    /// Publishes everything that is pending and not leased; returns how many paths it tried and
    /// how many of them could not be published. Gives up for now where nothing of a claim could,
    /// and where a large file could not. Large files that wait for another act's turn are left.
    pub async fn publish_pending(&self) -> Result<(usize, usize), Fault> {
        let (mut large, mut go_on) = (JoinSet::new(), true);
        let (mut tried, mut refused) = (0, 0);
        loop {
            if go_on {
                let (more_tried, more_refused) = self.publish_claims(&mut large).await?;
                tried += more_tried;
                refused += more_refused;
            }
            // The turn of one that has ended is another's.
            let Some(ended) = large.join_next().await else { return Ok((tried, refused)) };
            if !matches!(ended, Ok(true)) {
                refused += 1;
                go_on = false;
            }
        }
    }

    /// The same, but for the large files, which it only begins: each is a task of `large`, which
    /// tells whether it was published. A claim in which nothing but waiting went on is the last,
    /// so what was given back is not claimed again and again.
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
                    PublishOutcome::NoTurn => waiting += 1,
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

    /// Makes everything published so far survive a power cut, so that the next start need not
    /// look at it again.
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

    /// After a start: what was published since the last clean point is published again.
    pub async fn recheck_published(&self) -> Result<u64, Fault> {
        self.inner.journal.requeue_unsynced().await
    }

    /// How many paths are pending.
    pub async fn pending_publications(&self) -> Result<i64, Fault> {
        self.inner.journal.pending().await
    }

    /// The background publisher; runs until it is dropped.
    pub async fn run_publisher(&self) {
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
                Ok(_) => tokio::time::sleep(AFTER_A_FAILURE).await,
                Err(fault) => {
                    tracing::warn!(error = %fault, "the publisher could not read its backlog; it tries again");
                    tokio::time::sleep(AFTER_A_FAILURE).await;
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
