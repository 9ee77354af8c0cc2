//! `gc`: deletes manifests, versions, blobs and uploads that can no longer be requested. The protocol,
//! and why it never deletes a live blob, are described in the model's `gc`; this module is the side of
//! `gc`. Keeps I9.
//!
//! # A run
//! 1. Manifests last named more than 30 days ago are deleted. The versions that a remaining manifest
//!    names are kept as long as the manifest: a pin in the version's row says so.
//! 2. Versions that were superseded (by another, or by a deletion) longer ago than the retention are
//!    deleted, unless a pin of 1 keeps them. The newest version of a file is never deleted.
//! 3. Blobs that no version names and that were not touched for the retention are condemned, a few at a
//!    time; their objects are deleted; then their rows.
//! 4. Objects without a row that are older than the retention are deleted in the same way.
//! 5. Leftovers of uploads are deleted (see `upload_cleanup`), and the rows of uploads that expired
//!    longer ago than the retention.
//!
//! After a kill at any point, a later run resumes. With a retention of zero days a plan made
//! concurrently may name a version that 2 deletes; the build then finds it missing and plans again. An
//! archive pins its versions itself, before its link is returned.
//!
//! Publications, chains and the audit log are never touched.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use panaversity_model::gc::{Condemned, DELETED_WITHIN, GcEstimate, PurgeOutcome, RetentionCutoffs};
use panaversity_model::manifest::Manifest;
use panaversity_model::{BookId, ContentHash, Error, Fault, Timestamp};

use crate::service::Service;

/// Time that a manifest is kept after it was last named; a server notes a use once an hour.
const MANIFESTS_KEPT_FOR: Duration = Duration::from_hours(30 * 24 + 2);
/// Manifests read in one statement, each with all its paths.
const MANIFESTS_AT_ONCE: usize = 4;
/// Versions deleted in one transaction.
const VERSIONS_AT_ONCE: usize = 5_000;
/// Blobs condemned in one transaction: few enough to be deleted surely while their guard lasts.
const BLOBS_AT_ONCE: usize = 64;
/// Concurrent deletions of objects.
const SIDE_BY_SIDE: usize = 8;

/// Result of a run, or of a dry run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Manifests, versions and blobs deleted, and the blobs' bytes.
    pub removed: GcEstimate,
    /// Deleted objects without a row.
    pub unknown_objects: u64,
    /// Bytes of those objects.
    pub unknown_bytes: u64,
    /// Blobs whose objects could not be deleted; a later run tries again.
    pub left: u64,
    /// Uploads and leftovers of uploads removed.
    pub uploads: u64,
}

/// Callback that receives what a run has deleted so far, and what it expected to delete when it began.
pub type GcWatch<'a> = &'a mut (dyn FnMut(&Swept, &GcEstimate) + Send);

impl Service {
    /// Deletes what is older than the retention; with `dry_run` only counts it.
    ///
    /// # Errors
    /// A fault of the database, or of the storage if none of several objects could be deleted; deletions
    /// made until then stay.
    pub async fn gc(&self, retention: Duration, dry_run: bool) -> Result<Swept, Fault> {
        self.gc_with_progress(retention, dry_run, None).await
    }

    /// As [`gc`](Self::gc), and reports the progress of deletions; for that it first counts what there is.
    ///
    /// # Errors
    /// As there.
    pub async fn gc_with_progress(
        &self,
        retention: Duration,
        dry_run: bool,
        mut watch: Option<GcWatch<'_>>,
    ) -> Result<Swept, Fault> {
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
        let expected = if watch.is_some() { journal.survey(cutoffs).await? } else { GcEstimate::default() };
        let mut report = |swept: &Swept| {
            if let Some(watch) = &mut watch {
                watch(swept, &expected);
            }
        };
        loop {
            let gone = journal.forget_versions(cutoffs.unused_since, VERSIONS_AT_ONCE).await?;
            swept.removed.versions += gone;
            report(&swept);
            if gone == 0 {
                break;
            }
        }
        self.sweep_blobs(cutoffs.unused_since, &mut swept, &mut report).await?;
        self.sweep_unknown(cutoffs.unused_since, false, &mut swept).await?;
        swept.uploads = self.remove_abandoned(false).await?;
        self.forget_uploads(cutoffs.unused_since).await?;
        Ok(swept)
    }

