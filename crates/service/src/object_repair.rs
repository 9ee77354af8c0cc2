//! Repair of objects that are missing or damaged while a version names them: they are put again from a
//! published copy. Keeps R2: a copy is used only if it has the blob's hash.

use futures::TryStreamExt;
use panaversity_model::blob::{BlobHasher, BlobState, StoredBlob};
use panaversity_model::storage_listing::TreePath;
use panaversity_model::{ContentHash, Fault};

use crate::service::Service;

/// Most files whose published copies are tried.
const COPIES_TRIED: usize = 20;

impl Service {
    /// Puts an object again from a published copy; false if no copy has its bytes.
    pub(crate) async fn recreate_object(&self, stored: &StoredBlob) -> Result<bool, Fault> {
        let hash = stored.blob.hash;
        for key in self.inner.journal.files_with_hash(hash, COPIES_TRIED).await? {
            let Some(mut copy) = self.inner.tree.open(&TreePath::of(&key)).await? else { continue };
            let (mut staged, mut measure) = (self.inner.objects.stage().await?, BlobHasher::default());
            while measure.size() <= stored.blob.size
                && let Some(part) = copy.try_next().await?
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

    /// Step 6 of the protocol in the model's `gc`: repairs a deletion that may have taken effect after
    /// its guard had ended. Marks the blob missing first, so that no writer commits to it; then looks
    /// for its bytes.
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
