//! In-memory garbage collection, by the protocol in the model's `gc`, all under the one lock.

use std::ops::Bound;

use async_trait::async_trait;
use panaversity_model::blob::{Blob, BlobLocation, BlobState, StoredBlob};
use panaversity_model::gc::{
    CONDEMNED_FOR, Condemned, CondemnedBatch, GcEstimate, KeptManifest, PurgeOutcome, RetentionCutoffs,
};
use panaversity_model::ports::GarbageCollection;
use panaversity_model::{BookId, ContentHash, Fault, Layer, Timestamp};

use super::{BlobGuard, JournalState, MemoryJournal, Past};

#[async_trait]
impl GarbageCollection for MemoryJournal {
    async fn kept_manifests(
        &self,
        after: Option<(&BookId, ContentHash)>,
        limit: usize,
    ) -> Result<Vec<KeptManifest>, Fault> {
        let state = self.state();
        let after = after.map(|(book, hash)| (book.clone(), hash));
        let later = state.manifests.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
        let kept = later.map(|((book, hash), (encoded, named_at))| KeptManifest {
            book: book.clone(),
            hash: *hash,
            named_at: *named_at,
            encoded: encoded.clone(),
        });
        Ok(kept.take(limit).collect())
    }

    async fn pin(
        &self,
        book: &BookId,
        until: Timestamp,
        versions: &[(&str, ContentHash)],
    ) -> Result<(), Fault> {
        let mut state = self.state();
        let named = |path: &str, hash| versions.iter().any(|(of, kept)| *of == path && Some(*kept) == hash);
        for (key, pasts) in &mut state.versions {
            for past in pasts.iter_mut().filter(|_| key.book == *book && key.layer == Layer::Base) {
                if named(key.path.as_str(), past.hash) {
                    past.kept_until = past.kept_until.max(Some(until));
                }
            }
        }
        Ok(())
    }

    async fn forget_manifests(&self, unnamed_since: Timestamp) -> Result<u64, Fault> {
        let mut state = self.state();
        let before = state.manifests.len();
        state.manifests.retain(|_, (_, named_at)| *named_at > unnamed_since);
        Ok((before - state.manifests.len()) as u64)
    }

    async fn forget_versions(&self, unused_since: Timestamp, limit: usize) -> Result<u64, Fault> {
        let mut state = self.state();
        let (now, mut gone) = (state.now(), 0);
        for pasts in state.versions.values_mut() {
            let goes: Vec<bool> =
                (0..pasts.len()).map(|n| forgettable(pasts, n, now, unused_since)).collect();
            let mut goes = goes.into_iter();
            pasts.retain(|_| {
                let go = goes.next() == Some(true) && gone < limit;
                gone += usize::from(go);
                !go
            });
        }
        Ok(gone as u64)
    }

    async fn condemn(
        &self,
        unused_since: Timestamp,
        after: Option<ContentHash>,
        limit: usize,
    ) -> Result<CondemnedBatch, Fault> {
        let mut state = self.state();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let all = state.blobs.range((from, Bound::Unbounded)).map(|(hash, _)| *hash);
        let doomed = all.filter(|hash| state.unguarded(*hash, unused_since) && !state.is_referenced(*hash));
        let hashes: Vec<_> = doomed.take(limit).collect();
        let next = hashes.last().copied().filter(|_| hashes.len() == limit);
        let condemned = hashes.into_iter().map(|hash| state.condemn(hash)).collect();
        Ok(CondemnedBatch { condemned, next })
    }

    async fn condemn_unknown(&self, hash: ContentHash, size: u64) -> Result<Option<Condemned>, Fault> {
        let mut state = self.state();
        if state.blobs.contains_key(&hash) {
            return Ok(None);
        }
        let blob = Blob { hash, size, crc32: 0, location: BlobLocation::Object(Vec::new()) };
        state.blobs.insert(hash, StoredBlob { blob, state: BlobState::Condemned });
        Ok(Some(state.condemn(hash)))
    }

    async fn purge(&self, condemned: &[Condemned]) -> Result<Vec<PurgeOutcome>, Fault> {
        let mut state = self.state();
        let purge = |condemned: &Condemned| {
            let health = state.blobs.get(&condemned.hash).map(|stored| stored.state);
            let Some(guard) = state.guards.get_mut(&condemned.hash) else { return PurgeOutcome::TooLate };
            if guard.condemned_until != Some(condemned.until) {
                return PurgeOutcome::TooLate;
            }
            guard.condemned_until = None;
            if health != Some(BlobState::Condemned) {
                return PurgeOutcome::Revived;
            }
            state.blobs.remove(&condemned.hash);
            state.guards.remove(&condemned.hash);
            PurgeOutcome::Purged
        };
        Ok(condemned.iter().map(purge).collect())
    }

    async fn survey(&self, cutoffs: RetentionCutoffs) -> Result<GcEstimate, Fault> {
        let state = self.state();
        let (now, since) = (state.now(), cutoffs.unused_since);
        let mut survey = GcEstimate::default();
        let unnamed = state.manifests.values().filter(|(_, named_at)| *named_at <= cutoffs.unnamed_since);
        survey.manifests = unnamed.count() as u64;
        let mut kept = std::collections::BTreeSet::new();
        for pasts in state.versions.values() {
            for (n, past) in pasts.iter().enumerate() {
                if forgettable(pasts, n, now, since) {
                    survey.versions += 1;
                } else {
                    kept.extend(past.hash);
                }
            }
        }
        for (hash, stored) in &state.blobs {
            if !kept.contains(hash) && state.unguarded(*hash, since) {
                survey.blobs += 1;
                survey.bytes += stored.blob.size;
            }
        }
        Ok(survey)
    }
}

/// Returns true if the `n`-th version of a file may be removed.
fn forgettable(pasts: &[Past], n: usize, now: Timestamp, unused_since: Timestamp) -> bool {
    let superseded = pasts.get(n + 1).is_some_and(|next| next.at <= unused_since);
    superseded && pasts[n].kept_until.is_none_or(|until| until <= now)
}

impl JournalState {
    fn unguarded(&self, hash: ContentHash, unused_since: Timestamp) -> bool {
        let (now, fresh) = (self.now(), BlobGuard::default());
        let guard = self.guards.get(&hash).unwrap_or(&fresh);
        let condemned = self.blobs.get(&hash).is_some_and(|stored| stored.state == BlobState::Condemned);
        (condemned || guard.touched_at <= unused_since)
            && guard.staged_until.is_none_or(|until| until <= now)
            && guard.condemned_until.is_none_or(|until| until <= now)
    }

    /// Condemns a blob that has a row.
    fn condemn(&mut self, hash: ContentHash) -> Condemned {
        let until = self.now().after(CONDEMNED_FOR);
        self.guards.entry(hash).or_default().condemned_until = Some(until);
        let stored = self.blobs.get_mut(&hash).unwrap();
        stored.state = BlobState::Condemned;
        let in_object = matches!(stored.blob.location, BlobLocation::Object(_));
        Condemned { hash, size: stored.blob.size, in_object, until }
    }
}
