//! The ports of the private journal: each call passes the hook.

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use panaversity_model::asset::Asset;
use panaversity_model::audit::{AuditDraft, AuditEntry, ChainKey, EntryFilter, EntryPosition};
use panaversity_model::blob::{Blob, BlobMetadata, BlobState, StoredBlob};
use panaversity_model::browsing::{ChangeFilter, ChildPosition, DayCount, FolderChild};
use panaversity_model::chain::ChainRecord;
use panaversity_model::change::{ChangeSet, Verdict};
use panaversity_model::connection_pool::PoolUsage;
use panaversity_model::delta::Delta;
use panaversity_model::feed::{FeedPage, FeedPosition};
use panaversity_model::file::{FileMetadata, FileRecord, Found, OverlaidFile};
use panaversity_model::gc::{
    Condemned, CondemnedBatch, GcEstimate, KeptManifest, PurgeOutcome, RetentionCutoffs, Staged,
};
use panaversity_model::ids::{LeaseId, StagingId, UploadId};
use panaversity_model::manifest::{ManifestRow, Stamp};
use panaversity_model::path::{Folder, Prefix};
use panaversity_model::ports::{
    AuditLog, Blobs, Books, Browsing, ChangeFeed, Changes, Creation, FileInventory, Files, GarbageCollection,
    Journal, Manifests, Publications, Uploads,
};
use panaversity_model::publication::{Attempt, FileKey, Publication, Settled};
use panaversity_model::storage_listing::PublishedFile;
use panaversity_model::upload::{Announced, Upload};
use panaversity_model::version::FileVersion;
use panaversity_model::{Book, BookId, BookPath, ContentHash, Fault, Layer, Schema, Timestamp, View};

use super::TestJournal;
use crate::faults::faulty;

