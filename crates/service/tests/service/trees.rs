//! Fake trees that behave like disks and networks: they lose files that were not made durable (the
//! tree's part of I9), and carry out a request long after it was made (the publishing part of R2).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use panaversity_model::ports::{ByteStream, PageStream, Tree};
use panaversity_model::publication::FileKey;
use panaversity_model::storage_listing::{TreeEntry, TreePath};
use panaversity_model::{BookId, Fault};
use panaversity_testkit::memory::{in_parts, listed, location, lying, set_aside};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Timeout of waits in tests, longer than any test takes.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A folder in which a file survives a power cut only after a sync.
#[derive(Debug, Default)]
pub(crate) struct FragileTree {
    disk: Mutex<Disk>,
}

#[derive(Debug, Default, Clone)]
struct Disk {
    seen: BTreeMap<String, Vec<u8>>,
    safe: BTreeMap<String, Vec<u8>>,
    aside: BTreeMap<String, Vec<u8>>,
}

impl FragileTree {
    /// Another folder with the same files.
    pub(crate) fn copy(&self) -> Self {
        Self { disk: Mutex::new(self.with(|disk| disk.clone())) }
    }

    /// Files that a reader sees, by location.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.with(|disk| disk.seen.clone())
    }

    /// Files that were set aside, by location.
    pub(crate) fn aside(&self) -> BTreeMap<String, Vec<u8>> {
        self.with(|disk| disk.aside.clone())
    }

    /// Writes or removes a file without the service.
    pub(crate) fn tamper(&self, location: &str, bytes: Option<&[u8]>) {
        self.with(|disk| match bytes {
            Some(bytes) => disk.seen.insert(location.to_owned(), bytes.to_vec()),
            None => disk.seen.remove(location),
        });
    }

    /// Loses all changes since the last sync.
    pub(crate) fn cut_power(&self) {
        self.with(|disk| disk.seen = disk.safe.clone());
    }

    fn with<T>(&self, act: impl FnOnce(&mut Disk) -> T) -> T {
        act(&mut self.disk.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Tree for FragileTree {
    async fn put(&self, key: &FileKey, bytes: &[u8]) -> Result<(), Fault> {
        self.with(|disk| disk.seen.insert(location(key), bytes.to_vec()));
        Ok(())
    }

    async fn put_parts(&self, key: &FileKey, mut parts: ByteStream, size: u64) -> Result<(), Fault> {
        let bytes = joined(&mut parts).await?;
        assert_eq!(bytes.len() as u64, size, "as many as were told");
        self.put(key, &bytes).await
    }

    async fn remove(&self, key: &FileKey) -> Result<(), Fault> {
        self.with(|disk| disk.seen.remove(&location(key)));
        Ok(())
    }

    async fn sync(&self) -> Result<(), Fault> {
        self.with(|disk| disk.safe = disk.seen.clone());
        Ok(())
    }

    async fn open(&self, spot: &TreePath) -> Result<Option<ByteStream>, Fault> {
        let bytes = self.with(|disk| disk.seen.get(&lying(spot)).cloned());
        Ok(bytes.map(|bytes| in_parts(&bytes)))
    }

    async fn set_aside(&self, spot: &TreePath, folder: &str) -> Result<bool, Fault> {
        let moved = self.with(|disk| {
            let bytes = disk.seen.remove(&lying(spot))?;
            disk.aside.insert(set_aside(spot, folder), bytes);
            Some(())
        });
        Ok(moved.is_some())
    }

    fn list_files(&self, book: Option<&BookId>) -> PageStream<TreeEntry> {
        self.with(|disk| listed(&disk.seen, book))
    }

    async fn ping(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn backend(&self) -> &'static str {
        "memory"
    }
}

async fn joined(parts: &mut ByteStream) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    while let Some(part) = parts.try_next().await? {
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// One server's access to a tree, with a gate in front of `put` and `remove`, or of large files only:
/// while it is shut, requests are neither carried out nor answered.
pub(crate) struct GatedTree {
    inner: Arc<dyn Tree>,
    small_pass: bool,
    shut: Mutex<bool>,
    arrived: Notify,
    opened: Notify,
}

impl GatedTree {
    /// A tree behind a closed gate.
    pub(crate) fn shut(inner: Arc<dyn Tree>) -> Arc<Self> {
        Arc::new(Self::over(inner, false))
    }

    /// A tree behind a gate that is closed for large files only.
    pub(crate) fn shut_for_large(inner: Arc<dyn Tree>) -> Arc<Self> {
        Arc::new(Self::over(inner, true))
    }

    fn over(inner: Arc<dyn Tree>, small_pass: bool) -> Self {
        Self { inner, small_pass, shut: Mutex::new(true), arrived: Notify::new(), opened: Notify::new() }
    }

    /// Waits until a request arrives at the gate.
    pub(crate) async fn somebody_waits(&self) {
        timeout(TEST_TIMEOUT, self.arrived.notified()).await.expect("nobody came to the gate");
    }

    /// Opens the gate for all requests.
    pub(crate) fn open(&self) {
        *self.shut.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.opened.notify_waiters();
    }

    async fn pass_small(&self) {
        if !self.small_pass {
            self.pass().await;
        }
    }

    async fn pass(&self) {
        let opened = self.opened.notified();
        if *self.shut.lock().unwrap_or_else(PoisonError::into_inner) {
            self.arrived.notify_one();
            timeout(TEST_TIMEOUT, opened).await.expect("nobody opened the gate");
        }
    }
}

#[async_trait]
impl Tree for GatedTree {
    async fn put(&self, key: &FileKey, bytes: &[u8]) -> Result<(), Fault> {
        self.pass_small().await;
        self.inner.put(key, bytes).await
    }

    async fn put_parts(&self, key: &FileKey, parts: ByteStream, size: u64) -> Result<(), Fault> {
        self.pass().await;
        self.inner.put_parts(key, parts, size).await
    }

    async fn remove(&self, key: &FileKey) -> Result<(), Fault> {
        self.pass_small().await;
        self.inner.remove(key).await
    }

    async fn sync(&self) -> Result<(), Fault> {
        self.inner.sync().await
    }

    async fn open(&self, spot: &TreePath) -> Result<Option<ByteStream>, Fault> {
        self.inner.open(spot).await
    }

    async fn set_aside(&self, spot: &TreePath, folder: &str) -> Result<bool, Fault> {
        self.inner.set_aside(spot, folder).await
    }

    fn list_files(&self, book: Option<&BookId>) -> PageStream<TreeEntry> {
        self.inner.list_files(book)
    }

    async fn ping(&self) -> Result<(), Fault> {
        self.inner.ping().await
    }

    fn backend(&self) -> &'static str {
        self.inner.backend()
    }
}
