//! Deleting a book with all its files, as an operator does. Each file of each layer is deleted by an
//! ordinary change, so that the audit log tells who did it (R6, R7) and the contents stay until their
//! retention ends.
//!
//! 1. Files are deleted in change sets of one layer, until the book has none.
//! 2. The book is deleted if it has no files, in one transaction with its audit entry; a writer that added
//!    one meanwhile sends the run back to step 1.
//!
//! A run that was stopped halfway is repeated: what is deleted stays deleted.

use std::collections::BTreeMap;

use panaversity_model::audit::{AuditDraft, Operation, Outcome};
use panaversity_model::change::Change;
use panaversity_model::ids::ChangeId;
use panaversity_model::permission::Principal;
use panaversity_model::{AgentId, BookId, BookPath, Error, Fault, Layer};

use crate::authorize::WriteAccess;
use crate::call::Call;
use crate::commit::NewContent;
use crate::service::Service;

/// Files deleted in one change set.
const FILES_AT_ONCE: usize = 500;
/// Most times that step 1 is begun again before the run gives up on a book that others write to.
const ROUNDS: usize = 20;

impl Service {
    /// Number of files of a book in all layers.
    pub async fn files_of_all_layers(&self, book: &BookId) -> Result<u64, Error> {
        self.require_book(book).await?;
        let counts = self.journal_counts().await?;
        let files = counts.iter().find(|(id, _)| id == book).map_or(0, |(_, files)| *files);
        Ok(u64::try_from(files).unwrap_or(0))
    }

    /// Deletes a book by the protocol above, in an agent's name; returns the number of files deleted. `told`
    /// gets that number as it grows.
    pub async fn delete_book(
        &self,
        agent: &AgentId,
        book: &BookId,
        told: impl Fn(u64),
    ) -> Result<u64, Error> {
        self.require_book(book).await?;
        let mut deleted = 0;
        for _ in 0..ROUNDS {
            loop {
                let files = self.next_files(book).await?;
                if files.is_empty() {
                    break;
                }
                for (layer, paths) in files {
                    deleted += paths.len() as u64;
                    self.delete_files(agent, book, layer, paths).await?;
                    told(deleted);
                }
            }
            let caller = self.caller(Principal::unrestricted(agent.clone()));
            let ended = self.run(caller, Operation::Delete, async |call| {
                let access = call.may_write(book.clone(), Layer::Base)?;
                call.delete_empty_book(&access).await
            });
            if ended.await.result? {
                return Ok(deleted);
            }
        }
        Err(Fault::database("others write to the book all the time").into())
    }

    /// The next files to delete, by layer.
    async fn next_files(&self, book: &BookId) -> Result<BTreeMap<Layer, Vec<BookPath>>, Fault> {
        let (mut files, mut after) = (BTreeMap::<_, Vec<_>>::new(), None);
        loop {
            let page = self.inner.journal.records(Some(book), after.as_ref(), FILES_AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(files) };
            after = Some(last.key.clone());
            // Deleted files whose removal from the tree is pending are on the page too.
            for file in page.into_iter().filter(|file| file.held.is_some()) {
                files.entry(file.key.layer).or_default().push(file.key.path);
            }
            if !files.is_empty() {
                return Ok(files);
            }
        }
    }

    async fn delete_files(
        &self,
        agent: &AgentId,
        book: &BookId,
        layer: Layer,
        paths: Vec<BookPath>,
    ) -> Result<(), Error> {
        let caller = self.caller(Principal::unrestricted(agent.clone()));
        let ended = self.run(caller, Operation::Delete, async |call| {
            let access = call.may_write(book.clone(), layer)?;
            let change = |path| Change::new(Operation::Delete, path, NewContent::Absent, None);
            call.change(&access, paths.into_iter().map(change).collect()).await
        });
        ended.await.result.map(drop)
    }
}

impl Call {
    /// Step 2; false: the book has files.
    async fn delete_empty_book(&mut self, access: &WriteAccess) -> Result<bool, Error> {
        let change = Some(ChangeId::new(self.service.inner.ids.new_id()));
        let record = AuditDraft { change, ..self.draft(Outcome::Success) };
        self.committing = true;
        let deleted = self.service.inner.journal.delete_book(access.book(), &record).await?;
        self.service.inner.schemas.remove(access.book());
        // The transaction wrote the entry, or there is nothing to tell.
        self.recorded = true;
        Ok(deleted)
    }
}
