//! In-memory books.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use panaversity_model::audit::{AuditDraft, AuditEntry};
use panaversity_model::layer::BASE;
use panaversity_model::ports::{Books, Creation};
use panaversity_model::{Book, BookId, Fault, Layer, Schema, Timestamp};

use super::MemoryJournal;

#[async_trait]
impl Books for MemoryJournal {
    async fn book(&self, id: &BookId) -> Result<Option<Book>, Fault> {
        Ok(self.state().books.get(id).cloned())
    }

    async fn books(&self, after: Option<&BookId>, limit: usize) -> Result<Vec<Book>, Fault> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state();
        let later = state.books.range::<BookId, _>((from, Bound::Unbounded));
        Ok(later.map(|(_, book)| book.clone()).take(limit).collect())
    }

    async fn create_book(
        &self,
        id: &BookId,
        schema: Option<Schema>,
        record: &AuditDraft,
    ) -> Result<Creation, Fault> {
        let mut state = self.state();
        let in_base = state.rows(id).any(|(key, _)| key.layer == Layer::Base);
        let empty = state.rows(id).next().is_none();
        let created_at = state.now();
        let creation = match state.books.get_mut(id) {
            None => {
                let book = Book { id: id.clone(), schema: schema.unwrap_or_default(), created_at };
                state.books.insert(id.clone(), book.clone());
                Creation::Created(book)
            }
            Some(book) if schema.is_none_or(|wanted| wanted == book.schema) => {
                return Ok(Creation::Existed(book.clone()));
            }
            Some(book) if in_base || (!empty && schema == Some(Schema::Strict)) => {
                return Ok(Creation::Fixed(book.clone()));
            }
            Some(book) => {
                book.schema = schema.unwrap_or_default();
                Creation::Changed(book.clone())
            }
        };
        state.append(record);
        Ok(creation)
    }

    async fn delete_book(&self, id: &BookId, record: &AuditDraft) -> Result<bool, Fault> {
        let mut state = self.state();
        if state.rows(id).next().is_some() || state.books.remove(id).is_none() {
            return Ok(false);
        }
        state.append(record);
        Ok(true)
    }

    async fn last_changed(&self, id: &BookId) -> Result<Option<Timestamp>, Fault> {
        let state = self.state();
        let base = state.chains.iter().filter(|(chain, _)| chain.book == id.as_str() && chain.user == BASE);
        let of_the_book = |entry: &&AuditEntry| entry.path.is_empty() && entry.change_id.is_some();
        let changes = base.flat_map(|(_, entries)| entries).filter(|it| it.is_change() || of_the_book(it));
        Ok(changes.map(|entry| entry.timestamp).max())
    }

    async fn journal_counts(&self) -> Result<Vec<(BookId, i64)>, Fault> {
        let mut counts = BTreeMap::new();
        for key in self.state().files.keys() {
            *counts.entry(key.book.clone()).or_default() += 1;
        }
        Ok(counts.into_iter().collect())
    }
}
