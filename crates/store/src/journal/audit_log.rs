//! Reading the audit log and its chains.

use async_trait::async_trait;
use panaversity_model::audit::{AuditEntry, ChainKey, EntryFilter, EntryPosition};
use panaversity_model::chain::ChainRecord;
use panaversity_model::ports::AuditLog;
use panaversity_model::{BookId, Fault, Layer, Timestamp};

use super::lists::{list, listed};
use super::rows::{self, ENTRY};
use super::{SqlJournal, now};
use crate::database::{Row, Value, fault, placeholders};

const CHAIN: &str = "SELECT c.book_id, c.path, c.user_id, c.tip, c.count, \
    (SELECT f.sha256 FROM file_journal f WHERE f.book_id = c.book_id AND f.path = c.path \
    AND f.user_id = c.user_id) AS journal_hash FROM chains c";

#[async_trait]
impl AuditLog for SqlJournal {
    async fn entries(
        &self,
        filter: &EntryFilter,
        after: Option<&EntryPosition>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, Fault> {
        let mut wanted = Conditions::default();
        // Required by the index on the entries of books.
        wanted.add("id <> ''");
        wanted.require("book_id = ", filter.book.as_ref().map(|book| book.as_str().into()));
        wanted.require("path >= ", filter.path_from.clone().map(Value::from));
        wanted.require("path < ", filter.path_to.clone().map(Value::from));
        wanted.require("agent_id = ", filter.agent.clone().map(Value::from));
        wanted.require("operation = ", filter.operation.clone().map(Value::from));
        wanted.require("status = ", filter.status.clone().map(Value::from));
        wanted.require("user_id = ", filter.layer.as_ref().map(|layer| layer.as_str().into()));
        wanted.require("timestamp >= ", filter.from.map(Value::from));
        wanted.require("timestamp <= ", filter.to.map(Value::from));
        wanted.require_pair("(timestamp, id) < ", after);
        let sql = format!(
            "SELECT {ENTRY} FROM audit_log {} ORDER BY timestamp DESC, id DESC LIMIT {limit}",
            wanted.text
        );
        let found = self.read("query the audit log", &sql, wanted.values).await?;
        found.iter().map(rows::entry).collect()
    }

    async fn chains(
        &self,
        layer: Option<&Layer>,
        book: Option<&BookId>,
        after: Option<&ChainKey>,
        limit: usize,
    ) -> Result<Vec<ChainRecord>, Fault> {
        let mut wanted = Conditions::default();
        wanted.require("c.user_id = ", layer.map(|layer| layer.as_str().into()));
        wanted.require("c.book_id = ", book.map(|book| book.as_str().into()));
        match after {
            None => {}
            // Within a book the index is searched by the path.
            Some(after) if book.is_some() => wanted.after("(c.path, c.user_id)", &[&after.path, &after.user]),
            Some(after) => {
                let key = [after.book.as_str(), &after.path, &after.user];
                wanted.after("(c.book_id, c.path, c.user_id)", &key);
            }
        }
        let sql = format!("{CHAIN} {} ORDER BY c.book_id, c.path, c.user_id LIMIT {limit}", wanted.text);
        let found = self.read("read chains", &sql, wanted.values).await?;
        found.iter().map(rows::chain).collect()
    }

    async fn chain(&self, key: &ChainKey) -> Result<Option<ChainRecord>, Fault> {
        let sql = format!("{CHAIN} WHERE c.book_id = $1 AND c.path = $2 AND c.user_id = $3");
        let found = self.read("read a chain", &sql, key_values(key)).await?;
        found.first().map(rows::chain).transpose()
    }

    async fn chain_entries(
        &self,
        key: &ChainKey,
        after: Option<&EntryPosition>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, Fault> {
        let mut wanted = Conditions::default();
        wanted.require("book_id = ", Some(key.book.as_str().into()));
        wanted.require("path = ", Some(key.path.as_str().into()));
        wanted.require("user_id = ", Some(key.user.as_str().into()));
        wanted.require_pair("(timestamp, id) > ", after);
        let sql =
            format!("SELECT {ENTRY} FROM audit_log {} ORDER BY timestamp, id LIMIT {limit}", wanted.text);
        let found = self.read("read a chain's entries", &sql, wanted.values).await?;
        found.iter().map(rows::entry).collect()
    }

    async fn entries_of_chains(&self, keys: &[&ChainKey], limit: usize) -> Result<Vec<AuditEntry>, Fault> {
        let columns: Vec<_> = ENTRY.split(", ").map(|column| format!("a.{column}")).collect();
        let sql = format!(
            "WITH w AS ({}) SELECT {} FROM w CROSS JOIN audit_log a \
             WHERE a.book_id = w.book_id AND a.path = w.path AND a.user_id = w.user_id LIMIT $2",
            listed(self.db.dialect(), 1, &["book_id", "path", "user_id"]),
            columns.join(", ")
        );
        let named = list(keys.iter().map(|key| [key.book.clone(), key.path.clone(), key.user.clone()]));
        let values = vec![named, Value::Int(i64::try_from(limit).unwrap_or(i64::MAX))];
        let found = self.read("read the entries of chains", &sql, values).await?;
        let mut entries = found.iter().map(rows::entry).collect::<Result<Vec<_>, _>>()?;
        // They arrive chain by chain, almost in order; the database would sort them from the beginning.
        entries.sort_by(|a, b| {
            let chains = (&a.book_id, &a.path, &a.user_id).cmp(&(&b.book_id, &b.path, &b.user_id));
            chains.then_with(|| (a.timestamp, &a.id).cmp(&(b.timestamp, &b.id)))
        });
        Ok(entries)
    }

    async fn entry_count(&self, layer: Option<&Layer>, book: Option<&BookId>) -> Result<u64, Fault> {
        let mut wanted = Conditions::default();
        wanted.require("user_id = ", layer.map(|layer| layer.as_str().into()));
        wanted.require("book_id = ", book.map(|book| book.as_str().into()));
        let sql =
            format!("SELECT CAST(coalesce(sum(count), 0) AS BIGINT) AS entries FROM chains {}", wanted.text);
        let found = self.read("count audit entries", &sql, wanted.values).await?;
        let count = found.first().map_or(Ok(0), |row| row.int("entries"));
        let count = count.map_err(|error| fault("count audit entries", &error))?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    async fn orphaned_chains(
        &self,
        layer: Option<&Layer>,
        book: Option<&BookId>,
        limit: usize,
    ) -> Result<Vec<ChainKey>, Fault> {
        let mut wanted = Conditions::default();
        wanted.add(
            "NOT EXISTS (SELECT 1 FROM chains c \
             WHERE c.book_id = t.book_id AND c.path = t.path AND c.user_id = t.user_id)",
        );
        wanted.require("t.user_id = ", layer.map(|layer| layer.as_str().into()));
        wanted.require("t.book_id = ", book.map(|book| book.as_str().into()));
        let lone =
            |table: &str| format!("SELECT t.book_id, t.path, t.user_id FROM {table} t {}", wanted.text);
        let sql = format!("{} UNION {} LIMIT {limit}", lone("audit_log"), lone("file_journal"));
        keys(&self.read("look for lost chains", &sql, wanted.values).await?)
    }

    async fn chains_since(&self, since: Timestamp, limit: usize) -> Result<Vec<ChainKey>, Fault> {
        let sql = format!(
            // Selects by time first; without the inner query SQLite scans the index of the chains. Of a range with
            // two ends PostgreSQL expects few rows, and searches the index of times.
            "SELECT DISTINCT book_id, path, user_id FROM (SELECT book_id, path, user_id FROM audit_log \
             WHERE timestamp >= $1 AND timestamp < '9999-01-01T00:00:00.000000Z' ORDER BY timestamp LIMIT 50000) \
             AS recent LIMIT {limit}"
        );
        keys(&self.read("look for new entries", &sql, vec![since.into()]).await?)
    }

    async fn now(&self) -> Result<Timestamp, Fault> {
        let run = async {
            let mut session = self.db.read().await?;
            now(&self.db, &mut session).await
        };
        run.await.map_err(|error| fault("read the time", &error))
    }
}

fn keys(found: &[Row]) -> Result<Vec<ChainKey>, Fault> {
    found.iter().map(rows::chain_key).collect::<Result<_, _>>().map_err(|error| fault("read a chain", &error))
}

fn key_values(key: &ChainKey) -> Vec<Value> {
    [&key.book, &key.path, &key.user].map(|text| text.as_str().into()).to_vec()
}

/// Incrementally built `WHERE` clause.
#[derive(Default)]
struct Conditions {
    text: String,
    values: Vec<Value>,
}

impl Conditions {
    fn require(&mut self, condition: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.values.push(value);
            self.add(&format!("{condition}${}", self.values.len()));
        }
    }

    fn require_pair(&mut self, condition: &str, position: Option<&EntryPosition>) {
        if let Some(position) = position {
            let from = self.values.len() + 1;
            self.values.extend([position.timestamp.into(), position.id.as_str().into()]);
            self.add(&format!("{condition}(${from}, ${})", from + 1));
        }
    }

    fn after(&mut self, columns: &str, key: &[&str]) {
        let names = placeholders(self.values.len() + 1, key.len());
        self.values.extend(key.iter().map(|text| Value::from(*text)));
        self.add(&format!("{columns} > ({names})"));
    }

    fn add(&mut self, condition: &str) {
        self.text.push_str(if self.text.is_empty() { "WHERE " } else { " AND " });
        self.text.push_str(condition);
    }
}
