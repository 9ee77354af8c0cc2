//! `read_content`: one file, one version of it, or all files below a folder. Keeps R2 and R5.

mod part;

use panaversity_model::fault::FaultKind;
use panaversity_model::file::{BaseChange, FileRecord, Found, OverlaidFile, may_be_text};
use panaversity_model::lines::Excerpt;
use panaversity_model::path::Folder;
use panaversity_model::suggestion;
use panaversity_model::{BookId, BookPath, ContentHash, Error, Fault, Refusal};

use crate::authorize::ReadAccess;
use crate::call::Call;
use crate::json_size;
use crate::service::Service;
pub use part::{OutlinePage, ReadPart};

/// Most files on a page.
pub const PAGE_FILES: usize = 1_000;
/// Most attempts to read a file that was changed, and its bytes purged, during the read.
const READ_AGAIN: usize = 10;
/// Most paths considered for suggestions.
const SUGGESTED_FROM: usize = 500;

/// Request to read one file.
#[derive(Debug, Clone)]
pub struct ReadFile {
    /// The layer in whose view the path is resolved.
    pub access: ReadAccess,
    /// The path.
    pub path: BookPath,
    /// Version to read instead of the current one.
    pub version: Option<ContentHash>,
    /// Hash for which the content is left out, if it is still the file's.
    pub unless: Option<ContentHash>,
    /// The part that is read.
    pub part: ReadPart,
}

impl ReadFile {
    /// Request to read all of the current file.
    pub fn whole(access: ReadAccess, path: BookPath) -> Self {
        Self { access, path, version: None, unless: None, part: ReadPart::Whole }
    }
}

/// Result of reading a file.
#[derive(Debug, Clone)]
pub struct FileRead {
    /// Its row.
    pub record: FileRecord,
    /// Its content.
    pub content: FileContent,
    /// Change of the base since it was written, if it is an overlay's current file.
    pub base_change: Option<BaseChange>,
}

/// Content of a file in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileContent {
    /// Left out: the file still has the hash that the reader gave.
    Unchanged,
    /// UTF-8 text of at most [`MAX_TEXT_BYTES`](panaversity_model::file::MAX_TEXT_BYTES).
    Text(String),
    /// Some lines of it.
    Excerpt(Excerpt),
    /// Headings of the page in place of its text.
    Outline(OutlinePage),
    /// Any other content, left out: its bytes are available by a link.
    Binary,
}

impl FileRead {
    fn json_size(&self) -> u64 {
        let text = match &self.content {
            FileContent::Text(text) => Some(text.as_str()),
            _ => None,
        };
        json_size::of_file(self.record.path.as_str(), text)
    }
}

impl FileContent {
    /// The text, if the content is one.
    pub fn into_text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<Vec<u8>> for FileContent {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or(Self::Binary, Self::Text)
    }
}

/// A page of files in path order.
#[derive(Debug, Clone)]
pub struct FilePage {
    /// The files.
    pub files: Vec<FileRead>,
    /// Last path of this page, after which the next page starts.
    pub next: Option<BookPath>,
}

impl Call {
    /// Reads one file, or a part of it.
    pub async fn read_file(&self, read: &ReadFile) -> Result<FileRead, Error> {
        for _ in 0..READ_AGAIN {
            let Some(OverlaidFile { found, base_change }) = self.look_up(read).await? else {
                return Err(self.missing(&read.access, &read.path, read.version).await?.into());
            };
            let Found { record, blob } = found;
            if read.unless == Some(record.hash) {
                return Ok(FileRead { record, content: FileContent::Unchanged, base_change });
            }
            let content = if may_be_text(&record.path, record.size) {
                // Purged bytes are not the file's current content: look it up again.
                let bytes = self.service.bytes_of(&blob).await.map_err(|fault| fault.about(&record.path))?;
                let Some(bytes) = bytes else { continue };
                bytes.into()
            } else {
                FileContent::Binary
            };
            let content = match content {
                FileContent::Text(text) => read.part.of(&record.path, text)?,
                _ if read.part == ReadPart::Whole => content,
                _ => {
                    let why = "the file is no text: leave it out to learn its type and download_url";
                    return Err(Refusal::argument(read.part.argument(), why).into());
                }
            };
            return Ok(FileRead { record, content, base_change });
        }
        Err(Fault::new(FaultKind::Timeout, "the file changed again and again while it was read").into())
    }

    async fn look_up(&self, read: &ReadFile) -> Result<Option<OverlaidFile>, Fault> {
        let (journal, book, view) = (&self.service.inner.journal, read.access.book(), read.access.view());
        let found = match read.version {
            Some(hash) => journal.find_version(book, &read.path, &view, hash).await?,
            None if view.user().is_some() => return journal.find_overlaid(book, &read.path, &view).await,
            None => journal.find(book, &read.path, &view).await?,
        };
        Ok(found.map(|found| OverlaidFile { found, base_change: None }))
    }

