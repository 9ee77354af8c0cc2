//! `glob_search`: the paths of a book, or of all books, that match a pattern. Keeps R5: only paths that
//! the view shows are examined.

use panaversity_model::path::Prefix;
use panaversity_model::{BookId, BookPath, Error, Fault};

use crate::authorize::SearchAccess;
use crate::call::Call;
use crate::off_thread::off_thread;
use crate::view_files::{ViewFiles, stored_path};

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
    /// with `prefix`, so that no others are examined.
    pub async fn glob_search(
        &self,
        access: &SearchAccess,
        prefix: &Prefix,
        after: Option<BookFile>,
        accepts: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<MatchPage, Error> {
        if let Some(book) = access.book()
            && let Some(files) = self.service.view_files(book, &access.view()).await?
        {
            if files.is_empty() {
                self.service.require_book(book).await?;
            }
            let (book, prefix) = (book.clone(), prefix.clone());
            return Ok(off_thread(move || cached_page(&files, &book, &prefix, after, accepts)).await??);
        }
        self.stored_page(access, prefix, after, accepts).await
    }

    /// The same from the journal: for all books, and for one with more files than are cached.
    async fn stored_page(
        &self,
        access: &SearchAccess,
        prefix: &Prefix,
        after: Option<BookFile>,
        accepts: impl Fn(&str) -> bool + Send,
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
                for place in page.into_iter().filter(|(_, path)| accepts(path.as_str())) {
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

/// A page of the files of one book.
fn cached_page(
    files: &ViewFiles,
    book: &BookId,
    prefix: &Prefix,
    after: Option<BookFile>,
    accepts: impl Fn(&str) -> bool,
) -> Result<MatchPage, Fault> {
    let after = match after {
        // The cursor of a page of another book has no place in this one.
        Some((of, _)) if of > *book => return Ok(MatchPage { matches: Vec::new(), next: None }),
        Some((of, path)) if of == *book => Some(path),
        _ => None,
    };
    let found = files.below(prefix, after.as_ref()).map(|(path, _)| path).filter(|path| accepts(path));
    let found = found.take(PAGE_MATCHES + 1).map(|path| Ok((book.clone(), stored_path(path)?)));
    let mut matches = found.collect::<Result<Vec<_>, Fault>>()?;
    let is_last = matches.len() <= PAGE_MATCHES;
    matches.truncate(PAGE_MATCHES);
    let next = matches.last().filter(|_| !is_last).cloned();
    Ok(MatchPage { matches, next })
}

/// The books to search, one after the other; `None`: all at once.
fn searched(access: &SearchAccess) -> Vec<Option<BookId>> {
    access.books().map_or_else(|| vec![None], |books| books.into_iter().map(Some).collect())
}

#[cfg(test)]
mod tests {
    use panaversity_model::Layer;
    use panaversity_testkit::samples::{lesson, overlay};

    use super::*;
    use crate::test_service;

    #[tokio::test]
    async fn r5_a_page_from_memory_is_the_page_from_the_journal() {
        let (service, book) = test_service::empty();
        let ann = overlay("ann");
        for n in 0..40 {
            test_service::write(&service, &book, Layer::Base, &lesson(n)).await;
        }
        for n in [3, 70] {
            test_service::write(&service, &book, ann.clone(), &lesson(n)).await;
        }
        test_service::write(&service, &book, overlay("bob"), &lesson(80)).await;
        let first = lesson(0);
        for prefix in
            ["", "content/", first.folder(), first.as_str(), "static/"].map(|raw| Prefix::parse(raw).unwrap())
        {
            for layer in [Layer::Base, ann.clone()] {
                for after in [None, Some((book.clone(), lesson(7))), Some((book.clone(), lesson(99)))] {
                    let search = async |call: &mut Call| {
                        let access = call.may_search(Some(book.clone()), layer.clone())?;
                        let accepts = |path: &str| !path.contains("5-");
                        let stored = call.stored_page(&access, &prefix, after.clone(), accepts).await?;
                        Ok((call.glob_search(&access, &prefix, after.clone(), accepts).await?, stored))
                    };
                    let (page, stored) = test_service::call(&service, search).await;
                    assert_eq!(page, stored, "{prefix:?} {layer} {after:?}");
                }
            }
        }
    }
}
