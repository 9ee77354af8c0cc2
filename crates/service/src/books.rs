//! `create_book` and `list_books`.

use panaversity_model::audit::{AuditDraft, Outcome};
use panaversity_model::ids::ChangeId;
use panaversity_model::ports::Creation;
use panaversity_model::{Book, BookId, ContentHash, Error, Refusal, Schema, Timestamp};

use crate::authorize::{SearchAccess, WriteAccess};
use crate::call::Call;
use crate::json_size::{self, PAGE_BYTES};
use crate::service::Service;

/// Most books on a page.
const PAGE_BOOKS: usize = 100;
/// Most folders on a page, over all its books.
const PAGE_FOLDERS: usize = 1_000;

/// Selection of a book's files for a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Structure {
    /// No files.
    #[default]
    Nothing,
    /// Files below `content/`.
    Content,
    /// Files below `static/`.
    Assets,
    /// All files.
    All,
}

/// A folder and the names of the files in it, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderNames {
    /// The folder's path.
    pub folder: String,
    /// The names of its files.
    pub names: Vec<String>,
}

/// A book in a list.
#[derive(Debug, Clone)]
pub struct BookSummary {
    /// The book.
    pub book: Book,
    /// Number of base files.
    pub files: usize,
    /// Total size of the base files in bytes.
    pub bytes: u64,
    /// Hash of its manifest.
    pub manifest: ContentHash,
    /// Time of the last change: a base file written or deleted, or the schema set. It never decreases.
    pub updated_at: Timestamp,
    /// Selected folders with their files.
    pub folders: Vec<FolderNames>,
}

/// Position at which a list continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookPosition {
    /// The book that the next page resumes, or starts after.
    pub book: BookId,
    /// The last folder of it that was listed; `None`: the book is complete.
    pub folder: Option<String>,
}

/// A page of books in id order.
#[derive(Debug, Clone)]
pub struct BookPage {
    /// The books.
    pub books: Vec<BookSummary>,
    /// Position of the next page.
    pub next: Option<BookPosition>,
}

impl Call {
    /// Creates a book; repeating it is harmless. Returns whether the book is new.
    pub async fn create_book(
        &mut self,
        access: &WriteAccess,
        schema: Option<Schema>,
    ) -> Result<(Book, bool), Error> {
        // The entry is written only if the call changes the book, and then counts as a change.
        let change = Some(ChangeId::new(self.service.inner.ids.new_id()));
        let record = AuditDraft { change, ..self.draft(Outcome::Success) };
        self.committing = true;
        let creation = self.service.inner.journal.create_book(access.book(), schema, &record).await?;
        self.service.inner.schemas.remove(access.book());
        self.recorded = matches!(creation, Creation::Created(_) | Creation::Changed(_));
        match creation {
            Creation::Created(book) => Ok((book, true)),
            Creation::Changed(book) | Creation::Existed(book) => Ok((book, false)),
            Creation::Fixed(book) => Err(Refusal::schema_fixed(book.schema).into()),
        }
    }

    /// A page of all books that the caller may read, or the requested one.
    pub async fn list_books(
        &self,
        access: &SearchAccess,
        structure: Structure,
        after: Option<BookPosition>,
    ) -> Result<BookPage, Error> {
        let mut todo = self.service.books_to_list(access, after.as_ref()).await?;
        let more_books = todo.len() > PAGE_BOOKS;
        todo.truncate(PAGE_BOOKS);
        let mut room = Room { folders: PAGE_FOLDERS, bytes: PAGE_BYTES, is_untouched: true };
        let mut books: Vec<BookSummary> = Vec::with_capacity(todo.len());
        for book in todo {
            let resumed = after.as_ref().filter(|after| after.book == book.id);
            let (summary, cut) = self
                .service
                .summary(book, structure, resumed.and_then(|after| after.folder.as_deref()), &mut room)
                .await?;
            if !cut {
                books.push(summary);
                continue;
            }
            let position = match summary.folders.last() {
                Some(last) => Some((summary.book.id.clone(), Some(last.folder.clone()))),
                // None of its folders fits: the book starts the next page.
                None => books.last().map(|last| (last.book.id.clone(), None)),
            };
            if !summary.folders.is_empty() {
                books.push(summary);
            }
            return Ok(BookPage {
                books,
                next: position.map(|(book, folder)| BookPosition { book, folder }),
            });
        }
        let next = match books.last() {
            Some(last) if more_books => Some(BookPosition { book: last.book.id.clone(), folder: None }),
            _ => None,
        };
        Ok(BookPage { books, next })
    }
}

