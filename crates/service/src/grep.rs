//! `grep_search`: the lines of a book, or of all books, that match a regular expression. Keeps R5: only
//! files that the view shows are searched; and R2: only checked texts are.
//!
//! 1. **List.** The files of the view that the caller's glob accepts and that may be text, in path order.
//! 2. **Load.** Of the next batch, the texts that are not cached are read, in bulk. A file whose bytes are
//!    lost or damaged is named in the result; one that is not UTF-8 is no text and left out.
//! 3. **Scan.** The batch is divided among threads.
//! 4. **Collect.** Matches are taken in the order of the files, until there are enough of them.
//!
//! A search holds one batch beside the cache, whatever the book's size. It ends early, and says why, at the
//! most matches, at the size of an answer, and when its time is over.

mod candidates;
mod load;
mod pattern;
mod scan;
pub(crate) mod search_state;
mod text_cache;

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use panaversity_model::fault::FaultKind;
use panaversity_model::path::Prefix;
use panaversity_model::{BookId, BookPath, Error, Fault};

use self::candidates::CandidateList;
use self::load::LoadedFile;
pub use self::pattern::{MAX_PATTERN_BYTES, Pattern};
pub use self::scan::{LINE_BYTES, LineMatch};
use self::scan::{Scanned, Scanner};
use crate::authorize::SearchAccess;
use crate::call::Call;
use crate::json_size::{self, PAGE_BYTES};
use crate::limits::{SEARCH_THREADS, SEARCH_TIME};
use crate::off_thread::off_thread;
use crate::service::Service;

/// Most matches of one search.
pub const MOST_MATCHES: usize = 1_000;
/// Most lines before, and after, each match.
pub const MOST_CONTEXT: usize = 10;
/// Most unreadable files that one search names.
const MOST_UNREADABLE: usize = 100;
/// Books listed in one statement.
const BOOKS_AT_ONCE: usize = 1_000;
/// Bytes of texts for which another thread is worth its start.
const BYTES_PER_THREAD: usize = 256 << 10;

/// Condition on a path as stored.
pub type PathFilter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Request to search texts.
#[derive(Clone)]
pub struct GrepQuery {
    /// The pattern, as given.
    pub pattern: String,
    /// True if letters match in either case.
    pub ignore_case: bool,
    /// Prefix of all paths that `accepts` accepts.
    pub prefix: Prefix,
    /// Condition on the paths of the files to search.
    pub accepts: PathFilter,
    /// Lines to show before and after each match.
    pub context_lines: usize,
    /// Most matches.
    pub max_results: usize,
}

/// Reason why a search ended before it had searched everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrepEnd {
    /// There are more matches.
    Matches,
    /// The matches fill an answer.
    Size,
    /// Its time was over.
    Time,
    /// There are too many files whose bytes are lost.
    Unreadable,
}

/// A matching line with its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrepMatch {
    /// The book.
    pub book: BookId,
    /// The file.
    pub path: BookPath,
    /// The line.
    pub line: LineMatch,
}

/// Result of a search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrepResult {
    /// Matches by book, path and line.
    pub matches: Vec<GrepMatch>,
    /// Set if the search ended early: there may be more matches.
    pub ended_by: Option<GrepEnd>,
    /// Number of texts that were searched.
    pub files_searched: u64,
    /// Files whose bytes are lost or damaged, which may have matches.
    pub unreadable: Vec<(BookId, BookPath)>,
    bytes: u64,
}

impl Call {
    /// Searches the texts of one book, or of all that the caller may read.
    pub async fn grep_search(&self, access: &SearchAccess, query: GrepQuery) -> Result<GrepResult, Error> {
        let (raw, ignore_case) = (query.pattern.clone(), query.ignore_case);
        let pattern = off_thread(move || Pattern::parse(&raw, ignore_case)).await??;
        let until = self.service.inner.clock.monotonic() + SEARCH_TIME;
        let search = Search { service: &self.service, pattern, query: Arc::new(query), until };
        let (mut result, mut is_first) = (GrepResult::default(), true);
        let mut books = self.service.books_of(access);
        while let Some(book) = books.try_next().await? {
            let files = CandidateList::new(&self.service, &book, &access.view(), &search.query).await?;
            // A file proves that the book exists.
            if is_first && files.is_empty() && access.book().is_some() {
                self.service.require_book(&book).await?;
            }
            is_first = false;
            search.book(&book, files, &mut result).await?;
            if result.ended_by.is_some() {
                break;
            }
        }
        if result.ended_by == Some(GrepEnd::Time) && result.files_searched == 0 {
            return Err(Fault::new(FaultKind::Timeout, "no file was searched in time").into());
        }
        Ok(result)
    }
}

impl Service {
    /// The books to search, in order.
    fn books_of<'a>(&'a self, access: &SearchAccess) -> BoxStream<'a, Result<BookId, Fault>> {
        if let Some(books) = access.books() {
            return stream::iter(books.into_iter().map(Ok)).boxed();
        }
        let pages = stream::try_unfold(Some(None), move |after: Option<Option<BookId>>| async move {
            let Some(after) = after else { return Ok(None) };
            let page = self.inner.journal.books(after.as_ref(), BOOKS_AT_ONCE).await?;
            let next = page.last().filter(|_| page.len() == BOOKS_AT_ONCE).map(|book| Some(book.id.clone()));
            Ok::<_, Fault>(Some((stream::iter(page.into_iter().map(|book| Ok(book.id))), next)))
        });
        pages.try_flatten().boxed()
    }
}

