//! `glob_search`: the paths of a book, or of all books, that match a pattern. Keeps R5: only paths that
//! the view shows are examined.

use panaversity_model::path::Prefix;
use panaversity_model::{BookId, BookPath, Error};

use crate::authorize::SearchAccess;
use crate::call::Call;

/// Most matches on a page.
pub const PAGE_MATCHES: usize = 1_000;
/// Paths fetched in one statement: typically a whole book.
const FETCHED_AT_ONCE: usize = 5_000;
/// Most paths examined in one call; beyond it a page may be short and still have a next one.
const LOOKED_AT: usize = 200_000;

/// A path and its book.
pub type BookFile = (BookId, BookPath);

/// A page of matches, by book and path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchPage {
    /// The matches.
    pub matches: Vec<BookFile>,
    /// Position after which the next page starts.
    pub next: Option<BookFile>,
}

impl Call {
    /// A page of the paths for which `accepts` is true, of one book or of all. All of them must begin
    /// with `prefix`, so that no others are read.
    pub async fn glob_search(
        &self,
        access: &SearchAccess,
        prefix: &Prefix,
        after: Option<BookFile>,
        accepts: impl Fn(&BookPath) -> bool + Send,
    ) -> Result<MatchPage, Error> {
        let is_first = after.is_none();
        let (mut matches, mut seen, mut looked_at) = (Vec::new(), after, 0);
        for book in searched(access) {
            // Books before the last one seen are done.
            if matches!((&book, &seen), (Some(book), Some((last, _))) if book < last) {
                continue;
            }
            loop {
                if looked_at >= LOOKED_AT {
                    return Ok(MatchPage { matches, next: seen });
                }
                let (journal, view) = (&self.service.inner.journal, access.view());
                let page =
                    journal.paths(book.as_ref(), prefix, &view, seen.as_ref(), FETCHED_AT_ONCE).await?;
                let last_page = page.len() < FETCHED_AT_ONCE;
                looked_at += page.len();
                seen = page.last().cloned().or(seen);
                for place in page.into_iter().filter(|(_, path)| accepts(path)) {
                    if matches.len() == PAGE_MATCHES {
                        let next = matches.last().cloned();
                        return Ok(MatchPage { matches, next });
                    }
                    matches.push(place);
                }
                if last_page {
                    break;
                }
            }
        }
        // A match proves that the book exists.
        if let Some(book) = access.book().filter(|_| is_first && matches.is_empty()) {
            self.service.require_book(book).await?;
        }
        Ok(MatchPage { matches, next: None })
    }

    /// The ids of up to `limit` books that begin with `start`.
    pub async fn books_named(
        &self,
        access: &SearchAccess,
        start: &str,
        limit: usize,
    ) -> Result<Vec<BookId>, Error> {
        if let Some(books) = access.books() {
            let mut named = Vec::new();
            for id in books.into_iter().filter(|id| id.as_str().starts_with(start)) {
                if named.len() < limit && self.service.inner.journal.book(&id).await?.is_some() {
                    named.push(id);
                }
            }
            return Ok(named);
        }
        let (mut named, mut after) = (Vec::new(), None);
        loop {
            let page = self.service.inner.journal.books(after.as_ref(), FETCHED_AT_ONCE).await?;
            let last_page = page.len() < FETCHED_AT_ONCE;
            after = page.last().map(|book| book.id.clone());
            let is_meant = |id: &BookId| id.as_str().starts_with(start);
            named.extend(page.into_iter().map(|book| book.id).filter(is_meant));
            if last_page || named.len() >= limit {
                named.truncate(limit);
                return Ok(named);
            }
        }
    }
}

/// The books to search, one after the other; `None`: all at once.
fn searched(access: &SearchAccess) -> Vec<Option<BookId>> {
    access.books().map_or_else(|| vec![None], |books| books.into_iter().map(Some).collect())
}
