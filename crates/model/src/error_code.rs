//! Error codes: the stable names of errors by which callers decide what to do (contract §2).

use std::fmt;

/// Stable code of an error in answers, in the log and in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// An argument is missing, unknown, mistyped or out of bounds.
    InvalidArgument,
    /// The path is unsafe.
    InvalidPath,
    /// The book's schema does not admit the path.
    SchemaViolation,
    /// There is no such file, version, upload or route.
    NotFound,
    /// There is no such book.
    BookNotFound,
    /// A concurrent change was committed first, or the name is in use.
    Conflict,
    /// The file exists, and the caller did not say which version is to be replaced.
    HashRequired,
    /// The text to replace occurs never, or more than once.
    EditNotUnique,
    /// A size exceeds its limit.
    TooLarge,
    /// The host, the origin or the signed link is not allowed, or the caller may not do this.
    Forbidden,
    /// The token or key is missing, unknown, expired or revoked.
    Unauthenticated,
    /// Too many requests.
    RateLimited,
    /// The bytes received are not those announced.
    UploadIncomplete,
    /// The storage does not answer.
    StorageUnavailable,
    /// The database does not answer, or its schema is another program's.
    DatabaseUnavailable,
    /// The call took too long.
    Timeout,
    /// Stored bytes are damaged.
    Corrupt,
    /// A bug.
    Internal,
}

impl ErrorCode {
    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::InvalidPath => "INVALID_PATH",
            Self::SchemaViolation => "SCHEMA_VIOLATION",
            Self::NotFound => "NOT_FOUND",
            Self::BookNotFound => "BOOK_NOT_FOUND",
            Self::Conflict => "CONFLICT",
            Self::HashRequired => "HASH_REQUIRED",
            Self::EditNotUnique => "EDIT_NOT_UNIQUE",
            Self::TooLarge => "TOO_LARGE",
            Self::Forbidden => "FORBIDDEN",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::RateLimited => "RATE_LIMITED",
            Self::UploadIncomplete => "UPLOAD_INCOMPLETE",
            Self::StorageUnavailable => "STORAGE_UNAVAILABLE",
            Self::DatabaseUnavailable => "DATABASE_UNAVAILABLE",
            Self::Timeout => "TIMEOUT",
            Self::Corrupt => "CORRUPT",
            Self::Internal => "INTERNAL",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
