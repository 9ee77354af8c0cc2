//! Refusals: errors that the caller can correct, as values with a stable code.
//!
//! A refusal describes the error in the caller's terms; the hint with the next step is added by the
//! transport, which knows the tools. It contains no internal details.

use crate::book::{BookId, Schema};
use crate::change::PlannedChange;
use crate::conflict::ConflictDetails;
use crate::edit::NearLine;
use crate::error_code::ErrorCode;
use crate::hash::ContentHash;
use crate::path::BookPath;
use crate::permission::Scope;

/// An error that the caller can correct.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An argument is missing, unknown, mistyped or out of bounds.
    #[error("{argument}: {why}")]
    InvalidArgument {
        /// Name of the argument, or the list of those given.
        argument: String,
        /// Reason of the refusal.
        why: String,
    },
    /// The path is unsafe, independently of the book's schema.
    #[error("The path is refused: {why}")]
    InvalidPath {
        /// Path as given.
        path: String,
        /// Reason of the refusal.
        why: String,
    },
    /// The path is safe but the book's schema does not admit it.
    #[error("{rule}: {why}")]
    SchemaViolation {
        /// Rule of the book.
        rule: String,
        /// The wrong segment and its required form.
        why: String,
        /// A similar path that the book admits.
        suggestion: Option<String>,
    },
    /// The extension denotes a binary format, but only text can be written.
    #[error("path: `{path}` names {format}, and write_content writes text")]
    NotText {
        /// Path as given.
        path: BookPath,
        /// Format, with its article.
        format: &'static str,
    },
    /// A link was requested on a transport without a server for links (stdio).
    #[error("No link can be given: this server runs over stdio, and nobody serves links")]
    NoLinks,
    /// No such file, version or entry is visible to this caller.
    #[error("{what}")]
    NotFound {
        /// Description of what is missing.
        what: String,
        /// Up to five similar paths that the caller may read.
        suggestions: Vec<String>,
    },
    /// The page has no section with this slug or title.
    #[error("The page has no section `{section}`")]
    SectionNotFound {
        /// Name as given.
        section: String,
        /// Up to five similar slugs of the page.
        suggestions: Vec<String>,
    },
    /// Several headings of the page have this title, or this explicit id.
    #[error("section: several headings are called `{section}`")]
    SectionAmbiguous {
        /// Name as given.
        section: String,
        /// Their slugs, up to twenty.
        slugs: Vec<String>,
    },
    /// Lines were requested that the text does not have.
    #[error("lines: the file has {total_lines} lines")]
    LinesBeyondEnd {
        /// Lines of the text.
        total_lines: usize,
    },
    /// There is no such book.
    #[error("There is no book `{}`", .0.as_str())]
    BookNotFound(BookId),
    /// A concurrent change was committed first, or the name is in use.
    #[error("{why}")]
    Conflict {
        /// Description of the conflict.
        why: String,
        /// Current hash of the file, if the conflict is about a file's content.
        current: Option<ContentHash>,
        /// How the current version differs from the one expected, where it is known.
        details: Option<Box<ConflictDetails>>,
    },
    /// The file exists and the caller gave no expected version.
    #[error("The file exists: pass the hash of the version you read as expected_hash")]
    HashRequired {
        /// Current hash of the file.
        current: ContentHash,
    },
    /// The book has files and the caller gave no manifest that it expects to be current.
    #[error("The book has files: pass its current manifest_hash as expected_hash")]
    ManifestRequired {
        /// Hash of the current manifest.
        current: ContentHash,
    },
    /// The text that an edit replaces does not occur exactly once.
    #[error("{}", not_unique(*edit, *count))]
    EditNotUnique {
        /// Number of the edit in the call, counted from 0.
        edit: usize,
        /// How often its old text occurs.
        count: usize,
        /// Lines at which it occurs, counted from 1; not more than 20.
        lines: Vec<usize>,
        /// If it does not occur: lines that resemble it.
        nearest: Vec<NearLine>,
    },
    /// A change set was refused as a whole. The code is that of the first refused change.
    #[error("{} of the {} changes can't be made, so none was: {}", refused_count(.0), .0.len(), first_refused(.0))]
    ChangesRefused(Vec<PlannedChange>),
    /// The bytes of a kept version are missing or damaged.
    #[error("The stored bytes of `{0}` are missing or damaged")]
    BytesMissing(BookPath),
    /// A change would reach more files than one call may change.
    #[error("{actual} files would change; the limit is {limit}")]
    TooManyFiles {
        /// Number of files.
        actual: u64,
        /// The limit.
        limit: u64,
    },
    /// A size exceeds its limit.
    #[error("{what} has {actual} bytes; the limit is {limit}")]
    TooLarge {
        /// Name of the oversized value.
        what: &'static str,
        /// Actual size in bytes.
        actual: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The caller's permissions do not reach so far.
    #[error("{}", forbidden(.scope.as_ref()))]
    Forbidden {
        /// Scope that a token would need; `None`: the overlay is another user's, or only an overlay is the
        /// caller's to change.
        scope: Option<Scope>,
    },
    /// An upload cannot be completed with the bytes received.
    #[error("{why}")]
    UploadIncomplete {
        /// Reason of the refusal.
        why: String,
        /// Announced size in bytes.
        expected: u64,
        /// Received size in bytes; `None`: nothing arrived.
        arrived: Option<u64>,
    },
}

