//! Cache of archive layouts, and a gauge of the memory that archives use. Invariant: the gauge counts
//! allocated bytes until they are dropped, by whichever owner.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use panaversity_model::ContentHash;
use panaversity_model::blob::{BlobMetadata, BlobState};
use panaversity_model::zip::{Layout, Method, ZipEntry};
use tokio::sync::Semaphore;

use crate::limits::{ARCHIVES_AT_ONCE, SHARED_SEGMENTS};

/// Most bytes of all cached layouts; a single layout used last may be larger.
const REMEMBERED_BYTES: usize = 8 << 20;

/// A file that an archive leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its path.
    pub path: String,
    /// State of its blob: the reason.
    pub state: BlobState,
}

/// An archive: its layout, and the files it leaves out.
#[derive(Debug)]
pub struct Archive {
    pub(super) layout: Layout,
    left_out: Vec<LeftOut>,
    _held: Held,
}

impl Archive {
    /// Hash of the layout, which identifies its bytes.
    pub fn hash(&self) -> ContentHash {
        self.layout.hash()
    }

    /// Size of the ZIP in bytes.
    pub fn bytes(&self) -> u64 {
        self.layout.bytes()
    }

    /// Total size of its files in bytes.
    pub fn content_bytes(&self) -> u64 {
        self.layout.content_bytes()
    }

    /// Number of its files.
    pub fn files(&self) -> usize {
        self.layout.entries().len()
    }

    /// Files of its state and scope that it leaves out because their bytes are lost.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }
}

/// Lock under which one request at a time computes a layout.
type Turn = tokio::sync::Mutex<()>;

/// State shared by all archives.
pub(crate) struct ArchiveCache {
    gauge: Arc<AtomicU64>,
    /// Cached layouts, the one used last at the back.
    remembered: Mutex<VecDeque<Arc<Archive>>>,
    /// Locks for computing layouts, by the layout's hash.
    making: Mutex<HashMap<ContentHash, Weak<Turn>>>,
    pub(super) shared: Arc<Semaphore>,
    pub(super) downloads: Arc<Semaphore>,
}

impl Default for ArchiveCache {
    fn default() -> Self {
        Self {
            gauge: Arc::default(),
            remembered: Mutex::default(),
            making: Mutex::default(),
            shared: Arc::new(Semaphore::new(SHARED_SEGMENTS)),
            downloads: Arc::new(Semaphore::new(ARCHIVES_AT_ONCE)),
        }
    }
}

impl ArchiveCache {
    /// Bytes in use now.
    pub(super) fn held(&self) -> u64 {
        self.gauge.load(Ordering::Relaxed)
    }

    /// Adds bytes to the gauge until the returned guard is dropped.
    pub(super) fn hold(&self, bytes: u64) -> Held {
        self.gauge.fetch_add(bytes, Ordering::Relaxed);
        Held { gauge: self.gauge.clone(), bytes }
    }

    /// The cached layout with that hash.
    pub(super) fn remembered(&self, hash: ContentHash) -> Option<Arc<Archive>> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let found = remembered.iter().position(|archive| archive.hash() == hash)?;
        let archive = remembered.remove(found)?;
        remembered.push_back(archive.clone());
        Some(archive)
    }

    /// The lock for computing the layout with that hash.
    pub(super) fn making(&self, hash: ContentHash) -> Arc<Turn> {
        let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        making.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = making.get(&hash).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        making.insert(hash, Arc::downgrade(&turn));
        turn
    }

    /// Removes a layout in which a blob was found bad.
    pub(super) fn forget(&self, hash: ContentHash) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|archive| archive.hash() != hash);
    }

    /// Builds and caches the layout of these versions from their metadata.
    pub(super) fn layout(
        &self,
        versions: &[(&str, ContentHash)],
        blob_metadata: &[BlobMetadata],
    ) -> Arc<Archive> {
        let (mut entries, mut left_out) = (Vec::with_capacity(versions.len()), Vec::new());
        for ((path, hash), metadata) in versions.iter().zip(blob_metadata) {
            let name = (*path).to_owned();
            if metadata.state == BlobState::Live {
                let method = metadata.deflated.map_or(Method::Plain, Method::Deflated);
                entries.push(ZipEntry {
                    name,
                    hash: *hash,
                    size: metadata.size,
                    crc32: metadata.crc32,
                    method,
                });
            } else {
                left_out.push(LeftOut { path: name, state: metadata.state });
            }
        }
        let layout = Layout::new(entries);
        let held = self.hold(layout.held_bytes() as u64);
        let archive = Arc::new(Archive { layout, left_out, _held: held });
        self.remember(&archive);
        archive
    }

    fn remember(&self, archive: &Arc<Archive>) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|other| other.hash() != archive.hash());
        remembered.push_back(archive.clone());
        let mut bytes: usize = remembered.iter().map(|archive| archive.layout.held_bytes()).sum();
        while bytes > REMEMBERED_BYTES && remembered.len() > 1 {
            bytes -= remembered.pop_front().map_or(0, |oldest| oldest.layout.held_bytes());
        }
    }
}

/// Guard that counts bytes in the gauge until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    gauge: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gauge.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
