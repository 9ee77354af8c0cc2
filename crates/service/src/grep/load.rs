//! Loading of the texts of a batch, from the cache, and in bulk from the journal and the object storage.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use panaversity_model::blob::StoredBlob;
use panaversity_model::fault::FaultKind;
use panaversity_model::{BookPath, ContentHash, Fault};

use super::candidates::Candidate;
use super::text_cache::{SearchableText, searchable};
use crate::service::Service;

/// Blobs that one search reads at once.
const BLOBS_AT_ONCE: usize = 16;

/// A file with its text.
pub(super) struct LoadedFile {
    pub(super) path: BookPath,
    /// `None`: it is no text, or damaged, or was deleted since it was listed.
    pub(super) text: Option<Arc<str>>,
    /// True if its bytes are lost or damaged.
    pub(super) is_damaged: bool,
}

/// Result of reading a blob.
enum BlobText {
    Read(SearchableText),
    Damaged,
    Purged,
}

impl Service {
    /// The texts of these files.
    pub(super) async fn load_texts(&self, batch: Vec<Candidate>) -> Result<Vec<LoadedFile>, Fault> {
        let cached: Vec<_> = batch.iter().map(|file| self.inner.search.texts.get(file.hash)).collect();
        let mut wanted = HashMap::new();
        for (file, cached) in batch.iter().zip(&cached) {
            if cached.is_none() {
                wanted.entry(file.hash).or_insert_with(|| file.path.clone());
            }
        }
        let read = if wanted.is_empty() { HashMap::new() } else { self.read_texts(wanted).await? };
        let loaded = batch.into_iter().zip(cached).map(|(file, cached)| {
            let (text, is_damaged) = match (cached, read.get(&file.hash)) {
                (Some(text), _) => (text, false),
                (None, Some(BlobText::Read(text))) => (text.clone(), false),
                (None, Some(BlobText::Damaged)) => (None, true),
                (None, Some(BlobText::Purged) | None) => (None, false),
            };
            LoadedFile { path: file.path, text, is_damaged }
        });
        Ok(loaded.collect())
    }

    /// Reads blobs, given with a file of each.
    async fn read_texts(
        &self,
        wanted: HashMap<ContentHash, BookPath>,
    ) -> Result<HashMap<ContentHash, BlobText>, Fault> {
        let hashes: Vec<_> = wanted.keys().copied().collect();
        let blobs = self.inner.journal.blobs(&hashes).await?;
        let mut by_hash: HashMap<_, _> = blobs.into_iter().map(|stored| (stored.blob.hash, stored)).collect();
        let read = wanted.into_iter().map(|(hash, path)| {
            let stored = by_hash.remove(&hash);
            async move {
                // Inline blobs are unpacked here: others get their share of the thread in between.
                tokio::task::yield_now().await;
                let text = self.blob_text(hash, stored).await.map_err(|fault| fault.about(&path))?;
                Ok((hash, text))
            }
        });
        stream::iter(read).buffer_unordered(BLOBS_AT_ONCE).try_collect().await
    }

    async fn blob_text(&self, hash: ContentHash, stored: Option<StoredBlob>) -> Result<BlobText, Fault> {
        let Some(stored) = stored else {
            // A version that names it without a row has lost its bytes.
            let is_lost = self.inner.journal.is_referenced(hash).await?;
            return Ok(if is_lost { BlobText::Damaged } else { BlobText::Purged });
        };
        match self.bytes_of(&stored).await {
            Ok(Some(bytes)) => {
                let text = searchable(bytes);
                self.inner.search.texts.put(hash, text.clone());
                Ok(BlobText::Read(text))
            }
            Ok(None) => Ok(BlobText::Purged),
            Err(fault) if fault.kind == FaultKind::Corrupt => Ok(BlobText::Damaged),
            Err(fault) => Err(fault),
        }
    }
}