fn not_unique(edit: usize, count: usize) -> String {
    match count {
        0 => format!("edits[{edit}]: old_text is not in the file"),
        count => format!("edits[{edit}]: old_text is in the file {count} times; it must be there once"),
    }
}

fn refused_count(changes: &[PlannedChange]) -> usize {
    changes.iter().filter(|change| change.result.is_err()).count()
}

fn first_refused(changes: &[PlannedChange]) -> String {
    changes.iter().find_map(|change| change.result.as_ref().err()).map(Refusal::to_string).unwrap_or_default()
}

fn forbidden(scope: Option<&Scope>) -> String {
    match scope {
        Some(scope) => format!("This needs the scope `{scope}`, which you were not given"),
        None => "This layer of the book is not yours".to_owned(),
    }
}

impl Refusal {
    /// A refused argument.
    pub fn argument(name: &str, why: impl Into<String>) -> Self {
        Self::InvalidArgument { argument: name.to_owned(), why: why.into() }
    }

    /// A missing file or version, without suggestions yet.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into(), suggestions: Vec::new() }
    }

    /// The file no longer has the content that the caller expected.
    pub fn changed(current: ContentHash) -> Self {
        let why = "The file has changed since the version you named in expected_hash".to_owned();
        Self::Conflict { why, current: Some(current), details: None }
    }

    /// The base changed below a change of an overlay that was made from its content.
    pub fn base_changed(current: Option<ContentHash>) -> Self {
        let why = "The base of the file has changed since the overlay's new text was made from it".to_owned();
        Self::Conflict { why, current, details: None }
    }

    /// The book already has files under another schema.
    pub fn schema_fixed(has: Schema) -> Self {
        Self::Conflict {
            why: format!("The book has files and keeps its schema `{}`", has.as_str()),
            current: None,
            details: None,
        }
    }

    /// A file would be moved to the path of another.
    pub fn occupied(path: &BookPath) -> Self {
        let why = format!("The book has a file at `{path}` already");
        Self::Conflict { why, current: None, details: None }
    }

    /// A path would differ from another file's only by case.
    pub fn case_twin(path: &BookPath, other: &str) -> Self {
        Self::Conflict {
            why: format!("The book has `{other}`, which differs from `{path}` only by case"),
            current: None,
            details: None,
        }
    }

    /// Refusal of a new path that conflicts with another file's path: see [`case_twin`](Self::case_twin)
    /// and [`nested`](Self::nested).
    pub fn path_conflict(path: &BookPath, other: &BookPath) -> Self {
        if other.folded() == path.folded() {
            Self::case_twin(path, other.as_str())
        } else {
            Self::nested(path, other.as_str())
        }
    }

    /// A file would lie below another file's path.
    pub fn nested(path: &BookPath, other: &str) -> Self {
        Self::Conflict {
            why: format!("The book has `{other}`, so `{path}` would lie under a file, or a file under it"),
            current: None,
            details: None,
        }
    }

    /// Its code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidArgument { .. }
            | Self::NotText { .. }
            | Self::SectionAmbiguous { .. }
            | Self::LinesBeyondEnd { .. } => ErrorCode::InvalidArgument,
            Self::InvalidPath { .. } => ErrorCode::InvalidPath,
            Self::SchemaViolation { .. } => ErrorCode::SchemaViolation,
            Self::NotFound { .. } | Self::SectionNotFound { .. } | Self::NoLinks => ErrorCode::NotFound,
            Self::BookNotFound(_) => ErrorCode::BookNotFound,
            Self::Conflict { .. } => ErrorCode::Conflict,
            Self::HashRequired { .. } | Self::ManifestRequired { .. } => ErrorCode::HashRequired,
            Self::EditNotUnique { .. } => ErrorCode::EditNotUnique,
            Self::ChangesRefused(changes) => {
                let first = changes.iter().find_map(|change| change.result.as_ref().err());
                first.map_or(ErrorCode::Conflict, Self::code)
            }
            Self::BytesMissing(_) => ErrorCode::Corrupt,
            Self::TooLarge { .. } | Self::TooManyFiles { .. } => ErrorCode::TooLarge,
            Self::Forbidden { .. } => ErrorCode::Forbidden,
            Self::UploadIncomplete { .. } => ErrorCode::UploadIncomplete,
        }
    }
}
