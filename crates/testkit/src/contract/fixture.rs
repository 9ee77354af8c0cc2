//! Fixture of the contract tests: a journal, a book of its own, and helpers that most tests need.

use std::sync::Arc;
use std::time::Duration;

use panaversity_model::audit::{AuditEntry, ChainKey, EntryPosition};
use panaversity_model::blob::{Blob, BlobLocation};
use panaversity_model::chain::{ChainError, ChainVerifier};
use panaversity_model::change::{Applied, Change, ChangeSet, Verdict};
use panaversity_model::file::Found;
use panaversity_model::gc::Staged;
use panaversity_model::ids::StagingId;
use panaversity_model::path::Folder;
use panaversity_model::ports::Journal;
use panaversity_model::{BookId, BookPath, ContentHash, Fault, Layer, Refusal, Schema, View};
use tokio::sync::Barrier;

use super::Setup;
use crate::samples;

/// Timeout of a concurrent run, after which it counts as hung.
const READY_TIMEOUT: Duration = Duration::from_mins(2);

/// A journal and a book of its own.
#[derive(Clone)]
pub struct ContractFixture {
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// A book that no other test writes.
    pub book: BookId,
    /// The schema that its first write gives it.
    pub schema: Schema,
}

impl ContractFixture {
    /// A fixture with a fresh book, which does not exist yet.
    pub fn new(setup: &Setup) -> Self {
        Self { journal: setup.journal.clone(), book: samples::book(), schema: Schema::Strict }
    }

    /// Commits a change set and returns the verdict.
    pub async fn try_commit(&self, layer: &Layer, changes: Vec<Change>) -> Result<Verdict, Fault> {
        let set = ChangeSet { schema: self.schema, ..samples::change_set(&self.book, layer, changes) };
        self.journal.commit(set).await
    }

    /// Commits a change set that must be accepted.
    pub async fn commit(&self, layer: &Layer, changes: Vec<Change>) -> Vec<Applied> {
        match self.try_commit(layer, changes).await.unwrap() {
            Verdict::Committed(applied) => applied,
            Verdict::Refused(index, refusal) => panic!("change {index} was refused: {refusal}"),
            Verdict::Unstaged => panic!("an object is not staged"),
            Verdict::UploadOver => panic!("its upload is over"),
        }
    }

    /// Stages a blob that is not being deleted.
    pub async fn stage(&self, blob: &Blob) -> StagingId {
        match self.journal.stage(blob, samples::staging()).await.unwrap() {
            Staged::Ready(staging) => staging,
            Staged::BeingDeleted => panic!("{} is being deleted", blob.hash),
        }
    }

    /// Stages an object and writes it to a path of the base that does not exist.
    pub async fn put_object(&self, path: &BookPath, blob: &Blob) -> Applied {
        let staging = self.stage(blob).await;
        self.commit_one(&Layer::Base, samples::write_staged(path, blob, staging)).await
    }

    /// Commits one change that must be accepted.
    pub async fn commit_one(&self, layer: &Layer, change: Change) -> Applied {
        self.commit(layer, vec![change]).await.remove(0)
    }

    /// Commits a set that must be refused; returns the index of the refused change and the refusal.
    pub async fn refused(&self, layer: &Layer, changes: Vec<Change>) -> (usize, Refusal) {
        match self.try_commit(layer, changes).await.unwrap() {
            Verdict::Refused(index, refusal) => (index, refusal),
            other => panic!("it was not refused: {other:?}"),
        }
    }

    /// Hash of a path's current content in exactly this layer.
    pub async fn holds(&self, layer: &Layer, path: &BookPath) -> Option<ContentHash> {
        let found = self.journal.current_file(&samples::key(&self.book, path, layer)).await.unwrap();
        found.map(|found| found.record.hash)
    }

    /// Writes these bytes to a path of a layer, whatever its current content.
    pub async fn put(&self, layer: &Layer, path: &BookPath, bytes: &[u8]) -> Applied {
        let now = self.holds(layer, path).await;
        self.commit_one(layer, samples::write(path, bytes, now)).await
    }

    /// Deletes a path of a layer.
    pub async fn delete(&self, layer: &Layer, path: &BookPath) -> Applied {
        self.commit_one(layer, samples::delete(path, None)).await
    }

