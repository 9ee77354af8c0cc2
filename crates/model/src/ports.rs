//! The ports: what the acts need of the world, implemented by the engines in `store` and by the
//! fakes in `testkit`. Methods are coarse; a transaction never leaks through one.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::asset::Asset;
use crate::audit::{AuditDraft, AuditEntry, ChainKey, EntryFilter, EntryPosition};
use crate::blob::{Blob, BlobMetadata, BlobState, StoredBlob};
use crate::book::{Book, BookId, Schema};
use crate::chain::ChainRecord;
use crate::change::{ChangeSet, Verdict};
use crate::delta::Delta;
use crate::fault::Fault;
use crate::file::{FileRecord, Found};
use crate::gc::{
    Condemned, CondemnedBatch, GcEstimate, KeptManifest, PurgeOutcome, RetentionCutoffs, Staged,
};
use crate::hash::ContentHash;
use crate::ids::{LeaseId, StagingId, UploadId};
use crate::layer::{Layer, View};
use crate::manifest::{ManifestRow, Stamp};
use crate::path::{BookPath, Folder, Prefix};
use crate::publication::{Attempt, FileKey, Publication, Settled};
use crate::storage_listing::{ObjectEntry, PublishedFile, TreeEntry, TreePath};
use crate::timestamp::Timestamp;
use crate::upload::{Announced, Permit, SignedPut, Upload, UploadEntry};

/// Monotonic clock.
pub trait Clock: Send + Sync {
    /// Time since a moment that the clock chose; it never goes back.
    fn monotonic(&self) -> Duration;
}

/// Source of fresh ids.
pub trait IdGenerator: Send + Sync {
    /// A `UUIDv7` that nobody else has.
    fn new_id(&self) -> Uuid;
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
    async fn append(&self, draft: AuditDraft) -> Result<(), Fault>;
}

/// Blob rows, which guard the blobs against `gc`; see [`gc`](crate::gc).
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Marks a blob that lies in an object live and touched, before its object is put. `staging`
    /// becomes the row's if it comes to life now.
    async fn stage(&self, blob: &Blob, staging: StagingId) -> Result<Staged, Fault>;
    /// Marks a blob's health, when its bytes turn out missing, corrupt or whole again; never one
    /// that is condemned.
    async fn mark(&self, hash: ContentHash, state: BlobState) -> Result<(), Fault>;
    /// The known ones of these blobs, in no particular order.
    async fn blobs(&self, hashes: &[ContentHash]) -> Result<Vec<StoredBlob>, Fault>;
    /// How many blobs that some file holds are missing or corrupt.
    async fn damaged(&self) -> Result<i64, Fault>;
    /// Does any version name the blob? If not, it may be let go at any moment.
    async fn is_referenced(&self, hash: ContentHash) -> Result<bool, Fault>;
}

/// Letting go; the protocol stands in [`gc`](crate::gc). `gc` alone calls this.
#[async_trait]
pub trait GarbageCollection: Send + Sync {
    /// Up to `limit` kept manifests in order of book and hash, after one.
    async fn kept_manifests(
        &self,
        after: Option<(&BookId, ContentHash)>,
        limit: usize,
    ) -> Result<Vec<KeptManifest>, Fault>;
    /// Keeps these versions of base files, by path and hash, at least until a moment, durably.
    async fn pin(
        &self,
        book: &BookId,
        until: Timestamp,
        versions: &[(&str, ContentHash)],
    ) -> Result<(), Fault>;
    /// Lets manifests go; gives how many.
    async fn forget_manifests(&self, unnamed_since: Timestamp) -> Result<u64, Fault>;
    /// Lets up to `limit` superseded versions go that nothing keeps; gives how many.
    async fn forget_versions(&self, unused_since: Timestamp, limit: usize) -> Result<u64, Fault>;
    /// Condemns blobs that nothing names, looking at up to `limit` of them after a hash, durably.
    async fn condemn(
        &self,
        unused_since: Timestamp,
        after: Option<ContentHash>,
        limit: usize,
    ) -> Result<CondemnedBatch, Fault>;
    /// Condemns an object that has no row, durably; `None`: it has one by now.
    async fn condemn_unknown(&self, hash: ContentHash, size: u64) -> Result<Option<Condemned>, Fault>;
    /// Removes the row of a condemned blob whose object is gone.
    async fn purge(&self, condemned: &Condemned) -> Result<PurgeOutcome, Fault>;
    /// What would be let go.
    async fn survey(&self, cutoffs: RetentionCutoffs) -> Result<GcEstimate, Fault>;
}

