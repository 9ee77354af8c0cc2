//! In-memory manifests. R5: only rows of the layer count.

use async_trait::async_trait;
use panaversity_model::blob::{BlobLocation, BlobMetadata, BlobState};
use panaversity_model::manifest::{Item, ManifestRow, Stamp};
use panaversity_model::ports::Manifests;
use panaversity_model::publication::FileKey;
use panaversity_model::{BookId, BookPath, ContentHash, Fault, Layer};

use super::{JournalState, MemoryJournal};

#[async_trait]
impl Manifests for MemoryJournal {
    async fn stamp(&self, book: &BookId, layer: &Layer) -> Result<Stamp, Fault> {
        Ok(self.state().stamp(book, layer))
    }

    async fn rows(
        &self,
        book: &BookId,
        layer: &Layer,
        above: i64,
    ) -> Result<(Stamp, Vec<ManifestRow>), Fault> {
        let state = self.state();
        let newer = state.rows(book).filter(|(key, row)| key.layer == *layer && row.version > above);
        let rows = newer.map(|(key, row)| ManifestRow {
            path: key.path.as_str().to_owned(),
            item: Item { hash: row.hash, size: row.size, version: row.version },
        });
        Ok((state.stamp(book, layer), rows.collect()))
    }

    async fn keep(&self, book: &BookId, hash: ContentHash, encoded: &[u8]) -> Result<(), Fault> {
        let mut state = self.state();
        let now = state.now();
        state.manifests.insert((book.clone(), hash), (encoded.to_vec(), now));
        Ok(())
    }

    async fn kept(&self, book: &BookId, hash: ContentHash) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.state().manifests.get(&(book.clone(), hash)).map(|(encoded, _)| encoded.clone()))
    }

    async fn blob_metadata(
        &self,
        book: &BookId,
        versions: &[(&str, ContentHash)],
    ) -> Result<Vec<Option<BlobMetadata>>, Fault> {
        let state = self.state();
        Ok(versions.iter().map(|(path, hash)| state.metadata(book, path, *hash)).collect())
    }
}

impl JournalState {
    fn metadata(&self, book: &BookId, path: &str, hash: ContentHash) -> Option<BlobMetadata> {
        let path = BookPath::parse(path).ok()?;
        let key = FileKey { book: book.clone(), path, layer: Layer::Base };
        let pasts = self.versions.get(&key)?.iter().filter(|past| past.hash == Some(hash));
        let (kept_until, size) = pasts.map(|past| (past.kept_until, past.size)).max()?;
        let stored = self.blobs.get(&hash);
        Some(BlobMetadata {
            size: stored.map_or(size, |stored| stored.blob.size),
            crc32: stored.map_or(0, |stored| stored.blob.crc32),
            deflated: stored.and_then(|stored| match &stored.blob.location {
                BlobLocation::Inline(deflated) => Some(deflated.len() as u64),
                BlobLocation::Object(_) => None,
            }),
            state: stored.map_or(BlobState::Missing, |stored| stored.state),
            kept_until,
        })
    }

    fn stamp(&self, book: &BookId, layer: &Layer) -> Stamp {
        let rows = self.rows(book).filter(|(key, _)| key.layer == *layer);
        rows.fold(Stamp::default(), |stamp, (_, row)| Stamp {
            count: stamp.count + 1,
            sum: stamp.sum + row.version,
            highest: stamp.highest.max(row.version),
        })
    }
}