    /// The file that a view shows at a path.
    pub async fn find(&self, view: &View, path: &BookPath) -> Option<Found> {
        self.journal.find(&self.book, path, view).await.unwrap()
    }

    /// The bytes that a view shows at a path, which must be inline.
    pub async fn read(&self, view: &View, path: &BookPath) -> Option<Vec<u8>> {
        self.find(view, path).await.map(|found| unpack(&found))
    }

    /// A version of a path, by its hash.
    pub async fn version(&self, view: &View, path: &BookPath, hash: ContentHash) -> Option<Found> {
        self.journal.find_version(&self.book, path, view, hash).await.unwrap()
    }

    /// All paths that a view shows, in the order of the journal.
    pub async fn paths(&self, view: &View) -> Vec<BookPath> {
        let everything = Folder::everything();
        let files = self.journal.list(&self.book, &everything, view, None, 10_000).await.unwrap();
        files.into_iter().map(|file| file.path).collect()
    }

    /// The chain of a path of a layer, or of the book itself.
    pub fn chain_key(&self, path: Option<&BookPath>, layer: &Layer) -> ChainKey {
        samples::draft(Some(&self.book), path, layer).chain()
    }

    /// All entries of a chain, oldest first, read in small pages.
    pub async fn chain(&self, key: &ChainKey) -> Vec<AuditEntry> {
        let mut entries: Vec<AuditEntry> = Vec::new();
        loop {
            let after = entries.last().map(position);
            let page = self.journal.chain_entries(key, after.as_ref(), 7).await.unwrap();
            if page.is_empty() {
                return entries;
            }
            assert!(page.len() <= 7, "a page is no longer than its limit");
            assert!(after.is_none_or(|after| page[0].timestamp > after.timestamp), "a page goes on");
            entries.extend(page);
        }
    }

    /// All entries of a file's chain, oldest first.
    pub async fn file_chain(&self, path: &BookPath, layer: &Layer) -> Vec<AuditEntry> {
        self.chain(&self.chain_key(Some(path), layer)).await
    }

    /// The keys of all chains of the book that have entries; a chain without entries is only a
    /// lock.
    pub async fn chains(&self) -> Vec<ChainKey> {
        let records = self.journal.chains(None, Some(&self.book), None, 10_000).await.unwrap();
        records.into_iter().filter(|record| record.count > 0).map(|record| record.key).collect()
    }

    /// Every break in the chains of the book.
    pub async fn breaks(&self) -> Vec<ChainError> {
        let mut breaks = Vec::new();
        for key in self.chains().await {
            let record = self.journal.chain(&key).await.unwrap().expect("a listed chain is there");
            let mut walk = ChainVerifier::new(record);
            for entry in self.chain(&key).await {
                walk.step(&entry);
            }
            breaks.extend(walk.finish());
        }
        breaks
    }

    /// Asserts that the chains of the book link and that a refused call left nothing: neither
    /// files, chains nor the book itself.
    pub async fn assert_untouched(&self) {
        assert_eq!(self.journal.book(&self.book).await.unwrap(), None, "no book came into being");
        assert_eq!(self.chains().await, vec![], "no chain was touched");
        let counts = self.journal.journal_counts().await.unwrap();
        assert!(counts.iter().all(|(book, count)| *book != self.book || *count == 0), "no row was written");
    }
}

/// Position for the page after one that ends with this entry.
pub(super) fn position(entry: &AuditEntry) -> EntryPosition {
    EntryPosition { timestamp: entry.timestamp, id: entry.id.clone() }
}

/// The bytes of an inline blob, verified.
pub(super) fn unpack(found: &Found) -> Vec<u8> {
    match &found.blob.blob.location {
        BlobLocation::Inline(deflated) => found.blob.unpack(deflated).unwrap(),
        BlobLocation::Object(_) => panic!("{} is inline", found.record.path),
    }
}

/// Runs `count` tasks that all start at the same moment; returns their results in order.
pub async fn run_concurrently<T, F>(count: usize, task: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(count));
    let mut running = Vec::with_capacity(count);
    for number in 0..count {
        let (barrier, work) = (barrier.clone(), task(number));
        running.push(tokio::spawn(async move {
            barrier.wait().await;
            tokio::time::timeout(READY_TIMEOUT, work).await.expect("it hangs")
        }));
    }
    let mut answers = Vec::with_capacity(count);
    for task in running {
        answers.push(task.await.unwrap());
    }
    answers
}