/// A search that runs.
struct Search<'a> {
    service: &'a Service,
    pattern: Pattern,
    query: Arc<GrepQuery>,
    /// When it ends, by the monotonic clock.
    until: Duration,
}

impl Search<'_> {
    /// Searches the files of a book, batch by batch.
    async fn book(
        &self,
        book: &BookId,
        mut files: CandidateList<'_>,
        result: &mut GrepResult,
    ) -> Result<(), Fault> {
        while result.ended_by.is_none() {
            let step = async {
                // It is never closed.
                let permit = self.service.inner.search.batches.acquire().await;
                let Some(batch) = files.next_batch().await? else { return Ok(None) };
                Ok(Some((permit, self.service.load_texts(batch).await?)))
            };
            let left = self.until.saturating_sub(self.service.inner.clock.monotonic());
            match tokio::time::timeout(left, step).await {
                Ok(loaded) => {
                    let Some((_permit, batch)) = loaded? else { return Ok(()) };
                    self.batch(book, batch, result).await?;
                }
                Err(_) => result.ended_by = Some(GrepEnd::Time),
            }
        }
        Ok(())
    }

    /// Searches a batch, and adds its matches.
    async fn batch(
        &self,
        book: &BookId,
        batch: Vec<LoadedFile>,
        result: &mut GrepResult,
    ) -> Result<(), Fault> {
        let texts = batch.iter().filter_map(|file| file.text.clone()).collect();
        // One more than may be given tells whether there are more.
        let most = self.query.max_results - result.matches.len() + 1;
        let mut found = self.scan(texts, most).await?.into_iter();
        for file in batch {
            if file.is_damaged {
                result.add_unreadable(book, file.path);
            } else if file.text.is_some() {
                let Some(Some(found)) = found.next() else {
                    result.ended_by = Some(GrepEnd::Time);
                    continue;
                };
                result.add(book, &file.path, found, self.query.max_results);
            }
            if matches!(result.ended_by, Some(end) if end != GrepEnd::Time) {
                break;
            }
        }
        Ok(())
    }

    /// Searches texts on several threads. `None` stands for a text that was not searched, because the time
    /// was over or the texts before it have enough matches.
    async fn scan(&self, texts: Vec<Arc<str>>, most: usize) -> Result<Vec<Option<Scanned>>, Fault> {
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        let workers = tokio::runtime::Handle::current().metrics().num_workers();
        let threads = (bytes / BYTES_PER_THREAD).clamp(1, workers.min(SEARCH_THREADS));
        let share = bytes / threads + 1;
        let (mut parts, mut filled) = (vec![Vec::new()], 0);
        for text in texts {
            if filled >= share * parts.len() {
                parts.push(Vec::new());
            }
            filled += text.len();
            if let Some(part) = parts.last_mut() {
                part.push(text);
            }
        }
        let parts = parts.into_iter().map(|part| self.scan_part(part, most));
        Ok(try_join_all(parts).await?.into_iter().flatten().collect())
    }

    async fn scan_part(&self, part: Vec<Arc<str>>, most: usize) -> Result<Vec<Option<Scanned>>, Fault> {
        let permit = self.service.inner.search.threads.clone().acquire_owned().await;
        let (pattern, context, until) = (self.pattern.clone(), self.query.context_lines, self.until);
        let clock = self.service.inner.clock.clone();
        off_thread(move || {
            let go_on = || clock.monotonic() < until;
            let mut searcher = Scanner::new(pattern, context, &go_on);
            let (mut lines, mut bytes) = (0, 0);
            let files = part.iter().map(|text| {
                if lines >= most || bytes > PAGE_BYTES {
                    return Ok(None);
                }
                let found = searcher.scan(text, most - lines)?;
                lines += found.lines.len();
                bytes += found.lines.iter().map(LineMatch::json_size).sum::<u64>();
                Ok(Some(found))
            });
            let files = files.collect();
            drop(permit);
            files
        })
        .await?
    }
}

impl GrepResult {
    /// Adds the matches of a file, as many as there is room for.
    fn add(&mut self, book: &BookId, path: &BookPath, found: Scanned, most: usize) {
        for line in found.lines {
            let bytes = json_size::of_text(path.as_str()) + line.json_size();
            if self.matches.len() == most {
                self.ended_by = Some(GrepEnd::Matches);
            } else if self.bytes + bytes > PAGE_BYTES {
                self.ended_by = Some(GrepEnd::Size);
            } else {
                self.bytes += bytes;
                self.matches.push(GrepMatch { book: book.clone(), path: path.clone(), line });
                continue;
            }
            return;
        }
        if found.is_whole {
            self.files_searched += 1;
        } else {
            self.ended_by = Some(GrepEnd::Time);
        }
    }

    fn add_unreadable(&mut self, book: &BookId, path: BookPath) {
        if self.unreadable.len() == MOST_UNREADABLE {
            self.ended_by = Some(GrepEnd::Unreadable);
        } else {
            self.bytes += json_size::of_file(path.as_str(), None);
            self.unreadable.push((book.clone(), path));
        }
    }
}
