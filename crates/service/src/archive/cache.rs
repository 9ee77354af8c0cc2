//! Layouts of archives, and what they weigh. Invariant: the gauge of held memory goes up and down
//! with what is held, whoever lets it go.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use panaversity_model::ContentHash;
use panaversity_model::blob::{BlobMetadata, BlobState};
use panaversity_model::zip::{Layout, Method, ZipEntry};
use tokio::sync::Semaphore;

/// Bytes of all remembered layouts together; the one used last may be larger.
const REMEMBERED_BYTES: usize = 8 << 20;
/// Segments, of about a chunk each, that all downloads together may hold beyond the one that each of
/// them always may.
const SHARED_SEGMENTS: usize = 8;
/// Downloads under way at once; others wait for their turn.
const DOWNLOADS_AT_ONCE: usize = 64;

/// A file that an archive does without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its path.
    pub path: String,
    /// Why.
    pub state: BlobState,
}

/// An archive: its layout, and what it leaves out.
#[derive(Debug)]
pub struct Archive {
    pub(super) layout: Layout,
    left_out: Vec<LeftOut>,
    _held: Held,
}

impl Archive {
    /// The name of its bytes.
    pub fn hash(&self) -> ContentHash {
        self.layout.hash()
    }

    /// Bytes of the ZIP.
    pub fn bytes(&self) -> u64 {
        self.layout.bytes()
    }

    /// Bytes of its files.
    pub fn content_bytes(&self) -> u64 {
        self.layout.content_bytes()
    }

    /// How many files it has.
    pub fn files(&self) -> usize {
        self.layout.entries().len()
    }

    /// Files of its state and scope that it does not have, because their bytes are lost.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }
}

/// Of those who want the same layout one makes it at a time.
type Turn = tokio::sync::Mutex<()>;

/// What all archives share.
pub(crate) struct ArchiveCache {
    gauge: Arc<AtomicU64>,
    /// The one used last at the back.
    remembered: Mutex<VecDeque<Arc<Archive>>>,
    /// The turns of those who make a layout again, by its hash.
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
            downloads: Arc::new(Semaphore::new(DOWNLOADS_AT_ONCE)),
        }
    }
}

impl ArchiveCache {
    /// Bytes held now.
    pub(super) fn held(&self) -> u64 {
        self.gauge.load(Ordering::Relaxed)
    }

    /// Notes that so many bytes are held for as long as what it gives.
    pub(super) fn hold(&self, bytes: u64) -> Held {
        self.gauge.fetch_add(bytes, Ordering::Relaxed);
        Held { gauge: self.gauge.clone(), bytes }
    }

    /// The remembered layout of that hash.
    pub(super) fn remembered(&self, hash: ContentHash) -> Option<Arc<Archive>> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let found = remembered.iter().position(|archive| archive.hash() == hash)?;
        let archive = remembered.remove(found)?;
        remembered.push_back(archive.clone());
        Some(archive)
    }

    /// The turn of those who make the layout of that hash again.
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

    /// Forgets a layout: something in it turned out bad.
    pub(super) fn forget(&self, hash: ContentHash) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|archive| archive.hash() != hash);
    }

    /// The layout of these versions, of which this is known. It is remembered.
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

/// Bytes that count as held until this is dropped.
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
