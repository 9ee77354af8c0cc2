//! Audit entries, before and after they are linked into their chain. Keeps R6 and R7. Their hash is that
//! of their [canonical form](canonical_form).

pub mod canonical_form;

use crate::agent::AgentId;
use crate::book::BookId;
use crate::error_code::ErrorCode;
use crate::hash::ContentHash;
use crate::ids::{ChangeId, EntryId, RequestId};
use crate::layer::Layer;
use crate::path::{BookPath, Prefix};
use crate::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

/// Operation requested by a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// One or more files were read.
    Read,
    /// A file was written.
    Write,
    /// Places in a file were replaced.
    Edit,
    /// A file was deleted.
    Delete,
    /// A file was moved to another path.
    Move,
    /// Files were restored to a former version.
    Restore,
    /// A set of changes was applied.
    Apply,
    /// A book was created.
    Create,
    /// Books were listed.
    List,
    /// Paths were searched.
    Search,
    /// A build was planned.
    Plan,
    /// Changes since a moment were queried.
    Delta,
    /// The audit log was queried.
    Query,
    /// The chains were verified.
    Verify,
    /// An asset was uploaded, or an upload of one was begun or received.
    Upload,
    /// A link to an archive was made, or an archive downloaded.
    Archive,
    /// A book was validated.
    Validate,
}

impl Operation {
    /// All operations, for schemas and filters.
    pub const ALL: [Self; 17] = [
        Self::Read,
        Self::Write,
        Self::Edit,
        Self::Delete,
        Self::Move,
        Self::Restore,
        Self::Apply,
        Self::Create,
        Self::List,
        Self::Search,
        Self::Plan,
        Self::Delta,
        Self::Query,
        Self::Verify,
        Self::Upload,
        Self::Archive,
        Self::Validate,
    ];

    /// Name as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::Edit => "EDIT",
            Self::Delete => "DELETE",
            Self::Move => "MOVE",
            Self::Restore => "RESTORE",
            Self::Apply => "APPLY",
            Self::Create => "CREATE",
            Self::List => "LIST",
            Self::Search => "SEARCH",
            Self::Plan => "PLAN",
            Self::Delta => "DELTA",
            Self::Query => "QUERY",
            Self::Verify => "VERIFY",
            Self::Upload => "UPLOAD",
            Self::Archive => "ARCHIVE",
            Self::Validate => "VALIDATE",
        }
    }
}

/// Result of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded.
    Success,
    /// It was refused; the caller can correct it.
    Refused {
        /// Stable error code.
        code: ErrorCode,
        /// Message of the refusal as returned to the caller.
        message: String,
    },
    /// It failed because of a fault.
    Failed {
        /// Stable error code.
        code: ErrorCode,
    },
}

impl Outcome {
    /// Value of the `status` column.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
        }
    }
}

/// Maximum length of a stored `error_message` in bytes.
const MAX_MESSAGE_BYTES: usize = 500;

/// An audit entry before it is appended to its chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditDraft {
    /// Id of the entry.
    pub id: EntryId,
    /// Call that it records.
    pub request: RequestId,
    /// Agent that called.
    pub agent: AgentId,
    /// Operation requested.
    pub operation: Operation,
    /// The book, if a valid one was named.
    pub book: Option<BookId>,
    /// The path, if one file was addressed by a valid path.
    pub path: Option<BookPath>,
    /// Layer or view that was used.
    pub layer: Layer,
    /// Result of the call.
    pub outcome: Outcome,
    /// Note on a success, such as the message of its change set; stored as `error_message`.
    pub note: Option<String>,
    /// Milliseconds from the arrival of the call until this entry was drafted.
    pub elapsed_ms: u64,
    /// Change set that it belongs to.
    pub change: Option<ChangeId>,
    /// Hash of the content before the change, for an entry that changed the file.
    pub old: Option<ContentHash>,
    /// Hash of the content after the change; `None` for a deletion. An entry without a change has neither.
    pub new: Option<ContentHash>,
}

