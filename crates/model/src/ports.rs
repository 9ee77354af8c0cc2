//! Ports: the interfaces that the use cases need from the infrastructure, implemented by the engines in
//! `store` and by the fakes in `testkit`. Methods are coarse; no transaction is exposed.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use uuid::Uuid;

use crate::api_key::{ApiKey, ApiKeyId, ApiKeyList, NewApiKey};
use crate::asset::Asset;
use crate::audit::{AuditDraft, AuditEntry, ChainKey, EntryFilter, EntryPosition};
use crate::blob::{Blob, BlobMetadata, BlobState, StoredBlob};
use crate::book::{Book, BookId, Schema};
use crate::chain::ChainRecord;
use crate::change::{ChangeSet, Verdict};
use crate::connection_pool::PoolUsage;
use crate::delta::Delta;
use crate::fault::Fault;
use crate::file::{FileMetadata, FileRecord, Found, OverlaidFile};
use crate::gc::{
    Condemned, CondemnedBatch, GcEstimate, KeptManifest, PurgeOutcome, RetentionCutoffs, Staged,
};
use crate::hash::ContentHash;
use crate::ids::{LeaseId, StagingId, UploadId};
use crate::layer::{Layer, View};
use crate::link_key::LinkKeyList;
use crate::manifest::{ManifestRow, Stamp};
use crate::path::{BookPath, Folder, Prefix};
use crate::publication::{Attempt, FileKey, Publication, Settled};
use crate::storage_listing::{ObjectEntry, PublishedFile, TreeEntry, TreePath};
use crate::timestamp::Timestamp;
use crate::upload::{Announced, Permit, SignedPut, Upload, UploadEntry};

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
    /// The file that a change would replace.
    async fn current_metadata(&self, key: &FileKey) -> Result<Option<FileMetadata>, Fault>;

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
    /// Deletes the row of a condemned blob whose object is deleted.
    async fn purge(&self, condemned: &Condemned) -> Result<PurgeOutcome, Fault>;
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

/// API keys; see [`api_key`](crate::api_key).
#[async_trait]
pub trait ApiKeys: Send + Sync {
    /// Stores a new key, durably.
    async fn create_api_key(&self, key: &NewApiKey) -> Result<ApiKey, Fault>;
    /// All keys, revoked and expired ones included.
    async fn api_keys(&self) -> Result<ApiKeyList, Fault>;
    /// Revokes a key, durably; one that is revoked stays as it is. `None`: there is no such key.
    async fn revoke_api_key(&self, id: &ApiKeyId) -> Result<Option<ApiKey>, Fault>;
}

/// Rates of callers that all servers of a store count together.
#[async_trait]
pub trait SharedRates: Send + Sync {
    /// Takes one from a caller's bucket, which holds `burst` and fills by `per_second`; or tells when there
    /// is one. `None`: the shared state is away, and each server counts for itself.
    async fn take(&self, caller: &str, per_second: u32, burst: u32) -> Option<Result<(), Duration>>;
    /// True if the shared state answered last.
    fn is_up(&self) -> bool;
}

/// Signing keys of links; see [`link_key`](crate::link_key).
#[async_trait]
pub trait LinkKeys: Send + Sync {
    /// The keys, newest first; the first is generated if there is none.
    async fn link_keys(&self) -> Result<LinkKeyList, Fault>;
    /// Adds a key, durably, and deletes those that no valid link can have; or, `at_once`, all others: then
    /// their links are refused as soon as servers have read the keys again.
    async fn rotate_link_key(&self, at_once: bool) -> Result<(), Fault>;
}

/// A long list read page by page, in an order of its own; a page may be empty. Items added or removed
/// meanwhile may or may not appear; every other item appears exactly once. Its reader stops at a fault.
pub type PageStream<T> = BoxStream<'static, Result<Vec<T>, Fault>>;

/// Bytes in parts of a few MiB at most, so that large content is never in memory as a whole.
pub type ByteStream = PageStream<u8>;

