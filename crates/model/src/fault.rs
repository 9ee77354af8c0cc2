//! Faults: errors of the infrastructure, not of the caller. Logged once, by the transport; shown
//! without detail.

use crate::error_code::ErrorCode;
use crate::path::BookPath;
use crate::refusal::Refusal;

/// Category of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The folder or bucket does not answer or misbehaves.
    Storage,
    /// The database does not answer or misbehaves.
    Database,
    /// The database answers, but its schema is not the one of this program.
    Schema,
    /// An operation exceeded its time limit.
    Timeout,
    /// Stored bytes differ from those written.
    Corrupt,
    /// A bug, or a row that this program cannot have written.
    Internal,
}

impl FaultKind {
    /// Its code.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Storage => ErrorCode::StorageUnavailable,
            Self::Database | Self::Schema => ErrorCode::DatabaseUnavailable,
            Self::Timeout => ErrorCode::Timeout,
            Self::Corrupt => ErrorCode::Corrupt,
            Self::Internal => ErrorCode::Internal,
        }
    }
}

/// An error of the infrastructure. `detail` is for the log only and never leaves the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Fault {
    /// Category of the fault.
    pub kind: FaultKind,
    /// Description for the log: the operation and its error.
    pub detail: String,
    /// The result of a commit could not be determined: it may have happened.
    pub outcome_unknown: bool,
    /// A retry may succeed later without intervention: the infrastructure was not ready.
    pub is_transient: bool,
    /// File concerned, if the caller named several or a folder; always a file of the caller's view.
    pub path: Option<BookPath>,
}

impl Fault {
    /// A fault whose operation certainly did not happen.
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), outcome_unknown: false, is_transient: false, path: None }
    }

    /// A fault of the database.
    pub fn database(detail: impl Into<String>) -> Self {
        Self::new(FaultKind::Database, detail)
    }

    /// A fault of the storage.
    pub fn storage(detail: impl Into<String>) -> Self {
        Self::new(FaultKind::Storage, detail)
    }

    /// A stored row or blob differs from what was written.
    pub fn corrupt(detail: impl Into<String>) -> Self {
        Self::new(FaultKind::Corrupt, detail)
    }

    /// A bug.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(FaultKind::Internal, detail)
    }

    /// The same fault, marked transient if `transient`.
    #[must_use]
    pub fn transient_if(self, transient: bool) -> Self {
        Self { is_transient: transient, ..self }
    }

    /// The same fault, with a file that the caller may know of.
    #[must_use]
    pub fn about(mut self, path: &BookPath) -> Self {
        self.path = Some(path.clone());
        self
    }

    /// The same fault, of a commit whose result is unknown.
    #[must_use]
    pub fn with_unknown_outcome(mut self) -> Self {
        self.outcome_unknown = true;
        self
    }
}

/// Error of a use case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The caller can correct it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The infrastructure failed.
    #[error(transparent)]
    Broken(#[from] Fault),
}

impl Error {
    /// Its code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Broken(fault) => fault.kind.code(),
        }
    }
}
