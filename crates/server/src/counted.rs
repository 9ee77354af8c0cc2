//! Objects and tree whose operations are counted for the metrics. Everything else is theirs.

use std::sync::Arc;

use async_trait::async_trait;
use panaversity_model::drift::{Seen, SeenObject, Spot};
use panaversity_model::ports::{Objects, Pages, Tree};
use panaversity_model::publication::FileKey;
use panaversity_model::{BookId, ContentHash, Fault};

use crate::metrics::Metrics;

/// Every operation there is, as the metric's label names it. A page of a listing counts as one.
pub(crate) const OPERATIONS: [&str; 11] =
    ["put", "stat", "get", "delete", "list", "publish", "unpublish", "read", "set_aside", "sync", "ping"];

/// A storage that is counted.
pub(crate) struct Counted<T: ?Sized> {
    storage: Arc<T>,
    metrics: Arc<Metrics>,
    backend: &'static str,
}

impl<T: ?Sized> Counted<T> {
    /// Counts what is asked of a storage; `backend` names its kind.
    pub(crate) fn new(storage: Arc<T>, metrics: &Arc<Metrics>, backend: &'static str) -> Arc<Self> {
        Arc::new(Self { storage, metrics: metrics.clone(), backend })
    }

    async fn count<V>(
        &self,
        operation: &'static str,
        asked: impl Future<Output = Result<V, Fault>> + Send,
    ) -> Result<V, Fault> {
        let result = asked.await;
        self.metrics.storage_asked(self.backend, operation, result.is_ok());
        result
    }

    fn counted_pages<V: Send + 'static>(&self, pages: Box<dyn Pages<V>>) -> Box<dyn Pages<V>> {
        Box::new(CountedPages { pages, metrics: self.metrics.clone(), backend: self.backend })
    }
}

#[async_trait]
impl Objects for Counted<dyn Objects> {
    async fn put(&self, hash: ContentHash, bytes: &[u8]) -> Result<(), Fault> {
        self.count("put", self.storage.put(hash, bytes)).await
    }

    async fn stat(&self, hash: ContentHash) -> Result<Option<u64>, Fault> {
        self.count("stat", self.storage.stat(hash)).await
    }

    async fn get(&self, hash: ContentHash, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
        self.count("get", self.storage.get(hash, limit)).await
    }

    async fn delete(&self, hash: ContentHash) -> Result<(), Fault> {
        self.count("delete", self.storage.delete(hash)).await
    }

    fn list_objects(&self) -> Box<dyn Pages<SeenObject>> {
        self.counted_pages(self.storage.list_objects())
    }
}

#[async_trait]
impl Tree for Counted<dyn Tree> {
    async fn put(&self, key: &FileKey, bytes: &[u8]) -> Result<(), Fault> {
        self.count("publish", self.storage.put(key, bytes)).await
    }

    async fn remove(&self, key: &FileKey) -> Result<(), Fault> {
        self.count("unpublish", self.storage.remove(key)).await
    }

    async fn sync(&self) -> Result<(), Fault> {
        self.count("sync", self.storage.sync()).await
    }

    async fn read(&self, spot: &Spot, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
        self.count("read", self.storage.read(spot, limit)).await
    }

    async fn set_aside(&self, spot: &Spot, folder: &str) -> Result<bool, Fault> {
        self.count("set_aside", self.storage.set_aside(spot, folder)).await
    }

    fn list_files(&self, book: Option<&BookId>) -> Box<dyn Pages<Seen>> {
        self.counted_pages(self.storage.list_files(book))
    }

    async fn ping(&self) -> Result<(), Fault> {
        self.count("ping", self.storage.ping()).await
    }

    fn backend(&self) -> &'static str {
        self.storage.backend()
    }
}

struct CountedPages<V> {
    pages: Box<dyn Pages<V>>,
    metrics: Arc<Metrics>,
    backend: &'static str,
}

#[async_trait]
impl<V: Send + 'static> Pages<V> for CountedPages<V> {
    async fn next(&mut self) -> Result<Option<Vec<V>>, Fault> {
        let page = self.pages.next().await;
        self.metrics.storage_asked(self.backend, "list", page.is_ok());
        page
    }
}
