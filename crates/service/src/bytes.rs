//! The bytes of a blob, wherever they lie. Keeps R2: every byte that leaves was checked, and what
//! is not as stored is marked and never served.

use std::sync::atomic::Ordering;

use panaversity_model::Fault;
use panaversity_model::blob::{Blob, Health, Place, StoredBlob};
use panaversity_model::fault::FaultKind;
use panaversity_model::ids::StagingId;

use crate::service::Service;

/// How often a missing object is looked for before it counts as missing.
const LOOKS: usize = 3;

/// What lies where an object should.
pub(crate) enum Object {
    There(Vec<u8>),
    LetGo,
    Missing,
}

impl Service {
    /// The checked bytes of a blob; `None`: it was let go after it was found, as nothing names it
    /// any more.
    pub(crate) async fn bytes_of(&self, stored: &StoredBlob) -> Result<Option<Vec<u8>>, Fault> {
        let hash = stored.blob.hash;
        let result = match &stored.blob.place {
            Place::Inline(deflated) => stored.unpack(deflated),
            Place::Object(_) => match self.object_of(stored).await? {
                Object::There(bytes) => stored.check(bytes),
                Object::LetGo => return Ok(None),
                Object::Missing => {
                    self.damaged(stored, Health::Missing).await;
                    return Err(Fault::corrupt(format!("the object {hash} is missing")));
                }
            },
        };
        match &result {
            Err(fault) if fault.kind == FaultKind::Corrupt => self.damaged(stored, Health::Corrupt).await,
            Ok(_) if matches!(stored.health, Health::Missing | Health::Corrupt) => {
                self.mark(stored, Health::Live).await;
            }
            _ => {}
        }
        result.map(Some)
    }

    /// An object that is not there is missing only while a version names it, and only if it does
    /// not come while we look: between the two, `gc` may have let it go and a writer put it again.
    pub(crate) async fn object_of(&self, stored: &StoredBlob) -> Result<Object, Fault> {
        for _ in 0..LOOKS {
            if let Some(bytes) = self.inner.objects.get(stored.blob.hash, stored.blob.size + 1).await? {
                return Ok(Object::There(bytes));
            }
            if !self.inner.journal.retained(stored.blob.hash).await? {
                return Ok(Object::LetGo);
            }
        }
        Ok(Object::Missing)
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
        if matches!(blob.place, Place::Object(_)) {
            // A file holds the blob, so gc leaves it alone. Were its row live before the object is
            // put, a failure in between would make the damage forgotten: the next write would find
            // a live row and the right size, and answer *unchanged* over the wrong bytes. If the
            // file has just gone away, its row is nobody's, and marking makes none.
            self.inner.objects.put(blob.hash, bytes).await?;
            return self.inner.journal.mark(blob.hash, Health::Live).await;
        }
        let staging = StagingId::new(self.inner.world.fresh_id());
        self.inner.journal.stage(&blob, staging).await.map(drop)
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
