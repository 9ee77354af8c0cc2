//! Cache of manifests of layers: books' bases, and overlays that are searched. An entry is valid while its
//! stamp (row count and sum of row versions, read in one statement) equals the layer's.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use panaversity_model::manifest::{Manifest, ManifestRow, Stamp};
use panaversity_model::{BookId, ContentHash, Error, Fault, Layer};

use crate::limits::CACHED_FILES;
use crate::service::Service;

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
    stamp: Stamp,
}

/// Key of a manifest.
type LayerKey = (BookId, Layer);

/// Manifests in memory.
#[derive(Default)]
pub(crate) struct ManifestCache {
    by_layer: Mutex<HashMap<LayerKey, HashedManifest>>,
    kept_at: Mutex<HashMap<BookId, (ContentHash, Duration)>>,
    /// The manifests kept last, newest last: the likely starting points of the next plans.
    recent: Mutex<VecDeque<(BookId, ContentHash, Arc<Manifest>)>>,
}

impl ManifestCache {
    fn get(&self, layer: &LayerKey) -> Option<HashedManifest> {
        self.by_layer.lock().unwrap_or_else(PoisonError::into_inner).get(layer).cloned()
    }

    fn recent(&self, book: &BookId, hash: ContentHash) -> Option<Arc<Manifest>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().find(|(of, known, _)| of == book && *known == hash).map(|(_, _, found)| found.clone())
    }

    fn remember(&self, book: &BookId, hash: ContentHash, manifest: &Arc<Manifest>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(of, known, _)| of != book || *known != hash);
        recent.push_back((book.clone(), hash, manifest.clone()));
        let mut held: usize = recent.iter().map(|(_, _, manifest)| manifest.files.len()).sum();
        while recent.len() > RECENT || held > CACHED_FILES {
            let Some((_, _, oldest)) = recent.pop_front() else { break };
            held -= oldest.files.len();
        }
    }

    fn put(&self, layer: LayerKey, named: &HashedManifest) {
        let mut cache = self.by_layer.lock().unwrap_or_else(PoisonError::into_inner);
        cache.remove(&layer);
        let held: usize = cache.values().map(|named| named.manifest.files.len()).sum();
        if held + named.manifest.files.len() > CACHED_FILES || cache.len() >= MOST_BOOKS {
            cache.clear();
        }
        cache.insert(layer, named.clone());
    }
}

impl Service {
    /// The current manifest of a book's base.
    pub(crate) async fn manifest(&self, book: &BookId) -> Result<HashedManifest, Error> {
        let stamp = self.inner.journal.stamp(book, &Layer::Base).await?;
        if stamp == Stamp::default() {
            self.require_book(book).await?;
        }
        Ok(self.manifest_at(book, &Layer::Base, stamp).await?)
    }

    /// The current files of a layer; `None`: they are more than the cache has room for.
    pub(crate) async fn layer_files(
        &self,
        book: &BookId,
        layer: &Layer,
    ) -> Result<Option<Arc<Manifest>>, Fault> {
        let stamp = self.inner.journal.stamp(book, layer).await?;
        if usize::try_from(stamp.count).is_ok_and(|count| count <= CACHED_FILES) {
            return Ok(Some(self.manifest_at(book, layer, stamp).await?.manifest));
        }
        Ok(None)
    }

    /// The manifest of a layer that had this stamp just now.
    async fn manifest_at(&self, book: &BookId, layer: &Layer, stamp: Stamp) -> Result<HashedManifest, Fault> {
        let key = (book.clone(), layer.clone());
        let cached = self.inner.manifests.get(&key);
        if let Some(cached) = &cached
            && cached.stamp == stamp
        {
            return Ok(cached.clone());
        }
        let named = if let Some(named) = self.advanced(&key, cached).await? {
            named
        } else {
            let (stamp, rows) = self.inner.journal.rows(book, layer, 0).await?;
            named(Manifest::default(), stamp, rows)
        };
        self.inner.manifests.put(key, &named);
        Ok(named)
    }

    /// Stores a manifest before its hash is returned.
    pub(crate) async fn keep(
        &self,
        book: &BookId,
        hash: ContentHash,
        manifest: &Arc<Manifest>,
    ) -> Result<(), Fault> {
        let now = self.inner.clock.monotonic();
        let fresh = |kept: &(ContentHash, Duration)| kept.0 == hash && now < kept.1 + KEPT_AGAIN_AFTER;
        let manifests = &self.inner.manifests;
        if manifests.kept_at.lock().unwrap_or_else(PoisonError::into_inner).get(book).is_some_and(fresh) {
            return Ok(());
        }
        self.inner.journal.keep(book, hash, &manifest.encode()).await?;
        manifests.remember(book, hash, manifest);
        let mut kept_at = manifests.kept_at.lock().unwrap_or_else(PoisonError::into_inner);
        if kept_at.len() >= MOST_BOOKS {
            kept_at.clear();
        }
        kept_at.insert(book.clone(), (hash, now));
        Ok(())
    }

    /// A stored manifest, from memory or the journal; `None`: it is not kept.
    pub(crate) async fn kept(
        &self,
        book: &BookId,
        hash: ContentHash,
    ) -> Result<Option<Arc<Manifest>>, Fault> {
        if let Some(recent) = self.inner.manifests.recent(book, hash) {
            return Ok(Some(recent));
        }
        match self.inner.journal.kept(book, hash).await? {
            Some(encoded) => Manifest::decode(&encoded).map(Arc::new).map(Some),
            None => Ok(None),
        }
    }

    /// The cached manifest with newer rows applied, if its stamp then equals the layer's; a deleted row
    /// changes the stamp, and then all rows are read.
    async fn advanced(
        &self,
        (book, layer): &LayerKey,
        cached: Option<HashedManifest>,
    ) -> Result<Option<HashedManifest>, Fault> {
        let Some(cached) = cached else { return Ok(None) };
        let (stamp, rows) = self.inner.journal.rows(book, layer, cached.stamp.highest).await?;
        let mut reached = Stamp { highest: stamp.highest, ..cached.stamp };
        for row in &rows {
            match cached.manifest.files.get(&row.path) {
                Some(replaced) => reached.sum -= replaced.version,
                None => reached.count += 1,
            }
            reached.sum += row.item.version;
        }
        if reached != stamp {
            return Ok(None);
        }
        Ok(Some(named(Arc::unwrap_or_clone(cached.manifest), stamp, rows)))
    }
}

fn named(mut manifest: Manifest, stamp: Stamp, rows: Vec<ManifestRow>) -> HashedManifest {
    manifest.files.extend(rows.into_iter().map(|row| (row.path, row.item)));
    let (hash, bytes) = (manifest.hash(), manifest.bytes());
    HashedManifest { manifest: Arc::new(manifest), hash, bytes, stamp }
}
