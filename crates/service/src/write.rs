//! Writing one file whose bytes are in the call: `write_content`, and `upload_asset` with its bytes, under
//! the agent contract.

use panaversity_model::change::{Applied, Change};
use panaversity_model::file::check_text_size;
use panaversity_model::{BookPath, ContentHash, Error, Refusal, media};

use crate::authorize::WriteAccess;
use crate::call::Call;
use crate::commit::NewContent;
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

impl Call {
    /// Writes a text file of at most 500,000 bytes below `content/`, or refuses.
    pub async fn write_content(&mut self, write: Write<String>) -> Result<Applied, Error> {
        check_text_size(&write.content)?;
        check_text_path(&write.path)?;
        let Write { access, path, content, expected } = write;
        self.write_bytes(Write { access, path, content: content.into_bytes(), expected }).await
    }

    /// Writes an asset, or a file beside pages, whose bytes are few enough for a call, or refuses.
    pub async fn put_asset(&mut self, write: Write<Vec<u8>>) -> Result<Applied, Error> {
        self.check_direct("binary_data", write.content.len() as u64)?;
        check_page(&write.path, &write.content)?;
        self.write_bytes(write).await
    }

    async fn write_bytes(&mut self, write: Write<Vec<u8>>) -> Result<Applied, Error> {
        let Write { access, path, content, expected } = write;
        let change = Change::new(self.operation, path, NewContent::of(content), expected);
        self.change_file(&access, change).await
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
