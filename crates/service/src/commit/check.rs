//! Step 1 of a commit: each change of a set is checked against the book's schema, the other changes of the
//! set, and, without a lock, its precondition.

use std::collections::HashSet;

use panaversity_model::change::Change;
use panaversity_model::file::FileMetadata;
use panaversity_model::precondition::{Effect, TargetContent, decide};
use panaversity_model::{BookPath, Refusal, Schema};

use super::NewContent;

/// The file that a change would replace, and its effect.
pub(crate) type CheckedChange = (Option<FileMetadata>, Effect);
/// The same, or why the change is refused.
pub(crate) type Checked = Result<CheckedChange, Refusal>;

/// Checks every change of a set; `held` has the file that each would replace.
pub(crate) fn check(
    schema: Schema,
    held: Vec<Option<FileMetadata>>,
    changes: &[Change<NewContent>],
) -> Vec<Checked> {
    let mut paths = HashSet::new();
    let pairs = changes.iter().zip(held);
    pairs.map(|(change, found)| check_one(schema, found, change, paths.insert(&change.path))).collect()
}

fn check_one(
    schema: Schema,
    found: Option<FileMetadata>,
    change: &Change<NewContent>,
    is_first: bool,
) -> Checked {
    // A path that was admitted earlier may be deleted under any schema.
    if !matches!(change.content, NewContent::Absent) {
        schema.admit(&change.path)?;
    }
    if !is_first {
        return Err(named_twice(&change.path));
    }
    let now = found.as_ref().map(|found| found.record.hash);
    if change.moved_from.is_some() && now.is_some_and(|now| change.target() != TargetContent::Present(now)) {
        return Err(Refusal::occupied(&change.path));
    }
    let effect = decide(now, change.target(), change.expected)?;
    Ok((found, effect))
}

fn named_twice(path: &BookPath) -> Refusal {
    Refusal::argument("path", format!("`{path}` is named twice"))
}

/// The checked changes, or the first refusal with its index.
pub(crate) fn first_refused(checked: Vec<Checked>) -> Result<Vec<CheckedChange>, (usize, Refusal)> {
    checked
        .into_iter()
        .enumerate()
        .map(|(index, checked)| checked.map_err(|refusal| (index, refusal)))
        .collect()
}
