//! Files as the journal records them.

use crate::blob::StoredBlob;
use crate::hash::ContentHash;
use crate::layer::Layer;
use crate::media;
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

/// Whether a file of this path and size is text as far as can be told without its bytes: below
/// `content/`, within [`MAX_TEXT_BYTES`], and of no name that announces a binary format. It is text
/// if its bytes are UTF-8 too. Everything else below `content/` is carried as assets are.
pub fn may_be_text(path: &BookPath, size: u64) -> bool {
    !path.is_asset() && size <= MAX_TEXT_BYTES as u64 && media::binary_format(path).is_none()
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
