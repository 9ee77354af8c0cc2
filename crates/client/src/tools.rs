//! Typed calls of the tools that `ingest` and `hydrate` use. Invariants: every hash is parsed
//! before it is compared, and all pages of a plan are of one snapshot of the book.

use panaversity_model::manifest::{Item, Manifest};
use panaversity_model::{BookId, BookPath, ContentHash, ErrorCode, Schema};
use reqwest::Url;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::client::{CallError, Client};

/// Maximum number of attempts to read a plan while the book changes between its pages.
const MAX_PLANS: usize = 5;
/// Maximum number of pages of one plan, against a server that always returns a next page.
const MAX_PAGES: usize = 100_000;

/// A book as `list_books` returns it.
#[derive(Debug, Deserialize)]
pub(crate) struct ListedBook {
    book_id: String,
    #[serde(deserialize_with = "schema")]
    pub(crate) schema: Schema,
}

#[derive(Deserialize)]
struct Listed {
    books: Vec<ListedBook>,
}

/// Response of `create_book`.
#[derive(Debug, Deserialize)]
pub(crate) struct CreatedBook {
    #[serde(deserialize_with = "schema")]
    pub(crate) schema: Schema,
}

/// Response of `plan_build`, all pages together.
#[derive(Debug)]
pub struct BuildPlan {
    /// Hash of the book's manifest.
    pub manifest_hash: ContentHash,
    /// The files that differ from the target, or all files.
    pub files: Vec<PlannedFile>,
    /// True if `files` is the whole book and not a difference.
    pub is_whole_book: bool,
}

/// One file of a plan.
#[derive(Debug, Deserialize)]
pub struct PlannedFile {
    /// Path as the server returned it. Not yet validated.
    pub path: String,
    /// Hash of its current content; `None` if the file is deleted.
    #[serde(default, deserialize_with = "maybe_hash")]
    pub current_hash: Option<ContentHash>,
    /// Size in bytes.
    #[serde(default)]
    pub size: u64,
}

#[derive(Deserialize)]
struct PlanPage {
    #[serde(deserialize_with = "hash")]
    manifest_hash: ContentHash,
    files: Vec<PlannedFile>,
    warning: Option<String>,
    next_cursor: Option<String>,
}

/// A version of a file below `content/`. Not yet verified.
#[derive(Debug)]
pub(crate) enum Version {
    /// The file's text.
    Text(String),
    /// A link to the bytes of a file that is not text.
    Link(Url),
}

#[derive(Deserialize)]
struct ReadVersion {
    content: Option<String>,
    download_url: Option<String>,
}

/// Outcome of reading the pages of a plan.
enum Read {
    BuildPlan(BuildPlan),
    /// The server no longer knows the target.
    UnknownTarget,
    /// The book changed between two pages.
    Changed,
}

impl BuildPlan {
    /// Verifies that a whole book matches its manifest hash. Otherwise a list that lost a page
    /// would have files deleted.
    fn checked(self) -> Result<Self, CallError> {
        let item = |file: &PlannedFile| {
            Some((file.path.clone(), Item { hash: file.current_hash?, size: file.size, version: 0 }))
        };
        let manifest = Manifest { files: self.files.iter().filter_map(item).collect() };
        if self.is_whole_book && manifest.hash() != self.manifest_hash {
            return Err(CallError::UnexpectedResponse(
                "the server's list of files is not what its manifest_hash says".to_owned(),
            ));
        }
        Ok(self)
    }
}

/// Effect of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Created,
    Updated,
    Unchanged,
}

#[derive(Deserialize)]
struct Written {
    mode: String,
    #[serde(deserialize_with = "hash")]
    file_hash: ContentHash,
}

