//! Manifests of layers: the current one, from the cache where it is valid, and those that are kept so that
//! their versions stay readable.

use std::sync::Arc;

use panaversity_model::manifest::{Manifest, Stamp};
use panaversity_model::{BookId, ContentHash, Error, Fault, Layer};

use crate::limits::CACHED_FILES;
use crate::manifest_cache::{HashedManifest, LayerKey};
use crate::service::Service;

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
            HashedManifest::new(Manifest::default(), stamp, rows)
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
        let manifests = &self.inner.manifests;
        if manifests.is_kept(book, hash, now) {
            return Ok(());
        }
        self.inner.journal.keep(book, hash, &manifest.encode()).await?;
        manifests.remember(book, hash, manifest);
        manifests.note_kept(book, hash, now);
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
        let Some(encoded) = self.inner.journal.kept(book, hash).await? else { return Ok(None) };
        let manifest = Arc::new(Manifest::decode(&encoded)?);
        // The next page of a plan asks for it again.
        self.inner.manifests.remember(book, hash, &manifest);
        Ok(Some(manifest))
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
        Ok(Some(HashedManifest::new(Arc::unwrap_or_clone(cached.manifest), stamp, rows)))
    }
}
