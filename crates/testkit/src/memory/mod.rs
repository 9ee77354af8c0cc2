//! In-memory implementations of the ports, as small as possible, for tests of the use cases. They
//! pass the same contract suites as the engines (I11).
//!
//! The journal is one state behind one lock, so every port call is one transaction. All checks
//! precede all changes, so a refused or failed call leaves nothing (I9, I10).

mod audit_log;
mod blobs;
mod books;
mod changes;
mod files;
mod gc;
mod inventory;
mod manifests;
mod objects;
mod publications;
mod tree;
mod upload_store;
mod uploads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use panaversity_model::audit::{AuditDraft, AuditEntry, ChainKey, Operation};
use panaversity_model::blob::StoredBlob;
use panaversity_model::connection_pool::PoolUsage;
use panaversity_model::file::{FileRecord, Found};
use panaversity_model::ids::{ChangeId, LeaseId, StagingId, UploadId};
use panaversity_model::ports::{ByteStream, Journal, PageStream};
use panaversity_model::publication::FileKey;
use panaversity_model::upload::Upload;
use panaversity_model::{AgentId, Book, BookId, BookPath, ContentHash, Fault, Layer, Timestamp};

pub use objects::MemoryObjects;
pub use tree::{MemoryTree, listed, location, lying, set_aside};
pub use upload_store::MemoryUploadStore;

/// A journal in memory.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    state: Mutex<JournalState>,
}

impl MemoryJournal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the journal's clock forward, for instance to let leases expire.
    pub fn advance(&self, by: Duration) {
        self.state().ahead += by;
    }

    /// The locked state. The lock is never held across an await. A panic under it is a failed test
    /// already, so a poisoned lock is used on.
    fn state(&self) -> MutexGuard<'_, JournalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn ping(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn pool_usage(&self) -> PoolUsage {
        PoolUsage::default()
    }

    fn backend(&self) -> &'static str {
        "memory"
    }
}

/// A list of these entries, with pages of three.
pub fn in_pages<T: Send + 'static>(entries: Vec<T>) -> PageStream<T> {
    stream::iter(entries).chunks(3).map(Ok).boxed()
}

/// These bytes, in parts of a few KiB.
pub fn in_parts(bytes: &[u8]) -> ByteStream {
    const PART: usize = 5_000;
    let parts: Vec<_> = bytes.chunks(PART).map(|part| Ok(part.to_vec())).collect();
    stream::iter(parts).boxed()
}

/// The whole state of the journal.
#[derive(Debug, Default)]
struct JournalState {
    /// Time by which the clock was moved forward.
    ahead: Duration,
    /// The last version given to a change.
    version: i64,
    books: BTreeMap<BookId, Book>,
    blobs: BTreeMap<ContentHash, StoredBlob>,
    /// Staging and condemnation of each blob.
    guards: BTreeMap<ContentHash, BlobGuard>,
    files: BTreeMap<FileKey, Row>,
    /// The path of each existing file by its layer and folded name.
    names: BTreeMap<(BookId, Layer, String), BookPath>,
    /// Every change of each file, oldest first.
    versions: BTreeMap<FileKey, Vec<Past>>,
    /// The entries of each chain, oldest first; its tip and count follow from them.
    chains: BTreeMap<ChainKey, Vec<AuditEntry>>,
    entry_ids: BTreeSet<String>,
    /// Encoded manifests, each with the time it was last named.
    manifests: BTreeMap<(BookId, ContentHash), (Vec<u8>, Timestamp)>,
    publications: BTreeMap<FileKey, Backlog>,
    /// Uploads, each with true if it was cleared.
    uploads: BTreeMap<UploadId, (Upload, bool)>,
}

/// The columns of a blob's row for staging and condemnation.
#[derive(Debug, Default)]
struct BlobGuard {
    touched_at: Timestamp,
    staging: Option<StagingId>,
    staged_until: Option<Timestamp>,
    condemned_until: Option<Timestamp>,
}

/// Current content of a file.
#[derive(Debug, Clone)]
struct Row {
    hash: ContentHash,
    size: u64,
    written_at: Timestamp,
    version: i64,
}

/// A change of a file; `hash: None` is a deletion.
#[derive(Debug, Clone)]
struct Past {
    hash: Option<ContentHash>,
    size: u64,
    at: Timestamp,
    version: i64,
    agent: AgentId,
    operation: Operation,
    change: ChangeId,
    message: Option<String>,
    moved_from: Option<BookPath>,
    /// Time until which a manifest keeps the version.
    kept_until: Option<Timestamp>,
}

/// A row of the publications table.
#[derive(Debug)]
struct Backlog {
    version: i64,
    /// Published, but no clean point covers it yet.
    published: bool,
    lease: Option<(LeaseId, Timestamp)>,
}

impl JournalState {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + self.ahead;
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// The journal's rows of a book, in the order of their paths.
    fn rows(&self, book: &BookId) -> impl Iterator<Item = (&FileKey, &Row)> {
        self.files.iter().filter(move |(key, _)| key.book == *book)
    }

    /// Links an entry to its chain; returns its timestamp.
    fn append(&mut self, draft: &AuditDraft) -> Timestamp {
        let now = self.now();
        let chain = self.chains.entry(draft.chain()).or_default();
        let at = now.strictly_after(chain.last().map(|entry| entry.timestamp));
        let entry = draft.seal(at, chain.last().map(|entry| entry.entry_hash.as_str()));
        self.entry_ids.insert(entry.id.clone());
        chain.push(entry);
        at
    }

    /// Marks a file pending at a version and takes the lease on it if it is free.
    fn pend(&mut self, key: &FileKey, version: i64, lease: LeaseId) -> bool {
        let now = self.now();
        let fresh = Backlog { version, published: false, lease: None };
        let row = self.publications.entry(key.clone()).or_insert(fresh);
        row.version = version;
        row.published = false;
        row.take(lease, now)
    }

    fn found(&self, key: &FileKey) -> Option<Found> {
        let row = self.files.get(key)?;
        let blob = self.blobs.get(&row.hash)?.clone();
        Some(Found { record: record(key, row), blob })
    }
}

impl Backlog {
    /// Takes the lease unless there is an unexpired one.
    fn take(&mut self, lease: LeaseId, now: Timestamp) -> bool {
        let free = self.lease.is_none_or(|(_, until)| until <= now);
        if free {
            self.lease = Some(Self::lease_from(lease, now));
        }
        free
    }

    fn lease_from(lease: LeaseId, now: Timestamp) -> (LeaseId, Timestamp) {
        const LEASE_MICROS: i64 = 30_000_000;
        (lease, Timestamp::from_micros(now.micros() + LEASE_MICROS))
    }
}

fn record(key: &FileKey, row: &Row) -> FileRecord {
    FileRecord {
        path: key.path.clone(),
        layer: key.layer.clone(),
        hash: row.hash,
        size: row.size,
        written_at: row.written_at,
        storage: "fs".to_owned(),
        version: row.version,
    }
}
