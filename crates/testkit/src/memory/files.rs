//! In-memory reads of files. R5: only the view's own overlay and the base are read.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use panaversity_model::asset::Asset;
use panaversity_model::audit::ChainKey;
use panaversity_model::blob::StoredBlob;
use panaversity_model::delta::{ChangedFile, Delta, Shown};
use panaversity_model::file::{BaseChange, FileRecord, Found, OverlaidFile};
use panaversity_model::path::{Folder, Prefix};
use panaversity_model::ports::Files;
use panaversity_model::publication::FileKey;
use panaversity_model::{BookId, BookPath, ContentHash, Fault, Layer, Timestamp, View};

use super::{JournalState, MemoryJournal, Row, record};

#[async_trait]
impl Files for MemoryJournal {
    async fn find(&self, book: &BookId, path: &BookPath, view: &View) -> Result<Option<Found>, Fault> {
        let state = self.state();
        Ok(keys(book, path, view).iter().find_map(|key| state.found(key)))
    }

    async fn find_overlaid(
        &self,
        book: &BookId,
        path: &BookPath,
        view: &View,
    ) -> Result<Option<OverlaidFile>, Fault> {
        let state = self.state();
        let [own, base] = keys(book, path, view);
        let Some(found) = state.found(&own).or_else(|| state.found(&base)) else { return Ok(None) };
        let is_overlay = found.record.layer != Layer::Base;
        let base_change = is_overlay.then(|| state.base_change(&base, found.record.version)).flatten();
        Ok(Some(OverlaidFile { found, base_change }))
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

    async fn paths(
        &self,
        book: Option<&BookId>,
        prefix: &Prefix,
        view: &View,
        after: Option<&(BookId, BookPath)>,
        limit: usize,
    ) -> Result<Vec<(BookId, BookPath)>, Fault> {
        let (from, to) = prefix.range();
        let wanted = |key: &&FileKey| {
            let path = key.path.as_str();
            book.is_none_or(|book| key.book == *book)
                && (key.layer == Layer::Base || key.layer == *view.top())
                && path >= from
                && to.as_deref().is_none_or(|to| path < to)
                && after.is_none_or(|(book, path)| (&key.book, &key.path) > (book, path))
        };
        let state = self.state();
        let found: BTreeSet<_> =
            state.files.keys().filter(wanted).map(|key| (key.book.clone(), key.path.clone())).collect();
        Ok(found.into_iter().take(limit).collect())
    }

    async fn asset(&self, book: &BookId, path: &BookPath) -> Result<Option<Asset>, Fault> {
        let key = FileKey { book: book.clone(), path: path.clone(), layer: Layer::Base };
        Ok(self.state().asset(&key))
    }

    async fn find_asset(&self, book: &BookId, path: &BookPath) -> Result<Option<(Asset, StoredBlob)>, Fault> {
        let key = FileKey { book: book.clone(), path: path.clone(), layer: Layer::Base };
        let state = self.state();
        Ok(state.asset(&key).zip(state.found(&key).map(|found| found.blob)))
    }

    async fn assets(
        &self,
        book: &BookId,
        folder: &Folder,
        after: Option<&BookPath>,
        limit: usize,
    ) -> Result<Vec<Asset>, Fault> {
        let (state, (from, to)) = (self.state(), folder.range());
        let wanted = |key: &&FileKey| {
            let path = key.path.as_str();
            let inside = path >= from.as_str() && to.as_deref().is_none_or(|to| path < to);
            key.book == *book
                && key.layer == Layer::Base
                && inside
                && after.is_none_or(|after| key.path > *after)
        };
        // The keys of a book are in the order of their paths.
        Ok(state.files.keys().filter(wanted).filter_map(|key| state.asset(key)).take(limit).collect())
    }

    async fn changed(
        &self,
        book: &BookId,
        view: &View,
        since: Timestamp,
        after: Option<&BookPath>,
        limit: usize,
    ) -> Result<Delta, Fault> {
        let state = self.state();
        let mut all: BTreeMap<BookPath, ChangedFile> = BTreeMap::new();
        // The overlay last: where it changed, or has a file, it determines what is shown.
        for layer in [&Layer::Base, view.top()] {
            for (key, past) in &state.versions {
                let Some(last) = past.last().filter(|last| last.at >= since) else { continue };
                if key.book != *book || key.layer != *layer || after.is_some_and(|after| key.path <= *after) {
                    continue;
                }
                let [own, base] = keys(book, &key.path, view);
                if key.layer != own.layer && state.files.contains_key(&own) {
                    continue;
                }
                let shown =
                    [own, base].into_iter().find_map(|key| Some(record(&key, state.files.get(&key)?)));
                let now = shown.map_or_else(|| gone(last.at, layer, all.get(&key.path)), Shown::File);
                all.insert(key.path.clone(), ChangedFile { path: key.path.clone(), now });
            }
        }
        let total = all.len();
        let files = all.into_values().take(limit).collect();
        Ok(Delta { files, total, complete_until: state.now() })
    }
}

impl JournalState {
    fn asset(&self, key: &FileKey) -> Option<Asset> {
        let row = self.files.get(key)?;
        let agent = self.versions.get(key)?.last()?.agent.clone();
        Some(Asset { record: record(key, row), agent })
    }

    /// Change of a file of the base since a version of an overlay.
    fn base_change(&self, base: &FileKey, since: i64) -> Option<BaseChange> {
        let pasts = self.versions.get(base)?;
        let next = pasts.iter().find(|past| past.version > since)?;
        let then = pasts.iter().rfind(|past| past.version < since).and_then(|past| past.hash);
        // The next change tells what it replaced: a version between may be no longer kept.
        let entries = self.chains.get(&chain_of(base))?;
        let replaced = entries.iter().find(|entry| entry.timestamp == next.at)?.old_content_hash.clone();
        let then = then.filter(|then| replaced == Some(then.to_string()));
        let now = self.files.get(base).map(|row| row.hash);
        (then.is_none() || then != now).then_some(BaseChange { then, now })
    }

    fn found_version(&self, key: &FileKey, hash: ContentHash) -> Option<Found> {
        let past = self.versions.get(key)?.iter().rfind(|past| past.hash == Some(hash))?;
        let row = Row { hash, size: past.size, written_at: past.at, version: past.version };
        let blob = self.blobs.get(&hash)?.clone();
        Some(Found { record: record(key, &row), blob })
    }
}

fn chain_of(key: &FileKey) -> ChainKey {
    ChainKey {
        book: key.book.as_str().to_owned(),
        path: key.path.as_str().to_owned(),
        user: key.layer.as_str().to_owned(),
    }
}

/// The deletion that counts is the later of two: in this layer, and in the one below.
fn gone(at: Timestamp, layer: &Layer, below: Option<&ChangedFile>) -> Shown {
    match below.map(|below| below.now.clone()) {
        Some(Shown::Gone { at: earlier, layer }) if earlier > at => Shown::Gone { at: earlier, layer },
        _ => Shown::Gone { at, layer: layer.clone() },
    }
}

/// The keys that a view looks up for a path, in order.
fn keys(book: &BookId, path: &BookPath, view: &View) -> [FileKey; 2] {
    [view.top(), &Layer::Base].map(|layer| FileKey {
        book: book.clone(),
        path: path.clone(),
        layer: layer.clone(),
    })
}
