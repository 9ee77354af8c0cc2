//! Ports: the interfaces that the use cases need from the infrastructure, implemented by the engines in
//! `store` and by the fakes in `testkit`. Methods are coarse; no transaction is exposed.

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use uuid::Uuid;

use crate::asset::Asset;
use crate::audit::{AuditDraft, AuditEntry, ChainKey, EntryFilter, EntryPosition};
use crate::blob::{Blob, BlobMetadata, BlobState, StoredBlob};
use crate::book::{Book, BookId, Schema};
use crate::browsing::{ChangeFilter, ChildPosition, DayCount, FolderChild};
use crate::chain::ChainRecord;
use crate::change::{ChangeSet, Verdict};
use crate::connection_pool::PoolUsage;
use crate::delta::Delta;
use crate::fault::Fault;
use crate::feed::{FeedPage, FeedPosition};
use crate::file::{FileMetadata, FileRecord, Found, OverlaidFile};
use crate::gc::{
    Condemned, CondemnedBatch, GcEstimate, KeptManifest, PurgeOutcome, RetentionCutoffs, Staged,
};
use crate::hash::ContentHash;
use crate::ids::{LeaseId, StagingId, UploadId};
use crate::layer::{Layer, View};
use crate::manifest::{ManifestRow, Stamp};
use crate::path::{BookPath, Folder, Prefix};
use crate::publication::{Attempt, FileKey, Publication, Settled};
use crate::storage_listing::PublishedFile;
use crate::timestamp::Timestamp;
use crate::upload::{Announced, Upload};
use crate::version::FileVersion;

mod access;
mod storage;
mod webhooks;

pub use access::{ApiKeys, LinkKeys, SharedRates, WebSessions};
pub use storage::{ByteStream, Objects, PageStream, Staging, Tree, UploadStore, UploadWriter};
pub use webhooks::Webhooks;

/// Monotonic clock.
pub trait Clock: Send + Sync {
    /// Time since an arbitrary fixed moment; never decreases.
    fn monotonic(&self) -> Duration;
}

/// Generator of unique ids.
pub trait IdGenerator: Send + Sync {
    /// A fresh `UUIDv7`.
    fn new_id(&self) -> Uuid;
}

/// Committing changes and recording calls. Keeps I8, I9, I10, R6.
#[async_trait]
pub trait Changes: Send + Sync {
    /// Commits or refuses the set, in one transaction, durably. Once called it runs to completion even
    /// if the caller is cancelled.
    ///
    /// # Errors
    /// A fault means that nothing was changed, unless `outcome_unknown` is set.
    async fn commit(&self, set: ChangeSet) -> Result<Verdict, Fault>;
    /// The files that changes would replace, in the order of the keys; `None`: there is no such file.
    async fn current_metadata(&self, keys: &[FileKey]) -> Result<Vec<Option<FileMetadata>>, Fault>;
    /// Up to `limit` versions of a file in its layer, deletions included, newest first, older than the
    /// version `before`.
    async fn versions(
        &self,
        key: &FileKey,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<FileVersion>, Fault>;
    /// Appends an entry to its chain. It survives a killed process; a power cut may lose the most recent
    /// such entries.
    async fn append(&self, draft: AuditDraft) -> Result<(), Fault>;
}

/// Blob rows, which protect the blobs from `gc`; see [`gc`](crate::gc).
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Marks a blob placed in an object live and touched, before its object is put. `staging` becomes
    /// the row's staging id if the row is inserted or revived by this call.
    async fn stage(&self, blob: &Blob, staging: StagingId) -> Result<Staged, Fault>;
    /// Records that a blob's bytes were found missing, corrupt or intact again; never changes a
    /// condemned row.
    async fn mark(&self, hash: ContentHash, state: BlobState) -> Result<(), Fault>;
    /// The known ones among these blobs, in no particular order.
    async fn blobs(&self, hashes: &[ContentHash]) -> Result<Vec<StoredBlob>, Fault>;
    /// Number of missing or corrupt blobs that are the current content of some file.
    async fn damaged(&self) -> Result<i64, Fault>;
    /// True if any version refers to the blob. If none does, it may be deleted at any moment.
    async fn is_referenced(&self, hash: ContentHash) -> Result<bool, Fault>;
}

