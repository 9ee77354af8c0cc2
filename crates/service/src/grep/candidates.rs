//! Files that a search may look into, in path order: batches bounded in number and bytes. They come from
//! the cached manifests of the view, or, where a layer is too large for these, page by page from the
//! journal.

use std::collections::VecDeque;
use std::sync::Arc;

use panaversity_model::file::may_be_text;
use panaversity_model::path::Folder;
use panaversity_model::{BookId, BookPath, ContentHash, Fault, View};

use super::GrepQuery;
use crate::off_thread::off_thread;
use crate::service::Service;
use crate::view_files::{ViewFiles, stored_path};

/// Most files of a batch, and most of their bytes together.
const BATCH_FILES: usize = 2_000;
const BATCH_BYTES: u64 = 4 << 20;

/// A file that may be text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) path: BookPath,
    pub(super) hash: ContentHash,
    size: u64,
}

/// The candidates of one book.
pub(super) struct CandidateList<'a> {
    service: &'a Service,
    book: &'a BookId,
    view: View,
    query: &'a Arc<GrepQuery>,
    /// `None`: they are read from the journal.
    files: Option<ViewFiles>,
    listed: VecDeque<Candidate>,
    /// The last path that was looked at.
    after: Option<BookPath>,
    is_last: bool,
}

impl<'a> CandidateList<'a> {
    pub(super) async fn new(
        service: &'a Service,
        book: &'a BookId,
        view: &View,
        query: &'a Arc<GrepQuery>,
    ) -> Result<Self, Fault> {
        let files = service.view_files(book, view).await?;
        let (view, listed) = (view.clone(), VecDeque::new());
        Ok(Self { service, book, view, query, files, listed, after: None, is_last: false })
    }

    /// True if the view shows no file at all.
    pub(super) fn is_empty(&self) -> bool {
        self.files.as_ref().is_some_and(ViewFiles::is_empty)
    }

    /// The next batch, which has at least one file; `None`: there are no more.
    pub(super) async fn next_batch(&mut self) -> Result<Option<Vec<Candidate>>, Fault> {
        while self.listed.is_empty() && !self.is_last {
            match self.files.clone() {
                Some(files) => self.list_cached(files).await?,
                None => self.list_stored().await?,
            }
        }
        let (mut bytes, mut batch) = (0, Vec::new());
        while let Some(next) = self.listed.front()
            && (batch.is_empty() || bytes + next.size <= BATCH_BYTES)
        {
            bytes += next.size;
            batch.extend(self.listed.pop_front());
        }
        Ok((!batch.is_empty()).then_some(batch))
    }

    async fn list_cached(&mut self, files: ViewFiles) -> Result<(), Fault> {
        let (query, after) = (self.query.clone(), self.after.take());
        let listed: Vec<_> = off_thread(move || {
            let accepted =
                files.below(&query.prefix, after.as_ref()).filter(|(path, _)| (query.accepts)(path));
            let candidates = accepted.map(|(path, item)| {
                Ok(Candidate { path: stored_path(path)?, hash: item.hash, size: item.size })
            });
            candidates.take(BATCH_FILES).collect::<Result<_, Fault>>()
        })
        .await??;
        self.is_last = listed.len() < BATCH_FILES;
        self.take(listed);
        Ok(())
    }

    async fn list_stored(&mut self) -> Result<(), Fault> {
        let (from, to) = self.query.prefix.range();
        // The folder that contains all paths with this prefix.
        let folder = BookPath::parse(from.trim_end_matches('/'))
            .map_or(Folder::everything(), |path| Folder::holding(&path));
        let journal = &self.service.inner.journal;
        let page = journal.list(self.book, &folder, &self.view, self.after.as_ref(), BATCH_FILES).await?;
        self.is_last = page.len() < BATCH_FILES;
        let last = page.last().map(|record| record.path.clone());
        let is_meant = |path: &str| {
            path >= from && to.as_deref().is_none_or(|to| path < to) && (self.query.accepts)(path)
        };
        let meant = page.into_iter().filter(|record| is_meant(record.path.as_str()));
        let meant = meant.map(|record| Candidate { path: record.path, hash: record.hash, size: record.size });
        let listed = meant.collect();
        self.take(listed);
        self.after = last;
        Ok(())
    }

    fn take(&mut self, listed: Vec<Candidate>) {
        self.after = listed.last().map(|last| last.path.clone());
        self.listed.extend(listed.into_iter().filter(|file| may_be_text(&file.path, file.size)));
    }
}

#[cfg(test)]
mod tests {
    use panaversity_model::path::Prefix;
    use panaversity_testkit::samples::{lesson, overlay};

    use super::*;
    use crate::test_service;

    async fn batches(mut list: CandidateList<'_>) -> Vec<Vec<Candidate>> {
        let mut batches = Vec::new();
        while let Some(batch) = list.next_batch().await.unwrap() {
            batches.push(batch);
        }
        batches
    }

    #[tokio::test]
    async fn r5_the_journal_lists_what_the_cached_manifests_do() {
        let (service, book) = test_service::empty();
        let ann = overlay("ann");
        for n in 0..60 {
            test_service::write(&service, &book, panaversity_model::Layer::Base, &lesson(n)).await;
        }
        for n in [3, 70] {
            test_service::write(&service, &book, ann.clone(), &lesson(n)).await;
        }
        test_service::write(&service, &book, overlay("bob"), &lesson(80)).await;
        let first = lesson(0);
        for prefix in ["", "content/", first.folder(), first.as_str(), "content/0", "static/", "d"] {
            for (user, files) in [(None, 60), (Some(&ann), 61)] {
                let query = Arc::new(GrepQuery {
                    pattern: "x".to_owned(),
                    ignore_case: false,
                    prefix: Prefix::parse(prefix).unwrap(),
                    accepts: Arc::new(|path| !path.contains("5-")),
                    context_lines: 0,
                    max_results: 1,
                });
                let view = user.map_or_else(View::base, panaversity_model::Layer::view);
                let list = CandidateList::new(&service, &book, &view, &query).await.unwrap();
                let cached = batches(list).await.concat();
                let mut list = CandidateList::new(&service, &book, &view, &query).await.unwrap();
                list.files = None;
                assert_eq!(batches(list).await.concat(), cached, "{prefix}");
                assert!(cached.is_sorted_by(|a, b| a.path < b.path));
                if prefix == "content/" {
                    assert!((files / 2..=files).contains(&cached.len()), "{}", cached.len());
                }
            }
        }
    }

    #[tokio::test]
    async fn a_batch_holds_no_more_bytes_than_it_may_but_always_a_file() {
        let (service, book) = test_service::empty();
        let query = Arc::new(GrepQuery {
            pattern: "x".to_owned(),
            ignore_case: false,
            prefix: Prefix::everything(),
            accepts: Arc::new(|_| true),
            context_lines: 0,
            max_results: 1,
        });
        let mut list = CandidateList::new(&service, &book, &View::base(), &query).await.unwrap();
        assert!(list.is_empty());
        let file = |n, size| Candidate { path: lesson(n), hash: ContentHash::of(b""), size };
        list.listed = [BATCH_BYTES + 1, BATCH_BYTES / 2, BATCH_BYTES / 2, 1]
            .into_iter()
            .zip(0..)
            .map(|(size, n)| file(n, size))
            .collect();
        list.is_last = true;
        let sizes: Vec<_> = batches(list).await.iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, 2, 1]);
    }
}
