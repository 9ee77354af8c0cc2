//! Cache of manifests of layers: books' bases, and overlays that are searched. An entry is valid while its
//! stamp (row count and sum of row versions, read in one statement) equals the layer's.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use panaversity_model::manifest::{Manifest, ManifestRow, Stamp};
use panaversity_model::{BookId, ContentHash, Layer};

use crate::limits::CACHED_FILES;

/// Most recently kept manifests that stay in memory.
const RECENT: usize = 8;
/// Most layers in the cache, and most books whose last kept manifest is remembered.
const MOST_BOOKS: usize = 10_000;
/// Time after which a kept manifest is kept again; far below the 30 days for which it is kept.
const KEPT_AGAIN_AFTER: Duration = Duration::from_hours(1);

/// A manifest with its hash.
#[derive(Debug, Clone)]
pub(crate) struct HashedManifest {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) hash: ContentHash,
    pub(crate) bytes: u64,
    pub(crate) stamp: Stamp,
}

impl HashedManifest {
    /// A manifest with these newer rows, and the stamp that the layer has with them.
    pub(crate) fn new(mut manifest: Manifest, stamp: Stamp, rows: Vec<ManifestRow>) -> Self {
        manifest.files.extend(rows.into_iter().map(|row| (row.path, row.item)));
        let (hash, bytes) = (manifest.hash(), manifest.bytes());
        Self { manifest: Arc::new(manifest), hash, bytes, stamp }
    }
}

/// Key of a manifest.
pub(crate) type LayerKey = (BookId, Layer);

/// Manifests in memory.
#[derive(Default)]
pub(crate) struct ManifestCache {
    by_layer: Mutex<HashMap<LayerKey, HashedManifest>>,
    kept_at: Mutex<HashMap<BookId, (ContentHash, Duration)>>,
    /// The manifests kept last, newest last: the likely starting points of the next plans.
    recent: Mutex<VecDeque<(BookId, ContentHash, Arc<Manifest>)>>,
}

impl ManifestCache {
    pub(crate) fn get(&self, layer: &LayerKey) -> Option<HashedManifest> {
        self.by_layer.lock().unwrap_or_else(PoisonError::into_inner).get(layer).cloned()
    }

    pub(crate) fn recent(&self, book: &BookId, hash: ContentHash) -> Option<Arc<Manifest>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().find(|(of, known, _)| of == book && *known == hash).map(|(_, _, found)| found.clone())
    }

    pub(crate) fn remember(&self, book: &BookId, hash: ContentHash, manifest: &Arc<Manifest>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(of, known, _)| of != book || *known != hash);
        recent.push_back((book.clone(), hash, manifest.clone()));
        let mut held: usize = recent.iter().map(|(_, _, manifest)| manifest.files.len()).sum();
        while recent.len() > RECENT || held > CACHED_FILES {
            let Some((_, _, oldest)) = recent.pop_front() else { break };
            held -= oldest.files.len();
        }
    }

    pub(crate) fn put(&self, layer: LayerKey, named: &HashedManifest) {
        let mut cache = self.by_layer.lock().unwrap_or_else(PoisonError::into_inner);
        cache.remove(&layer);
        let held: usize = cache.values().map(|named| named.manifest.files.len()).sum();
        if held + named.manifest.files.len() > CACHED_FILES || cache.len() >= MOST_BOOKS {
            cache.clear();
        }
        cache.insert(layer, named.clone());
    }

    /// True if this manifest of a book was kept less than an hour before `now`.
    pub(crate) fn is_kept(&self, book: &BookId, hash: ContentHash, now: Duration) -> bool {
        let kept_at = self.kept_at.lock().unwrap_or_else(PoisonError::into_inner);
        kept_at.get(book).is_some_and(|(kept, at)| *kept == hash && now < *at + KEPT_AGAIN_AFTER)
    }

    /// Notes that this manifest of a book was kept.
    pub(crate) fn note_kept(&self, book: &BookId, hash: ContentHash, now: Duration) {
        let mut kept_at = self.kept_at.lock().unwrap_or_else(PoisonError::into_inner);
        if kept_at.len() >= MOST_BOOKS {
            kept_at.clear();
        }
        kept_at.insert(book.clone(), (hash, now));
    }
}