    /// Current hash of a file, without reading its content.
    pub async fn hash_of(&self, access: &ReadAccess, path: &BookPath) -> Result<Option<ContentHash>, Error> {
        self.service.require_book(access.book()).await?;
        let found = self.service.inner.journal.find(access.book(), path, &access.view()).await?;
        Ok(found.map(|found| found.record.hash))
    }

    /// The refusal for a file, or a version of it, that the caller does not see; for a file with similar paths
    /// of its folder, else of a folder above.
    pub(crate) async fn missing(
        &self,
        access: &ReadAccess,
        path: &BookPath,
        version: Option<ContentHash>,
    ) -> Result<Refusal, Fault> {
        let (journal, book, view) = (&self.service.inner.journal, access.book(), access.view());
        if journal.book(book).await?.is_none() {
            return Ok(Refusal::BookNotFound(book.clone()));
        }
        if version.is_some() {
            return Ok(Refusal::not_found("The file has no such version"));
        }
        let mut folder = Some(Folder::holding(path));
        let mut suggestions = Vec::new();
        while let Some(here) = folder {
            let near = journal.list(book, &here, &view, None, SUGGESTED_FROM).await?;
            suggestions = suggestion::nearest(path, near.into_iter().map(|record| record.path));
            if !suggestions.is_empty() {
                break;
            }
            folder = here.parent();
        }
        Ok(Refusal::NotFound { what: format!("There is no file `{path}` in the book"), suggestions })
    }

    /// Reads the files below a folder, page by page, each page as of its own read.
    pub async fn read_folder(
        &self,
        access: &ReadAccess,
        folder: &Folder,
        after: Option<&BookPath>,
    ) -> Result<FilePage, Error> {
        let (book, view) = (access.book(), access.view());
        let mut records = self.service.inner.journal.list(book, folder, &view, after, PAGE_FILES + 1).await?;
        if records.is_empty() && after.is_none() {
            self.service.require_book(book).await?;
            if folder.as_str() != Folder::content().as_str() {
                let what = format!("There are no files below `{}`", folder.as_str());
                return Err(Refusal::not_found(what).into());
            }
        }
        let fits = page_length(&records);
        let more = fits < records.len();
        records.truncate(fits);
        let mut next = records.last().filter(|_| more).map(|record| record.path.clone());
        let mut files = self.service.read_all(records).await?;
        // The size of the texts in the answer is known only now.
        let fits = json_size::page_length(files.iter().map(FileRead::json_size));
        if fits < files.len() {
            files.truncate(fits);
            next = files.last().map(|file| file.record.path.clone());
        }
        Ok(FilePage { files, next })
    }
}

impl Service {
    /// Refuses a book that does not exist.
    pub async fn require_book(&self, book: &BookId) -> Result<(), Error> {
        match self.stored_schema(book).await? {
            Some(_) => Ok(()),
            None => Err(Refusal::BookNotFound(book.clone()).into()),
        }
    }

    /// Reads listed files; for a file that is not text only its row is returned.
    pub(crate) async fn read_all(&self, records: Vec<FileRecord>) -> Result<Vec<FileRead>, Fault> {
        let may_be_text = |record: &FileRecord| may_be_text(&record.path, record.size);
        let hashes: Vec<_> =
            records.iter().filter(|record| may_be_text(record)).map(|record| record.hash).collect();
        let blobs = self.inner.journal.blobs(&hashes).await?;
        let by_hash: std::collections::HashMap<_, _> =
            blobs.iter().map(|stored| (stored.blob.hash, stored)).collect();
        let mut files = Vec::with_capacity(records.len());
        for record in records {
            if !may_be_text(&record) {
                files.push(FileRead { record, content: FileContent::Binary, base_change: None });
                continue;
            }
            let bytes = match by_hash.get(&record.hash) {
                Some(stored) => self.bytes_of(stored).await.map_err(|fault| fault.about(&record.path))?,
                None if self.inner.journal.is_referenced(record.hash).await? => {
                    let lost = Fault::corrupt(format!("the blob {} has no row", record.hash));
                    return Err(lost.about(&record.path));
                }
                None => None,
            };
            // A file that was deleted since it was listed is left out.
            files.extend(bytes.map(|bytes| FileRead { record, content: bytes.into(), base_change: None }));
        }
        Ok(files)
    }
}

/// Number of records that may fit a page, judged by the sizes of their files.
fn page_length(records: &[FileRecord]) -> usize {
    let text = |record: &FileRecord| if may_be_text(&record.path, record.size) { record.size } else { 0 };
    json_size::page_length(records.iter().take(PAGE_FILES).map(text))
}
