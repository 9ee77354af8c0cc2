//! In-memory commits and audit entries. I8, I10 and R6: a set is decided as a whole before any of
//! it is applied, all under one lock.

use std::collections::HashMap;

use async_trait::async_trait;
use panaversity_model::audit::AuditDraft;
use panaversity_model::blob::{Blob, BlobLocation, BlobState};
use panaversity_model::change::{Applied, Change, ChangeContent, ChangeSet, Verdict};
use panaversity_model::file::{FileMetadata, Found};
use panaversity_model::ids::{EntryId, UploadId};
use panaversity_model::path::lies_under;
use panaversity_model::ports::Changes;
use panaversity_model::precondition::{Effect, decide};
use panaversity_model::publication::{FileKey, Publication};
use panaversity_model::upload::Completion;
use panaversity_model::version::FileVersion;
use panaversity_model::{Book, BookPath, Fault, Layer, Refusal};

use super::{JournalState, MemoryJournal, Past, Row};

#[async_trait]
impl Changes for MemoryJournal {
    async fn current_metadata(&self, keys: &[FileKey]) -> Result<Vec<Option<FileMetadata>>, Fault> {
        let state = self.state();
        let metadata = |found: Found| FileMetadata {
            record: found.record,
            state: found.blob.state,
            in_object: matches!(found.blob.blob.location, BlobLocation::Object(_)),
        };
        Ok(keys.iter().map(|key| state.found(key).map(metadata)).collect())
    }

    async fn versions(
        &self,
        key: &FileKey,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<FileVersion>, Fault> {
        let state = self.state();
        let all = state.versions.get(key).into_iter().flatten().rev();
        let older = all.filter(|past| before.is_none_or(|before| past.version < before));
        let version = |past: &Past| FileVersion {
            path: key.path.clone(),
            version: past.version,
            hash: past.hash,
            size: past.size,
            at: past.at,
            agent: past.agent.clone(),
            operation: past.operation.as_str().to_owned(),
            change: past.change,
            message: past.message.clone(),
            moved_from: past.moved_from.clone(),
        };
        Ok(older.take(limit).map(version).collect())
    }

    async fn commit(&self, set: ChangeSet) -> Result<Verdict, Fault> {
        let mut state = self.state();
        for change in &set.changes {
            state.admit_id(change.content.entry)?;
        }
        if set.upload.is_some_and(|id| !state.upload_is_open(id)) {
            return Ok(Verdict::UploadOver);
        }
        if !state.is_staged(&set) {
            return Ok(Verdict::Unstaged);
        }
        let effects = match state.decide(&set) {
            Ok(effects) => effects,
            Err((index, refusal)) => return Ok(Verdict::Refused(index, refusal)),
        };
        if effects.contains(&Effect::Created) {
            state.ensure_book(&set);
        }
        state.complete_upload(&set, &effects);
        let applied =
            set.changes.iter().zip(effects).map(|(change, effect)| state.apply(&set, change, effect));
        Ok(Verdict::Committed(applied.collect()))
    }

    async fn append(&self, draft: AuditDraft) -> Result<(), Fault> {
        let mut state = self.state();
        state.admit_id(draft.id)?;
        state.append(&draft);
        Ok(())
    }
}

impl JournalState {
    /// Returns true if every object of the set is live and of the staging that the change names.
    fn is_staged(&self, set: &ChangeSet) -> bool {
        set.changes.iter().map(|change| &change.content).all(|content| match &content.blob {
            Some(Blob { hash, location: BlobLocation::Object(_), .. }) => {
                let live = self.blobs.get(hash).is_some_and(|stored| stored.state == BlobState::Live);
                let staging = self.guards.get(hash).and_then(|guard| guard.staging);
                live && staging.is_some() && staging == content.staging
            }
            Some(_) | None => true,
        })
    }

    fn upload_is_open(&self, id: UploadId) -> bool {
        self.uploads.get(&id).is_some_and(|(upload, _)| upload.done.is_none())
    }

    fn complete_upload(&mut self, set: &ChangeSet, effects: &[Effect]) {
        let row = set.upload.and_then(|id| self.uploads.get_mut(&id));
        let content = set.changes.first().and_then(|change| change.content.present());
        if let (Some((upload, _)), Some((hash, _)), Some(effect)) = (row, content, effects.first()) {
            upload.done = Some(Completion { effect: *effect, hash });
        }
    }

    fn admit_id(&self, id: EntryId) -> Result<(), Fault> {
        if self.entry_ids.contains(&id.to_string()) {
            return Err(Fault::internal(format!("audit entry {id} exists")));
        }
        Ok(())
    }

