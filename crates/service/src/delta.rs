//! `delta_build`: the files that changed since a timestamp, as a view shows them now. A client that asks
//! again from the `until` of an answer misses nothing; see [`panaversity_model::delta`].

use panaversity_model::delta::{ChangedFile, Shown};
use panaversity_model::file::{FileRecord, may_be_text};
use panaversity_model::{BookPath, Error, Timestamp};

use crate::authorize::ReadAccess;
use crate::call::Call;
use crate::json_size;

/// Most files on a page.
pub const PAGE_FILES: usize = 1_000;

/// Position at which a delta continues. End and count are those of the first page, so changes made while
/// it is read belong to the next delta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaPosition {
    /// The last path of the previous page.
    pub path: BookPath,
    /// The `until` of the first page.
    pub until: Timestamp,
    /// The `total` of the first page.
    pub total: usize,
}

/// A page of a delta.
#[derive(Debug, Clone)]
pub struct DeltaPage {
    /// The files in path order, with their text if it was requested and they are text.
    pub files: Vec<(ChangedFile, Option<String>)>,
    /// Number of changed files in all.
    pub total: usize,
    /// Timestamp from which to ask the next time.
    pub until: Timestamp,
    /// Position of the next page.
    pub next: Option<DeltaPosition>,
}

impl Call {
    /// The files of a view that changed at `since` or later; `after` continues a delta.
    pub async fn delta_build(
        &self,
        access: &ReadAccess,
        since: Timestamp,
        with_content: bool,
        after: Option<DeltaPosition>,
    ) -> Result<DeltaPage, Error> {
        let (book, view) = (access.book(), access.view());
        self.service.require_book(book).await?;
        let last = after.as_ref().map(|after| &after.path);
        let delta = self.service.inner.journal.changed(book, &view, since, last, PAGE_FILES + 1).await?;
        let (until, total) =
            after.map_or((delta.complete_until, delta.total), |after| (after.until, after.total));
        let mut changed = delta.files;
        let fits = page_length(&changed, with_content);
        let more = fits < changed.len();
        changed.truncate(fits);
        let wanted = changed.iter().filter(|_| with_content).filter_map(text).cloned().collect();
        // `read_all` leaves out purged files, so files and texts are matched by path.
        let mut read = self.service.read_all(wanted).await?.into_iter().peekable();
        let with_text = |file: ChangedFile| {
            let read = read.next_if(|read| read.record.path == file.path);
            (file, read.and_then(|read| read.content.into_text()))
        };
        let mut files: Vec<_> = changed.into_iter().map(with_text).collect();
        let size = |(file, text): &(ChangedFile, Option<String>)| {
            json_size::of_file(file.path.as_str(), text.as_deref())
        };
        let fits = json_size::page_length(files.iter().map(size));
        let more = more || fits < files.len();
        files.truncate(fits);
        let next = files.last().filter(|_| more).map(|(last, _)| last.path.clone());
        let next = next.map(|path| DeltaPosition { path, until, total });
        Ok(DeltaPage { files, total, until, next })
    }
}

/// The record that a changed path shows, if it may be text.
fn text(file: &ChangedFile) -> Option<&FileRecord> {
    match &file.now {
        Shown::File(record) => Some(record).filter(|record| may_be_text(&record.path, record.size)),
        Shown::Gone { .. } => None,
    }
}

/// Number of files that may fit a page, judged by their sizes.
fn page_length(files: &[ChangedFile], with_content: bool) -> usize {
    let size = |file| text(file).filter(|_| with_content).map_or(0, |record| record.size);
    json_size::page_length(files.iter().take(PAGE_FILES).map(size))
}
