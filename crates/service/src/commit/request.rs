//! Requested changes of files, before they are checked and staged.

use panaversity_model::audit::Operation;
use panaversity_model::blob::Blob;
use panaversity_model::hash::HashedBytes;
use panaversity_model::ids::StagingId;
use panaversity_model::precondition::TargetContent;
use panaversity_model::{BookPath, ContentHash};

/// Requested change of one file.
#[derive(Debug, Clone)]
pub struct FileChange {
    /// Operation as recorded in the audit log.
    pub operation: Operation,
    /// The file.
    pub path: BookPath,
    /// Requested content.
    pub content: TargetContent<NewContent>,
    /// Expected current hash of the file.
    pub expected: Option<ContentHash>,
    /// For a change of an overlay made from the content of the base: the hash that the base's file must
    /// have.
    pub base: Option<ContentHash>,
    /// Path from which the same set moves the file.
    pub moved_from: Option<BookPath>,
    /// For a merge: hashes of the content that the new text was made from and of the content that was
    /// current.
    pub parents: Option<[ContentHash; 2]>,
}

/// Content to be written.
#[derive(Debug, Clone)]
pub enum NewContent {
    /// Bytes in memory.
    Bytes(HashedBytes),
    /// A blob whose object is already put, under this staging.
    Staged(Blob, StagingId),
    /// A blob of a kept version.
    Stored(Blob),
}

impl NewContent {
    /// Its hash.
    pub fn hash(&self) -> ContentHash {
        match self {
            Self::Bytes(bytes) => bytes.hash(),
            Self::Staged(blob, _) | Self::Stored(blob) => blob.hash,
        }
    }
}

impl FileChange {
    /// Writes this content to the file.
    pub fn write(
        operation: Operation,
        path: BookPath,
        content: NewContent,
        expected: Option<ContentHash>,
    ) -> Self {
        let content = TargetContent::Present(content);
        Self { operation, path, content, expected, base: None, moved_from: None, parents: None }
    }

    /// Deletes the file.
    pub fn delete(operation: Operation, path: BookPath, expected: Option<ContentHash>) -> Self {
        let content = TargetContent::Absent;
        Self { operation, path, content, expected, base: None, moved_from: None, parents: None }
    }

    /// Hash of the requested content.
    pub fn target(&self) -> TargetContent {
        match &self.content {
            TargetContent::Absent => TargetContent::Absent,
            TargetContent::Present(content) => TargetContent::Present(content.hash()),
        }
    }
}