impl Service {
    async fn books_to_list(
        &self,
        access: &SearchAccess,
        after: Option<&BookPosition>,
    ) -> Result<Vec<Book>, Error> {
        let journal = &self.inner.journal;
        if let Some(id) = access.book() {
            let book = journal.book(id).await?.ok_or_else(|| Refusal::BookNotFound(id.clone()))?;
            return Ok(vec![book]);
        }
        let mut todo = Vec::new();
        if let Some(books) = access.books() {
            for id in books {
                let is_due =
                    after.is_none_or(|after| id > after.book || (id == after.book && after.folder.is_some()));
                if is_due && todo.len() <= PAGE_BOOKS {
                    todo.extend(journal.book(&id).await?);
                }
            }
            return Ok(todo);
        }
        if let Some(BookPosition { book, folder: Some(_) }) = after {
            todo.extend(journal.book(book).await?);
        }
        todo.extend(journal.books(after.map(|after| &after.book), PAGE_BOOKS + 1).await?);
        Ok(todo)
    }

    /// Summary of a book; also returns whether its folders were cut to the page.
    async fn summary(
        &self,
        book: Book,
        structure: Structure,
        after: Option<&str>,
        room: &mut Room,
    ) -> Result<(BookSummary, bool), Error> {
        let named = self.manifest(&book.id).await?;
        let changed = self.inner.journal.last_changed(&book.id).await?;
        let paths = named.manifest.files.keys().filter(|path| wanted(structure, path));
        let (folders, cut) = folders_of(paths.map(String::as_str), after, room);
        let summary = BookSummary {
            files: named.manifest.files.len(),
            bytes: named.bytes,
            manifest: named.hash,
            updated_at: changed.unwrap_or(book.created_at),
            folders,
            book,
        };
        Ok((summary, cut))
    }
}

/// Remaining capacity of a page.
struct Room {
    folders: usize,
    /// In bytes of JSON.
    bytes: u64,
    /// True while no folder is on the page.
    is_untouched: bool,
}

impl Room {
    /// Reserves capacity for a folder. A folder that is too large gets a page of its own.
    fn take(&mut self, folder: &str, names: &[String]) -> bool {
        // Quotes and commas, and the JSON keys of the folder.
        let bytes = names.iter().map(|name| json_size::of_text(name) + 3).sum::<u64>();
        let bytes = bytes + json_size::of_text(folder) + 40;
        let fits = self.is_untouched || (self.folders > 0 && bytes <= self.bytes);
        if fits {
            self.folders = self.folders.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(bytes);
            self.is_untouched = false;
        }
        fits
    }
}

fn wanted(structure: Structure, path: &str) -> bool {
    match structure {
        Structure::Nothing => false,
        Structure::All => true,
        Structure::Content => path.starts_with("content/"),
        Structure::Assets => path.starts_with("static/"),
    }
}

/// Groups paths by folder, in order, while they fit; also returns whether some folders were left out.
fn folders_of<'a>(
    paths: impl Iterator<Item = &'a str>,
    after: Option<&str>,
    room: &mut Room,
) -> (Vec<FolderNames>, bool) {
    let mut by_folder = std::collections::BTreeMap::<&str, Vec<String>>::new();
    for path in paths {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if after.is_none_or(|after| folder > after) {
            by_folder.entry(folder).or_default().push(name.to_owned());
        }
    }
    let mut folders = Vec::new();
    for (folder, names) in by_folder {
        if !room.take(folder, &names) {
            return (folders, true);
        }
        folders.push(FolderNames { folder: folder.to_owned(), names });
    }
    (folders, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_cut_to_a_page_go_on_where_they_stopped() {
        let paths = ["content/a/1.md", "content/a/2.md", "content/b/1.md", "content/c/1.md"];
        let room = |folders| Room { folders, bytes: PAGE_BYTES, is_untouched: true };
        let (first, cut) = folders_of(paths.into_iter(), None, &mut room(2));
        assert!(cut);
        assert_eq!(first.iter().map(|f| f.folder.as_str()).collect::<Vec<_>>(), ["content/a", "content/b"]);
        assert_eq!(first[0].names, ["1.md", "2.md"]);
        let (rest, cut) = folders_of(paths.into_iter(), Some("content/b"), &mut room(2));
        assert!(!cut);
        assert_eq!(rest.len(), 1);
    }

    #[test]
    fn a_folder_that_does_not_fit_has_a_page_of_its_own() {
        let large: Vec<String> = (0..20_000).map(|n| format!("content/large/{n:0>200}.md")).collect();
        let paths = || ["content/a.md"].into_iter().chain(large.iter().map(String::as_str));
        let mut room = Room { folders: 9, bytes: PAGE_BYTES, is_untouched: true };
        let (first, cut) = folders_of(paths(), None, &mut room);
        assert_eq!((first.len(), cut), (1, true));
        let (other_book, cut) = folders_of(paths().skip(1), None, &mut room);
        assert_eq!((other_book.len(), cut), (0, true), "another book has no second page here");
        let mut room = Room { folders: 9, bytes: PAGE_BYTES, is_untouched: true };
        let (rest, cut) = folders_of(paths(), Some("content"), &mut room);
        assert_eq!((rest[0].names.len(), cut), (20_000, false));
    }
}