/// Key of a chain as stored: `(book_id, path, user_id)`, ordered bytewise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainKey {
    /// The book, or empty.
    pub book: String,
    /// The path, or empty.
    pub path: String,
    /// The owner of the overlay, or `__base__`.
    pub user: String,
}

impl AuditDraft {
    /// Chain that it belongs to. Calls about a book have the empty path, calls about no book the empty
    /// book and the base.
    pub fn chain(&self) -> ChainKey {
        match &self.book {
            None => {
                ChainKey { book: String::new(), path: String::new(), user: Layer::Base.as_str().to_owned() }
            }
            Some(book) => ChainKey {
                book: book.as_str().to_owned(),
                path: self.path.as_ref().map_or(String::new(), |path| path.as_str().to_owned()),
                user: self.layer.as_str().to_owned(),
            },
        }
    }

    /// Links the entry to the tip of its chain and computes its hash.
    pub fn seal(&self, at: Timestamp, prev: Option<&str>) -> AuditEntry {
        let chain = self.chain();
        let (code, message) = match &self.outcome {
            Outcome::Success => (None, self.note.as_deref().map(printable)),
            Outcome::Refused { code, message } => (Some(code.to_string()), Some(printable(message))),
            Outcome::Failed { code } => (Some(code.to_string()), None),
        };
        let mut entry = AuditEntry {
            id: self.id.to_string(),
            timestamp: at,
            agent_id: self.agent.as_str().to_owned(),
            operation: self.operation.as_str().to_owned(),
            book_id: chain.book,
            path: chain.path,
            user_id: chain.user,
            status: self.outcome.status().to_owned(),
            error_code: code,
            error_message: message,
            execution_time_ms: i64::try_from(self.elapsed_ms).unwrap_or(i64::MAX),
            request_id: self.request.to_string(),
            change_id: self.change.map(|id| id.to_string()),
            old_content_hash: self.old.map(|hash| hash.to_string()),
            new_content_hash: self.new.map(|hash| hash.to_string()),
            prev_hash: prev.map(str::to_owned),
            entry_hash: String::new(),
        };
        entry.entry_hash = entry.computed_hash();
        entry
    }
}

/// Message safe to store and print: control characters are escaped, and it is cut at a character.
fn printable(message: &str) -> String {
    let mut kept = String::new();
    for c in message.chars() {
        let piece: String = if c.is_control() { c.escape_default().collect() } else { c.to_string() };
        if kept.len() + piece.len() > MAX_MESSAGE_BYTES {
            kept.push('…');
            break;
        }
        kept.push_str(&piece);
    }
    kept
}

/// A row of the audit log, exactly as stored: nothing in it is trusted before it is verified. As JSON it is
/// an object of all columns, under their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the columns are named and explained in contract §8")]
pub struct AuditEntry {
    pub id: String,
    pub timestamp: Timestamp,
    pub agent_id: String,
    pub operation: String,
    pub book_id: String,
    pub path: String,
    pub user_id: String,
    pub status: String,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    pub execution_time_ms: i64,
    pub request_id: String,
    pub change_id: Option<String>,
    pub old_content_hash: Option<String>,
    pub new_content_hash: Option<String>,
    pub prev_hash: Option<String>,
    pub entry_hash: String,
}

impl AuditEntry {
    /// Chain that it claims to belong to.
    pub fn chain(&self) -> ChainKey {
        ChainKey { book: self.book_id.clone(), path: self.path.clone(), user: self.user_id.clone() }
    }

    /// True if it changed its file. Entries of a change set for files that already were as targeted have
    /// neither content hash.
    pub fn is_change(&self) -> bool {
        self.status == "success"
            && self.change_id.is_some()
            && (self.old_content_hash.is_some() || self.new_content_hash.is_some())
    }
}

