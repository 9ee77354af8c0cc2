//! Files as recorded in the journal.

use crate::blob::{BlobState, StoredBlob};
use crate::hash::ContentHash;
use crate::layer::Layer;
use crate::media;
use crate::path::BookPath;
use crate::refusal::Refusal;
use crate::timestamp::Timestamp;

/// Maximum size of a text file in bytes.
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

/// True if path and size permit a file to be text: below `content/`, within [`MAX_TEXT_BYTES`], and
/// without an extension of a binary format. Such a file is text if its bytes are UTF-8 too. Every
/// other file below `content/` is treated like an asset.
pub fn may_be_text(path: &BookPath, size: u64) -> bool {
    !path.is_asset() && size <= MAX_TEXT_BYTES as u64 && media::binary_format(path).is_none()
}

/// A row of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// The path.
    pub path: BookPath,
    /// Layer it was found in.
    pub layer: Layer,
    /// Content hash.
    pub hash: ContentHash,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last write.
    pub written_at: Timestamp,
    /// Storage it is published to: `fs`, `s3` or `supabase`.
    pub storage: String,
    /// Version of its last change; increases over the whole store, never reused.
    pub version: i64,
}

/// A file and the state of its content, without the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMetadata {
    /// The journal row.
    pub record: FileRecord,
    /// State of the blob of its content.
    pub state: BlobState,
    /// True if the content is an object, false if it is inline.
    pub in_object: bool,
}

/// A file and the blob of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The journal row.
    pub record: FileRecord,
    /// The blob, with the bytes if it is inline.
    pub blob: StoredBlob,
}

/// Difference of the base's file at a path, between the last write of an overlay's file there and now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseChange {
    /// Hash of the base's file when the overlay's was written. `None`: there was none, or that version is
    /// no longer kept.
    pub then: Option<ContentHash>,
    /// Hash of the base's file now. `None`: there is none.
    pub now: Option<ContentHash>,
}

/// A file as an overlay shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlaidFile {
    /// The file, of the overlay or of the base below.
    pub found: Found,
    /// Change of the base since the overlay's file was written; `None`: it has not changed, or the file
    /// is the base's.
    pub base_change: Option<BaseChange>,
}
