//! Typed call of the tool `get_book_archive`.

use panaversity_model::{BookId, ContentHash};
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;

use crate::client::{CallError, Client};

/// Parts of the book that an archive contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Content,
    Assets,
    All,
}

/// A link to an archive.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) url: Url,
    /// Size of the archive, in bytes.
    pub(crate) size: u64,
    /// Files of the state that the archive lacks, with the reason. Not yet validated.
    pub(crate) lacking: Vec<Lacking>,
}

/// A file that could not be put into an archive.
#[derive(Debug, Deserialize)]
pub(crate) struct Lacking {
    pub(crate) path: String,
    pub(crate) error: String,
}

#[derive(Deserialize)]
struct Linked {
    archive_url: String,
    archive_size_bytes: u64,
    #[serde(default)]
    error_manifest: Vec<Lacking>,
}

impl Client {
    /// Requests a link to the archive of a state of the book.
    pub(crate) async fn archive(
        &self,
        book: &BookId,
        scope: Scope,
        manifest: ContentHash,
    ) -> Result<Archive, CallError> {
        let scope = match scope {
            Scope::Content => "content",
            Scope::Assets => "assets",
            Scope::All => "all",
        };
        let arguments =
            json!({"book_id": book.as_str(), "scope": scope, "manifest_hash": manifest.to_string()});
        let linked: Linked = self.answer("get_book_archive", &arguments).await?.0;
        let url = self.address(&linked.archive_url, &format!("/books/{book}/archive.zip"))?;
        Ok(Archive { url, size: linked.archive_size_bytes, lacking: linked.error_manifest })
    }
}
