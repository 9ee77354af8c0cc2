//! Metrics decorator over the storage ports: reports each completed operation to an observer.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use panaversity_model::ids::UploadId;
use panaversity_model::ports::{ByteStream, Objects, PageStream, Staging, Tree, UploadStore, UploadWriter};
use panaversity_model::publication::FileKey;
use panaversity_model::storage_listing::{ObjectEntry, TreeEntry, TreePath};
use panaversity_model::upload::{Permit, SignedPut, UploadEntry};
use panaversity_model::{BookId, ContentHash, Fault};

/// Observer of completed operations: receives the name, and true if there was no fault.
pub type OperationObserver = Arc<dyn Fn(&'static str, bool) + Send + Sync>;

/// All operations, as named in the metric's label. Each page of a listing counts as one; an object or an
/// upload written in parts counts once, when it is begun.
pub const OPERATIONS: [&str; 17] = [
    "put",
    "stage",
    "stat",
    "get",
    "delete",
    "list",
    "publish",
    "unpublish",
    "read",
    "set_aside",
    "sync",
    "ping",
    "presign",
    "receive",
    "arrived",
    "open_upload",
    "discard",
];

/// Storage port whose operations are observed.
pub struct Metered<T: ?Sized> {
    storage: Arc<T>,
    observer: OperationObserver,
}

impl<T: ?Sized> Metered<T> {
    /// Decorates a storage.
    pub fn new(storage: Arc<T>, observer: &OperationObserver) -> Arc<Self> {
        Arc::new(Self { storage, observer: observer.clone() })
    }

    async fn count<V>(
        &self,
        operation: &'static str,
        asked: impl Future<Output = Result<V, Fault>> + Send,
    ) -> Result<V, Fault> {
        let result = asked.await;
        (self.observer)(operation, result.is_ok());
        result
    }

    fn counted_pages<V: Send + 'static>(&self, pages: PageStream<V>) -> PageStream<V> {
        let observer = self.observer.clone();
        pages.inspect(move |page| observer("list", page.is_ok())).boxed()
    }
}

#[async_trait]
impl Objects for Metered<dyn Objects> {
    async fn put(&self, hash: ContentHash, bytes: &[u8]) -> Result<(), Fault> {
        self.count("put", self.storage.put(hash, bytes)).await
    }

    async fn stage(&self) -> Result<Box<dyn Staging>, Fault> {
        self.count("stage", self.storage.stage()).await
    }

    async fn stat(&self, hash: ContentHash) -> Result<Option<u64>, Fault> {
        self.count("stat", self.storage.stat(hash)).await
    }

    async fn get(&self, hash: ContentHash, range: Range<u64>) -> Result<Option<Vec<u8>>, Fault> {
        self.count("get", self.storage.get(hash, range)).await
    }

    async fn delete(&self, hash: ContentHash) -> Result<(), Fault> {
        self.count("delete", self.storage.delete(hash)).await
    }

    fn list_objects(&self) -> PageStream<ObjectEntry> {
        self.counted_pages(self.storage.list_objects())
    }
}

#[async_trait]
impl UploadStore for Metered<dyn UploadStore> {
    async fn presign(&self, id: UploadId, permit: &Permit) -> Result<Option<SignedPut>, Fault> {
        self.count("presign", self.storage.presign(id, permit)).await
    }

    async fn receive(&self, id: UploadId) -> Result<Box<dyn UploadWriter>, Fault> {
        self.count("receive", self.storage.receive(id)).await
    }

    async fn arrived(&self, id: UploadId) -> Result<Option<u64>, Fault> {
        self.count("arrived", self.storage.arrived(id)).await
    }

    async fn open(&self, id: UploadId) -> Result<Option<ByteStream>, Fault> {
        self.count("open_upload", self.storage.open(id)).await
    }

    async fn discard(&self, id: UploadId) -> Result<(), Fault> {
        self.count("discard", self.storage.discard(id)).await
    }

    fn list_arrived(&self) -> PageStream<UploadEntry> {
        self.counted_pages(self.storage.list_arrived())
    }

    async fn sweep(&self, seen: &UploadEntry) -> Result<(), Fault> {
        self.count("discard", self.storage.sweep(seen)).await
    }
}

#[async_trait]
impl Tree for Metered<dyn Tree> {
    async fn put(&self, key: &FileKey, bytes: &[u8]) -> Result<(), Fault> {
        self.count("publish", self.storage.put(key, bytes)).await
    }

    async fn put_parts(&self, key: &FileKey, parts: ByteStream, size: u64) -> Result<(), Fault> {
        self.count("publish", self.storage.put_parts(key, parts, size)).await
    }

    async fn remove(&self, key: &FileKey) -> Result<(), Fault> {
        self.count("unpublish", self.storage.remove(key)).await
    }

    async fn sync(&self) -> Result<(), Fault> {
        self.count("sync", self.storage.sync()).await
    }

    async fn open(&self, spot: &TreePath) -> Result<Option<ByteStream>, Fault> {
        self.count("read", self.storage.open(spot)).await
    }

    async fn set_aside(&self, spot: &TreePath, folder: &str) -> Result<bool, Fault> {
        self.count("set_aside", self.storage.set_aside(spot, folder)).await
    }

    fn list_files(&self, book: Option<&BookId>) -> PageStream<TreeEntry> {
        self.counted_pages(self.storage.list_files(book))
    }

    async fn ping(&self) -> Result<(), Fault> {
        self.count("ping", self.storage.ping()).await
    }

    fn backend(&self) -> &'static str {
        self.storage.backend()
    }
}
