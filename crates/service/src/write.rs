//! Writing one file whose bytes are in the call: `write_content`, and `upload_asset` with its bytes, under
//! the agent contract.

use panaversity_model::file::check_text_size;
use panaversity_model::hash::HashedBytes;
use panaversity_model::precondition::Effect;
use panaversity_model::{BookPath, ContentHash, Error, Refusal, media};

use crate::authorize::WriteAccess;
use crate::call::Call;
use crate::commit::{FileChange, NewContent};
use crate::spool::check_page;

/// Request to write a file with this content, text or bytes.
#[derive(Debug, Clone)]
pub struct Write<T> {
    /// The layer of the book, which is created with the schema `strict` if it does not exist.
    pub access: WriteAccess,
    /// The file.
    pub path: BookPath,
    /// The content, stored byte for byte.
    pub content: T,
    /// Expected current hash of the file.
    pub expected: Option<ContentHash>,
}

/// Result of writing a file, by a call or an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub path: BookPath,
    /// Created, updated, or unchanged: it already had these bytes.
    pub effect: Effect,
    /// Size in bytes.
    pub size: u64,
    /// New hash of the file.
    pub hash: ContentHash,
    /// Whether changes of others were merged into the content.
    pub merged: bool,
}

impl Written {
    /// The word for its effect in answers and metrics.
    pub fn mode(&self) -> &'static str {
        if self.merged && self.effect == Effect::Updated { "merged" } else { self.effect.as_str() }
    }
}

impl Call {
    /// Writes a text file of at most 500,000 bytes below `content/`, or refuses.
    pub async fn write_content(&mut self, write: Write<String>) -> Result<Written, Error> {
        check_text_size(&write.content)?;
        check_text_path(&write.path)?;
        let Write { access, path, content, expected } = write;
        self.write_bytes(Write { access, path, content: content.into_bytes(), expected }).await
    }

    /// Writes an asset, or a file beside pages, whose bytes are few enough for a call, or refuses.
    pub async fn put_asset(&mut self, write: Write<Vec<u8>>) -> Result<Written, Error> {
        self.check_direct("binary_data", write.content.len() as u64)?;
        check_page(&write.path, &write.content)?;
        self.write_bytes(write).await
    }

    async fn write_bytes(&mut self, write: Write<Vec<u8>>) -> Result<Written, Error> {
        let Write { access, path, content, expected } = write;
        let bytes = HashedBytes::new(content);
        let (hash, size) = (bytes.hash(), bytes.as_slice().len() as u64);
        let content = NewContent::Bytes(bytes);
        let change = FileChange::write(self.operation, path.clone(), content, expected);
        let effect = self.change_file(&access, change).await?;
        Ok(Written { path, effect, size, hash, merged: false })
    }
}

/// Refuses a path at which no text is written.
pub(crate) fn check_text_path(path: &BookPath) -> Result<(), Refusal> {
    if path.is_asset() {
        return Err(Refusal::SchemaViolation {
            rule: "Text is written below content/".to_owned(),
            why: "`static` holds assets, which go in through upload_asset".to_owned(),
            suggestion: None,
        });
    }
    match media::binary_format(path) {
        Some(format) => Err(Refusal::NotText { path: path.clone(), format }),
        None => Ok(()),
    }
}
