//! The service: the engines behind the ports, and what all acts share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use panaversity_model::ports::{Clock, IdGenerator, Journal, Objects, Tree, UploadStore};
use panaversity_model::{BookId, Fault};
use tokio::sync::{Notify, Semaphore};

use crate::archive::ArchiveCache;
use crate::manifest_cache::ManifestCache;
use crate::publish::LARGE_AT_ONCE;
use crate::verify::VerifierState;

/// Publications under way at once.
const PUBLICATIONS_AT_ONCE: usize = 128;

/// What the acts work with.
pub struct Engines {
    /// The truth.
    pub journal: Arc<dyn Journal>,
    /// Large blobs.
    pub objects: Arc<dyn Objects>,
    /// Where large uploads arrive.
    pub inbox: Arc<dyn UploadStore>,
    /// The published copy.
    pub tree: Arc<dyn Tree>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// PendingPublish ids.
    pub ids: Arc<dyn IdGenerator>,
}

/// The limits an operator sets.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Blobs up to this many bytes lie in the database; 0: none.
    pub inline_bytes: usize,
    /// Assets up to this many bytes come and go inside a call.
    pub direct_bytes: u64,
    /// Assets have at most this many bytes.
    pub asset_bytes: u64,
    /// Whether overlays are published to the tree.
    pub publish_overlays: bool,
}

/// Counts since the start, for the metrics.
#[derive(Debug, Default)]
pub struct Stats {
    /// Commits that failed or were refused after a blob was staged.
    pub rollbacks: AtomicU64,
    /// Blobs found missing or corrupt.
    pub damaged_reads: AtomicU64,
}

/// All acts. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) objects: Arc<dyn Objects>,
    pub(crate) inbox: Arc<dyn UploadStore>,
    pub(crate) tree: Arc<dyn Tree>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdGenerator>,
    pub(crate) limits: Limits,
    pub(crate) stats: Stats,
    pub(crate) manifests: ManifestCache,
    pub(crate) archives: ArchiveCache,
    pub(crate) publications: Arc<Semaphore>,
    /// Turns of what holds several MiB at once: large files on their way into the tree or the objects.
    pub(crate) large: Arc<Semaphore>,
    pub(crate) backlog: Notify,
    pub(crate) verifier: VerifierState,
}

impl Service {
    /// A service over these engines.
    pub fn new(engines: Engines, limits: Limits) -> Self {
        Self {
            inner: Arc::new(Inner {
                journal: engines.journal,
                objects: engines.objects,
                inbox: engines.inbox,
                tree: engines.tree,
                clock: engines.clock,
                ids: engines.ids,
                limits,
                stats: Stats::default(),
                manifests: ManifestCache::default(),
                archives: ArchiveCache::default(),
                publications: Arc::new(Semaphore::new(PUBLICATIONS_AT_ONCE)),
                large: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
                backlog: Notify::new(),
                verifier: VerifierState::default(),
            }),
        }
    }

    /// The limits an operator has set.
    pub fn limits(&self) -> Limits {
        self.inner.limits
    }

    /// Counts since the start.
    pub fn stats(&self) -> &Stats {
        &self.inner.stats
    }

    /// Where files are published, as results name it.
    pub fn storage_backend(&self) -> &'static str {
        self.inner.tree.backend()
    }

    /// How many journal rows each book has.
    pub async fn journal_counts(&self) -> Result<Vec<(BookId, i64)>, Fault> {
        self.inner.journal.journal_counts().await
    }
}
