//! Sample values for tests: ids, paths, blobs, changes. Every id is fresh, so that tests may share
//! a database.

use panaversity_model::audit::{AuditDraft, Operation, Outcome};
use panaversity_model::blob::Blob;
use panaversity_model::change::{Change, ChangeSet, StagedContent};
use panaversity_model::hash::HashedBytes;
use panaversity_model::ids::{ChangeId, EntryId, LeaseId, RequestId, StagingId, UploadId};
use panaversity_model::publication::FileKey;
use panaversity_model::{AgentId, BookId, BookPath, ContentHash, Layer, Schema, UserId, View};
use uuid::Uuid;

/// The inline limit of samples in bytes, the server's default.
pub const INLINE_LIMIT: usize = 128 * 1024;

/// A fresh book id.
pub fn book() -> BookId {
    BookId::parse(&format!("t-{}", Uuid::now_v7().simple())).unwrap()
}

/// A path; panics if it is not valid.
pub fn path(text: &str) -> BookPath {
    BookPath::parse(text).unwrap()
}

/// The path of the `n`-th lesson of a chapter, which sorts by `n`.
pub fn lesson(n: usize) -> BookPath {
    path(&format!("content/01-Part/01-Chapter/{:02}-lesson-{n:05}.md", n % 100))
}

/// The overlay of a user.
pub fn overlay(user: &str) -> Layer {
    Layer::Overlay(UserId::parse(user).unwrap())
}

/// The view of the layer's owner.
pub fn view(layer: &Layer) -> View {
    match layer {
        Layer::Base => View::base(),
        Layer::Overlay(user) => View::of(Some(user.clone())),
    }
}

/// The agent of this name.
pub fn agent(name: &str) -> AgentId {
    AgentId::parse(name).unwrap()
}

/// A file of a layer of a book.
pub fn key(book: &BookId, path: &BookPath, layer: &Layer) -> FileKey {
    FileKey { book: book.clone(), path: path.clone(), layer: layer.clone() }
}

/// An inline blob.
pub fn inline(bytes: &[u8]) -> Blob {
    Blob::pack(&HashedBytes::new(bytes.to_vec()), INLINE_LIMIT)
}

/// A blob in an object, whatever its size.
pub fn object(bytes: &[u8]) -> Blob {
    Blob::pack(&HashedBytes::new(bytes.to_vec()), 0)
}

/// A fresh lease id.
pub fn lease() -> LeaseId {
    LeaseId::new(Uuid::now_v7())
}

/// A change of one file; `None`: it is deleted.
pub fn change(path: &BookPath, blob: Option<Blob>, expected: Option<ContentHash>) -> Change {
    let operation = if blob.is_some() { Operation::Write } else { Operation::Delete };
    let content = StagedContent { blob, staging: None, entry: EntryId::new(Uuid::now_v7()) };
    Change::new(operation, path.clone(), content, expected)
}

/// A write of a blob in an object that was staged under `staging`.
pub fn write_staged(path: &BookPath, blob: &Blob, staging: StagingId) -> Change {
    let mut change = change(path, Some(blob.clone()), None);
    change.content.staging = Some(staging);
    change
}

/// A fresh staging id.
pub fn staging() -> StagingId {
    StagingId::new(Uuid::now_v7())
}

/// A fresh upload id.
pub fn upload_id() -> UploadId {
    UploadId::new(Uuid::now_v7())
}

/// A write of these bytes, inline.
pub fn write(path: &BookPath, bytes: &[u8], expected: Option<ContentHash>) -> Change {
    change(path, Some(inline(bytes)), expected)
}

/// A deletion of the file.
pub fn delete(path: &BookPath, expected: Option<ContentHash>) -> Change {
    change(path, None, expected)
}

/// A change set of the agent `tester`, of a strict book.
pub fn change_set(book: &BookId, layer: &Layer, changes: Vec<Change>) -> ChangeSet {
    ChangeSet {
        id: ChangeId::new(Uuid::now_v7()),
        request: RequestId::new(Uuid::now_v7()),
        agent: agent("tester"),
        message: None,
        book: book.clone(),
        schema: Schema::Strict,
        layer: layer.clone(),
        changes,
        lease: lease(),
        upload: None,
        elapsed_ms: 3,
    }
}

/// An entry about a book that was created, in the chain of calls about no book.
pub fn creation() -> AuditDraft {
    AuditDraft { operation: Operation::Create, ..draft(None, None, &Layer::Base) }
}

/// An entry of the agent `tester` about a successful read.
pub fn draft(book: Option<&BookId>, path: Option<&BookPath>, layer: &Layer) -> AuditDraft {
    AuditDraft {
        id: EntryId::new(Uuid::now_v7()),
        request: RequestId::new(Uuid::now_v7()),
        agent: agent("tester"),
        operation: Operation::Read,
        book: book.cloned(),
        path: path.cloned(),
        layer: layer.clone(),
        outcome: Outcome::Success,
        note: None,
        elapsed_ms: 2,
        change: None,
        old: None,
        new: None,
    }
}
