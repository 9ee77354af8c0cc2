//! Requested content of changed files, before it is staged.

use panaversity_model::ContentHash;
use panaversity_model::blob::Blob;
use panaversity_model::change::ChangeContent;
use panaversity_model::hash::HashedBytes;
use panaversity_model::ids::StagingId;

/// Content that a change requests.
#[derive(Debug, Clone)]
pub enum NewContent {
    /// Bytes in memory.
    Bytes(HashedBytes),
    /// A blob whose object is already put, under this staging.
    Staged(Blob, StagingId),
    /// A blob of a kept version.
    Stored(Blob),
    /// None: the file is deleted.
    Absent,
}

impl NewContent {
    /// These bytes.
    pub fn of(bytes: Vec<u8>) -> Self {
        Self::Bytes(HashedBytes::new(bytes))
    }
}

impl ChangeContent for NewContent {
    fn present(&self) -> Option<(ContentHash, u64)> {
        match self {
            Self::Bytes(bytes) => Some((bytes.hash(), bytes.as_slice().len() as u64)),
            Self::Staged(blob, _) | Self::Stored(blob) => Some((blob.hash, blob.size)),
            Self::Absent => None,
        }
    }
}
