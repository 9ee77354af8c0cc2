//! `delete_content`: deletes one file. Keeps R3: deleting again is success.

use panaversity_model::precondition::{Effect, TargetContent};
use panaversity_model::{BookId, BookPath, ContentHash, Error, Layer, Refusal};

use crate::call::Call;
use crate::commit::FileChange;

impl Call {
    /// Deletes the file; returns whether it existed. After a deletion from an overlay the base's file is
    /// visible again.
    pub async fn delete_content(
        &mut self,
        book: &BookId,
        path: &BookPath,
        layer: &Layer,
        expected: Option<ContentHash>,
    ) -> Result<bool, Error> {
        if self.service.inner.journal.book(book).await?.is_none() {
            return Err(Refusal::BookNotFound(book.clone()).into());
        }
        let wanted = vec![FileChange { path: path.clone(), content: TargetContent::Absent, expected }];
        let done = self.change(book, layer, wanted).await?;
        Ok(done.first().is_some_and(|done| done.effect == Effect::Deleted))
    }
}
