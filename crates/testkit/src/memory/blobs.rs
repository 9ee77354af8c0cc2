//! In-memory rows of blobs.

use std::collections::BTreeSet;

use async_trait::async_trait;
use panaversity_model::blob::{Blob, BlobLocation, BlobState, StoredBlob};
use panaversity_model::gc::{STAGED_FOR, Staged};
use panaversity_model::ids::StagingId;
use panaversity_model::ports::Blobs;
use panaversity_model::{ContentHash, Fault};

use super::{JournalState, MemoryJournal};

#[async_trait]
impl Blobs for MemoryJournal {
    async fn stage(&self, blob: &Blob, staging: StagingId) -> Result<Staged, Fault> {
        let mut state = self.state();
        let now = state.now();
        let guard = state.guards.entry(blob.hash).or_default();
        if guard.condemned_until.is_some_and(|until| until > now) {
            return Ok(Staged::BeingDeleted);
        }
        guard.touched_at = now;
        guard.staged_until = Some(now.after(STAGED_FOR));
        guard.condemned_until = None;
        let row = state.blobs.get(&blob.hash);
        let health = row.map(|stored| stored.state);
        let inline = row.is_some_and(|stored| matches!(stored.blob.location, BlobLocation::Inline(_)));
        // Live inline bytes stay: the object that is to be put does not exist yet.
        if !(inline && health == Some(BlobState::Live)) {
            state.blobs.insert(blob.hash, StoredBlob { blob: blob.clone(), state: BlobState::Live });
        }
        let guard = state.guards.entry(blob.hash).or_default();
        if health.is_none_or(|health| health == BlobState::Condemned) {
            guard.staging = None;
        }
        Ok(Staged::Ready(*guard.staging.get_or_insert(staging)))
    }

    async fn mark(&self, hash: ContentHash, mark: BlobState) -> Result<(), Fault> {
        let mut state = self.state();
        if let Some(stored) = state.blobs.get_mut(&hash).filter(|stored| stored.state != BlobState::Condemned)
        {
            stored.state = mark;
        }
        Ok(())
    }

    async fn is_referenced(&self, hash: ContentHash) -> Result<bool, Fault> {
        Ok(self.state().is_referenced(hash))
    }

    async fn blobs(&self, hashes: &[ContentHash]) -> Result<Vec<StoredBlob>, Fault> {
        let state = self.state();
        let wanted: BTreeSet<_> = hashes.iter().collect();
        Ok(wanted.into_iter().filter_map(|hash| state.blobs.get(hash)).cloned().collect())
    }

    async fn damaged(&self) -> Result<i64, Fault> {
        let state = self.state();
        let held: BTreeSet<_> = state.files.values().map(|row| row.hash).collect();
        let damaged = held.iter().filter_map(|hash| state.blobs.get(hash));
        let damaged =
            damaged.filter(|stored| matches!(stored.state, BlobState::Missing | BlobState::Corrupt));
        Ok(i64::try_from(damaged.count()).unwrap())
    }
}

impl JournalState {
    /// Updates the row of a blob that a commit refers to.
    pub(super) fn bring(&mut self, blob: &Blob) {
        let now = self.now();
        let stored = self
            .blobs
            .entry(blob.hash)
            .or_insert_with(|| StoredBlob { blob: blob.clone(), state: BlobState::Live });
        let guard = self.guards.entry(blob.hash).or_default();
        guard.touched_at = now;
        match &blob.location {
            BlobLocation::Object(_) => guard.staged_until = None,
            BlobLocation::Inline(_) => {
                if stored.state == BlobState::Condemned {
                    guard.staging = None;
                }
                *stored = StoredBlob { blob: blob.clone(), state: BlobState::Live };
            }
        }
    }

    pub(super) fn is_referenced(&self, hash: ContentHash) -> bool {
        self.versions.values().flatten().any(|past| past.hash == Some(hash))
    }
}