/// Garbage collection; for the protocol see [`gc`](crate::gc). Called by `gc` alone.
#[async_trait]
pub trait GarbageCollection: Send + Sync {
    /// Up to `limit` kept manifests in order of book and hash, after the given one.
    async fn kept_manifests(
        &self,
        after: Option<(&BookId, ContentHash)>,
        limit: usize,
    ) -> Result<Vec<KeptManifest>, Fault>;
    /// Keeps these versions of base files, by path and hash, at least until `until`, durably.
    async fn pin(
        &self,
        book: &BookId,
        until: Timestamp,
        versions: &[(&str, ContentHash)],
    ) -> Result<(), Fault>;
    /// Deletes manifests last named at or before a moment; returns their number.
    async fn forget_manifests(&self, unnamed_since: Timestamp) -> Result<u64, Fault>;
    /// Deletes up to `limit` superseded versions that nothing keeps; returns their number.
    async fn forget_versions(&self, unused_since: Timestamp, limit: usize) -> Result<u64, Fault>;
    /// Condemns unreferenced blobs, examining up to `limit` of them after a hash, durably.
    async fn condemn(
        &self,
        unused_since: Timestamp,
        after: Option<ContentHash>,
        limit: usize,
    ) -> Result<CondemnedBatch, Fault>;
    /// Condemns an object that has no row, durably; `None`: it has a row by now.
    async fn condemn_unknown(&self, hash: ContentHash, size: u64) -> Result<Option<Condemned>, Fault>;
    /// Deletes the rows of condemned blobs whose objects are deleted; an outcome for each, in their order.
    async fn purge(&self, condemned: &[Condemned]) -> Result<Vec<PurgeOutcome>, Fault>;
    /// Counts what a run would delete.
    async fn survey(&self, cutoffs: RetentionCutoffs) -> Result<GcEstimate, Fault>;
}

/// Comparison of the storage with the journal.
#[async_trait]
pub trait FileInventory: Send + Sync {
    /// Up to `limit` files of all layers, of one book or of all, after a file, in an order defined by
    /// the journal.
    async fn records(
        &self,
        book: Option<&BookId>,
        after: Option<&FileKey>,
        limit: usize,
    ) -> Result<Vec<PublishedFile>, Fault>;
    /// Those of these files that exist or are pending, in no particular order.
    async fn records_of(&self, keys: &[FileKey]) -> Result<Vec<PublishedFile>, Fault>;
    /// A file that prevents one from being created at this path: in the same layer or the base, with a
    /// path that differs only by case, or that lies above or below this one. Advisory: it reports what
    /// the commit would refuse now; the commit decides.
    async fn conflicting_path(&self, key: &FileKey) -> Result<Option<BookPath>, Fault>;
    /// Makes existing files pending, regardless of any lease on them.
    async fn republish(&self, keys: &[FileKey]) -> Result<(), Fault>;
    /// Up to `limit` blobs placed in objects that some version refers to, by hash, after one.
    async fn retained_objects(
        &self,
        after: Option<ContentHash>,
        limit: usize,
    ) -> Result<Vec<StoredBlob>, Fault>;
    /// Up to `limit` files whose current content is the blob.
    async fn files_with_hash(&self, hash: ContentHash, limit: usize) -> Result<Vec<FileKey>, Fault>;
}

/// Reading files. Keeps R5: no method can name an overlay other than the view's own.
#[async_trait]
pub trait Files: Send + Sync {
    /// The file that a view shows at a path, with its blob.
    async fn find(&self, book: &BookId, path: &BookPath, view: &View) -> Result<Option<Found>, Fault>;
    /// The same, with the change of the base below an overlay's file. Which was later is decided by the
    /// versions: of two changes committed at the same time it may be either.
    async fn find_overlaid(
        &self,
        book: &BookId,
        path: &BookPath,
        view: &View,
    ) -> Result<Option<OverlaidFile>, Fault>;
    /// A version, by hash, of that path in a layer of the view; time and size are those of its last
    /// write.
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
    /// Up to `limit` distinct paths of files in a view that begin with `prefix`, by book and path, after
    /// `after`; of one book, or of all.
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
    /// An asset of the base, with its blob.
    async fn find_asset(&self, book: &BookId, path: &BookPath) -> Result<Option<(Asset, StoredBlob)>, Fault>;
    /// Up to `limit` assets of the base below a folder, in path order, after `after`.
    async fn assets(
        &self,
        book: &BookId,
        folder: &Folder,
        after: Option<&BookPath>,
        limit: usize,
    ) -> Result<Vec<Asset>, Fault>;
    /// Up to `limit` paths at which a view has changed at `since` or later, in path order, after
    /// `after`; [`delta`](crate::delta) defines a change and why none is missed.
    async fn changed(
        &self,
        book: &BookId,
        view: &View,
        since: Timestamp,
        after: Option<&BookPath>,
        limit: usize,
    ) -> Result<Delta, Fault>;
}

