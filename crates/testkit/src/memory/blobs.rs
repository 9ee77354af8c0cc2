//! Blob rows.

use std::collections::BTreeSet;

use async_trait::async_trait;
use panaversity_model::blob::{Blob, Health, Place, StoredBlob};
use panaversity_model::garbage::{STAGED_FOR, Staged};
use panaversity_model::ids::StagingId;
use panaversity_model::ports::Blobs;
use panaversity_model::{ContentHash, Fault};

use super::{MemoryJournal, State};

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
        let health = row.map(|stored| stored.health);
        let inline = row.is_some_and(|stored| matches!(stored.blob.place, Place::Inline(_)));
        // Live inline bytes stay: the object that is to be put is not there yet.
        if !(inline && health == Some(Health::Live)) {
            state.blobs.insert(blob.hash, StoredBlob { blob: blob.clone(), health: Health::Live });
        }
        let guard = state.guards.entry(blob.hash).or_default();
        if health.is_none_or(|health| health == Health::Condemned) {
            guard.staging = None;
        }
        Ok(Staged::Ready(*guard.staging.get_or_insert(staging)))
    }

    async fn mark(&self, hash: ContentHash, health: Health) -> Result<(), Fault> {
        let mut state = self.state();
        if let Some(stored) = state.blobs.get_mut(&hash).filter(|stored| stored.health != Health::Condemned) {
            stored.health = health;
        }
        Ok(())
    }

    async fn retained(&self, hash: ContentHash) -> Result<bool, Fault> {
        Ok(self.state().retained(hash))
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
        let damaged = damaged.filter(|stored| matches!(stored.health, Health::Missing | Health::Corrupt));
        Ok(i64::try_from(damaged.count()).unwrap())
    }
}

impl State {
    /// What a commit does to the row of a blob it refers to.
    pub(super) fn bring(&mut self, blob: &Blob) {
        let now = self.now();
        let stored = self
            .blobs
            .entry(blob.hash)
            .or_insert_with(|| StoredBlob { blob: blob.clone(), health: Health::Live });
        let guard = self.guards.entry(blob.hash).or_default();
        guard.touched_at = now;
        match &blob.place {
            Place::Object(_) => guard.staged_until = None,
            Place::Inline(_) => {
                if stored.health == Health::Condemned {
                    guard.staging = None;
                }
                *stored = StoredBlob { blob: blob.clone(), health: Health::Live };
            }
        }
    }

    pub(super) fn retained(&self, hash: ContentHash) -> bool {
        self.versions.values().flatten().any(|past| past.hash == Some(hash))
    }
}
