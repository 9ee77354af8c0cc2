//! `gc`: what nobody can ask for any more goes away. The protocol, and why no live blob is lost by
//! it, stand in the model's `gc`; this is the side of `gc`. Keeps I9.
//!
//! # A run
//! 1. Manifests that were named last more than 30 days ago are let go. Of those that are kept, the
//!    versions they name are kept as long: that is noted in the versions themselves.
//! 2. Versions that were superseded (by another, or by a deletion) longer ago than the retention
//!    go, unless a note of 1 keeps them. The newest version of a file never goes.
//! 3. Blobs that no version names and nobody touched for the retention are condemned, a few at a
//!    time; their objects are deleted; their rows are buried.
//! 4. Objects without a row that are older than the retention go the same way.
//! 5. What is left of uploads goes (see `leftovers`), and the rows of those that expired longer ago
//!    than the retention.
//!
//! Killed anywhere, a later run goes on. With a retention of zero days a plan that is being made
//! at this very moment may name a version that 2 lets go; the build then finds it gone and plans
//! again. An archive notes what it names by itself, before its link is given away.
//!
//! Publications, chains and the audit log are never touched.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use panaversity_model::gc::{Condemned, DELETED_WITHIN, GcEstimate, PurgeOutcome, RetentionCutoffs};
use panaversity_model::manifest::Manifest;
use panaversity_model::{BookId, ContentHash, Error, Fault, Timestamp};

use crate::service::Service;

/// How long a manifest is kept after it was last named; a server notes that once an hour.
const MANIFESTS_KEPT_FOR: Duration = Duration::from_hours(30 * 24 + 2);
/// Manifests looked at in one go, each with all its paths.
const MANIFESTS_AT_ONCE: usize = 4;
/// Versions let go in one transaction.
const VERSIONS_AT_ONCE: usize = 5_000;
/// Blobs condemned in one transaction: as many as are surely deleted while they are guarded.
const BLOBS_AT_ONCE: usize = 64;
/// Objects deleted side by side.
const SIDE_BY_SIDE: usize = 8;

/// What a run let go, or would let go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Manifests, versions, blobs and the blobs' bytes.
    pub removed: GcEstimate,
    /// Objects that no row named, and their bytes.
    pub unknown_objects: u64,
    /// Bytes of those.
    pub unknown_bytes: u64,
    /// Blobs whose objects could not be deleted; a later run tries again.
    pub left: u64,
    /// Uploads that were over, and leftovers of uploads.
    pub uploads: u64,
}

impl Service {
    /// Lets go what is older than the retention; `dry_run` only tells what would go.
    ///
    /// # Errors
    /// A fault of the database, or of the storage when nothing could be deleted any more; what was
    /// let go until then is gone.
    pub async fn gc(&self, retention: Duration, dry_run: bool) -> Result<Swept, Fault> {
        let journal = &self.inner.journal;
        let now = journal.now().await?;
        let cutoffs = RetentionCutoffs {
            unused_since: now.before(retention),
            unnamed_since: now.before(MANIFESTS_KEPT_FOR),
        };
        let mut swept = Swept::default();
        if dry_run {
            self.keep_what_manifests_name(cutoffs).await?;
            swept.removed = journal.survey(cutoffs).await?;
            self.sweep_unknown(cutoffs.unused_since, true, &mut swept).await?;
            swept.uploads = self.remove_abandoned(true).await?;
            return Ok(swept);
        }
        swept.removed.manifests = journal.forget_manifests(cutoffs.unnamed_since).await?;
        self.keep_what_manifests_name(cutoffs).await?;
        loop {
            let gone = journal.forget_versions(cutoffs.unused_since, VERSIONS_AT_ONCE).await?;
            swept.removed.versions += gone;
            if gone == 0 {
                break;
            }
        }
        self.sweep_blobs(cutoffs.unused_since, &mut swept).await?;
        self.sweep_unknown(cutoffs.unused_since, false, &mut swept).await?;
        swept.uploads = self.remove_abandoned(false).await?;
        self.forget_uploads(cutoffs.unused_since).await?;
        Ok(swept)
    }

