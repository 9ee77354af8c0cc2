//! The published copy of one book's base, compared without repair: names and sizes of the listing, and in a
//! folder the bytes of small files too. It costs a bucket its listing and no read; `reconcile` itself
//! reads everything.

use std::collections::HashMap;

use futures::TryStreamExt;
use panaversity_model::blob::CHUNK_BYTES;
use panaversity_model::storage_listing::{Kind, PublishedFile, TreeEntry};
use panaversity_model::validation::Severity;
use panaversity_model::{BookId, BookPath, Fault, Layer};

use super::{Discrepancy, Finding, Mode, Reconciled, Run, Tell};
use crate::service::Service;

/// Entries listed at most.
const LISTED: usize = 200_000;
/// Files of the journal read in one statement.
const AT_ONCE: usize = 100;
/// Largest file whose bytes are compared.
const READ_BYTES: u64 = CHUNK_BYTES as u64;

impl Service {
    /// Compares the published copy of a book's base with the journal; paths with a pending publication
    /// are skipped. False: the copy has more entries than were listed, so that not all foreign files are
    /// found.
    pub(crate) async fn compare_base_copy(&self, book: &BookId, tell: Tell<'_>) -> Result<bool, Fault> {
        let (mode, aside, done) = (&Mode::Report, String::new(), Reconciled::default());
        let mut run = Run { service: self, book: Some(book), mode, aside, done, tell, watch: &mut |_| {} };
        let (sizes, is_complete) = run.listed_base(book).await?;
        run.compare_listed(&sizes).await?;
        Ok(is_complete)
    }
}

impl Run<'_> {
    /// Sizes of the known files in the copy. Foreign files are found on the way.
    async fn listed_base(&mut self, book: &BookId) -> Result<(HashMap<BookPath, u64>, bool), Fault> {
        let folders = ["content/", "static/"].map(|folder| format!("{book}/{folder}").into_bytes());
        let is_base =
            |seen: &TreeEntry| folders.iter().any(|folder| seen.spot.as_bytes().starts_with(folder));
        let (mut sizes, mut listed) = (HashMap::new(), 0);
        let mut listing = self.service.inner.tree.list_files(Some(book));
        while let Some(page) = listing.try_next().await? {
            listed += page.len();
            let page: Vec<_> = page.into_iter().filter(is_base).collect();
            let known = self.service.known(&page).await?;
            for seen in page {
                match seen.spot.key() {
                    Ok(key) if known.contains_key(&key) => {
                        if seen.kind == Kind::File {
                            sizes.insert(key.path, seen.size);
                        }
                    }
                    key => self.report_foreign(&seen, key).await?,
                }
            }
            if listed >= LISTED {
                return Ok((sizes, false));
            }
        }
        Ok((sizes, true))
    }

    /// Compares the files of the journal with the listing, and those that differ with the copy itself.
    async fn compare_listed(&mut self, sizes: &HashMap<BookPath, u64>) -> Result<(), Fault> {
        let reads = self.service.storage_backend() == "fs";
        let mut after = None;
        loop {
            let page = self.service.inner.journal.records(self.book, after.as_ref(), AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key.clone());
            for record in page {
                let PublishedFile { key, held: Some((_, size)), pending: false, .. } = &record else {
                    continue;
                };
                let is_suspect = sizes.get(&key.path) != Some(size) || (reads && *size <= READ_BYTES);
                if key.layer == Layer::Base
                    && is_suspect
                    && let Some((record, trouble)) = self.really_wrong(record).await?
                {
                    self.found(trouble, record.key.path.to_string(), super::files::unmended(trouble));
                }
            }
        }
    }
}

/// Severity and message of a difference, and the next step. A foreign file loses nothing.
pub(crate) fn told(finding: &Finding) -> (Severity, String, String) {
    let (severity, what) = match finding.trouble {
        Discrepancy::Missing => (Severity::Error, "the published copy of the file is missing"),
        Discrepancy::Different => {
            (Severity::Error, "the published copy of the file is not what the book holds")
        }
        _ => (
            Severity::Warning,
            "it lies in the published copy but is no file of the book: agents do not see it",
        ),
    };
    let next = finding.remedy.detail().unwrap_or_default();
    (severity, what.to_owned(), next.to_owned())
}