    /// Step 1, for the manifests that are kept: pins their versions.
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
                // A current version is superseded later than any cutoff of this run, so it needs no pin.
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

    /// Step 3: condemns and deletes blobs.
    async fn sweep_blobs(
        &self,
        unused_since: Timestamp,
        swept: &mut Swept,
        report: &mut (dyn FnMut(&Swept) + Send),
    ) -> Result<(), Fault> {
        let mut after = None;
        loop {
            let began = self.inner.clock.monotonic();
            let sentence = self.inner.journal.condemn(unused_since, after, BLOBS_AT_ONCE).await?;
            let gone = self.carry_out(sentence.condemned, began, swept).await?;
            swept.removed.blobs += gone.len() as u64;
            swept.removed.bytes += gone.iter().map(|gone| gone.size).sum::<u64>();
            report(swept);
            after = sentence.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Step 4: deletes objects without a row.
    async fn sweep_unknown(
        &self,
        unused_since: Timestamp,
        dry_run: bool,
        swept: &mut Swept,
    ) -> Result<(), Fault> {
        let mut listing = self.inner.objects.list_objects();
        while let Some(page) = listing.try_next().await? {
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

    /// The objects among these that have no row.
    pub(crate) async fn without_row(
        &self,
        mut objects: Vec<(ContentHash, u64)>,
    ) -> Result<Vec<(ContentHash, u64)>, Fault> {
        let hashes: Vec<_> = objects.iter().map(|(hash, _)| *hash).collect();
        let known = self.inner.journal.blobs(&hashes).await?;
        objects.retain(|(hash, _)| known.iter().all(|stored| stored.blob.hash != *hash));
        Ok(objects)
    }

    /// Steps 4 and 5 of the model's protocol, for blobs condemned no earlier than `began`; returns the
    /// deleted ones.
    async fn carry_out(
        &self,
        condemned: Vec<Condemned>,
        began: Duration,
        swept: &mut Swept,
    ) -> Result<Vec<Condemned>, Fault> {
        let number = condemned.len();
        let results = futures::stream::iter(condemned)
            .map(|one| async move { (one, self.delete_object(&one, began).await) })
            .buffer_unordered(SIDE_BY_SIDE)
            .collect::<Vec<_>>()
            .await;
        let (mut deleted, mut gone, mut broken) = (Vec::with_capacity(number), Vec::new(), Vec::new());
        for (one, result) in results {
            match result {
                Ok(()) => deleted.push(one),
                Err(fault) => broken.push(fault),
            }
        }
        match self.inner.journal.purge(&deleted).await {
            Ok(outcomes) => {
                for (one, outcome) in deleted.into_iter().zip(outcomes) {
                    match outcome {
                        PurgeOutcome::Purged => gone.push(one),
                        PurgeOutcome::Revived => {}
                        PurgeOutcome::TooLate => broken.extend(self.undo_late_deletion(one.hash).await.err()),
                    }
                }
            }
            Err(fault) => broken.extend(deleted.iter().map(|_| fault.clone())),
        }
        swept.left += broken.len() as u64;
        match broken.pop() {
            // If none of several objects could be deleted, the next would fail too. A single one may be
            // an exception.
            Some(fault) if number > 1 && broken.len() + 1 == number => Err(fault),
            Some(fault) => {
                tracing::warn!(blobs = broken.len() + 1, error = %fault, "some blobs could not be deleted; the next gc tries again");
                Ok(gone)
            }
            None => Ok(gone),
        }
    }

    async fn delete_object(&self, condemned: &Condemned, began: Duration) -> Result<(), Fault> {
        if !condemned.in_object {
            return Ok(());
        }
        if self.inner.clock.monotonic().saturating_sub(began) >= DELETED_WITHIN {
            return Err(Fault::storage("its turn came too late for its guard"));
        }
        self.inner.objects.delete(condemned.hash).await
    }
}