/// Comparing the storage with the journal.
#[async_trait]
pub trait FileInventory: Send + Sync {
    /// Up to `limit` files of all layers, of one book or of all, in an order of the journal's own,
    /// after a file.
    async fn records(
        &self,
        book: Option<&BookId>,
        after: Option<&FileKey>,
        limit: usize,
    ) -> Result<Vec<PublishedFile>, Fault>;
    /// Of these files those that exist or are on their way, in no particular order.
    async fn records_of(&self, keys: &[FileKey]) -> Result<Vec<PublishedFile>, Fault>;
    /// A file that keeps one from being created at this path: of its layer or the base, and
    /// different only by case, or one path lies under the other. The commit decides; this tells
    /// beforehand what it would refuse now.
    async fn conflicting_path(&self, key: &FileKey) -> Result<Option<BookPath>, Fault>;
    /// Makes existing files pending, whoever has the lease on them.
    async fn republish(&self, keys: &[FileKey]) -> Result<(), Fault>;
    /// Up to `limit` blobs in objects that some version names, by hash, after one.
    async fn retained_objects(
        &self,
        after: Option<ContentHash>,
        limit: usize,
    ) -> Result<Vec<StoredBlob>, Fault>;
    /// Up to `limit` files that hold the blob now.
    async fn files_with_hash(&self, hash: ContentHash, limit: usize) -> Result<Vec<FileKey>, Fault>;
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
    /// An asset of the base.
    async fn asset(&self, book: &BookId, path: &BookPath) -> Result<Option<Asset>, Fault>;
    /// Up to `limit` assets of the base below a folder, in path order, after `after`.
    async fn assets(
        &self,
        book: &BookId,
        folder: &Folder,
        after: Option<&BookPath>,
        limit: usize,
    ) -> Result<Vec<Asset>, Fault>;
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
        record: &AuditDraft,
    ) -> Result<Creation, Fault>;
    /// When the book last changed: a file of the base was written or deleted, or the book created or
    /// given another schema. It never goes back. `None`: only overlays have changed.
    async fn last_changed(&self, id: &BookId) -> Result<Option<Timestamp>, Fault>;
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
    /// Keeps a manifest, or notes that it was named again, durably.
    async fn keep(&self, book: &BookId, hash: ContentHash, encoded: &[u8]) -> Result<(), Fault>;
    /// A kept manifest.
    async fn kept(&self, book: &BookId, hash: ContentHash) -> Result<Option<Vec<u8>>, Fault>;
    /// Of these versions of base files, by path and hash, what each weighs, in the order they are
    /// asked for; `None`: the book has no such version.
    async fn blob_metadata(
        &self,
        book: &BookId,
        versions: &[(&str, ContentHash)],
    ) -> Result<Vec<Option<BlobMetadata>>, Fault>;
}

