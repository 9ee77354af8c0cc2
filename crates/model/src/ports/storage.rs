//! Ports of the storage: objects, uploads and the published tree.

use std::ops::Range;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::book::BookId;
use crate::fault::Fault;
use crate::hash::ContentHash;
use crate::ids::UploadId;
use crate::publication::FileKey;
use crate::storage_listing::{ObjectEntry, TreeEntry, TreePath};
use crate::upload::{Permit, SignedPut, UploadEntry};

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