faulty! { Changes for TestJournal, "journal";
    fn commit(set: ChangeSet) -> Verdict;
    fn current_metadata(keys: &[FileKey]) -> Vec<Option<FileMetadata>>;
    fn versions(key: &FileKey, before: Option<i64>, limit: usize) -> Vec<FileVersion>;
    fn append(draft: AuditDraft) -> ();
}
faulty! { Blobs for TestJournal, "journal";
    fn stage(blob: &Blob, staging: StagingId) -> Staged;
    fn mark(hash: ContentHash, state: BlobState) -> ();
    fn blobs(hashes: &[ContentHash]) -> Vec<StoredBlob>;
    fn damaged() -> i64;
    fn is_referenced(hash: ContentHash) -> bool;
}
faulty! { GarbageCollection for TestJournal, "journal";
    fn kept_manifests(after: Option<(&BookId, ContentHash)>, limit: usize) -> Vec<KeptManifest>;
    fn pin(book: &BookId, until: Timestamp, versions: &[(&str, ContentHash)]) -> ();
    fn forget_manifests(unnamed_since: Timestamp) -> u64;
    fn forget_versions(unused_since: Timestamp, limit: usize) -> u64;
    fn condemn(unused_since: Timestamp, after: Option<ContentHash>, limit: usize) -> CondemnedBatch;
    fn condemn_unknown(hash: ContentHash, size: u64) -> Option<Condemned>;
    fn purge(condemned: &[Condemned]) -> Vec<PurgeOutcome>;
    fn survey(cutoffs: RetentionCutoffs) -> GcEstimate;
}
faulty! { FileInventory for TestJournal, "journal";
    fn records(book: Option<&BookId>, after: Option<&FileKey>, limit: usize) -> Vec<PublishedFile>;
    fn records_of(keys: &[FileKey]) -> Vec<PublishedFile>;
    fn conflicting_path(key: &FileKey) -> Option<BookPath>;
    fn republish(keys: &[FileKey]) -> ();
    fn retained_objects(after: Option<ContentHash>, limit: usize) -> Vec<StoredBlob>;
    fn files_with_hash(hash: ContentHash, limit: usize) -> Vec<FileKey>;
}
faulty! { Files for TestJournal, "journal";
    fn find(book: &BookId, path: &BookPath, view: &View) -> Option<Found>;
    fn find_overlaid(book: &BookId, path: &BookPath, view: &View) -> Option<OverlaidFile>;
    fn find_version(book: &BookId, path: &BookPath, view: &View, hash: ContentHash) -> Option<Found>;
    fn list(book: &BookId, folder: &Folder, view: &View, after: Option<&BookPath>, limit: usize) -> Vec<FileRecord>;
    fn paths(book: Option<&BookId>, prefix: &Prefix, view: &View, after: Option<&(BookId, BookPath)>, limit: usize) -> Vec<(BookId, BookPath)>;
    fn asset(book: &BookId, path: &BookPath) -> Option<Asset>;
    fn find_asset(book: &BookId, path: &BookPath) -> Option<(Asset, StoredBlob)>;
    fn assets(book: &BookId, folder: &Folder, after: Option<&BookPath>, limit: usize) -> Vec<Asset>;
    fn changed(book: &BookId, view: &View, since: Timestamp, after: Option<&BookPath>, limit: usize) -> Delta;
}
faulty! { Browsing for TestJournal, "journal";
    fn children(book: &BookId, folder: &Folder, view: &View, after: Option<&ChildPosition>, limit: usize) -> Vec<FolderChild>;
    fn file_counts(book: &BookId, layer: &Layer, folders: &[Folder], most: usize) -> Vec<usize>;
    fn change_entries(filter: &ChangeFilter, most: usize, limit: usize) -> Vec<AuditEntry>;
    fn changes_per_day(books: &[BookId], since: Timestamp, most: usize) -> Vec<Vec<DayCount>>;
}
faulty! { Uploads for TestJournal, "journal";
    fn open_upload(announced: &Announced, valid_for: Duration) -> Upload;
    fn upload(id: UploadId) -> Option<Upload>;
    fn uploads_over(expired_since: Timestamp, after: Option<UploadId>, limit: usize) -> Vec<UploadId>;
    fn clear_uploads(ids: &[UploadId]) -> ();
    fn forget_uploads(expired_since: Timestamp) -> u64;
    fn uncleared(ids: &[UploadId]) -> Vec<UploadId>;
}
faulty! { Books for TestJournal, "journal";
    fn book(id: &BookId) -> Option<Book>;
    fn books(after: Option<&BookId>, limit: usize) -> Vec<Book>;
    fn create_book(id: &BookId, schema: Option<Schema>, record: &AuditDraft) -> Creation;
    fn delete_book(id: &BookId, record: &AuditDraft) -> bool;
    fn last_changed(id: &BookId) -> Option<Timestamp>;
    fn journal_counts() -> Vec<(BookId, i64)>;
}
faulty! { Manifests for TestJournal, "journal";
    fn stamp(book: &BookId, layer: &Layer) -> Stamp;
    fn rows(book: &BookId, layer: &Layer, above: i64) -> (Stamp, Vec<ManifestRow>);
    fn keep(book: &BookId, hash: ContentHash, encoded: &[u8]) -> ();
    fn kept(book: &BookId, hash: ContentHash) -> Option<Vec<u8>>;
    fn blob_metadata(book: &BookId, versions: &[(&str, ContentHash)]) -> Vec<Option<BlobMetadata>>;
}
faulty! { AuditLog for TestJournal, "journal";
    fn entries(filter: &EntryFilter, after: Option<&EntryPosition>, limit: usize) -> Vec<AuditEntry>;
    fn chains(layer: Option<&Layer>, book: Option<&BookId>, after: Option<&ChainKey>, limit: usize) -> Vec<ChainRecord>;
    fn chain(key: &ChainKey) -> Option<ChainRecord>;
    fn chain_entries(key: &ChainKey, after: Option<&EntryPosition>, limit: usize) -> Vec<AuditEntry>;
    fn entries_of_chains(keys: &[&ChainKey], limit: usize) -> Vec<AuditEntry>;
    fn entry_count(layer: Option<&Layer>, book: Option<&BookId>) -> u64;
    fn orphaned_chains(layer: Option<&Layer>, book: Option<&BookId>, limit: usize) -> Vec<ChainKey>;
    fn chains_since(since: Timestamp, limit: usize) -> Vec<ChainKey>;
    fn now() -> Timestamp;
}
faulty! { ChangeFeed for TestJournal, "journal";
    fn feed(book: &BookId, view: &View, after: FeedPosition, limit: usize) -> FeedPage;
    fn feed_end() -> FeedPosition;
    plain fn wakes(book: &BookId) -> BoxStream<'static, ()>;
}
faulty! { Publications for TestJournal, "journal";
    fn claim(leases: &[LeaseId]) -> Vec<Publication>;
    fn current_file(key: &FileKey) -> Option<Found>;
    fn extend_lease(publication: &Publication, by: Duration) -> bool;
    fn acknowledge(publication: &Publication, attempt: Attempt) -> Settled;
    fn pending() -> i64;
    fn unsynced(limit: usize) -> Vec<(FileKey, i64)>;
    fn synced(paths: &[(FileKey, i64)]) -> ();
    fn requeue_unsynced() -> u64;
}
faulty! { Journal for TestJournal, "journal";
    fn ping() -> ();
    plain fn backend() -> &'static str;
    plain fn pool_usage() -> PoolUsage;
}
