//! `apply_changes`: writes, edits, deletions and moves of several files, all or nothing (I10).
//!
//! # Protocol
//! 1. **Resolve** each requested change against the current state: edits are applied to the current text, a
//!    move becomes a deletion and a file with the same content. One that can't be made is refused.
//! 2. If all can be made, **commit** them as one set, each with its precondition. If an edit without a
//!    precondition of the caller is refused because its file has changed since 1, begin again.
//! 3. Otherwise, or if the commit refuses the set, nothing is done, and every change is **checked** by
//!    itself, so that the answer says for each whether it could have been made.

use std::collections::{HashMap, HashSet};

use panaversity_model::audit::Operation;
use panaversity_model::blob::BlobLocation;
use panaversity_model::change::{Change, ChangeMessage, PlannedChange};
use panaversity_model::edit::Edit;
use panaversity_model::fault::FaultKind;
use panaversity_model::file::{check_text_size, may_be_text};
use panaversity_model::path::folders_above;
use panaversity_model::precondition::Effect;
use panaversity_model::{BookPath, ContentHash, Error, Fault, Refusal, media};

use crate::authorize::WriteAccess;
use crate::call::Call;
use crate::commit::{AppliedSet, NewContent, check};
use crate::edit::is_stale;
use crate::service::Service;
use crate::write::check_text_path;

/// Most changes of a set.
pub const MAX_CHANGES: usize = 1_000;
/// Most bytes of the texts of a set as given, and of the files as written.
pub const MAX_BYTES: u64 = 8 * 1024 * 1024;
/// Most attempts to commit edits onto texts that others change meanwhile.
const APPLIED_AGAIN: usize = 100;
/// Most conflicts of a set that are explained with a diff.
const EXPLAINED: usize = 20;

/// A change as requested.
#[derive(Debug, Clone)]
pub struct RequestedChange {
    /// The file.
    pub path: BookPath,
    /// Expected current hash of the file.
    pub expected: Option<ContentHash>,
    /// What is to happen to it.
    pub act: ChangeAct,
}

/// What is to happen to a file.
#[derive(Debug, Clone)]
pub enum ChangeAct {
    /// It gets this text.
    Write(String),
    /// Places in it are replaced.
    Edit(Vec<Edit>),
    /// It is deleted.
    Delete,
    /// It is moved to this path, where there is no file; its history goes on there.
    Move(BookPath),
}

/// A change set as requested.
#[derive(Debug, Clone)]
pub struct ChangeSetRequest {
    /// The layer of the book.
    pub access: WriteAccess,
    /// The changes; no two name the same path.
    pub changes: Vec<RequestedChange>,
    /// Reason for the set.
    pub message: Option<ChangeMessage>,
    /// Whether the changes are only checked.
    pub dry_run: bool,
}

/// A set whose changes are resolved: one or two changes of files for each.
#[derive(Default)]
struct ResolvedSet {
    changes: Vec<Change<NewContent>>,
    /// Number of the requested change that each belongs to.
    owners: Vec<usize>,
    /// Requested changes that were refused.
    refused: HashMap<usize, Refusal>,
    bytes: u64,
}

impl Call {
    /// Applies a change set, or refuses it as a whole.
    pub async fn apply_changes(&mut self, request: ChangeSetRequest) -> Result<AppliedSet, Error> {
        check_size(&request.changes)?;
        for _ in 0..APPLIED_AGAIN {
            let mut set = self.resolve(&request).await?;
            if set.refused.is_empty() && !request.dry_run {
                let (access, message) = (&request.access, request.message.clone());
                match self.change_set(access, set.changes.clone(), message).await? {
                    Ok(applied) => return Ok(listed(applied)),
                    Err((at, refusal)) => {
                        let owner = set.owners.get(at).copied().unwrap_or_default();
                        if is_stale(&refusal) && request.changes[owner].follows_the_file() {
                            continue;
                        }
                        set.refused.insert(owner, refusal);
                    }
                }
            }
            return self.check_each(&request, set).await;
        }
        Err(Fault::new(FaultKind::Timeout, "the files changed again and again while they were edited").into())
    }

    /// Step 1.
    async fn resolve(&self, request: &ChangeSetRequest) -> Result<ResolvedSet, Error> {
        let mut set = ResolvedSet::default();
        for (index, change) in request.changes.iter().enumerate() {
            match self.resolve_one(&request.access, change).await? {
                Ok(changes) => set.add(index, changes)?,
                Err(refusal) => {
                    set.refused.insert(index, refusal);
                }
            }
        }
        Ok(set)
    }

