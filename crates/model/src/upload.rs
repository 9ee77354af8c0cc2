//! Uploads: transfer of the bytes of a large asset outside the tool calls.
//!
//! # Life cycle
//! An upload is *open* from its permit until it is completed. The transaction that writes the asset
//! records the completion in the upload's row, so an upload is *done* exactly if the asset was written,
//! once, and a repeated completion returns the first result. Open or done, it is *over* when its permit
//! has expired and the server no longer waits for late bytes: then the received bytes are deleted, and
//! later the row.

use std::time::Duration;

use crate::agent::AgentId;
use crate::book::BookId;
use crate::hash::ContentHash;
use crate::ids::UploadId;
use crate::path::BookPath;
use crate::precondition::Effect;
use crate::timestamp::Timestamp;

/// An upload to be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Id of the upload.
    pub id: UploadId,
    /// The book.
    pub book: BookId,
    /// Path of the asset, in the base.
    pub path: BookPath,
    /// Agent that announced it.
    pub agent: AgentId,
    /// Exact size in bytes.
    pub size: u64,
    /// Expected hash of the bytes, if announced.
    pub sha256: Option<ContentHash>,
    /// Precondition: the content that the asset is expected to have when the upload is completed.
    pub expected: Option<ContentHash>,
}

/// An upload that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The announcement.
    pub announced: Announced,
    /// Time of its creation.
    pub created_at: Timestamp,
    /// Time until which it may be put and completed.
    pub expires_at: Timestamp,
    /// Its completion; `None`: it is open.
    pub done: Option<Completion>,
}

/// The part of an upload's first result that its row keeps, for completions that are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// Created, updated or unchanged.
    pub effect: Effect,
    /// Content hash of the asset after the completion.
    pub hash: ContentHash,
}

/// Conditions under which an upload may be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// Exact size in bytes.
    pub size: u64,
    /// Media type it is stored with.
    pub media_type: &'static str,
    /// Duration of validity.
    pub valid_for: Duration,
}

/// A presigned PUT request: URL and required headers. It authorizes its bearer, so it is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedPut {
    /// The URL.
    pub url: String,
    /// Headers that the request must carry, name and value.
    pub headers: Vec<(String, String)>,
}

/// An entry found in the upload store or among the stagings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadEntry {
    /// Id of the upload, if the entry is one.
    pub id: Option<UploadId>,
    /// Name for display and for sweeping.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// Time it was put; `None`: the storage does not report it.
    pub put_at: Option<Timestamp>,
}