/// Object storage for large blobs: immutable, addressed by hash. Keeps I9 for them: an acknowledged
/// `put` or `promote` survives a power cut.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Stores an object durably; idempotent.
    async fn put(&self, hash: ContentHash, bytes: &[u8]) -> Result<(), Fault>;
    /// Begins an object that is written in parts and whose hash is known only at its end.
    async fn stage(&self) -> Result<Box<dyn Staging>, Fault>;
    /// Size in bytes of an object, if it exists.
    async fn stat(&self, hash: ContentHash) -> Result<Option<u64>, Fault>;
    /// Bytes of a range of an object, if it exists; fewer if it ends before the range does.
    async fn get(&self, hash: ContentHash, range: Range<u64>) -> Result<Option<Vec<u8>>, Fault>;
    /// Deletes an object; idempotent. Answers within 20 seconds; after it has answered or failed, it has
    /// no further effect.
    async fn delete(&self, hash: ContentHash) -> Result<(), Fault>;
    /// Everything stored among the objects.
    fn list_objects(&self) -> PageStream<ObjectEntry>;
}

/// An object being written in parts, at a private place that no URL refers to. If dropped before
/// [`promote`](Self::promote), it leaves nothing that is ever read.
#[async_trait]
pub trait Staging: Send {
    /// Writes the next part.
    async fn write(&mut self, part: &[u8]) -> Result<(), Fault>;
    /// Makes the written bytes the object of this hash, durably.
    async fn promote(self: Box<Self>, hash: ContentHash) -> Result<(), Fault>;
}

/// Store of large uploads that are not verified yet. Its content is not used until it was hashed while
/// being copied into a [`Staging`].
#[async_trait]
pub trait UploadStore: Send + Sync {
    /// A presigned URL of the storage to which the upload may be put; `None`: the storage has none, and
    /// the server receives the upload itself.
    async fn presign(&self, id: UploadId, permit: &Permit) -> Result<Option<SignedPut>, Fault>;
    /// Begins to receive an upload through this server.
    async fn receive(&self, id: UploadId) -> Result<Box<dyn UploadWriter>, Fault>;
    /// Size in bytes of the received upload, if there is one.
    async fn arrived(&self, id: UploadId) -> Result<Option<u64>, Fault>;
    /// Reads one version of the received upload from beginning to end; if it is replaced meanwhile, the
    /// result is a fault or the older version.
    async fn open(&self, id: UploadId) -> Result<Option<ByteStream>, Fault>;
    /// Deletes the received upload; idempotent.
    async fn discard(&self, id: UploadId) -> Result<(), Fault>;
    /// Everything in the upload store and among the stagings.
    fn list_arrived(&self) -> PageStream<UploadEntry>;
    /// Deletes a leftover that [`list_arrived`](Self::list_arrived) has returned.
    async fn sweep(&self, seen: &UploadEntry) -> Result<(), Fault>;
}

/// An upload being received by this server. If dropped before [`finish`](Self::finish), it is discarded.
#[async_trait]
pub trait UploadWriter: Send {
    /// Writes the next part.
    async fn write(&mut self, part: &[u8]) -> Result<(), Fault>;
    /// Completes the upload: it has arrived.
    async fn finish(self: Box<Self>) -> Result<(), Fault>;
}

/// Published copy of the books. Derived; reads through the API never depend on it.
#[async_trait]
pub trait Tree: Send + Sync {
    /// Replaces the file at the path atomically; a reader sees the old file or the new, never a mixture.
    async fn put(&self, key: &FileKey, bytes: &[u8]) -> Result<(), Fault>;
    /// Same as [`put`](Self::put) with bytes in parts, `size` of them in total: nothing is visible before
    /// the last part is written, and a fault of the parts leaves the old file.
    async fn put_parts(&self, key: &FileKey, parts: ByteStream, size: u64) -> Result<(), Fault>;
    /// Deletes the file at the path.
    async fn remove(&self, key: &FileKey) -> Result<(), Fault>;
    /// Makes everything put or removed so far durable (survives a power cut).
    async fn sync(&self) -> Result<(), Fault>;
    /// Reads the file at a place; `None`: there is no file.
    async fn open(&self, spot: &TreePath) -> Result<Option<ByteStream>, Fault>;
    /// Moves the entry at a place to the same place below `lost+found/{folder}/`; links are moved, not
    /// followed. False: there is nothing, or nothing that can be moved.
    async fn set_aside(&self, spot: &TreePath, folder: &str) -> Result<bool, Fault>;
    /// Everything below `books/`, or below one book.
    fn list_files(&self, book: Option<&BookId>) -> PageStream<TreeEntry>;
    /// Checks that the storage answers and is still the one that was opened.
    async fn ping(&self) -> Result<(), Fault>;
    /// `fs`, `s3` or `supabase`, as named in results.
    fn backend(&self) -> &'static str;
}
