//! The bytes of a blob, wherever they lie. Keeps R2: every byte that leaves was checked, and what
//! is not as stored is marked and never served.

use std::sync::atomic::Ordering;

use panaversity_model::Fault;
use panaversity_model::blob::{Blob, Health, Place, StoredBlob};
use panaversity_model::fault::FaultKind;

use crate::service::Service;

impl Service {
    /// The checked bytes of a blob.
    pub(crate) async fn bytes_of(&self, stored: &StoredBlob) -> Result<Vec<u8>, Fault> {
        let hash = stored.blob.hash;
        let result = match &stored.blob.place {
            Place::Inline(deflated) => stored.unpack(deflated),
            Place::Object(_) => {
                let Some(bytes) = self.inner.objects.get(hash, stored.blob.size + 1).await? else {
                    self.damaged(stored, Health::Missing).await;
                    return Err(Fault::corrupt(format!("the object {hash} is missing")));
                };
                stored.check(bytes)
            }
        };
        match &result {
            Err(fault) if fault.kind == FaultKind::Corrupt => self.damaged(stored, Health::Corrupt).await,
            Ok(_) if matches!(stored.health, Health::Missing | Health::Corrupt) => {
                self.mark(stored, Health::Live).await;
            }
            _ => {}
        }
        result
    }

    /// Makes the bytes of a blob present: an object counts only if its row is live and a stat
    /// shows its size. Used when an answer is *unchanged*, so that repeating a write heals.
    pub(crate) async fn make_present(&self, stored: &StoredBlob, bytes: &[u8]) -> Result<(), Fault> {
        let present = stored.health == Health::Live
            && match stored.blob.place {
                Place::Inline(_) => true,
                Place::Object(_) => {
                    self.inner.objects.stat(stored.blob.hash).await? == Some(stored.blob.size)
                }
            };
        if present {
            return Ok(());
        }
        let inline_limit = match stored.blob.place {
            Place::Inline(_) => usize::MAX,
            Place::Object(_) => 0,
        };
        let blob = Blob::pack(bytes, inline_limit);
        // A file holds the blob, so gc leaves it alone. Were its row live before the object is put,
        // a failure in between would make the damage forgotten: the next write would find a live
        // row and the right size, and answer *unchanged* over the wrong bytes.
        if matches!(blob.place, Place::Object(_)) {
            self.inner.objects.put(blob.hash, bytes).await?;
        }
        self.inner.journal.stage(&blob).await
    }

    async fn damaged(&self, stored: &StoredBlob, health: Health) {
        self.inner.stats.damaged_reads.fetch_add(1, Ordering::Relaxed);
        self.mark(stored, health).await;
    }

    async fn mark(&self, stored: &StoredBlob, health: Health) {
        if let Err(fault) = self.inner.journal.mark(stored.blob.hash, health).await {
            tracing::warn!(blob = %stored.blob.hash, error = %fault, "a blob's health could not be marked");
        }
    }
}
