//! Files as the journal records them.

use crate::blob::StoredBlob;
use crate::hash::ContentHash;
use crate::layer::Layer;
use crate::path::BookPath;
use crate::refusal::Refusal;
use crate::timestamp::Timestamp;

/// Most bytes of a text file.
pub const MAX_TEXT_BYTES: usize = 500_000;

/// Refuses text beyond [`MAX_TEXT_BYTES`].
pub fn check_text_size(text: &str) -> Result<(), Refusal> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Refusal::TooLarge {
            what: "content",
            actual: text.len() as u64,
            limit: MAX_TEXT_BYTES as u64,
        });
    }
    Ok(())
}

/// A row of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// The path.
    pub path: BookPath,
    /// The layer it was found in.
    pub layer: Layer,
    /// What it holds.
    pub hash: ContentHash,
    /// Bytes.
    pub size: u64,
    /// When it was last written.
    pub written_at: Timestamp,
    /// Where it is published: `fs`.
    pub storage: String,
    /// The version of its last change; grows over the whole store, never reused.
    pub version: i64,
}

/// A file and the blob it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The row.
    pub record: FileRecord,
    /// The blob, with the bytes if it is inline.
    pub blob: StoredBlob,
}