impl Client {
    /// The book, if it exists.
    pub(crate) async fn book(&self, book: &BookId) -> Result<Option<ListedBook>, CallError> {
        match self.answer::<Listed>("list_books", &json!({"book_id": book.as_str()})).await {
            Ok((listed, _)) => Ok(listed.books.into_iter().find(|listed| listed.book_id == book.as_str())),
            Err(CallError::ServerError(refused)) if refused.is(ErrorCode::BookNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates the book if it does not exist, with this schema if one is given.
    pub(crate) async fn create_book(
        &self,
        book: &BookId,
        schema: Option<Schema>,
    ) -> Result<CreatedBook, CallError> {
        let mut arguments = json!({"book_id": book.as_str()});
        if let Some(schema) = schema {
            arguments["schema"] = schema.as_str().into();
        }
        Ok(self.answer("create_book", &arguments).await?.0)
    }

    /// The differences from `target`; all files without a target, or if the server no longer knows
    /// it.
    pub async fn plan(&self, book: &BookId, target: Option<ContentHash>) -> Result<BuildPlan, CallError> {
        let mut target = target;
        for _ in 0..MAX_PLANS {
            match self.plan_once(book, target).await? {
                Read::BuildPlan(plan) => return Ok(plan),
                Read::UnknownTarget => target = None,
                Read::Changed => {}
            }
        }
        Err(CallError::UnexpectedResponse(
            "the book kept changing while its plan was read; run again".to_owned(),
        ))
    }

    async fn plan_once(&self, book: &BookId, target: Option<ContentHash>) -> Result<Read, CallError> {
        let mut arguments = json!({"book_id": book.as_str()});
        if let Some(target) = target {
            arguments["target_manifest_hash"] = target.to_string().into();
        }
        let (mut first, mut files) = (None, Vec::new());
        for _ in 0..MAX_PAGES {
            let page: PlanPage = self.answer("plan_build", &arguments).await?.0;
            let manifest_hash = *first.get_or_insert(page.manifest_hash);
            if manifest_hash != page.manifest_hash {
                return Ok(Read::Changed);
            }
            if target.is_some() && page.warning.is_some() {
                return Ok(Read::UnknownTarget);
            }
            files.extend(page.files);
            if let Some(cursor) = page.next_cursor {
                arguments["cursor"] = cursor.into();
                continue;
            }
            let plan = BuildPlan { manifest_hash, files, is_whole_book: target.is_none() };
            return plan.checked().map(Read::BuildPlan);
        }
        Err(CallError::UnexpectedResponse(
            "the plan does not end; the server may be of another version".to_owned(),
        ))
    }

    /// The content of `path` in version `hash`.
    pub(crate) async fn read_version(
        &self,
        book: &BookId,
        path: &BookPath,
        hash: ContentHash,
    ) -> Result<Version, CallError> {
        let arguments = json!({"book_id": book.as_str(), "path": path.as_str(), "hash": hash.to_string()});
        let (read, _) = self.answer::<ReadVersion>("read_content", &arguments).await?;
        match (read.content, read.download_url) {
            (Some(text), _) => Ok(Version::Text(text)),
            (None, Some(link)) => Ok(Version::Link(self.address(&link, &format!("/books/{book}/{path}"))?)),
            (None, None) => Err(CallError::UnexpectedResponse(
                "read_content gave neither content nor download_url; the server may be of another version"
                    .to_owned(),
            )),
        }
    }

    /// Writes a file whose current content must have hash `expected`, or that must not exist. The
    /// server must return the hash of what was sent. `unchanged` after a retry counts as a write,
    /// because the first attempt may have written the file.
    pub(crate) async fn write(
        &self,
        book: &BookId,
        path: &BookPath,
        content: String,
        expected: Option<ContentHash>,
    ) -> Result<Mode, CallError> {
        let sent = ContentHash::of(content.as_bytes());
        let mut arguments = json!({"book_id": book.as_str(), "path": path.as_str()});
        arguments["content"] = content.into();
        if let Some(expected) = expected {
            arguments["expected_hash"] = expected.to_string().into();
        }
        let (written, repeated) = self.answer::<Written>("write_content", &arguments).await?;
        if written.file_hash != sent {
            return Err(CallError::UnexpectedResponse(format!(
                "the server holds other bytes than were sent: {} instead of {sent}",
                written.file_hash
            )));
        }
        Ok(match (written.mode.as_str(), expected) {
            ("unchanged", _) if !repeated => Mode::Unchanged,
            ("created", _) | ("unchanged", None) => Mode::Created,
            _ => Mode::Updated,
        })
    }

    /// Deletes a file whose current content must have hash `expected`.
    pub(crate) async fn delete(
        &self,
        book: &BookId,
        path: &str,
        expected: ContentHash,
    ) -> Result<(), CallError> {
        let arguments =
            json!({"book_id": book.as_str(), "path": path, "expected_hash": expected.to_string()});
        self.answer::<Value>("delete_content", &arguments).await.map(|_| ())
    }

    /// The typed response of a tool, and whether the call was retried.
    pub(super) async fn answer<T: DeserializeOwned>(
        &self,
        tool: &str,
        arguments: &Value,
    ) -> Result<(T, bool), CallError> {
        let answer = self.call(tool, arguments).await?;
        match serde_json::from_value(answer.value) {
            Ok(typed) => Ok((typed, answer.repeated)),
            Err(error) => Err(unknown_form(tool, &error)),
        }
    }
}

/// The error for a response that does not parse as one of this version.
pub(super) fn unknown_form(tool: &str, error: &serde_json::Error) -> CallError {
    CallError::UnexpectedResponse(format!(
        "{tool} answered in an unknown form ({error}); the server may be of another version"
    ))
}

fn hash<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ContentHash, D::Error> {
    let text = String::deserialize(deserializer)?;
    ContentHash::from_hex(&text).ok_or_else(|| D::Error::custom("a hash is no SHA-256"))
}

fn maybe_hash<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ContentHash>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| ContentHash::from_hex(&text).ok_or_else(|| D::Error::custom("a hash is no SHA-256")))
        .transpose()
}

fn schema<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Schema, D::Error> {
    let text = String::deserialize(deserializer)?;
    Schema::parse(&text).map_err(D::Error::custom)
}