    /// Step 1, for the manifests that stay.
    async fn keep_what_manifests_name(&self, cutoffs: RetentionCutoffs) -> Result<(), Fault> {
        let (journal, mut after) = (&self.inner.journal, None);
        loop {
            let after_key = after.as_ref().map(|(book, hash)| (book, *hash));
            let page = journal.kept_manifests(after_key, MANIFESTS_AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some((last.book.clone(), last.hash));
            for kept in page.iter().filter(|kept| kept.named_at > cutoffs.unnamed_since) {
                let manifest = Manifest::decode(&kept.encoded)?;
                let current = self.current(&kept.book).await?;
                // What is current now is superseded later than any cutoff of this run.
                let is_old = |path: &str, hash| current.files.get(path).is_none_or(|item| item.hash != hash);
                let named = manifest.files.iter().map(|(path, item)| (path.as_str(), item.hash));
                let named: Vec<_> = named.filter(|(path, hash)| is_old(path, *hash)).collect();
                journal.pin(&kept.book, kept.named_at.after(MANIFESTS_KEPT_FOR), &named).await?;
            }
        }
    }

    async fn current(&self, book: &BookId) -> Result<Arc<Manifest>, Fault> {
        match self.manifest(book).await {
            Ok(named) => Ok(named.manifest),
            Err(Error::Refused(_)) => Ok(Arc::default()),
            Err(Error::Broken(fault)) => Err(fault),
        }
    }

    /// Step 3.
    async fn sweep_blobs(&self, unused_since: Timestamp, swept: &mut Swept) -> Result<(), Fault> {
        let mut after = None;
        loop {
            let began = self.inner.clock.monotonic();
            let sentence = self.inner.journal.condemn(unused_since, after, BLOBS_AT_ONCE).await?;
            let gone = self.carry_out(sentence.condemned, began, swept).await?;
            swept.removed.blobs += gone.len() as u64;
            swept.removed.bytes += gone.iter().map(|gone| gone.size).sum::<u64>();
            after = sentence.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Step 4.
    async fn sweep_unknown(
        &self,
        unused_since: Timestamp,
        dry_run: bool,
        swept: &mut Swept,
    ) -> Result<(), Fault> {
        let mut listing = self.inner.objects.list_objects();
        while let Some(page) = listing.next().await? {
            let old = page.into_iter().filter(|seen| seen.put_at.is_some_and(|at| at <= unused_since));
            let named: Vec<_> = old.filter_map(|seen| Some((seen.hash?, seen.size))).collect();
            for (hash, size) in self.without_row(named).await? {
                let began = self.inner.clock.monotonic();
                let condemned =
                    if dry_run { None } else { self.inner.journal.condemn_unknown(hash, size).await? };
                let gone = self.carry_out(condemned.into_iter().collect(), began, swept).await?.len() as u64;
                let gone = if dry_run { 1 } else { gone };
                swept.unknown_objects += gone;
                swept.unknown_bytes += gone * size;
            }
        }
        Ok(())
    }

    /// Of these objects those that no row names.
    pub(crate) async fn without_row(
        &self,
        mut objects: Vec<(ContentHash, u64)>,
    ) -> Result<Vec<(ContentHash, u64)>, Fault> {
        let hashes: Vec<_> = objects.iter().map(|(hash, _)| *hash).collect();
        let known = self.inner.journal.blobs(&hashes).await?;
        objects.retain(|(hash, _)| known.iter().all(|stored| stored.blob.hash != *hash));
        Ok(objects)
    }

    /// Steps 4 and 5 of the protocol, for blobs condemned no earlier than `began`; gives those that
    /// are gone.
    async fn carry_out(
        &self,
        condemned: Vec<Condemned>,
        began: Duration,
        swept: &mut Swept,
    ) -> Result<Vec<Condemned>, Fault> {
        let number = condemned.len();
        let results = futures::stream::iter(condemned)
            .map(|one| async move { (one, self.carry_out_one(&one, began).await) })
            .buffer_unordered(SIDE_BY_SIDE)
            .collect::<Vec<_>>()
            .await;
        let (mut gone, mut broken) = (Vec::with_capacity(number), Vec::new());
        for (one, result) in results {
            match result {
                Ok(true) => gone.push(one),
                Ok(false) => {}
                Err(fault) => broken.push(fault),
            }
        }
        swept.left += broken.len() as u64;
        match broken.pop() {
            // Nothing of many could be deleted: nor would the next. One alone may be a stubborn one.
            Some(fault) if number > 1 && broken.len() + 1 == number => Err(fault),
            Some(fault) => {
                tracing::warn!(blobs = broken.len() + 1, error = %fault, "some blobs could not be deleted; the next gc tries again");
                Ok(gone)
            }
            None => Ok(gone),
        }
    }

    async fn carry_out_one(&self, condemned: &Condemned, began: Duration) -> Result<bool, Fault> {
        if condemned.in_object {
            if self.inner.clock.monotonic().saturating_sub(began) >= DELETED_WITHIN {
                return Err(Fault::storage("its turn came too late for its guard"));
            }
            self.inner.objects.delete(condemned.hash).await?;
        }
        match self.inner.journal.purge(condemned).await? {
            PurgeOutcome::Purged => Ok(true),
            PurgeOutcome::Revived => Ok(false),
            PurgeOutcome::TooLate => {
                self.undo_late_deletion(condemned.hash).await?;
                Ok(false)
            }
        }
    }
}
