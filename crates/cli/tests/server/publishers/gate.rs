//! A tree behind a gate: while it is shut, calls to the tree are neither carried out nor answered,
//! as if the process had been paused before them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use panaversity_model::ports::{ByteStream, PageStream, Tree};
use panaversity_model::publication::FileKey;
use panaversity_model::storage_listing::{TreeEntry, TreePath};
use panaversity_model::{BookId, Fault};
use tokio::sync::Semaphore;

/// Gate in front of one server's tree.
pub(super) struct Gate {
    tree: Arc<dyn Tree>,
    open: Semaphore,
    waiting: AtomicUsize,
    passed: AtomicUsize,
}

impl Gate {
    /// A gate that is shut.
    pub(super) fn shut(tree: Arc<dyn Tree>) -> Arc<Self> {
        let (waiting, passed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { tree, open: Semaphore::new(0), waiting, passed })
    }

    /// Lets all calls through, from now on.
    pub(super) fn open(&self) {
        self.open.close();
    }

    /// Number of calls that reached the gate.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Number of calls that passed it and reached the tree.
    pub(super) fn passed(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }

    async fn pass(&self, act: impl Future<Output = Result<(), Fault>> + Send) -> Result<(), Fault> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        // Ends only when the gate is opened: no permits are ever added.
        let _ = self.open.acquire().await;
        act.await?;
        self.passed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[async_trait]
impl Tree for Gate {
    async fn put(&self, key: &FileKey, bytes: &[u8]) -> Result<(), Fault> {
        self.pass(self.tree.put(key, bytes)).await
    }

    async fn put_parts(&self, key: &FileKey, parts: ByteStream, size: u64) -> Result<(), Fault> {
        self.pass(self.tree.put_parts(key, parts, size)).await
    }

    async fn remove(&self, key: &FileKey) -> Result<(), Fault> {
        self.pass(self.tree.remove(key)).await
    }

    async fn sync(&self) -> Result<(), Fault> {
        self.tree.sync().await
    }

    async fn open(&self, spot: &TreePath) -> Result<Option<ByteStream>, Fault> {
        self.tree.open(spot).await
    }

    async fn set_aside(&self, spot: &TreePath, folder: &str) -> Result<bool, Fault> {
        self.tree.set_aside(spot, folder).await
    }

    fn list_files(&self, book: Option<&BookId>) -> PageStream<TreeEntry> {
        self.tree.list_files(book)
    }

    async fn ping(&self) -> Result<(), Fault> {
        self.tree.ping().await
    }

    fn backend(&self) -> &'static str {
        self.tree.backend()
    }
}
