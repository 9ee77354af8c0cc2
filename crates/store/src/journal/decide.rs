//! Decides a batch of changes and audit entries in memory, against rows that are locked in the
//! database. Keeps I8 and I10: each member is checked against the result of earlier members, and a
//! refused one has no effect.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use panaversity_model::audit::{AuditDraft, AuditEntry, ChainKey};
use panaversity_model::blob::{Blob, BlobLocation};
use panaversity_model::change::{Applied, Change, ChangeContent, ChangeSet, Verdict};
use panaversity_model::ids::{LeaseId, UploadId};
use panaversity_model::layer::BASE;
use panaversity_model::path::{folders_above, lies_under};
use panaversity_model::precondition::{Effect, decide};
use panaversity_model::publication::{FileKey, Publication};
use panaversity_model::upload::Completion;
use panaversity_model::{BookPath, ContentHash, Refusal, Schema, Timestamp};

/// Members of one transaction.
pub(super) struct Batch<'a> {
    pub(super) sets: Vec<&'a ChangeSet>,
    pub(super) drafts: Vec<&'a AuditDraft>,
}

/// Case-folded name in a layer: book, user, folded path.
pub(super) type FoldedKey = (String, String, String);

/// State of a chain's row.
#[derive(Debug, Clone)]
pub(super) struct ChainState {
    pub(super) tip: Option<String>,
    pub(super) count: i64,
    pub(super) version: i64,
    pub(super) last_at: Option<Timestamp>,
}

/// A row of the journal.
#[derive(Debug, Clone)]
pub(super) struct FileState {
    pub(super) hash: ContentHash,
    pub(super) size: i64,
    pub(super) at: Timestamp,
    pub(super) version: i64,
    pub(super) folded: String,
}

/// Locked rows, updated as the batch is decided.
pub(super) struct State {
    pub(super) now: Timestamp,
    /// Fresh versions, one for each change of the batch.
    pub(super) versions: std::vec::IntoIter<i64>,
    pub(super) schemas: HashMap<String, Schema>,
    pub(super) chains: HashMap<ChainKey, ChainState>,
    /// Current content of the locked paths.
    pub(super) files: HashMap<ChainKey, ContentHash>,
    /// Existing path of each folded name.
    pub(super) names: HashMap<FoldedKey, String>,
    /// Open uploads among those of the batch.
    pub(super) open_uploads: HashSet<UploadId>,
}

/// Names that earlier changes of a set have taken, by folded path, and freed.
#[derive(Default)]
struct Names<'a> {
    taken: HashMap<String, &'a BookPath>,
    freed: HashSet<&'a str>,
}

/// Rows to be written for a batch.
#[derive(Default)]
pub(super) struct Writes {
    pub(super) books: BTreeMap<String, Schema>,
    pub(super) files: BTreeMap<ChainKey, Option<FileState>>,
    pub(super) versions: Vec<VersionRow>,
    pub(super) entries: Vec<AuditEntry>,
    pub(super) publications: BTreeMap<ChainKey, (i64, LeaseId)>,
    pub(super) chains: BTreeSet<ChainKey>,
    pub(super) uploads: Vec<(UploadId, Completion)>,
}

/// A row of the versions.
pub(super) struct VersionRow {
    pub(super) key: ChainKey,
    pub(super) version: i64,
    pub(super) hash: Option<ContentHash>,
    pub(super) size: i64,
    pub(super) at: Timestamp,
    pub(super) agent: String,
    pub(super) operation: &'static str,
    pub(super) change: String,
    pub(super) message: Option<String>,
    pub(super) moved_from: Option<String>,
}

impl Batch<'_> {
    /// Chains to lock.
    pub(super) fn chain_keys(&self) -> BTreeSet<ChainKey> {
        let of_sets = self.sets.iter().flat_map(|set| set.changes.iter().map(|c| key_of(set, &c.path)));
        let of_bases = self.sets.iter().flat_map(|set| {
            set.changes
                .iter()
                .filter(|change| change.base.is_some())
                .map(|change| base_key(set, &change.path))
        });
        of_sets.chain(of_bases).chain(self.drafts.iter().map(|draft| draft.chain())).collect()
    }

    /// Names that changes of this batch must not collide with.
    pub(super) fn folded_keys(&self) -> BTreeSet<FoldedKey> {
        let mut keys = BTreeSet::new();
        for set in &self.sets {
            for change in &set.changes {
                keys.insert(folded_key(set, set.layer.as_str(), &change.path));
                keys.insert(folded_key(set, BASE, &change.path));
                if set.schema.may_collide(&change.path) {
                    let (book, user, folded) = folded_key(set, set.layer.as_str(), &change.path);
                    for name in folders_above(&folded) {
                        for layer in [user.as_str(), BASE] {
                            keys.insert((book.clone(), layer.to_owned(), name.to_owned()));
                        }
                    }
                }
            }
        }
        keys
    }

    /// Blobs that changes refer to, in locking order.
    pub(super) fn blobs(&self) -> BTreeMap<ContentHash, &Blob> {
        let changes = self.sets.iter().flat_map(|set| &set.changes);
        changes.filter_map(|change| change.content.blob.as_ref()).map(|blob| (blob.hash, blob)).collect()
    }

    /// Uploads that sets complete, in locking order.
    pub(super) fn uploads(&self) -> BTreeSet<UploadId> {
        self.sets.iter().filter_map(|set| set.upload).collect()
    }

    pub(super) fn books(&self) -> BTreeSet<&str> {
        self.sets.iter().map(|set| set.book.as_str()).collect()
    }

    pub(super) fn change_count(&self) -> usize {
        self.sets.iter().map(|set| set.changes.len()).sum()
    }
}

