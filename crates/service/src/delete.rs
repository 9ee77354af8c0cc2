//! `delete_content`: deletes one file. Keeps R3: deleting again is success.

use panaversity_model::change::Change;
use panaversity_model::precondition::Effect;
use panaversity_model::{BookPath, ContentHash, Error};

use crate::authorize::WriteAccess;
use crate::call::Call;
use crate::commit::NewContent;

impl Call {
    /// Deletes the file; returns whether it existed. After a deletion from an overlay the base's file is
    /// visible again.
    pub async fn delete_content(
        &mut self,
        access: &WriteAccess,
        path: &BookPath,
        expected: Option<ContentHash>,
    ) -> Result<bool, Error> {
        self.service.require_book(access.book()).await?;
        let change = Change::new(self.operation, path.clone(), NewContent::Absent, expected);
        Ok(self.change_file(access, change).await?.effect == Effect::Deleted)
    }
}