    /// The effect of every change, or the first refusal.
    fn decide(&self, set: &ChangeSet) -> Result<Vec<Effect>, (usize, Refusal)> {
        if let Some(book) = self.books.get(&set.book).filter(|book| book.schema != set.schema) {
            return Err((0, Refusal::schema_fixed(book.schema)));
        }
        // The names that earlier changes of the set created or deleted.
        let mut names: HashMap<String, Option<&BookPath>> = HashMap::new();
        let mut effects = Vec::with_capacity(set.changes.len());
        for (index, change) in set.changes.iter().enumerate() {
            let now = self.files.get(&key(set, change)).map(|row| row.hash);
            self.check_base(set, change).map_err(|refusal| (index, refusal))?;
            let effect = decide(now, change.target(), change.expected).map_err(|refusal| (index, refusal))?;
            match effect {
                Effect::Created => {
                    self.admit_name(set, &change.path, &names).map_err(|refusal| (index, refusal))?;
                    names.insert(change.path.folded(), Some(&change.path));
                }
                Effect::Deleted => {
                    names.insert(change.path.folded(), None);
                }
                Effect::Updated | Effect::Unchanged => {}
            }
            effects.push(effect);
        }
        Ok(effects)
    }

    /// Refuses a change that was made from another content of the base than it has now.
    fn check_base(&self, set: &ChangeSet, change: &Change) -> Result<(), Refusal> {
        let base = FileKey { layer: Layer::Base, ..key(set, change) };
        let now = self.files.get(&base).map(|row| row.hash);
        match change.base {
            Some(made_from) if now != Some(made_from) => Err(Refusal::base_changed(now)),
            _ => Ok(()),
        }
    }

    /// Refuses a new path that differs only by case from another of its layer, or of the base below
    /// its overlay.
    fn admit_name(
        &self,
        set: &ChangeSet,
        path: &BookPath,
        names: &HashMap<String, Option<&BookPath>>,
    ) -> Result<(), Refusal> {
        let folded = path.folded();
        let stored = |layer: &Layer| self.names.get(&(set.book.clone(), layer.clone(), folded.clone()));
        let beside = names.get(&folded).copied().unwrap_or_else(|| stored(&set.layer));
        let below = if set.layer == Layer::Base { None } else { stored(&Layer::Base) };
        match [beside, below].into_iter().flatten().find(|other| *other != path) {
            None if set.schema.may_collide(path) => self.admit_nesting(set, path, names),
            None => Ok(()),
            Some(other) => Err(Refusal::case_twin(path, other.as_str())),
        }
    }

    /// Refuses a file that would lie under another, or another under it.
    fn admit_nesting(
        &self,
        set: &ChangeSet,
        path: &BookPath,
        names: &HashMap<String, Option<&BookPath>>,
    ) -> Result<(), Refusal> {
        let ours = self.names.iter().filter(|((book, layer, _), _)| *book == set.book && *layer == set.layer);
        let stored = ours.map(|((_, _, folded), path)| (folded, path));
        let kept = stored.filter(|(folded, _)| !names.contains_key(*folded));
        let below = self.names.iter().filter(|((book, layer, _), _)| {
            *book == set.book && *layer == Layer::Base && set.layer != Layer::Base
        });
        let kept = kept.chain(below.map(|((_, _, folded), path)| (folded, path)));
        let taken = names.iter().filter_map(|(folded, path)| Some((folded, (*path)?)));
        let folded = path.folded();
        let near = |other: &str| lies_under(other, &folded) || lies_under(&folded, other);
        match kept.chain(taken).find(|(other, _)| near(other)) {
            None => Ok(()),
            Some((_, other)) => Err(Refusal::nested(path, other.as_str())),
        }
    }

    fn ensure_book(&mut self, set: &ChangeSet) {
        let created_at = self.now();
        self.books.entry(set.book.clone()).or_insert_with(|| Book {
            id: set.book.clone(),
            schema: set.schema,
            created_at,
        });
    }

    fn apply(&mut self, set: &ChangeSet, change: &Change, effect: Effect) -> Applied {
        let key = key(set, change);
        let old = self.files.get(&key).map(|row| row.hash);
        if let Some(blob) = &change.content.blob {
            self.bring(blob);
        }
        let mut applied = change.applied(effect);
        let at = self.append(&set.audit_draft(change, effect, old));
        if effect == Effect::Unchanged {
            return applied;
        }
        self.version += 1;
        let version = self.version;
        let (hash, size, agent) = (applied.hash, applied.size, set.agent.clone());
        let past = Past {
            hash,
            size,
            at,
            version,
            agent,
            operation: change.operation,
            change: set.id,
            message: set.message.as_ref().map(|message| message.as_str().to_owned()),
            moved_from: change.moved_from.clone(),
            kept_until: None,
        };
        self.versions.entry(key.clone()).or_default().push(past);
        let name = (key.book.clone(), key.layer.clone(), key.path.folded());
        if let Some(hash) = hash {
            self.names.insert(name, key.path.clone());
            self.files.insert(key.clone(), Row { hash, size, written_at: at, version });
        } else {
            self.names.remove(&name);
            self.files.remove(&key);
        }
        let leased = self.pend(&key, version, set.lease);
        applied.publication = leased.then_some(Publication { key, version, lease: set.lease });
        applied
    }
}

fn key(set: &ChangeSet, change: &Change) -> FileKey {
    FileKey { book: set.book.clone(), path: change.path.clone(), layer: set.layer.clone() }
}