pub(super) fn key_of(set: &ChangeSet, path: &BookPath) -> ChainKey {
    ChainKey {
        book: set.book.as_str().to_owned(),
        path: path.as_str().to_owned(),
        user: set.layer.as_str().to_owned(),
    }
}

fn base_key(set: &ChangeSet, path: &BookPath) -> ChainKey {
    ChainKey { user: BASE.to_owned(), ..key_of(set, path) }
}

/// True if the set's objects are staged under its stagings. An object may have been condemned, and even
/// staged by another writer, since its staging.
fn is_staged(set: &ChangeSet, live: &HashMap<String, Option<String>>) -> bool {
    set.changes.iter().map(|change| &change.content).all(|content| match &content.blob {
        Some(blob) if matches!(blob.location, BlobLocation::Object(_)) => {
            let held = live.get(&blob.hash.to_string()).and_then(Option::as_deref);
            held.is_some() && held == content.staging.map(|staging| staging.to_string()).as_deref()
        }
        Some(_) | None => true,
    })
}

/// Result of the single change of a set that completes an upload.
fn completion(set: &ChangeSet, effects: &[(Effect, Option<ContentHash>)]) -> Option<Completion> {
    let (effect, _) = effects.first()?;
    let (hash, _) = set.changes.first()?.content.present()?;
    Some(Completion { effect: *effect, hash })
}

pub(super) fn folded_key(set: &ChangeSet, user: &str, path: &BookPath) -> FoldedKey {
    (set.book.as_str().to_owned(), user.to_owned(), path.folded())
}

impl State {
    /// Decides a set; `live` contains the live objects with their stagings. Each changed path gets a
    /// publication, which holds only if the lease on the path is obtained.
    pub(super) fn decide(
        &mut self,
        set: &ChangeSet,
        live: &HashMap<String, Option<String>>,
        writes: &mut Writes,
    ) -> Verdict {
        if set.upload.is_some_and(|upload| !self.open_uploads.contains(&upload)) {
            return Verdict::UploadOver;
        }
        if !is_staged(set, live) {
            return Verdict::Unstaged;
        }
        let applied = self.apply(set, writes);
        applied.map_or_else(|(index, refusal)| Verdict::Refused(index, refusal), Verdict::Committed)
    }

    /// Decides a set against the result of earlier members; applies it as a whole or not at all.
    fn apply(&mut self, set: &ChangeSet, writes: &mut Writes) -> Result<Vec<Applied>, (usize, Refusal)> {
        if let Some(schema) = self.schemas.get(set.book.as_str())
            && *schema != set.schema
        {
            let why = format!("The book has just been given the schema `{}`: try again", schema.as_str());
            return Err((0, Refusal::Conflict { why, current: None, details: None }));
        }
        let mut effects = Vec::with_capacity(set.changes.len());
        let mut names = Names::default();
        for (index, change) in set.changes.iter().enumerate() {
            let now = self.files.get(&key_of(set, &change.path)).copied();
            self.check_base(set, change).map_err(|refusal| (index, refusal))?;
            let effect = decide(now, change.target(), change.expected).map_err(|refusal| (index, refusal))?;
            match effect {
                Effect::Created => {
                    self.check_name(set, &change.path, &names).map_err(|refusal| (index, refusal))?;
                    names.taken.insert(change.path.folded(), &change.path);
                }
                Effect::Deleted => drop(names.freed.insert(change.path.as_str())),
                Effect::Updated | Effect::Unchanged => {}
            }
            effects.push((effect, now));
        }
        if effects.iter().any(|(effect, _)| *effect == Effect::Created)
            && !self.schemas.contains_key(set.book.as_str())
        {
            self.schemas.insert(set.book.as_str().to_owned(), set.schema);
            writes.books.insert(set.book.as_str().to_owned(), set.schema);
        }
        if let Some(upload) = set.upload {
            self.open_uploads.remove(&upload);
            writes.uploads.extend(completion(set, &effects).map(|completion| (upload, completion)));
        }
        let at = self.time_of(set);
        let pairs = set.changes.iter().zip(effects);
        Ok(pairs.map(|(change, (effect, old))| self.write(set, change, effect, old, at, writes)).collect())
    }

