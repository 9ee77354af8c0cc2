//! `edit_content`: replaces exact places of a text.
//!
//! # Protocol
//! 1. Read the current text: that of the layer, or of the base below an overlay that has no such file.
//! 2. Apply the edits to it. Each old text must occur exactly once.
//! 3. Commit with the hash of that text as precondition. If the file has changed since 1 and the caller gave
//!    no precondition of its own, begin again: the match itself is the precondition, and it is made with the
//!    text that the commit replaces.

use panaversity_model::audit::Operation;
use panaversity_model::change::{Applied, Change};
use panaversity_model::edit::{self, Edit};
use panaversity_model::fault::FaultKind;
use panaversity_model::file::check_text_size;
use panaversity_model::line_diff;
use panaversity_model::{BookPath, ContentHash, Error, Fault, Refusal};

use crate::authorize::WriteAccess;
use crate::call::Call;
use crate::commit::{NewContent, only};
use crate::off_thread::off_thread;

/// Most attempts to commit onto a text that others change meanwhile; in each at least one of them succeeds.
const EDITED_AGAIN: usize = 200;

/// Request to edit a file.
#[derive(Debug, Clone)]
pub struct EditContent {
    /// The layer of the book.
    pub access: WriteAccess,
    /// The file.
    pub path: BookPath,
    /// The edits, in order; not empty.
    pub edits: Vec<Edit>,
    /// Expected hash of the text that the edits are made from.
    pub expected: Option<ContentHash>,
    /// Whether only the diff is wanted.
    pub dry_run: bool,
}

/// Result of an edit.
#[derive(Debug, Clone)]
pub struct Edited {
    /// The file as it is now; `None`: nothing was to be written.
    pub written: Option<Applied>,
    /// Unified diff of the edited text; after a write shortened, because the caller knows the change.
    pub diff: String,
}

/// An edit applied to the current text.
pub(crate) struct PlannedEdit {
    pub(crate) change: Change<NewContent>,
    /// The text before.
    pub(crate) before: String,
    /// The text after.
    pub(crate) after: String,
}

impl Call {
    /// Edits a text file, or refuses.
    pub async fn edit_content(&mut self, edit: EditContent) -> Result<Edited, Error> {
        let EditContent { access, path, edits, expected, dry_run } = edit;
        for _ in 0..EDITED_AGAIN {
            let planned = match self.plan_edit(&access, &path, &edits, expected).await? {
                Ok(planned) => planned,
                Err(refusal) => return Err(self.explained(&access, &path, expected, refusal).await?.into()),
            };
            let PlannedEdit { change, before, after } = planned;
            if dry_run {
                return Ok(Edited { written: None, diff: self.service.unified_diff(before, after).await? });
            }
            match self.change_set(&access, vec![change], None).await? {
                Ok(set) => {
                    let diff = off_thread(move || line_diff::shortened(&before, &after)).await?;
                    return Ok(Edited { written: Some(only(set.files)?), diff });
                }
                Err((_, refusal)) if expected.is_none() && is_stale(&refusal) => {}
                Err((_, refusal)) => {
                    return Err(self.explained(&access, &path, expected, refusal).await?.into());
                }
            }
        }
        Err(Fault::new(FaultKind::Timeout, "the file changed again and again while it was edited").into())
    }

    /// Steps 1 and 2.
    pub(crate) async fn plan_edit(
        &self,
        access: &WriteAccess,
        path: &BookPath,
        edits: &[Edit],
        expected: Option<ContentHash>,
    ) -> Result<Result<PlannedEdit, Refusal>, Error> {
        let journal = &self.service.inner.journal;
        let Some(found) = journal.find(access.book(), path, &access.view()).await? else {
            return Ok(Err(self.missing(access, path, None).await?));
        };
        let current = found.record.hash;
        if expected.is_some_and(|expected| expected != current) {
            return Ok(Err(Refusal::changed(current)));
        }
        let Some(before) = self.service.text_of(&found).await? else { return Ok(Err(no_text())) };
        let after = match edit::apply(&before, edits).and_then(|text| check_text_size(&text).map(|()| text)) {
            Ok(after) => after,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let content = NewContent::of(after.clone().into_bytes());
        let mut change = Change::new(Operation::Edit, path.clone(), content, Some(current));
        if found.record.layer != *access.layer() {
            // The first change of the overlay: its file is created, from this text of the base.
            (change.expected, change.base) = (None, Some(current));
        }
        Ok(Ok(PlannedEdit { change, before, after }))
    }
}

/// True for a refusal that a fresh look at the file may avoid, because it has changed meanwhile.
pub(crate) fn is_stale(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Conflict { current: Some(_), .. } | Refusal::HashRequired { .. } | Refusal::NotFound { .. }
    )
}

fn no_text() -> Refusal {
    Refusal::argument("path", "the file is no text, so nothing in it can be replaced")
}
