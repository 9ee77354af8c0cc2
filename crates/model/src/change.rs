//! Change sets: changes of one or more files, committed all or nothing (I10).

use crate::agent::AgentId;
use crate::audit::{AuditDraft, Operation, Outcome};
use crate::blob::Blob;
use crate::book::{BookId, Schema};
use crate::hash::ContentHash;
use crate::ids::{ChangeId, EntryId, LeaseId, RequestId, StagingId, UploadId};
use crate::layer::Layer;
use crate::path::BookPath;
use crate::precondition::{Effect, TargetContent};
use crate::publication::Publication;
use crate::refusal::Refusal;

/// Change of one file, with its content in the form `C`: as a use case requests it, or [`StagedContent`] in
/// a set to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<C = StagedContent> {
    /// Operation as recorded in the audit log: `WRITE`, `DELETE`, ...
    pub operation: Operation,
    /// The file; no two changes of a set name the same path.
    pub path: BookPath,
    /// Target content.
    pub content: C,
    /// Precondition: the hash of the content that the caller expects to replace, if given.
    pub expected: Option<ContentHash>,
    /// For a change of an overlay made from the content of the base: the hash that the base's file must
    /// have.
    pub base: Option<ContentHash>,
    /// Path from which the same set moves the file: its history goes on there.
    pub moved_from: Option<BookPath>,
    /// For a merge: hashes of the content that the new text was made from and of the content that was
    /// current.
    pub parents: Option<[ContentHash; 2]>,
}

/// Target content of a change, in whatever form.
pub trait ChangeContent {
    /// Its hash, and its size in bytes; `None`: the file is deleted.
    fn present(&self) -> Option<(ContentHash, u64)>;
}

/// Content that is ready for the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedContent {
    /// Its blob; `None`: the file is deleted. One placed in an object must be staged and put before the
    /// commit.
    pub blob: Option<Blob>,
    /// Staging id under which the object was put; `None` for an inline blob or a deletion.
    pub staging: Option<StagingId>,
    /// Id of the audit entry of its commit.
    pub entry: EntryId,
}

impl ChangeContent for StagedContent {
    fn present(&self) -> Option<(ContentHash, u64)> {
        self.blob.as_ref().map(|blob| (blob.hash, blob.size))
    }
}

impl<C> Change<C> {
    /// A change that is neither a move nor a merge, nor made from the base.
    pub fn new(operation: Operation, path: BookPath, content: C, expected: Option<ContentHash>) -> Self {
        Self { operation, path, content, expected, base: None, moved_from: None, parents: None }
    }

    /// The same change with its content in another form.
    pub fn with_content<D>(&self, content: D) -> Change<D> {
        Change {
            operation: self.operation,
            path: self.path.clone(),
            content,
            expected: self.expected,
            base: self.base,
            moved_from: self.moved_from.clone(),
            parents: self.parents,
        }
    }
}

impl<C: ChangeContent> Change<C> {
    /// The target content, by its hash.
    pub fn target(&self) -> TargetContent {
        self.content.present().map_or(TargetContent::Absent, |(hash, _)| TargetContent::Present(hash))
    }

    /// Its result, if it has this effect; without a publication.
    pub fn applied(&self, effect: Effect) -> Applied {
        let (hash, size) = self.content.present().unzip();
        Applied {
            path: self.path.clone(),
            moved_from: self.moved_from.clone(),
            merged: self.parents.is_some(),
            effect,
            hash,
            size: size.unwrap_or_default(),
            publication: None,
        }
    }
}

/// Changes of one or more files in one layer of a book, committed in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeSet {
    /// Id of the change set.
    pub id: ChangeId,
    /// Id of the call that asked for it.
    pub request: RequestId,
    /// Agent that asked for it.
    pub agent: AgentId,
    /// Reason for the set, in the words of its agent.
    pub message: Option<ChangeMessage>,
    /// The book; it is created with `schema` if it does not exist.
    pub book: BookId,
    /// Schema that admitted the paths. If the book has another schema by now, the set is refused.
    pub schema: Schema,
    /// The layer that changes.
    pub layer: Layer,
    /// The changes.
    pub changes: Vec<Change>,
    /// Lease under which the committer publishes those of the paths on which it obtains the lease.
    pub lease: LeaseId,
    /// Upload that the set's one change completes. The completion is recorded in the same transaction,
    /// so that no crash separates the two. Unless the upload is open the set is refused.
    pub upload: Option<UploadId>,
    /// Milliseconds spent on the call until the commit was asked for.
    pub elapsed_ms: u64,
}