    async fn resolve_one(
        &self,
        access: &WriteAccess,
        change: &RequestedChange,
    ) -> Result<Result<Vec<Change<NewContent>>, Refusal>, Error> {
        let RequestedChange { path, expected, act } = change;
        let changes = match act {
            ChangeAct::Write(text) => {
                if let Err(refusal) = check_text_path(path).and_then(|()| check_text_size(text)) {
                    return Ok(Err(refusal));
                }
                let content = NewContent::of(text.clone().into_bytes());
                vec![Change::new(Operation::Write, path.clone(), content, *expected)]
            }
            ChangeAct::Edit(edits) => match self.plan_edit(access, path, edits, *expected).await? {
                Ok(planned) => vec![planned.change],
                Err(refusal) => return Ok(Err(refusal)),
            },
            ChangeAct::Delete => {
                vec![Change::new(Operation::Delete, path.clone(), NewContent::Absent, *expected)]
            }
            ChangeAct::Move(to) => return self.resolve_move(access, path, to, *expected).await,
        };
        Ok(Ok(changes))
    }

    /// A move as a deletion and a new file with the same content. Repeating one that was made, with its
    /// precondition, changes nothing.
    async fn resolve_move(
        &self,
        access: &WriteAccess,
        path: &BookPath,
        to: &BookPath,
        expected: Option<ContentHash>,
    ) -> Result<Result<Vec<Change<NewContent>>, Refusal>, Error> {
        let journal = &self.service.inner.journal;
        let at_new = journal.current_file(&access.file(to)).await?;
        let found = match journal.current_file(&access.file(path)).await? {
            Some(found) => found,
            None => match at_new {
                Some(moved) if expected == Some(moved.record.hash) => moved,
                _ => return Ok(Err(self.missing(access, path, None).await?)),
            },
        };
        let hash = found.record.hash;
        let refusal = if expected.is_some_and(|expected| expected != hash) {
            Some(Refusal::changed(hash))
        } else if path == to {
            Some(Refusal::argument("to", "it is the path that the file has"))
        } else if path.is_asset() != to.is_asset() {
            Some(Refusal::argument("to", "a file stays below content/ or below static/"))
        } else {
            let was_text = may_be_text(path, found.record.size);
            let format = media::binary_format(to).filter(|_| was_text);
            format.map(|format| Refusal::NotText { path: to.clone(), format })
        };
        if let Some(refusal) = refusal {
            return Ok(Err(refusal));
        }
        let gone = Change::new(Operation::Move, path.clone(), NewContent::Absent, Some(hash));
        let mut made = Change::new(Operation::Move, to.clone(), NewContent::Stored(found.blob.blob), None);
        made.moved_from = Some(path.clone());
        // First the deletion: so the name is free for one that differs only by case.
        Ok(Ok(vec![gone, made]))
    }

    /// Step 3.
    async fn check_each(
        &self,
        request: &ChangeSetRequest,
        mut set: ResolvedSet,
    ) -> Result<AppliedSet, Error> {
        let access = &request.access;
        let effects = self.service.would_be(access, &mut set).await?;
        if set.refused.is_empty() {
            let files = set.changes.iter().zip(effects).map(|(change, effect)| change.applied(effect));
            return Ok(listed(AppliedSet { change: None, files: files.collect() }));
        }
        let mut planned = Vec::with_capacity(request.changes.len());
        let mut explained = 0;
        for (index, change) in request.changes.iter().enumerate() {
            let result = match set.refused.remove(&index) {
                Some(refusal) if explained < EXPLAINED => {
                    explained += 1;
                    Err(self.explained(access, &change.path, change.expected, refusal).await?)
                }
                Some(refusal) => Err(refusal),
                None => {
                    let own = set.owners.iter().rposition(|owner| *owner == index);
                    Ok(own.and_then(|own| effects.get(own).copied()).unwrap_or(Effect::Unchanged))
                }
            };
            planned.push(PlannedChange { path: change.path.clone(), result });
        }
        Err(Refusal::ChangesRefused(planned).into())
    }
}

