//! Manifests. Keeps R5 for them: only base rows count.

use async_trait::async_trait;
use panaversity_model::manifest::{Item, ManifestRow, Stamp};
use panaversity_model::ports::Manifests;
use panaversity_model::{BookId, ContentHash, Fault, Layer};

use super::{MemoryJournal, State};

#[async_trait]
impl Manifests for MemoryJournal {
    async fn stamp(&self, book: &BookId) -> Result<Stamp, Fault> {
        Ok(self.state().stamp(book))
    }

    async fn rows(&self, book: &BookId, above: i64) -> Result<(Stamp, Vec<ManifestRow>), Fault> {
        let state = self.state();
        let newer = state.rows(book).filter(|(key, row)| key.layer == Layer::Base && row.version > above);
        let rows = newer.map(|(key, row)| ManifestRow {
            path: key.path.as_str().to_owned(),
            item: Item { hash: row.hash, size: row.size, version: row.version },
        });
        Ok((state.stamp(book), rows.collect()))
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
}

impl State {
    fn stamp(&self, book: &BookId) -> Stamp {
        let base = self.rows(book).filter(|(key, _)| key.layer == Layer::Base);
        base.fold(Stamp::default(), |stamp, (_, row)| Stamp {
            count: stamp.count + 1,
            sum: stamp.sum + row.version,
            highest: stamp.highest.max(row.version),
        })
    }
}
