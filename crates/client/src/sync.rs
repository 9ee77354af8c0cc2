//! Shared parts of [`ingest`](crate::ingest) and [`hydrate`](crate::hydrate). Invariant of both:
//! success is only what the server or the disk confirmed, and a run that was killed is completed by
//! the next one.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::CallError;
use crate::report::Problem;

/// Folder of the book that the folder of pages maps to.
pub(crate) const CONTENT: &str = "content/";
/// Folder of the book that the folder of assets maps to.
pub(crate) const STATIC: &str = "static/";
/// Number of failed calls after which the remaining ones are not tried.
const MOST_FAILURES: usize = 3;

/// Error that ends a whole run, in a state from which the next run can complete the work.
#[derive(Debug)]
pub struct SyncError {
    /// Cause and remedy, in the terms of the commands.
    pub message: String,
    /// The files concerned, if any.
    pub files: Vec<Problem>,
    /// True for an invalid request of the caller, such as a folder that does not exist.
    pub is_usage: bool,
}

impl fmt::Display for SyncError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)?;
        self.files.iter().try_for_each(|problem| write!(out, "\n  {}", problem.line("-")))
    }
}

impl std::error::Error for SyncError {}

impl SyncError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), files: Vec::new(), is_usage: false }
    }

    /// An error of the caller, such as a folder that does not exist.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { is_usage: true, ..Self::new(message) }
    }

    pub(crate) fn about(message: impl Into<String>, files: Vec<Problem>) -> Self {
        Self { files, ..Self::new(message) }
    }

    /// An error of the disk operation `doing` on `what`.
    pub(crate) fn disk(doing: &str, what: &Path, error: &std::io::Error) -> Self {
        Self::new(format!("cannot {doing} {}: {error}", what.display()))
    }
}

impl From<CallError> for SyncError {
    fn from(error: CallError) -> Self {
        Self::new(error.to_string())
    }
}

/// Path in the book of a file on disk: `folder/x` as `{prefix}x`. Bytes that are not UTF-8 are shown as
/// U+FFFD.
pub(crate) fn book_name(folder: &Path, prefix: &str, path: &Path) -> String {
    let below = path.strip_prefix(folder).unwrap_or(path);
    let segments: Vec<_> = below.iter().map(|segment| segment.to_string_lossy()).collect();
    format!("{prefix}{}", segments.join("/"))
}

/// Runs blocking work on the blocking thread pool.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SyncError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| SyncError::new("a worker stopped; run again"))
}

/// Circuit breaker. It opens after [`MOST_FAILURES`] failed calls, so that a server that is down
/// does not receive every remaining call.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: AtomicUsize,
}

impl Breaker {
    pub(crate) fn is_open(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= MOST_FAILURES
    }

    pub(crate) fn note(&self, error: &CallError) {
        if !matches!(error, CallError::ServerError(_)) {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// `1 file`, `724 files`.
pub(crate) fn files(count: usize) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}
