//! Refusals: what a caller asked for and may not have, as values with a stable code.
//!
//! A refusal says what is wrong in the caller's words; the hint with the next step belongs to the
//! door, which knows the tools. Nothing internal fits into one.

use crate::book::{BookId, Schema};
use crate::hash::ContentHash;
use crate::path::BookPath;

/// A call the caller can mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An argument is missing, unknown, mistyped or out of bounds.
    #[error("{argument}: {why}")]
    InvalidArgument {
        /// The argument's name, or the list of what was given.
        argument: String,
        /// What is wrong with it.
        why: String,
    },
    /// The path is unsafe whatever the book's schema.
    #[error("The path is refused: {why}")]
    InvalidPath {
        /// The path as given.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The path is safe but the book's schema does not admit it.
    #[error("{rule}: {why}")]
    SchemaViolation {
        /// The book's rule.
        rule: String,
        /// Which segment is wrong, and what it should be.
        why: String,
        /// A path near to it that the book admits.
        suggestion: Option<String>,
    },
    /// The name announces a binary format, where text is written.
    #[error("path: `{path}` names {format}, and write_content writes text")]
    NotText {
        /// The path as given.
        path: BookPath,
        /// The format, with its article.
        format: &'static str,
    },
    /// A link was asked for where no server would answer it.
    #[error("No link can be given: this server runs over stdio, and nobody serves links")]
    NoLinks,
    /// There is no such file, version or entry for this caller.
    #[error("{what}")]
    NotFound {
        /// What is missing.
        what: String,
        /// Up to five near paths that the caller may read.
        suggestions: Vec<String>,
    },
    /// There is no such book.
    #[error("There is no book `{}`", .0.as_str())]
    BookNotFound(BookId),
    /// Somebody else was first, or the name is taken.
    #[error("{why}")]
    Conflict {
        /// What stands in the way.
        why: String,
        /// The hash the file has now, where a file is meant.
        current: Option<ContentHash>,
    },
    /// The file exists and the caller did not say which version they mean.
    #[error("The file exists: pass the hash of the version you read as expected_hash")]
    HashRequired {
        /// The hash the file has now.
        current: ContentHash,
    },
    /// More bytes than the limit.
    #[error("{what} has {actual} bytes; the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        actual: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// An upload can't be completed with what has arrived.
    #[error("{why}")]
    UploadIncomplete {
        /// What is wrong with it.
        why: String,
        /// Bytes that were announced.
        expected: u64,
        /// Bytes that have arrived; `None`: nothing.
        arrived: Option<u64>,
    },
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

    /// A path would differ only by case from another file's.
    pub fn case_twin(path: &BookPath, other: &str) -> Self {
        Self::Conflict {
            why: format!("The book has `{other}`, which differs from `{path}` only by case"),
            current: None,
        }
    }

    /// A new path that another file's path keeps from being: see [`case_twin`](Self::case_twin) and
    /// [`nested`](Self::nested).
    pub fn path_conflict(path: &BookPath, other: &BookPath) -> Self {
        if other.folded() == path.folded() {
            Self::case_twin(path, other.as_str())
        } else {
            Self::nested(path, other.as_str())
        }
    }

    /// A file would lie under another file's path.
    pub fn nested(path: &BookPath, other: &str) -> Self {
        Self::Conflict {
            why: format!("The book has `{other}`, so `{path}` would lie under a file, or a file under it"),
            current: None,
        }
    }

    /// The stable code of contract §2.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidArgument { .. } | Self::NotText { .. } => "INVALID_ARGUMENT",
            Self::InvalidPath { .. } => "INVALID_PATH",
            Self::SchemaViolation { .. } => "SCHEMA_VIOLATION",
            Self::NotFound { .. } | Self::NoLinks => "NOT_FOUND",
            Self::BookNotFound(_) => "BOOK_NOT_FOUND",
            Self::Conflict { .. } => "CONFLICT",
            Self::HashRequired { .. } => "HASH_REQUIRED",
            Self::TooLarge { .. } => "TOO_LARGE",
            Self::UploadIncomplete { .. } => "UPLOAD_INCOMPLETE",
        }
    }
}