impl ChangeSet {
    /// Audit entry of one of its changes, which replaced the content `old`. Only a change with an effect
    /// has hashes.
    pub fn audit_draft(&self, change: &Change, effect: Effect, old: Option<ContentHash>) -> AuditDraft {
        let changed = effect != Effect::Unchanged;
        let new = change.target().present().copied();
        AuditDraft {
            id: change.content.entry,
            request: self.request,
            agent: self.agent.clone(),
            operation: change.operation,
            book: Some(self.book.clone()),
            path: Some(change.path.clone()),
            layer: self.layer.clone(),
            outcome: Outcome::Success,
            note: self.note(change),
            elapsed_ms: self.elapsed_ms,
            // A set that changed nothing is no change.
            change: (changed || self.changes.len() > 1).then_some(self.id),
            old: old.filter(|_| changed),
            new: new.filter(|_| changed),
        }
    }
}

impl ChangeSet {
    /// Note in the audit entry of a change: the parents of a merge, and the message of the set.
    fn note(&self, change: &Change) -> Option<String> {
        let merged = change.parents.map(|[base, current]| format!("merged {base} and {current}"));
        let message = self.message.as_ref().map(|message| message.as_str().to_owned());
        match (merged, message) {
            (Some(merged), Some(message)) => Some(format!("{merged}: {message}")),
            (merged, message) => merged.or(message),
        }
    }
}

/// The message of a change set in the note of an audit entry that [`ChangeSet::audit_draft`] made, without
/// the parents of a merge.
pub fn message_in(note: &str) -> Option<&str> {
    const PARENTS: usize = "merged ".len() + 64 + " and ".len() + 64;
    let is_merged = note.starts_with("merged ")
        && note.get(71..76) == Some(" and ")
        && note.get(76..PARENTS).is_some_and(|hash| ContentHash::from_hex(hash).is_some());
    if is_merged { note[PARENTS..].strip_prefix(": ") } else { Some(note) }
}

/// Reason for a change set: at most 300 bytes on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeMessage(String);

impl ChangeMessage {
    /// Longest message in bytes; with the parents of a merge it fits into an audit entry.
    pub const MAX_BYTES: usize = 300;

    /// Parses the argument `message`.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.trim().is_empty() || text.len() > Self::MAX_BYTES || text.chars().any(char::is_control) {
            let why = format!("it must be one line of 1 to {} bytes", Self::MAX_BYTES);
            return Err(Refusal::argument("message", why));
        }
        Ok(Self(text.to_owned()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One change of a set that was refused. Not an [`Applied`]: it names the path as requested, and each change
/// has its own refusal or the effect that it would have had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedChange {
    /// The file.
    pub path: BookPath,
    /// The effect that it would have, or why it would be refused.
    pub result: Result<Effect, Refusal>,
}

/// Result of a change of one file, from the transaction to the answer; of a set that was only checked, the
/// result that it would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The file; for a move the new path.
    pub path: BookPath,
    /// Path from which the set moved it.
    pub moved_from: Option<BookPath>,
    /// Whether changes of others were merged into the content.
    pub merged: bool,
    /// Effect of the change.
    pub effect: Effect,
    /// Hash of the content after the change; `None`: the file is deleted.
    pub hash: Option<ContentHash>,
    /// Size of that content in bytes.
    pub size: u64,
    /// Publication to perform, if this committer obtained the lease on the path. The publisher takes it.
    pub publication: Option<Publication>,
}

impl Applied {
    /// The word for its effect in answers.
    pub fn mode(&self) -> &'static str {
        match self.effect {
            _ if self.moved_from.is_some() => "moved",
            Effect::Updated if self.merged => "merged",
            effect => effect.as_str(),
        }
    }
}

/// Result of committing a change set as a whole, beside the [`Applied`] of each file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Committed durably; one [`Applied`] per change, in order.
    Committed(Vec<Applied>),
    /// Refused as a whole because of the change at this index; nothing was changed.
    Refused(usize, Refusal),
    /// An object of the set is not, or no longer, staged. Nothing was changed; stage and put again.
    Unstaged,
    /// The upload is completed or deleted. Nothing was changed; its row, if any, has the first result.
    UploadOver,
}