    /// Time of all entries of a set, strictly after the last of each of its chains: the feed of changes
    /// orders sets by it.
    fn time_of(&self, set: &ChangeSet) -> Timestamp {
        let chains = set.changes.iter().filter_map(|change| self.chains.get(&key_of(set, &change.path)));
        self.now.strictly_after(chains.filter_map(|chain| chain.last_at).max())
    }

    /// Refuses a change that was made from another content of the base than it has now.
    fn check_base(&self, set: &ChangeSet, change: &Change) -> Result<(), Refusal> {
        let Some(made_from) = change.base else { return Ok(()) };
        match self.files.get(&base_key(set, &change.path)) {
            Some(now) if *now == made_from => Ok(()),
            now => Err(Refusal::base_changed(now.copied())),
        }
    }

    /// Refuses a name that differs only by case from an existing one, or from one the set has taken,
    /// unless the set has freed it. Files in other users' overlays do not count, and are not revealed.
    fn check_name(&self, set: &ChangeSet, path: &BookPath, names: &Names<'_>) -> Result<(), Refusal> {
        let own = self.names.get(&folded_key(set, set.layer.as_str(), path));
        let own = own.filter(|name| !names.freed.contains(name.as_str()));
        let base = self.names.get(&folded_key(set, BASE, path)).filter(|_| set.layer.as_str() != BASE);
        let taken = names.taken.get(&path.folded()).map(|taken| taken.as_str());
        let others = own.into_iter().chain(base).map(String::as_str).chain(taken);
        match others.into_iter().find(|other| *other != path.as_str()) {
            None if set.schema.may_collide(path) => self.check_nesting(set, path, names),
            None => Ok(()),
            Some(other) => Err(Refusal::case_twin(path, other)),
        }
    }

    /// Refuses a file that would lie below another, or another below it: of its layer, and for an
    /// overlay also of the base.
    fn check_nesting(&self, set: &ChangeSet, path: &BookPath, names: &Names<'_>) -> Result<(), Refusal> {
        let (book, user, folded) = folded_key(set, set.layer.as_str(), path);
        let stored = self.names.iter().filter(|((of, layer, _), name)| {
            let is_own = *layer == user && !names.freed.contains(name.as_str());
            *of == book && (is_own || (*layer == BASE && user != BASE))
        });
        let stored = stored.map(|((_, _, other), name)| (other, name.as_str()));
        let taken = names.taken.iter().map(|(other, name)| (other, name.as_str()));
        match stored.chain(taken).find(|(other, _)| lies_under(other, &folded) || lies_under(&folded, other))
        {
            None => Ok(()),
            Some((_, other)) => Err(Refusal::nested(path, other)),
        }
    }

    fn write(
        &mut self,
        set: &ChangeSet,
        change: &Change,
        effect: Effect,
        old: Option<ContentHash>,
        at: Timestamp,
        writes: &mut Writes,
    ) -> Applied {
        let key = key_of(set, &change.path);
        let mut applied = change.applied(effect);
        let (hash, size) = (applied.hash, i64::try_from(applied.size).unwrap_or(i64::MAX));
        self.link_at(at, &set.audit_draft(change, effect, old), writes);
        if effect == Effect::Unchanged {
            return applied;
        }
        // As many versions were drawn as the batch has changes.
        let version = self.versions.next().unwrap_or_default();
        if let Some(chain) = self.chains.get_mut(&key) {
            chain.version = version;
        }
        let folded = change.path.folded();
        let name = (key.book.clone(), key.user.clone(), folded.clone());
        let row = hash.map(|hash| FileState { hash, size, at, version, folded });
        if let Some(row) = &row {
            self.files.insert(key.clone(), row.hash);
            self.names.insert(name, key.path.clone());
        } else {
            self.files.remove(&key);
            self.names.remove(&name);
        }
        writes.versions.push(VersionRow {
            key: key.clone(),
            version,
            hash,
            size,
            at,
            agent: set.agent.as_str().to_owned(),
            operation: change.operation.as_str(),
            change: set.id.to_string(),
            message: set.message.as_ref().map(|message| message.as_str().to_owned()),
            moved_from: change.moved_from.as_ref().map(|path| path.as_str().to_owned()),
        });
        writes.files.insert(key.clone(), row);
        writes.publications.insert(key, (version, set.lease));
        let key = FileKey { book: set.book.clone(), path: change.path.clone(), layer: set.layer.clone() };
        applied.publication = Some(Publication { key, version, lease: set.lease });
        applied
    }

