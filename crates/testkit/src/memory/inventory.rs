//! In-memory inventory: the journal's records of files and objects, for comparison with the
//! storage.

use async_trait::async_trait;
use panaversity_model::blob::{BlobLocation, BlobState, StoredBlob};
use panaversity_model::path::lies_under;
use panaversity_model::ports::FileInventory;
use panaversity_model::publication::FileKey;
use panaversity_model::storage_listing::PublishedFile;
use panaversity_model::{BookId, BookPath, ContentHash, Fault, Layer};

use super::{Backlog, JournalState, MemoryJournal};

#[async_trait]
impl FileInventory for MemoryJournal {
    async fn records(
        &self,
        book: Option<&BookId>,
        after: Option<&FileKey>,
        limit: usize,
    ) -> Result<Vec<PublishedFile>, Fault> {
        let state = self.state();
        let later = state.files.keys().filter(|key| after.is_none_or(|after| *key > after));
        let wanted = later.filter(|key| book.is_none_or(|book| key.book == *book));
        Ok(wanted.filter_map(|key| state.record_of(key)).take(limit).collect())
    }

    async fn records_of(&self, keys: &[FileKey]) -> Result<Vec<PublishedFile>, Fault> {
        let state = self.state();
        Ok(keys.iter().filter_map(|key| state.record_of(key)).collect())
    }

    async fn conflicting_path(&self, key: &FileKey) -> Result<Option<BookPath>, Fault> {
        let (state, folded) = (self.state(), key.path.folded());
        let near = |other: &str| other == folded || lies_under(other, &folded) || lies_under(&folded, other);
        let mut names = state.names.iter().filter(|((book, layer, _), path)| {
            *book == key.book && (*layer == key.layer || *layer == Layer::Base) && **path != key.path
        });
        Ok(names.find(|((_, _, other), _)| near(other)).map(|(_, path)| path.clone()))
    }

    async fn republish(&self, keys: &[FileKey]) -> Result<(), Fault> {
        let mut state = self.state();
        for key in keys {
            let Some(version) = state.files.get(key).map(|row| row.version) else { continue };
            let row = Backlog { version, published: false, lease: None };
            state.publications.insert(key.clone(), row);
        }
        Ok(())
    }

    async fn retained_objects(
        &self,
        after: Option<ContentHash>,
        limit: usize,
    ) -> Result<Vec<StoredBlob>, Fault> {
        let state = self.state();
        let objects = state.blobs.values().filter(|stored| {
            after.is_none_or(|after| stored.blob.hash > after)
                && matches!(stored.blob.location, BlobLocation::Object(_))
                && stored.state != BlobState::Condemned
                && state.is_referenced(stored.blob.hash)
        });
        Ok(objects.take(limit).cloned().collect())
    }

    async fn files_with_hash(&self, hash: ContentHash, limit: usize) -> Result<Vec<FileKey>, Fault> {
        let state = self.state();
        let holders = state.files.iter().filter(|(_, row)| row.hash == hash);
        Ok(holders.map(|(key, _)| key.clone()).take(limit).collect())
    }
}

impl JournalState {
    fn record_of(&self, key: &FileKey) -> Option<PublishedFile> {
        let row = self.files.get(key);
        let pending = self.publications.get(key).filter(|backlog| !backlog.published);
        let version = row.map(|row| row.version).or(pending.map(|backlog| backlog.version))?;
        let held = row.map(|row| (row.hash, row.size));
        Some(PublishedFile { key: key.clone(), held, version, pending: pending.is_some() })
    }
}
