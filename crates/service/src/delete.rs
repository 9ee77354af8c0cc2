//! `delete_content`: deletes one file. Keeps R3: deleting again is success.

use panaversity_model::precondition::{Effect, TargetContent};
use panaversity_model::{BookId, BookPath, ContentHash, Error, Layer};

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
        self.require_book(book).await?;
        let change = FileChange { path: path.clone(), content: TargetContent::Absent, expected };
        Ok(self.change_file(book, layer, change).await? == Effect::Deleted)
    }
}
