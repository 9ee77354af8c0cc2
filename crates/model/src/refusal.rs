//! Refusals: errors that the caller can correct, as values with a stable code.
//!
//! A refusal describes the error in the caller's terms; the hint with the next step is added by the
//! transport, which knows the tools. It contains no internal details.

use crate::book::{BookId, Schema};
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
    },
    /// The file exists and the caller gave no expected version.
    #[error("The file exists: pass the hash of the version you read as expected_hash")]
    HashRequired {
        /// Current hash of the file.
        current: ContentHash,
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

    /// The book already has files under another schema.
    pub fn schema_fixed(has: Schema) -> Self {
        Self::Conflict {
            why: format!("The book has files and keeps its schema `{}`", has.as_str()),
            current: None,
        }
    }

    /// A path would differ from another file's only by case.
    pub fn case_twin(path: &BookPath, other: &str) -> Self {
        Self::Conflict {
            why: format!("The book has `{other}`, which differs from `{path}` only by case"),
            current: None,
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
            Self::HashRequired { .. } => ErrorCode::HashRequired,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::Forbidden { .. } => ErrorCode::Forbidden,
            Self::UploadIncomplete { .. } => ErrorCode::UploadIncomplete,
        }
    }
}
