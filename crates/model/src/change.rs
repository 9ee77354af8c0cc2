//! Change sets: one file or many, committed all or nothing (I10).

use crate::agent::AgentId;
use crate::audit::Operation;
use crate::blob::Blob;
use crate::book::{BookId, Schema};
use crate::hash::ContentHash;
use crate::ids::{ChangeId, EntryId, LeaseId, RequestId, StagingId, UploadId};
use crate::layer::Layer;
use crate::path::BookPath;
use crate::precondition::{Effect, TargetContent};
use crate::publication::Publication;
use crate::refusal::Refusal;

/// One file's part of a change set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file; no two changes of a set name the same.
    pub path: BookPath,
    /// The content it is to have. A blob placed in an object must be staged and put.
    pub content: TargetContent<Blob>,
    /// What the caller expects it to hold.
    pub expected: Option<ContentHash>,
    /// The staging under which its object was put, for a blob placed in one.
    pub staging: Option<StagingId>,
    /// The id of its audit entry.
    pub entry: EntryId,
    /// The lease under which the committer publishes it, if it gets one.
    pub lease: LeaseId,
}

/// A change of one or more files of one layer of a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeSet {
    /// Its id.
    pub id: ChangeId,
    /// The call that asked for it.
    pub request: RequestId,
    /// Who asked.
    pub agent: AgentId,
    /// `WRITE`, `DELETE`, ...
    pub operation: Operation,
    /// The book; it comes into being with `schema` if it does not exist.
    pub book: BookId,
    /// The schema the paths were admitted by. If the book has another by now, the set is refused.
    pub schema: Schema,
    /// The layer that changes.
    pub layer: Layer,
    /// The changes.
    pub changes: Vec<Change>,
    /// The upload that the set's one change completes: noted in the same transaction, so that no
    /// crash separates the two. The set is refused unless it is open.
    pub upload: Option<UploadId>,
    /// Milliseconds spent on the call until the commit was asked for.
    pub elapsed_ms: u64,
}

/// What became of one change of a committed set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What it did.
    pub effect: Effect,
    /// What the file held before.
    pub old: Option<ContentHash>,
    /// The work to publish it, if this committer holds the lease on the path.
    pub publication: Option<Publication>,
}

/// The fate of a change set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Durable; one [`Applied`] per change, in order.
    Committed(Vec<Applied>),
    /// Refused as a whole, by the change at this index; nothing happened.
    Refused(usize, Refusal),
    /// An object of the set is not staged, or not any more: nothing happened; stage and put again.
    Unstaged,
    /// The upload is done or forgotten: nothing happened; its row has the first answer.
    UploadOver,
}