/// Reading the audit log.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Up to `limit` entries, newest first, after (older than) a position.
    async fn entries(
        &self,
        filter: &EntryFilter,
        after: Option<&EntryPosition>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, Fault>;
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
    ) -> Result<Vec<AuditEntry>, Fault>;
    /// Chain keys that entries or journal rows name although no such chain exists.
    async fn orphaned_chains(
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
    async fn current_file(&self, key: &FileKey) -> Result<Option<Found>, Fault>;
    /// Makes the lease, if it is still held, last this long from now on; false: it is lost.
    async fn extend_lease(&self, publication: &Publication, by: Duration) -> Result<bool, Fault>;
    /// Gives the lease back, with what was learned.
    async fn acknowledge(&self, publication: &Publication, attempt: Attempt) -> Result<Settled, Fault>;
    /// How many paths are pending.
    async fn pending(&self) -> Result<i64, Fault>;
    /// Up to `limit` published paths that no clean point covers yet.
    async fn unsynced(&self, limit: usize) -> Result<Vec<(FileKey, i64)>, Fault>;
    /// Forgets published paths that a clean point now covers.
    async fn synced(&self, paths: &[(FileKey, i64)]) -> Result<(), Fault>;
    /// After a start: published paths that no clean point covers are pending again.
    async fn requeue_unsynced(&self) -> Result<u64, Fault>;
}

/// Uploads from their permit on; what has arrived of them lies in the [`UploadStore`]. Completing one is
/// part of a [`commit`](Changes::commit).
#[async_trait]
pub trait Uploads: Send + Sync {
    /// Begins an upload, durably; it expires after `valid_for`.
    async fn open_upload(&self, announced: &Announced, valid_for: Duration) -> Result<Upload, Fault>;
    /// An upload, open or done.
    async fn upload(&self, id: UploadId) -> Result<Option<Upload>, Fault>;
    /// Up to `limit` uploads that expired at or before a moment and were not cleared since, by id,
    /// after one.
    async fn uploads_over(
        &self,
        expired_since: Timestamp,
        after: Option<UploadId>,
        limit: usize,
    ) -> Result<Vec<UploadId>, Fault>;
    /// Notes that nothing of these has arrived, or it was removed.
    async fn clear_uploads(&self, ids: &[UploadId]) -> Result<(), Fault>;
    /// Lets cleared uploads go that expired at or before a moment; gives how many.
    async fn forget_uploads(&self, expired_since: Timestamp) -> Result<u64, Fault>;
    /// Of these uploads those that are neither cleared nor forgotten, in no particular order.
    async fn uncleared(&self, ids: &[UploadId]) -> Result<Vec<UploadId>, Fault>;
}

/// Everything a database does.
#[async_trait]
pub trait Journal:
    Changes
    + Blobs
    + GarbageCollection
    + Files
    + Books
    + Manifests
    + AuditLog
    + Publications
    + FileInventory
    + Uploads
{
    /// Is the database there?
    async fn ping(&self) -> Result<(), Fault>;
    /// `sqlite` or `postgresql`, as results name it.
    fn backend(&self) -> &'static str;
}

/// A long list, page by page, in an order of its own. What is added or removed meanwhile may or
/// may not be in it; everything else is, once.
#[async_trait]
pub trait Pages<T: Send>: Send {
    /// The next page, which may be empty; `None`: that was all.
    async fn next(&mut self) -> Result<Option<Vec<T>>, Fault>;
}

/// Bytes, part by part: what is large is never held as a whole. A part has a few MiB at most.
pub type Parts = Box<dyn Pages<u8>>;

/// Large blobs, immutable, named by their hash. Keeps I9 for them: what `put` or `promote`
/// acknowledged survives a power cut.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Puts an object durably; putting the same again is harmless.
    async fn put(&self, hash: ContentHash, bytes: &[u8]) -> Result<(), Fault>;
    /// Begins an object that comes part by part, whose hash is known when all of it is there.
    async fn stage(&self) -> Result<Box<dyn Staging>, Fault>;
    /// Its size in bytes, if it is there.
    async fn stat(&self, hash: ContentHash) -> Result<Option<u64>, Fault>;
    /// The bytes of a range of it, if it is there; fewer where it ends before the range does.
    async fn get(&self, hash: ContentHash, range: Range<u64>) -> Result<Option<Vec<u8>>, Fault>;
    /// Deletes it; one that is not there is fine. Answers within 20 seconds; once it has answered
    /// or failed, nothing more happens.
    async fn delete(&self, hash: ContentHash) -> Result<(), Fault>;
    /// Everything that lies among the objects.
    fn list_objects(&self) -> Box<dyn Pages<ObjectEntry>>;
}