/// Result of creating a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// The book was created.
    Created(Book),
    /// It existed, and its schema was changed to the given one.
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
    /// Creates a book. An existing one without base files accepts a wider schema, one without any file
    /// any schema; `schema: None` leaves it as it is. If anything changed, `record` is appended to the
    /// book's chain in the same transaction, durably.
    async fn create_book(
        &self,
        id: &BookId,
        schema: Option<Schema>,
        record: &AuditDraft,
    ) -> Result<Creation, Fault>;
    /// Deletes a book without files, durably; `record` is appended to its chain in the same transaction.
    /// False: it has files, or does not exist, and nothing is changed.
    async fn delete_book(&self, id: &BookId, record: &AuditDraft) -> Result<bool, Fault>;
    /// Time of the last change of the book: a file of the base was written or deleted, or the book was
    /// created or its schema changed. Never decreases. `None`: only overlays have changed.
    async fn last_changed(&self, id: &BookId) -> Result<Option<Timestamp>, Fault>;
    /// Number of journal rows per book, overlays included.
    async fn journal_counts(&self) -> Result<Vec<(BookId, i64)>, Fault>;
}

/// Manifests.
#[async_trait]
pub trait Manifests: Send + Sync {
    /// Stamp of a layer of a book.
    async fn stamp(&self, book: &BookId, layer: &Layer) -> Result<Stamp, Fault>;
    /// Rows of a layer with a version above `above`, and the stamp of the same snapshot.
    async fn rows(
        &self,
        book: &BookId,
        layer: &Layer,
        above: i64,
    ) -> Result<(Stamp, Vec<ManifestRow>), Fault>;
    /// Stores a manifest, or records that it was named again, durably.
    async fn keep(&self, book: &BookId, hash: ContentHash, encoded: &[u8]) -> Result<(), Fault>;
    /// A kept manifest in its encoded form.
    async fn kept(&self, book: &BookId, hash: ContentHash) -> Result<Option<Vec<u8>>, Fault>;
    /// Sizes and blob states of these versions of base files, given by path and hash, in the order
    /// given; `None`: the book has no such version.
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
    /// Up to `limit` chains in key order, after a key; `layer: None` means all layers.
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
    /// Up to `limit` entries of these chains, in order of chain, time and id. If they have more, the entries of
    /// some are missing.
    async fn entries_of_chains(&self, keys: &[&ChainKey], limit: usize) -> Result<Vec<AuditEntry>, Fault>;
    /// Number of entries that the chains of a layer and a book count; `None` means all.
    async fn entry_count(&self, layer: Option<&Layer>, book: Option<&BookId>) -> Result<u64, Fault>;
    /// Chain keys that entries or journal rows refer to although no such chain exists.
    async fn orphaned_chains(
        &self,
        layer: Option<&Layer>,
        book: Option<&BookId>,
        limit: usize,
    ) -> Result<Vec<ChainKey>, Fault>;
    /// Keys of up to `limit` chains that have entries at or after a moment.
    async fn chains_since(&self, since: Timestamp, limit: usize) -> Result<Vec<ChainKey>, Fault>;
    /// The database's time.
    async fn now(&self) -> Result<Timestamp, Fault>;
}

/// The feed of changes; [`feed`](crate::feed) defines its order and why no set is missed.
#[async_trait]
pub trait ChangeFeed: Send + Sync {
    /// Up to `limit` change sets of a view after a position, each whole. If there is one, the page has one;
    /// it may have fewer than there are.
    async fn feed(
        &self,
        book: &BookId,
        view: &View,
        after: FeedPosition,
        limit: usize,
    ) -> Result<FeedPage, Fault>;
    /// The position after all change sets that have been told, and before all that have not.
    async fn feed_end(&self) -> Result<FeedPosition, Fault>;
    /// Yields whenever the book may have changed since the last time, soon after a commit of this server and
    /// of others that can tell. It may fail to, so a reader also looks from time to time.
    fn wakes(&self, book: &BookId) -> BoxStream<'static, ()>;
}

