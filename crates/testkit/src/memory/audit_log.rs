//! In-memory queries of the audit log.

use std::cmp::Reverse;
use std::ops::Bound;

use async_trait::async_trait;
use panaversity_model::audit::{AuditEntry, ChainKey, EntryFilter, EntryPosition};
use panaversity_model::chain::ChainRecord;
use panaversity_model::ports::AuditLog;
use panaversity_model::publication::FileKey;
use panaversity_model::{BookId, BookPath, ContentHash, Fault, Layer, Timestamp};

use super::{JournalState, MemoryJournal};

#[async_trait]
impl AuditLog for MemoryJournal {
    async fn entries(
        &self,
        filter: &EntryFilter,
        after: Option<&EntryPosition>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, Fault> {
        let state = self.state();
        let mut entries: Vec<_> =
            state.chains.values().flatten().filter(|entry| admits(filter, entry)).collect();
        entries.sort_by_key(|entry| Reverse(position(entry)));
        let older = entries
            .into_iter()
            .filter(|entry| after.is_none_or(|after| position(entry) < (after.timestamp, after.id.as_str())));
        Ok(older.take(limit).cloned().collect())
    }

    async fn chains(
        &self,
        layer: Option<&Layer>,
        book: Option<&BookId>,
        after: Option<&ChainKey>,
        limit: usize,
    ) -> Result<Vec<ChainRecord>, Fault> {
        let state = self.state();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let following = state.chains.range::<ChainKey, _>((from, Bound::Unbounded)).map(|(key, _)| key);
        let wanted = following
            .filter(|key| layer.is_none_or(|layer| layer.as_str() == key.user))
            .filter(|key| book.is_none_or(|book| book.as_str() == key.book));
        Ok(wanted.filter_map(|key| state.chain(key)).take(limit).collect())
    }

    async fn chain(&self, key: &ChainKey) -> Result<Option<ChainRecord>, Fault> {
        Ok(self.state().chain(key))
    }

    async fn chain_entries(
        &self,
        key: &ChainKey,
        after: Option<&EntryPosition>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, Fault> {
        let state = self.state();
        let entries = state.chains.get(key).into_iter().flatten();
        let newer = entries
            .filter(|entry| after.is_none_or(|after| position(entry) > (after.timestamp, after.id.as_str())));
        Ok(newer.take(limit).cloned().collect())
    }

    async fn entries_of_chains(&self, keys: &[&ChainKey], limit: usize) -> Result<Vec<AuditEntry>, Fault> {
        let state = self.state();
        let chains = state.chains.iter().filter(|(key, _)| keys.contains(key));
        Ok(chains.flat_map(|(_, entries)| entries).take(limit).cloned().collect())
    }

    async fn orphaned_chains(
        &self,
        layer: Option<&Layer>,
        book: Option<&BookId>,
        limit: usize,
    ) -> Result<Vec<ChainKey>, Fault> {
        let state = self.state();
        let keys = state.files.keys().map(chain_of);
        let keys = keys.filter(|key| layer.is_none_or(|layer| key.user == layer.as_str()));
        let keys = keys.filter(|key| book.is_none_or(|book| key.book == book.as_str()));
        Ok(keys.filter(|key| !state.chains.contains_key(key)).take(limit).collect())
    }

    async fn chains_since(&self, since: Timestamp, limit: usize) -> Result<Vec<ChainKey>, Fault> {
        let state = self.state();
        let recent = state.chains.iter().filter(|(_, entries)| entries.iter().any(|e| e.timestamp >= since));
        Ok(recent.map(|(key, _)| key.clone()).take(limit).collect())
    }

    async fn now(&self) -> Result<Timestamp, Fault> {
        Ok(self.state().now())
    }
}

impl JournalState {
    fn chain(&self, key: &ChainKey) -> Option<ChainRecord> {
        let entries = self.chains.get(key)?;
        Some(ChainRecord {
            key: key.clone(),
            tip: entries.last().map(|entry| entry.entry_hash.clone()),
            count: i64::try_from(entries.len()).unwrap(),
            journal: self.journal(key).map(|hash| hash.to_string()),
        })
    }

    /// Hash of the current content of the file that a chain is about.
    fn journal(&self, key: &ChainKey) -> Option<ContentHash> {
        let file = FileKey {
            book: BookId::parse(&key.book).ok()?,
            path: BookPath::parse(&key.path).ok()?,
            layer: Layer::from_stored(&key.user).ok()?,
        };
        self.files.get(&file).map(|row| row.hash)
    }
}

fn position(entry: &AuditEntry) -> (Timestamp, &str) {
    (entry.timestamp, &entry.id)
}

fn chain_of(file: &FileKey) -> ChainKey {
    ChainKey {
        book: file.book.as_str().to_owned(),
        path: file.path.as_str().to_owned(),
        user: file.layer.as_str().to_owned(),
    }
}

fn admits(filter: &EntryFilter, entry: &AuditEntry) -> bool {
    let is = |wanted: Option<&str>, text: &str| wanted.is_none_or(|wanted| wanted == text);
    is(filter.book.as_ref().map(BookId::as_str), &entry.book_id)
        && is(filter.agent.as_deref(), &entry.agent_id)
        && is(filter.operation.as_deref(), &entry.operation)
        && is(filter.status.as_deref(), &entry.status)
        && is(filter.layer.as_ref().map(Layer::as_str), &entry.user_id)
        && filter.path_from.as_deref().is_none_or(|from| entry.path.as_str() >= from)
        && filter.path_to.as_deref().is_none_or(|to| entry.path.as_str() < to)
        && filter.from.is_none_or(|from| entry.timestamp >= from)
        && filter.to.is_none_or(|to| entry.timestamp <= to)
}
