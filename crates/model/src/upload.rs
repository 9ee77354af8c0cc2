//! Uploads: how the bytes of a large asset come, past the tools.
//!
//! # Life
//! An upload is *open* from its permit until it is completed, which the transaction that writes the
//! asset notes in the upload's row; so it is *done* exactly if the asset was written, once, and a
//! repeated completion gives the first answer. Whatever it is, it is *over* when its permit has
//! expired and the server no longer waits for late bytes: then what has arrived goes away, and
//! later the row.

use std::time::Duration;

use crate::agent::AgentId;
use crate::book::BookId;
use crate::hash::ContentHash;
use crate::ids::UploadId;
use crate::path::BookPath;
use crate::precondition::Effect;
use crate::timestamp::Timestamp;

/// An upload that somebody wants to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Its id.
    pub id: UploadId,
    /// The book.
    pub book: BookId,
    /// The asset, in the base.
    pub path: BookPath,
    /// Who announced it.
    pub agent: AgentId,
    /// Bytes, exactly.
    pub size: u64,
    /// What they must hash to, if that was said.
    pub sha256: Option<ContentHash>,
    /// What the caller expects the asset to hold when the upload is completed.
    pub expected: Option<ContentHash>,
}

/// An upload that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// What was announced.
    pub announced: Announced,
    /// When it was begun.
    pub created_at: Timestamp,
    /// Until when it may be put and completed.
    pub expires_at: Timestamp,
    /// How it was completed; `None`: it is open.
    pub done: Option<Completion>,
}

/// What completing an upload did: the first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// Created, updated or unchanged.
    pub effect: Effect,
    /// What the asset holds since.
    pub hash: ContentHash,
}

/// What somebody may put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// Bytes, exactly.
    pub size: u64,
    /// The media type it will be kept with.
    pub media_type: &'static str,
    /// For how long.
    pub valid_for: Duration,
}

/// Where to put an upload, and with which headers. Whoever has it may put: it is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedPut {
    /// The URL.
    pub url: String,
    /// Headers that the request must carry, name and value.
    pub headers: Vec<(String, String)>,
}

/// Something that lies where uploads arrive or are staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadEntry {
    /// The upload, if it is one.
    pub id: Option<UploadId>,
    /// Its name for people and for sweeping.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// When it was put; `None`: the storage does not say.
    pub put_at: Option<Timestamp>,
}