    /// Links the entry of a call to its chain, strictly after the chain's last.
    pub(super) fn link(&mut self, draft: &AuditDraft, writes: &mut Writes) {
        let last = self.chains.get(&draft.chain()).and_then(|chain| chain.last_at);
        self.link_at(self.now.strictly_after(last), draft, writes);
    }

    /// Links an entry to its chain, with a time after the chain's last.
    fn link_at(&mut self, at: Timestamp, draft: &AuditDraft, writes: &mut Writes) {
        let key = draft.chain();
        let fresh = ChainState { tip: None, count: 0, version: 0, last_at: None };
        let chain = self.chains.entry(key.clone()).or_insert(fresh);
        let entry = draft.seal(at, chain.tip.as_deref());
        chain.tip = Some(entry.entry_hash.clone());
        chain.count += 1;
        chain.last_at = Some(at);
        writes.entries.push(entry);
        writes.chains.insert(key);
    }
}

#[cfg(test)]
mod tests {
    use panaversity_model::{BookId, Layer};
    use panaversity_testkit::samples;
    use proptest::prelude::*;

    use super::*;

    /// Two lessons, and two assets whose names differ only by case.
    const PATHS: [&str; 4] = [
        "content/01-Part/01-Chapter/01-lesson.md",
        "content/01-Part/01-Chapter/02-lesson.md",
        "static/img/cover.png",
        "static/img/Cover.png",
    ];

    /// One of three contents, or `None`.
    fn any_text() -> impl Strategy<Value = Option<u8>> {
        prop::option::of(0u8..3)
    }

    fn any_set() -> impl Strategy<Value = ChangeSet> {
        let change = (any_text(), any_text());
        (0..2usize, prop::collection::btree_map(0..PATHS.len(), change, 1..=3)).prop_map(
            |(layer, changes)| {
                let changes = changes.into_iter().map(|(at, (text, expected))| {
                    let expected = expected.map(|text| ContentHash::of(&[text]));
                    let path = samples::path(PATHS[at]);
                    match text {
                        Some(text) => samples::write(&path, &[text], expected),
                        None => samples::delete(&path, expected),
                    }
                });
                let layer = [Layer::Base, samples::overlay("reader")][layer].clone();
                let book = BookId::parse("ai-python").unwrap();
                samples::change_set(&book, &layer, changes.collect())
            },
        )
    }

    /// Decides the sets as one batch on an empty journal; returns the verdicts, and all that they leave.
    fn decided<'a>(sets: impl IntoIterator<Item = &'a ChangeSet>) -> (Vec<Verdict>, State, Writes) {
        let mut state = State {
            now: Timestamp::from_micros(0),
            versions: (1..=100).collect::<Vec<_>>().into_iter(),
            schemas: HashMap::new(),
            chains: HashMap::new(),
            files: HashMap::new(),
            names: HashMap::new(),
            open_uploads: HashSet::new(),
        };
        let mut writes = Writes::default();
        let verdicts = sets.into_iter().map(|set| state.decide(set, &HashMap::new(), &mut writes)).collect();
        (verdicts, state, writes)
    }

    proptest! {
        #[test]
        fn the_entries_of_a_set_have_one_time_after_all_that_its_files_had(
            sets in prop::collection::vec(any_set(), 1..8),
        ) {
            let (_, _, writes) = decided(&sets);
            let (mut times, mut chains) = (HashMap::new(), HashMap::new());
            for entry in &writes.entries {
                // A set of one change that changed nothing names no change set.
                if let Some(change) = &entry.change_id {
                    prop_assert_eq!(*times.entry(change).or_insert(entry.timestamp), entry.timestamp);
                }
                let last = chains.insert(entry.chain(), entry.timestamp);
                prop_assert!(last.is_none_or(|last| last < entry.timestamp));
            }
        }

        #[test]
        fn i10_a_refused_member_leaves_no_trace_in_its_batch(sets in prop::collection::vec(any_set(), 1..8)) {
            let (verdicts, state, writes) = decided(&sets);
            let (accepted, verdicts): (Vec<_>, Vec<_>) = sets
                .iter()
                .zip(verdicts)
                .filter(|(_, verdict)| matches!(verdict, Verdict::Committed(_)))
                .unzip();
            let (alone, same_state, same_writes) = decided(accepted);
            prop_assert_eq!(verdicts, alone, "without the refused ones nothing is refused");
            prop_assert_eq!(&state.files, &same_state.files);
            prop_assert_eq!(&state.names, &same_state.names);
            prop_assert_eq!(&state.schemas, &same_state.schemas);
            prop_assert_eq!(&writes.entries, &same_writes.entries);
            prop_assert_eq!(&writes.chains, &same_writes.chains);
            prop_assert_eq!(&writes.publications, &same_writes.publications);
            prop_assert_eq!(&writes.books, &same_writes.books);
        }
    }
}
