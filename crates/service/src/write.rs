//! `write_content`: writes one text file, under the agent contract.

use panaversity_model::file::check_text_size;
use panaversity_model::hash::HashedBytes;
use panaversity_model::precondition::{Effect, TargetContent};
use panaversity_model::{BookId, BookPath, ContentHash, Error, Layer, Refusal, media};

use crate::call::Call;
use crate::commit::{FileChange, NewContent};

/// Request to write a text file.
#[derive(Debug, Clone)]
pub struct Write {
    /// The book; created with the schema `strict` if it does not exist.
    pub book: BookId,
    /// The file, below `content/`.
    pub path: BookPath,
    /// The layer.
    pub layer: Layer,
    /// The text, stored byte for byte; at most 500,000 bytes.
    pub content: String,
    /// Expected current hash of the file.
    pub expected: Option<ContentHash>,
}

/// Result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Created, updated or unchanged.
    pub effect: Effect,
    /// Size in bytes.
    pub size: u64,
    /// New hash of the file.
    pub hash: ContentHash,
}

impl Call {
    /// Writes the file, or refuses.
    pub async fn write_content(&mut self, write: Write) -> Result<Written, Error> {
        check_text_size(&write.content)?;
        if write.path.is_asset() {
            return Err(Refusal::SchemaViolation {
                rule: "Text is written below content/".to_owned(),
                why: "`static` holds assets, which go in through upload_asset".to_owned(),
                suggestion: None,
            }
            .into());
        }
        if let Some(format) = media::binary_format(&write.path) {
            return Err(Refusal::NotText { path: write.path, format }.into());
        }
        let bytes = HashedBytes::new(write.content.into_bytes());
        let (hash, size) = (bytes.hash(), bytes.as_slice().len() as u64);
        let content = TargetContent::Present(NewContent::Bytes(bytes));
        let change = FileChange { path: write.path, content, expected: write.expected };
        let effect = self.change_file(&write.book, &write.layer, change).await?;
        Ok(Written { effect, size, hash })
    }
}
