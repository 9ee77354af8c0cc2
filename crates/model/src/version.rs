//! Versions of a file: what it held after each of its changes, in one layer. The last one is current;
//! superseded ones are kept for the retention time.

use crate::agent::AgentId;
use crate::hash::ContentHash;
use crate::ids::ChangeId;
use crate::path::BookPath;
use crate::timestamp::Timestamp;

/// A version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileVersion {
    /// Path of the file at the time.
    pub path: BookPath,
    /// Its number: greater than those of all earlier versions, of whatever file.
    pub version: i64,
    /// Hash of the content; `None`: the file was deleted.
    pub hash: Option<ContentHash>,
    /// Size in bytes; 0 for a deletion.
    pub size: u64,
    /// When it was written.
    pub at: Timestamp,
    /// Agent that wrote it.
    pub agent: AgentId,
    /// Operation as recorded in the audit log.
    pub operation: String,
    /// Change set that it belongs to.
    pub change: ChangeId,
    /// Reason for the change set, in the words of its agent.
    pub message: Option<String>,
    /// Path from which this change moved the file; its earlier versions are there.
    pub moved_from: Option<BookPath>,
}
