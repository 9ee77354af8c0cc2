//! Faults: the world broke, not the caller. Logged once, at the door; shown without detail.

use crate::path::BookPath;
use crate::refusal::Refusal;

/// What broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The folder or bucket does not answer or does not obey.
    Storage,
    /// The database does not answer or does not obey.
    Database,
    /// The database answers, and its schema is not the one of this program.
    Schema,
    /// Something took longer than its limit.
    Timeout,
    /// Stored bytes are not what was stored.
    Corrupt,
    /// A bug, or a row that no rule of ours could have written.
    Internal,
}

impl FaultKind {
    /// The stable code of contract §2.
    pub fn code(self) -> &'static str {
        match self {
            Self::Storage => "STORAGE_UNAVAILABLE",
            Self::Database | Self::Schema => "DATABASE_UNAVAILABLE",
            Self::Timeout => "TIMEOUT",
            Self::Corrupt => "CORRUPT",
            Self::Internal => "INTERNAL",
        }
    }
}

/// Something broke. `detail` is for the log only and never leaves the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Fault {
    /// What broke.
    pub kind: FaultKind,
    /// For the log: what was tried and what came back.
    pub detail: String,
    /// The fate of a commit could not be learned: it may have happened.
    pub outcome_unknown: bool,
    /// The same may work later without anybody's doing: what did not answer was not ready.
    pub is_transient: bool,
    /// The file it is about, where the caller named others too, or a folder. One of their own view.
    pub path: Option<BookPath>,
}

impl Fault {
    /// A fault whose act certainly did not happen.
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), outcome_unknown: false, is_transient: false, path: None }
    }

    /// The database broke.
    pub fn database(detail: impl Into<String>) -> Self {
        Self::new(FaultKind::Database, detail)
    }

    /// The storage broke.
    pub fn storage(detail: impl Into<String>) -> Self {
        Self::new(FaultKind::Storage, detail)
    }

    /// A stored row or blob is not what was stored.
    pub fn corrupt(detail: impl Into<String>) -> Self {
        Self::new(FaultKind::Corrupt, detail)
    }

    /// A bug.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(FaultKind::Internal, detail)
    }

    /// The same fault, which may pass by itself if `transient`.
    #[must_use]
    pub fn transient_if(self, transient: bool) -> Self {
        Self { is_transient: transient, ..self }
    }

    /// The same fault, of a file that the caller may know of.
    #[must_use]
    pub fn about(mut self, path: &BookPath) -> Self {
        self.path = Some(path.clone());
        self
    }

    /// The same fault, after a commit whose fate is not known.
    #[must_use]
    pub fn with_unknown_outcome(mut self) -> Self {
        self.outcome_unknown = true;
        self
    }
}

/// Why an act did not give its result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The caller can mend it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The world broke.
    #[error(transparent)]
    Broken(#[from] Fault),
}

impl Error {
    /// The stable code of contract §2.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Broken(fault) => fault.kind.code(),
        }
    }
}
