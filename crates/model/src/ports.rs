//! The ports: what the acts need of the world, implemented by the engines in `store` and by the
//! fakes in `testkit`. Methods are coarse; a transaction never leaks through one.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::audit::{ChainKey, Draft, Entry, EntryFilter, EntryPosition};
use crate::blob::{Blob, Health, StoredBlob};
use crate::book::{Book, BookId, Schema};
use crate::chain::ChainRecord;
use crate::change::{ChangeSet, Verdict};
use crate::delta::Delta;
use crate::fault::Fault;
use crate::file::{FileRecord, Found};
use crate::hash::ContentHash;
use crate::ids::LeaseId;
use crate::layer::{Layer, View};
use crate::manifest::{ManifestRow, Stamp};
use crate::path::{BookPath, Folder, Prefix};
use crate::publication::{Attempt, FileKey, Publication, Settled};
use crate::timestamp::Timestamp;

/// Time and ids, which come from outside.
pub trait World: Send + Sync {
    /// A fresh `UUIDv7`.
    fn fresh_id(&self) -> Uuid;
    /// Time since some fixed moment, never going back.
    fn monotonic(&self) -> Duration;
}

/// Deciding changes and recording calls. Keeps I8, I9, I10, R6.
#[async_trait]
pub trait Changes: Send + Sync {
    /// Commits or refuses the set, in one transaction, durably. Once asked it runs to its end
    /// even if the caller goes away.
    ///
    /// # Errors
    /// A fault means that nothing happened, unless it says `outcome_unknown`.
    async fn commit(&self, set: ChangeSet) -> Result<Verdict, Fault>;

    /// Appends an entry to its chain. It survives a killed process; a power cut may take the last
    /// moments of such entries.
    async fn append(&self, draft: Draft) -> Result<(), Fault>;
}

/// Blob rows, which guard the blobs against `gc`.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Marks a blob that lies in an object live and touched, before its object is put.
    async fn stage(&self, blob: &Blob) -> Result<(), Fault>;
    /// Marks a blob's health, when its bytes turn out missing, corrupt or whole again.
    async fn mark(&self, hash: ContentHash, health: Health) -> Result<(), Fault>;
    /// The known ones of these blobs, in no particular order.
    async fn blobs(&self, hashes: &[ContentHash]) -> Result<Vec<StoredBlob>, Fault>;
    /// How many blobs that some file holds are missing or corrupt.
    async fn damaged(&self) -> Result<i64, Fault>;
}

/// Reading files. Keeps R5: no method can name an overlay but the view's own.
#[async_trait]
pub trait Files: Send + Sync {
    /// The file a view shows at a path, with its blob.
    async fn find(&self, book: &BookId, path: &BookPath, view: &View) -> Result<Option<Found>, Fault>;
    /// A version, by hash, of that path in a layer of the view; its time and size are those of
    /// when it was last written.
    async fn find_version(
        &self,
        book: &BookId,
        path: &BookPath,
        view: &View,
        hash: ContentHash,
    ) -> Result<Option<Found>, Fault>;
    /// Up to `limit` files that a view shows below a folder, in path order, after `after`.
    async fn list(
        &self,
        book: &BookId,
        folder: &Folder,
        view: &View,
        after: Option<&BookPath>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, Fault>;
    /// Up to `limit` paths that begin with `prefix` and hold a file in a view, each once, by book
    /// and path, after `after`; of one book, or of all.
    async fn paths(
        &self,
        book: Option<&BookId>,
        prefix: &Prefix,
        view: &View,
        after: Option<&(BookId, BookPath)>,
        limit: usize,
    ) -> Result<Vec<(BookId, BookPath)>, Fault>;
    /// Up to `limit` paths at which a view has changed at `since` or later, in path order, after
    /// `after`; see [`delta`](crate::delta) for what counts and why nothing is missed.
    async fn changed(
        &self,
        book: &BookId,
        view: &View,
        since: Timestamp,
        after: Option<&BookPath>,
        limit: usize,
    ) -> Result<Delta, Fault>;
}

/// What asking for a book to be created found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// It is new.
    Created(Book),
    /// It existed and was empty, and has this schema now.
    Changed(Book),
    /// It existed with this schema.
    Existed(Book),
    /// It has files under another schema, which it keeps.
    Fixed(Book),
}

/// Books.
#[async_trait]
pub trait Books: Send + Sync {
    /// A book by id.
    async fn book(&self, id: &BookId) -> Result<Option<Book>, Fault>;
    /// Up to `limit` books by id, after `after`.
    async fn books(&self, after: Option<&BookId>, limit: usize) -> Result<Vec<Book>, Fault>;
    /// Creates a book; one without base files takes a wider schema, one without any file any.
    /// `schema: None` leaves an existing book as it is. If that changed something, `record` is
    /// appended to its chain in the same transaction, durably.
    async fn create_book(
        &self,
        id: &BookId,
        schema: Option<Schema>,
        record: &Draft,
    ) -> Result<Creation, Fault>;
    /// When a base file of the book was last written.
    async fn last_written(&self, id: &BookId) -> Result<Option<Timestamp>, Fault>;
    /// How many journal rows each book has, overlays included.
    async fn journal_counts(&self) -> Result<Vec<(BookId, i64)>, Fault>;
}

