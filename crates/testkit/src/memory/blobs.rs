//! Blob rows.

use std::collections::BTreeSet;

use async_trait::async_trait;
use panaversity_model::blob::{Blob, Health, Place, StoredBlob};
use panaversity_model::ports::Blobs;
use panaversity_model::{ContentHash, Fault};

use super::MemoryJournal;

#[async_trait]
impl Blobs for MemoryJournal {
    async fn stage(&self, blob: &Blob) -> Result<(), Fault> {
        let mut state = self.state();
        let kept = state.blobs.get(&blob.hash).is_some_and(|stored| {
            stored.health == Health::Live && matches!(stored.blob.place, Place::Inline(_))
        });
        // Live inline bytes stay: the object that is to be put is not there yet.
        if !kept {
            state.blobs.insert(blob.hash, StoredBlob { blob: blob.clone(), health: Health::Live });
        }
        Ok(())
    }

    async fn mark(&self, hash: ContentHash, health: Health) -> Result<(), Fault> {
        if let Some(stored) = self.state().blobs.get_mut(&hash) {
            stored.health = health;
        }
        Ok(())
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
