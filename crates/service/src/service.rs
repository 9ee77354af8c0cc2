//! The service: the engines behind the ports, and the state that all use cases share.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use panaversity_model::connection_pool::PoolUsage;
use panaversity_model::ports::{Clock, IdGenerator, Journal, Objects, Tree, UploadStore};
use panaversity_model::{BookId, Fault, Schema};
use quick_cache::sync::Cache;
use tokio::sync::{Notify, Semaphore};

use crate::archive::cache::ArchiveCache;
use crate::grep::search_state::SearchState;
use crate::limits::{LARGE_PUBLICATIONS_AT_ONCE, Limits, PUBLICATIONS_AT_ONCE, SCHEMAS};
use crate::manifest_cache::ManifestCache;
use crate::verify::verified::Verified;

/// Implementations of the ports.
pub struct Engines {
    /// The database, which alone says what the store contains.
    pub journal: Arc<dyn Journal>,
    /// Large blobs.
    pub objects: Arc<dyn Objects>,
    /// Storage of uploads until they are completed.
    pub upload_store: Arc<dyn UploadStore>,
    /// The published copy.
    pub tree: Arc<dyn Tree>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Generator of ids.
    pub ids: Arc<dyn IdGenerator>,
}

/// Counters since the start, for the metrics.
#[derive(Debug, Default)]
pub struct Stats {
    /// Commits that failed or were refused after a blob was staged.
    pub rollbacks: AtomicU64,
    /// Blobs found missing or corrupt.
    pub damaged_reads: AtomicU64,
}

/// All use cases. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) objects: Arc<dyn Objects>,
    pub(crate) upload_store: Arc<dyn UploadStore>,
    pub(crate) tree: Arc<dyn Tree>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdGenerator>,
    pub(crate) limits: Limits,
    pub(crate) stats: Stats,
    pub(crate) manifests: ManifestCache,
    /// Schemas of books, each with the time of the clock at which it was read.
    pub(crate) schemas: Cache<BookId, (Schema, Duration)>,
    pub(crate) archives: ArchiveCache,
    pub(crate) search: SearchState,
    pub(crate) publications: Arc<Semaphore>,
    /// Permits for transfers that have several MiB in memory: large files being published or spooled.
    pub(crate) large: Arc<Semaphore>,
    pub(crate) backlog: Notify,
    /// State of the background verifier.
    pub(crate) verified: Mutex<Verified>,
}

impl Service {
    /// A service over these engines.
    pub fn new(engines: Engines, limits: Limits) -> Self {
        Self {
            inner: Arc::new(Inner {
                journal: engines.journal,
                objects: engines.objects,
                upload_store: engines.upload_store,
                tree: engines.tree,
                clock: engines.clock,
                ids: engines.ids,
                limits,
                stats: Stats::default(),
                manifests: ManifestCache::default(),
                schemas: Cache::new(SCHEMAS),
                archives: ArchiveCache::default(),
                search: SearchState::default(),
                publications: Arc::new(Semaphore::new(PUBLICATIONS_AT_ONCE)),
                large: Arc::new(Semaphore::new(LARGE_PUBLICATIONS_AT_ONCE)),
                backlog: Notify::new(),
                verified: Mutex::default(),
            }),
        }
    }

    /// The limits set by the operator.
    pub fn limits(&self) -> Limits {
        self.inner.limits
    }

    /// Counters since the start.
    pub fn stats(&self) -> &Stats {
        &self.inner.stats
    }

    /// Kind of the storage to which files are published, as named in results.
    pub fn storage_backend(&self) -> &'static str {
        self.inner.tree.backend()
    }

    /// Use of the connections to the database.
    pub fn pool_usage(&self) -> PoolUsage {
        self.inner.journal.pool_usage()
    }

    /// Number of journal rows of each book.
    pub async fn journal_counts(&self) -> Result<Vec<(BookId, i64)>, Fault> {
        self.inner.journal.journal_counts().await
    }
}