/// Filter of a query of the audit log; every given field must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// The book.
    pub book: Option<BookId>,
    /// Lower bound of the paths, bytewise, inclusive.
    pub path_from: Option<String>,
    /// Upper bound of the paths, bytewise, exclusive.
    pub path_to: Option<String>,
    /// The agent, exactly.
    pub agent: Option<String>,
    /// Operation as stored.
    pub operation: Option<String>,
    /// Status as stored.
    pub status: Option<String>,
    /// The layer; `None` for all (operators only).
    pub layer: Option<Layer>,
    /// Earliest time, inclusive.
    pub from: Option<Timestamp>,
    /// Latest time, inclusive.
    pub to: Option<Timestamp>,
}

impl EntryFilter {
    /// The filter narrowed to paths that begin with a prefix.
    #[must_use]
    pub fn below(self, prefix: &Prefix) -> Self {
        let (from, path_to) = prefix.range();
        Self { path_from: Some(from.to_owned()).filter(|from| !from.is_empty()), path_to, ..self }
    }
}

/// Position in the log, newest first, after which the next page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPosition {
    /// Timestamp of the last entry seen.
    pub timestamp: Timestamp,
    /// Id of the last entry seen.
    pub id: String,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use uuid::Uuid;

    pub(crate) fn draft(n: u128) -> AuditDraft {
        AuditDraft {
            id: EntryId::new(Uuid::from_u128(n)),
            request: RequestId::new(Uuid::from_u128(n)),
            agent: AgentId::unnamed(),
            operation: Operation::Write,
            book: Some(BookId::parse("ai-python").unwrap()),
            path: Some(BookPath::parse("content/README.md").unwrap()),
            layer: Layer::Base,
            outcome: Outcome::Success,
            note: None,
            elapsed_ms: 4,
            change: Some(ChangeId::new(Uuid::from_u128(n))),
            old: None,
            new: Some(ContentHash::of(b"x")),
        }
    }

    #[test]
    fn r6_the_canonical_form_is_fixed_for_ever() {
        let entry = draft(1).seal(Timestamp::from_micros(1_700_000_000_000_001), None);
        assert_eq!(entry.entry_hash, "80a76617868ebb9276fe3ac67068c8493642d39a69146317d82ee80f5747f5ba",);
    }

    #[test]
    fn r6_every_column_counts() {
        let entry = draft(1).seal(Timestamp::from_micros(5), Some("ab"));
        let changes: [fn(&mut AuditEntry); 16] = [
            |e| e.id.push('x'),
            |e| e.timestamp = Timestamp::from_micros(6),
            |e| e.agent_id.push('x'),
            |e| e.operation.push('x'),
            |e| e.book_id.push('x'),
            |e| e.path.push('x'),
            |e| e.user_id.push('x'),
            |e| e.status.push('x'),
            |e| e.error_code = Some(String::new()),
            |e| e.error_message = Some(String::new()),
            |e| e.execution_time_ms = 5,
            |e| e.request_id.push('x'),
            |e| e.change_id = None,
            |e| e.old_content_hash = Some(String::new()),
            |e| e.new_content_hash = None,
            |e| e.prev_hash = None,
        ];
        for (column, change) in changes.iter().enumerate() {
            let mut other = entry.clone();
            change(&mut other);
            assert_ne!(other.computed_hash(), entry.entry_hash, "column {column}");
        }
    }

    #[test]
    fn r6_what_stands_in_one_column_cannot_pass_for_another() {
        let mut a = draft(1).seal(Timestamp::from_micros(5), None);
        let mut b = a.clone();
        (a.agent_id, a.operation) = ("ab".into(), "c".into());
        (b.agent_id, b.operation) = ("a".into(), "bc".into());
        assert_ne!(a.computed_hash(), b.computed_hash());
    }

    #[test]
    fn a_message_is_kept_short_and_printable() {
        assert_eq!(printable("a\nb"), "a\\nb");
        assert!(printable(&"é".repeat(9999)).len() <= MAX_MESSAGE_BYTES + 3);
    }
}