/// Manifests.
#[async_trait]
pub trait Manifests: Send + Sync {
    /// The stamp of a book's base.
    async fn stamp(&self, book: &BookId) -> Result<Stamp, Fault>;
    /// The base rows with a version above `above`, and the stamp of the same snapshot.
    async fn rows(&self, book: &BookId, above: i64) -> Result<(Stamp, Vec<ManifestRow>), Fault>;
    /// Keeps a manifest, or notes that it was named again.
    async fn keep(&self, book: &BookId, hash: ContentHash, encoded: &[u8]) -> Result<(), Fault>;
    /// A kept manifest.
    async fn kept(&self, book: &BookId, hash: ContentHash) -> Result<Option<Vec<u8>>, Fault>;
}

/// Reading the audit log.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Up to `limit` entries, newest first, after (older than) a position.
    async fn entries(
        &self,
        filter: &EntryFilter,
        after: Option<&EntryPosition>,
        limit: usize,
    ) -> Result<Vec<Entry>, Fault>;
    /// Up to `limit` chains in key order, after a key; of one layer unless `layer` is `None`.
    async fn chains(
        &self,
        layer: Option<&Layer>,
        book: Option<&BookId>,
        after: Option<&ChainKey>,
        limit: usize,
    ) -> Result<Vec<ChainRecord>, Fault>;
    /// One chain.
    async fn chain(&self, key: &ChainKey) -> Result<Option<ChainRecord>, Fault>;
    /// Up to `limit` entries of a chain, oldest first, after a position.
    async fn chain_entries(
        &self,
        key: &ChainKey,
        after: Option<&EntryPosition>,
        limit: usize,
    ) -> Result<Vec<Entry>, Fault>;
    /// Chain keys that entries or journal rows name although no such chain exists.
    async fn unchained(
        &self,
        layer: Option<&Layer>,
        book: Option<&BookId>,
        limit: usize,
    ) -> Result<Vec<ChainKey>, Fault>;
    /// Keys of up to `limit` chains that got entries at or after a moment.
    async fn chains_since(&self, since: Timestamp, limit: usize) -> Result<Vec<ChainKey>, Fault>;
    /// The database's time.
    async fn now(&self) -> Result<Timestamp, Fault>;
}

/// The tree's backlog; see [`publication`](crate::publication) for the protocol.
#[async_trait]
pub trait Publications: Send + Sync {
    /// Takes the lease on up to `limit` pending paths whose lease has expired or was given back.
    /// `lease` is drawn for each.
    async fn claim(&self, leases: &[LeaseId]) -> Result<Vec<Publication>, Fault>;
    /// What a layer holds at a path, whatever overlays lie above it.
    async fn holds(&self, key: &FileKey) -> Result<Option<Found>, Fault>;
    /// Gives the lease back, with what was learned.
    async fn settle(&self, publication: &Publication, attempt: Attempt) -> Result<Settled, Fault>;
    /// How many paths are pending.
    async fn pending(&self) -> Result<i64, Fault>;
    /// Up to `limit` published paths that no clean point covers yet.
    async fn unsynced(&self, limit: usize) -> Result<Vec<(FileKey, i64)>, Fault>;
    /// Forgets published paths that a clean point now covers.
    async fn synced(&self, paths: &[(FileKey, i64)]) -> Result<(), Fault>;
    /// After a start: published paths that no clean point covers are pending again.
    async fn recheck(&self) -> Result<u64, Fault>;
}

/// Everything a database does.
#[async_trait]
pub trait Journal: Changes + Blobs + Files + Books + Manifests + Ledger + Publications {
    /// Is the database there?
    async fn ping(&self) -> Result<(), Fault>;
    /// `sqlite` or `postgresql`, as results name it.
    fn backend(&self) -> &'static str;
}

/// Large blobs, immutable, named by their hash. Keeps I9 for them: what `put` acknowledged
/// survives a power cut.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Puts an object durably; putting the same again is harmless.
    async fn put(&self, hash: ContentHash, bytes: &[u8]) -> Result<(), Fault>;
    /// Its size in bytes, if it is there.
    async fn stat(&self, hash: ContentHash) -> Result<Option<u64>, Fault>;
    /// Its bytes, if it is there; never more than `limit` of them.
    async fn get(&self, hash: ContentHash, limit: u64) -> Result<Option<Vec<u8>>, Fault>;
}

/// The published copy of the books. Derived; reads through the API never depend on it.
#[async_trait]
pub trait Tree: Send + Sync {
    /// Makes the path hold these bytes; a reader sees the old file or the new, never a mixture.
    async fn put(&self, key: &FileKey, bytes: &[u8]) -> Result<(), Fault>;
    /// Makes the path hold nothing.
    async fn remove(&self, key: &FileKey) -> Result<(), Fault>;
    /// Makes everything put or removed so far survive a power cut.
    async fn sync(&self) -> Result<(), Fault>;
    /// Is the storage there?
    async fn ping(&self) -> Result<(), Fault>;
    /// `fs`, as results name it.
    fn backend(&self) -> &'static str;
}
