//! Reading files. Keeps R5: only the view's own overlay and the base are looked at.

use std::collections::BTreeMap;

use async_trait::async_trait;
use panaversity_model::file::{FileRecord, Found};
use panaversity_model::path::Folder;
use panaversity_model::ports::Files;
use panaversity_model::publication::FileKey;
use panaversity_model::{BookId, BookPath, ContentHash, Fault, Layer, View};

use super::{MemoryJournal, Row, State, record};

#[async_trait]
impl Files for MemoryJournal {
    async fn find(&self, book: &BookId, path: &BookPath, view: &View) -> Result<Option<Found>, Fault> {
        let state = self.state();
        Ok(keys(book, path, view).iter().find_map(|key| state.found(key)))
    }

    async fn find_version(
        &self,
        book: &BookId,
        path: &BookPath,
        view: &View,
        hash: ContentHash,
    ) -> Result<Option<Found>, Fault> {
        let state = self.state();
        Ok(keys(book, path, view).iter().find_map(|key| state.found_version(key, hash)))
    }

    async fn list(
        &self,
        book: &BookId,
        folder: &Folder,
        view: &View,
        after: Option<&BookPath>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, Fault> {
        let state = self.state();
        let (from, to) = folder.range();
        let mut shown = BTreeMap::new();
        for layer in [&Layer::Base, view.top()] {
            for (key, row) in state.rows(book).filter(|(key, _)| key.layer == *layer) {
                let path = key.path.as_str();
                if path >= from.as_str()
                    && to.as_deref().is_none_or(|to| path < to)
                    && after.is_none_or(|after| key.path > *after)
                {
                    shown.insert(&key.path, record(key, row));
                }
            }
        }
        Ok(shown.into_values().take(limit).collect())
    }
}

impl State {
    fn found_version(&self, key: &FileKey, hash: ContentHash) -> Option<Found> {
        let past = self.versions.get(key)?.iter().rfind(|past| past.hash == Some(hash))?;
        let row = Row { hash, size: past.size, written_at: past.at, version: past.version };
        let blob = self.blobs.get(&hash)?.clone();
        Some(Found { record: record(key, &row), blob })
    }
}

/// Where a view looks for a path, in order.
fn keys(book: &BookId, path: &BookPath, view: &View) -> [FileKey; 2] {
    [view.top(), &Layer::Base].map(|layer| FileKey {
        book: book.clone(),
        path: path.clone(),
        layer: layer.clone(),
    })
}