/// Reading books in pages whose cost their size does not decide. Keeps R5, as [`Files`] does.
#[async_trait]
pub trait Browsing: Send + Sync {
    /// Up to `limit` children of a folder in a view, after a position. A file in both layers of the view is the
    /// overlay's.
    async fn children(
        &self,
        book: &BookId,
        folder: &Folder,
        view: &View,
        after: Option<&ChildPosition>,
        limit: usize,
    ) -> Result<Vec<FolderChild>, Fault>;
    /// Number of files of a layer below each of these folders, in their order; a folder with more than `most`
    /// counts as `most`.
    async fn file_counts(
        &self,
        book: &BookId,
        layer: &Layer,
        folders: &[Folder],
        most: usize,
    ) -> Result<Vec<usize>, Fault>;
    /// The first `limit` of the entries that changed a file, newest first, in no particular order within a
    /// moment. Of a selected change set only what is among the newest `most` entries of the time is found.
    async fn change_entries(
        &self,
        filter: &ChangeFilter,
        most: usize,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, Fault>;
    /// Changes of the base of each of these books by day, oldest first, since a moment. Of each book the newest
    /// `most` are counted, calls that changed the book itself included.
    async fn changes_per_day(
        &self,
        books: &[BookId],
        since: Timestamp,
        most: usize,
    ) -> Result<Vec<Vec<DayCount>>, Fault>;
}

/// Backlog of the published tree; see [`publication`](crate::publication) for the protocol.
#[async_trait]
pub trait Publications: Send + Sync {
    /// Acquires the lease on pending paths whose lease has expired or was released. `leases` are fresh
    /// ids, one per path; their number is the limit.
    async fn claim(&self, leases: &[LeaseId]) -> Result<Vec<Publication>, Fault>;
    /// Current file of a layer at a path, regardless of overlays above it.
    async fn current_file(&self, key: &FileKey) -> Result<Option<Found>, Fault>;
    /// Extends the lease to `by` from now if it is still valid; false: it is lost.
    async fn extend_lease(&self, publication: &Publication, by: Duration) -> Result<bool, Fault>;
    /// Releases the lease and records the result of the attempt.
    async fn acknowledge(&self, publication: &Publication, attempt: Attempt) -> Result<Settled, Fault>;
    /// Number of pending paths.
    async fn pending(&self) -> Result<i64, Fault>;
    /// Up to `limit` published paths, with their versions, that no clean point covers yet.
    async fn unsynced(&self, limit: usize) -> Result<Vec<(FileKey, i64)>, Fault>;
    /// Drops the records of published paths that a clean point now covers.
    async fn synced(&self, paths: &[(FileKey, i64)]) -> Result<(), Fault>;
    /// After a start: makes published paths that no clean point covers pending again; returns their number.
    async fn requeue_unsynced(&self) -> Result<u64, Fault>;
}

/// Uploads from their permit on; the received bytes are in the [`UploadStore`]. Completing one is
/// part of a [`commit`](Changes::commit).
#[async_trait]
pub trait Uploads: Send + Sync {
    /// Begins an upload, durably; it expires after `valid_for`.
    async fn open_upload(&self, announced: &Announced, valid_for: Duration) -> Result<Upload, Fault>;
    /// An upload, open or completed.
    async fn upload(&self, id: UploadId) -> Result<Option<Upload>, Fault>;
    /// Up to `limit` uploads that expired at or before a moment and are not cleared yet, by id, after
    /// one.
    async fn uploads_over(
        &self,
        expired_since: Timestamp,
        after: Option<UploadId>,
        limit: usize,
    ) -> Result<Vec<UploadId>, Fault>;
    /// Records that no bytes of these uploads are stored (none arrived, or they were deleted).
    async fn clear_uploads(&self, ids: &[UploadId]) -> Result<(), Fault>;
    /// Deletes cleared uploads that expired at or before a moment; returns their number.
    async fn forget_uploads(&self, expired_since: Timestamp) -> Result<u64, Fault>;
    /// Those of these uploads that are neither cleared nor deleted, in no particular order.
    async fn uncleared(&self, ids: &[UploadId]) -> Result<Vec<UploadId>, Fault>;
}

/// All ports that a database implements.
#[async_trait]
pub trait Journal:
    Changes
    + Blobs
    + GarbageCollection
    + Files
    + Books
    + Manifests
    + AuditLog
    + ChangeFeed
    + Browsing
    + Publications
    + FileInventory
    + Uploads
{
    /// Checks that the database answers.
    async fn ping(&self) -> Result<(), Fault>;
    /// `sqlite` or `postgresql`, as named in results.
    fn backend(&self) -> &'static str;
    /// Use of the connections to the database.
    fn pool_usage(&self) -> PoolUsage;
}
