//! `validate_book`: the base of a book against the rules of [`validation`](panaversity_model::validation),
//! its published copy and its stored bytes. Overlays are not looked at. Changes no file; like any reader it
//! marks blobs that it finds damaged.
//!
//! 1. Paths are judged, as one manifest names them.
//! 2. Blobs: their rows, and that each object exists with its size. Bytes of assets are not read.
//! 3. The published copy: its listing, and in a folder the bytes of small files.
//! 4. Pages are read and parsed once, in batches, outside the async threads.
//!
//! Memory is bounded by the manifest, one batch and the issues that are listed.

use std::collections::{HashMap, HashSet};

use panaversity_model::blob::BlobState;
use panaversity_model::fault::FaultKind;
use panaversity_model::file::MAX_TEXT_BYTES;
use panaversity_model::manifest::{Item, Manifest};
use panaversity_model::publication::FileKey;
use panaversity_model::validation::{BookValidation, Issue, Severity, ValidationReport};
use panaversity_model::{Book, BookId, BookPath, ContentHash, Error, Fault, Layer, Refusal};

use crate::authorize::ReadAccess;
use crate::call::Call;
use crate::off_thread::off_thread;
use crate::reconcile;
use crate::service::Service;

/// Versions whose blobs are looked up at once.
const VERSIONS_AT_ONCE: usize = 500;
/// Most pages of a batch, and most of their bytes together.
const BATCH_PAGES: usize = 64;
const BATCH_BYTES: u64 = 4 << 20;
/// Books listed in one statement.
const BOOKS_AT_ONCE: usize = 100;

const RESTORE: &str =
    "write the file again, or let an operator run `panaversity-fs reconcile --repair` or restore a backup";

/// Callback that receives the number of pages checked and of all pages.
pub type PagesDone<'a> = &'a mut (dyn FnMut(usize, usize) + Send);

impl Call {
    /// Validates the base of a book.
    pub async fn validate_book(&self, access: &ReadAccess) -> Result<ValidationReport, Error> {
        self.service.validate_book(access.book(), &mut |_, _| {}).await
    }
}

impl Service {
    /// Ids of all books, in order.
    pub async fn book_ids(&self) -> Result<Vec<BookId>, Fault> {
        let mut ids: Vec<BookId> = Vec::new();
        loop {
            let page = self.inner.journal.books(ids.last(), BOOKS_AT_ONCE).await?;
            let is_last = page.len() < BOOKS_AT_ONCE;
            ids.extend(page.into_iter().map(|book| book.id));
            if is_last {
                return Ok(ids);
            }
        }
    }

    /// Validates the base of a book, by the steps above.
    pub async fn validate_book(
        &self,
        id: &BookId,
        progress: PagesDone<'_>,
    ) -> Result<ValidationReport, Error> {
        let Some(Book { schema, .. }) = self.inner.journal.book(id).await? else {
            return Err(Refusal::BookNotFound(id.clone()).into());
        };
        let manifest = self.manifest(id).await?.manifest;
        let of_paths = manifest.clone();
        let mut validation = off_thread(move || BookValidation::new(schema, of_paths)).await?;
        let damaged = self.validate_blobs(id, &manifest, &mut validation).await?;
        self.validate_copy(id, &mut validation).await?;
        let validation = self.validate_pages(&manifest, &damaged, validation, progress).await?;
        Ok(off_thread(move || validation.finish()).await?)
    }

    /// Step 2; returns the paths whose bytes can't be read.
    async fn validate_blobs(
        &self,
        book: &BookId,
        manifest: &Manifest,
        validation: &mut BookValidation,
    ) -> Result<HashSet<String>, Fault> {
        let mut damaged = HashSet::new();
        let versions: Vec<_> = manifest.files.iter().map(|(path, item)| (path.as_str(), item.hash)).collect();
        for some in versions.chunks(VERSIONS_AT_ONCE) {
            let found = self.inner.journal.blob_metadata(book, some).await?;
            let known = some.iter().zip(found).filter_map(|(version, found)| Some((*version, found?)));
            let (some, mut metadata): (Vec<_>, Vec<_>) = known.unzip();
            self.look_for_objects(&some, &mut metadata).await?;
            for ((path, hash), metadata) in some.into_iter().zip(metadata) {
                let what = match metadata.state {
                    BlobState::Missing => "missing from the storage",
                    BlobState::Corrupt => "damaged",
                    BlobState::Live | BlobState::Condemned => continue,
                };
                // A file that was replaced or deleted since may have lost its old bytes.
                if self.is_current(book, path, hash).await? {
                    let (message, next) = (format!("the bytes of the file are {what}"), RESTORE.to_owned());
                    validation.report(of_file(path, Severity::Error, message, next));
                }
                damaged.insert(path.to_owned());
            }
        }
        Ok(damaged)
    }