impl Service {
    /// The effect that each resolved change would have. Refused ones are added to those of the set.
    async fn would_be(&self, access: &WriteAccess, set: &mut ResolvedSet) -> Result<Vec<Effect>, Error> {
        let (schema, held) = self.held_with_schema(access.book(), access.layer(), &set.changes).await?;
        let checked = check(schema, held, &set.changes);
        let freed: HashSet<&BookPath> = set
            .changes
            .iter()
            .filter(|change| matches!(change.content, NewContent::Absent))
            .map(|change| &change.path)
            .collect();
        let mut taken: HashMap<String, &BookPath> = HashMap::new();
        let mut effects = Vec::with_capacity(checked.len());
        for (at, result) in checked.into_iter().enumerate() {
            let change = &set.changes[at];
            let result = match result {
                Ok((_, Effect::Created)) => {
                    let other = self.inner.journal.conflicting_path(&access.file(&change.path)).await?;
                    let other = other.filter(|other| !freed.contains(other));
                    let beside = near_name(&taken, &change.path).cloned();
                    taken.insert(change.path.folded(), &change.path);
                    match other.or(beside) {
                        Some(other) => Err(Refusal::path_conflict(&change.path, &other)),
                        None => Ok(Effect::Created),
                    }
                }
                Ok((_, effect)) => Ok(effect),
                Err(refusal) => Err(refusal),
            };
            effects.push(*result.as_ref().unwrap_or(&Effect::Unchanged));
            if let Err(refusal) = result {
                set.refused.entry(set.owners[at]).or_insert(refusal);
            }
        }
        Ok(effects)
    }
}

/// A path of the set that prevents a file at this one: it differs only by case, or one would lie below the
/// other.
fn near_name<'a>(taken: &HashMap<String, &'a BookPath>, path: &BookPath) -> Option<&'a BookPath> {
    let folded = path.folded();
    let above = folders_above(&folded).find_map(|folder| taken.get(folder));
    let below = || taken.iter().find(|(other, _)| folders_above(other).any(|folder| folder == folded));
    taken.get(&folded).or(above).or_else(|| below().map(|(_, path)| path)).copied()
}

impl RequestedChange {
    /// Whether it is made onto whatever content the file has.
    fn follows_the_file(&self) -> bool {
        self.expected.is_none() && matches!(self.act, ChangeAct::Edit(_) | ChangeAct::Move(_))
    }

    /// Bytes of its texts.
    fn bytes(&self) -> u64 {
        let bytes = match &self.act {
            ChangeAct::Write(text) => text.len(),
            ChangeAct::Edit(edits) => edits.iter().map(|edit| edit.old.len() + edit.new.len()).sum(),
            ChangeAct::Delete | ChangeAct::Move(_) => 0,
        };
        bytes as u64
    }
}

impl ResolvedSet {
    fn add(&mut self, owner: usize, changes: Vec<Change<NewContent>>) -> Result<(), Refusal> {
        for change in changes {
            self.bytes += match &change.content {
                NewContent::Bytes(bytes) => bytes.as_slice().len() as u64,
                NewContent::Stored(blob) => match &blob.location {
                    BlobLocation::Inline(deflated) => deflated.len() as u64,
                    BlobLocation::Object(_) => 0,
                },
                NewContent::Staged(..) | NewContent::Absent => 0,
            };
            check_bytes("the files of the set together", self.bytes)?;
            self.changes.push(change);
            self.owners.push(owner);
        }
        Ok(())
    }
}

/// The set without the deletions of its moves, whose files have new paths.
fn listed(mut set: AppliedSet) -> AppliedSet {
    let moved: HashSet<BookPath> = set.files.iter().filter_map(|file| file.moved_from.clone()).collect();
    set.files.retain(|file| !moved.contains(&file.path));
    set
}

fn check_size(changes: &[RequestedChange]) -> Result<(), Refusal> {
    if changes.is_empty() || changes.len() > MAX_CHANGES {
        let why = format!("it must have 1 to {MAX_CHANGES} changes, not {}", changes.len());
        return Err(Refusal::argument("changes", why));
    }
    check_bytes("the texts of the set together", changes.iter().map(RequestedChange::bytes).sum())
}

fn check_bytes(what: &'static str, actual: u64) -> Result<(), Refusal> {
    if actual > MAX_BYTES {
        return Err(Refusal::TooLarge { what, actual, limit: MAX_BYTES });
    }
    Ok(())
}
