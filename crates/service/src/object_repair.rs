//! Objects that are gone or damaged while something holds them: put again from the published copy,
//! if that still has the bytes. Keeps R2: bytes come back only if they have the blob's hash.

use panaversity_model::blob::{BlobHasher, BlobState, StoredBlob};
use panaversity_model::storage_listing::TreePath;
use panaversity_model::{ContentHash, Fault};

use crate::service::Service;

/// Files whose published copies are tried.
const COPIES_TRIED: usize = 20;

impl Service {
    /// Puts an object again from a published copy of it; false if there is none.
    pub(crate) async fn recreate_object(&self, stored: &StoredBlob) -> Result<bool, Fault> {
        let hash = stored.blob.hash;
        for key in self.inner.journal.files_with_hash(hash, COPIES_TRIED).await? {
            let Some(mut copy) = self.inner.tree.open(&TreePath::of(&key)).await? else { continue };
            let (mut staged, mut measure) = (self.inner.objects.stage().await?, BlobHasher::default());
            while measure.size() <= stored.blob.size
                && let Some(part) = copy.next().await?
            {
                measure.add(&part);
                staged.write(&part).await?;
            }
            if measure.finish().hash != hash {
                continue;
            }
            staged.promote(hash).await?;
            self.inner.journal.mark(hash, BlobState::Live).await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Step 6 of the protocol in the model's `gc`: a deletion came after its guard had ended.
    /// Marked missing first, so that nobody commits to it; then the bytes are looked for.
    pub(crate) async fn undo_late_deletion(&self, hash: ContentHash) -> Result<(), Fault> {
        let journal = &self.inner.journal;
        let Some(stored) = journal.blobs(&[hash]).await?.pop() else { return Ok(()) };
        if stored.state != BlobState::Live || self.inner.objects.stat(hash).await? == Some(stored.blob.size) {
            return Ok(());
        }
        journal.mark(hash, BlobState::Missing).await?;
        if !journal.is_referenced(hash).await? || self.recreate_object(&stored).await? {
            return Ok(());
        }
        tracing::error!(
            blob = %hash,
            "an object was deleted after gc had slept through its guard, and no published copy is left: \
             write the file again"
        );
        Ok(())
    }
}