/// An object that comes part by part, in a private place that no URL ever named. Dropped before
/// it is promoted, it leaves nothing that anybody reads.
#[async_trait]
pub trait Staging: Send {
    /// The next part.
    async fn write(&mut self, part: &[u8]) -> Result<(), Fault>;
    /// Makes what was written the object of this name, durably.
    async fn promote(self: Box<Self>, hash: ContentHash) -> Result<(), Fault>;
}

/// Where large uploads arrive before anybody has looked at them. What lies here counts for nothing
/// until it was hashed on its way into a [`Staging`].
#[async_trait]
pub trait UploadStore: Send + Sync {
    /// A URL of the storage's own to which the upload may be put; `None`: it has none, and the
    /// server receives the upload itself.
    async fn presign(&self, id: UploadId, permit: &Permit) -> Result<Option<SignedPut>, Fault>;
    /// Begins to receive an upload through this server.
    async fn receive(&self, id: UploadId) -> Result<Box<dyn UploadWriter>, Fault>;
    /// The size in bytes of what has arrived, if anything has.
    async fn arrived(&self, id: UploadId) -> Result<Option<u64>, Fault>;
    /// What has arrived, one version of it from beginning to end; if it is replaced meanwhile, a
    /// fault or the older version.
    async fn open(&self, id: UploadId) -> Result<Option<Parts>, Fault>;
    /// Removes what has arrived; nothing there is fine.
    async fn discard(&self, id: UploadId) -> Result<(), Fault>;
    /// Everything that lies in the inbox, and among what is staged.
    fn list_arrived(&self) -> Box<dyn Pages<UploadEntry>>;
    /// Removes a leftover that [`list_arrived`](Self::list_arrived) has shown.
    async fn sweep(&self, seen: &UploadEntry) -> Result<(), Fault>;
}

/// An upload that comes through this server. Dropped before it is finished, it has not arrived.
#[async_trait]
pub trait UploadWriter: Send {
    /// The next part.
    async fn write(&mut self, part: &[u8]) -> Result<(), Fault>;
    /// All of it is there: it has arrived.
    async fn finish(self: Box<Self>) -> Result<(), Fault>;
}

/// The published copy of the books. Derived; reads through the API never depend on it.
#[async_trait]
pub trait Tree: Send + Sync {
    /// Makes the path hold these bytes; a reader sees the old file or the new, never a mixture.
    async fn put(&self, key: &FileKey, bytes: &[u8]) -> Result<(), Fault>;
    /// The same with bytes that come part by part, `size` of them in all: nothing shows before the
    /// last is there, and a fault of the parts leaves what was there.
    async fn put_parts(&self, key: &FileKey, parts: Parts, size: u64) -> Result<(), Fault>;
    /// Makes the path hold nothing.
    async fn remove(&self, key: &FileKey) -> Result<(), Fault>;
    /// Makes everything put or removed so far survive a power cut.
    async fn sync(&self) -> Result<(), Fault>;
    /// What lies at a place; `None`: no file lies there.
    async fn open(&self, spot: &TreePath) -> Result<Option<Parts>, Fault>;
    /// Moves what lies at a place to `lost+found/{folder}/`, where it has the same place; links are
    /// moved, not followed. False: nothing lies there, or nothing that can be moved.
    async fn set_aside(&self, spot: &TreePath, folder: &str) -> Result<bool, Fault>;
    /// Everything that lies below `books/`, or below one book.
    fn list_files(&self, book: Option<&BookId>) -> Box<dyn Pages<TreeEntry>>;
    /// Is the storage there, and is it the one that was opened?
    async fn ping(&self) -> Result<(), Fault>;
    /// `fs`, as results name it.
    fn backend(&self) -> &'static str;
}