    /// True if the file still has this content.
    async fn is_current(&self, book: &BookId, path: &str, hash: ContentHash) -> Result<bool, Fault> {
        let Ok(path) = BookPath::parse(path) else { return Ok(true) };
        let key = FileKey { book: book.clone(), path, layer: Layer::Base };
        let current = self.inner.journal.current_metadata(&[key]).await?;
        Ok(current.iter().flatten().any(|file| file.record.hash == hash))
    }

    /// Step 3.
    async fn validate_copy(&self, book: &BookId, validation: &mut BookValidation) -> Result<(), Fault> {
        let prefix = format!("{book}/");
        let mut tell = |finding: reconcile::Finding| {
            let path = finding.location.strip_prefix(&prefix).unwrap_or(&finding.location);
            let (severity, message, suggestion) = reconcile::told(&finding);
            validation.report(of_file(path, severity, message, suggestion));
        };
        if !self.compare_base_copy(book, &mut tell).await? {
            let message = "the published copy has more entries than were looked at".to_owned();
            let next = "let an operator run `panaversity-fs reconcile`".to_owned();
            validation.report(of_file("content", Severity::Warning, message, next));
        }
        Ok(())
    }

    /// Step 4.
    async fn validate_pages(
        &self,
        manifest: &Manifest,
        damaged: &HashSet<String>,
        mut validation: BookValidation,
        progress: PagesDone<'_>,
    ) -> Result<BookValidation, Fault> {
        let pages = manifest.files.iter().filter(|(path, _)| !damaged.contains(*path));
        let pages = pages.filter_map(|(path, item)| Some((BookPath::parse(path).ok()?, *item)));
        let mut pages: Vec<_> = pages.filter(|(path, _)| path.is_page()).collect();
        pages.retain(|(path, item)| {
            let fits = item.size <= MAX_TEXT_BYTES as u64;
            if !fits {
                let message = format!("the page has more than {MAX_TEXT_BYTES} bytes and is not looked into");
                let next = "split it into several pages".to_owned();
                validation.report(of_file(path.as_str(), Severity::Warning, message, next));
            }
            fits
        });
        let mut done = 0;
        progress(done, pages.len());
        while done < pages.len() {
            let batch = &pages[done..][..batch_length(&pages[done..])];
            let texts = self.texts_of(batch, &mut validation).await?;
            validation = off_thread(move || {
                for (path, text) in texts {
                    validation.add_page(&path, &text);
                }
                validation
            })
            .await?;
            done += batch.len();
            progress(done, pages.len());
        }
        Ok(validation)
    }

    /// The texts of these pages; those that cannot be read are reported.
    async fn texts_of(
        &self,
        batch: &[(BookPath, Item)],
        validation: &mut BookValidation,
    ) -> Result<Vec<(BookPath, String)>, Fault> {
        let hashes: Vec<_> = batch.iter().map(|(_, item)| item.hash).collect();
        let found = self.inner.journal.blobs(&hashes).await?;
        let by_hash: HashMap<_, _> = found.into_iter().map(|stored| (stored.blob.hash, stored)).collect();
        let mut texts = Vec::with_capacity(batch.len());
        for (path, item) in batch {
            // Without a row, or purged: the page was replaced or deleted since.
            let Some(stored) = by_hash.get(&item.hash) else { continue };
            let (message, next) = match self.bytes_of(stored).await.map(|bytes| bytes.map(String::from_utf8))
            {
                Ok(None) => continue,
                Ok(Some(Ok(text))) => {
                    texts.push((path.clone(), text));
                    continue;
                }
                Ok(Some(Err(_))) => ("the page is not UTF-8", "save it as UTF-8 and write it again"),
                Err(fault) if fault.kind == FaultKind::Corrupt => {
                    ("the bytes of the file are damaged", RESTORE)
                }
                Err(fault) => return Err(fault.about(path)),
            };
            validation.report(of_file(path.as_str(), Severity::Error, message.to_owned(), next.to_owned()));
        }
        Ok(texts)
    }
}

fn of_file(path: &str, severity: Severity, message: String, suggestion: String) -> Issue {
    Issue { path: path.to_owned(), line: None, severity, message, suggestion }
}

/// Number of pages of the next batch, at least one.
fn batch_length(pages: &[(BookPath, Item)]) -> usize {
    let mut bytes = 0;
    let fits = |(_, item): &&(BookPath, Item)| {
        bytes += item.size;
        bytes <= BATCH_BYTES
    };
    pages.iter().take(BATCH_PAGES).take_while(fits).count().max(1)
}
