//! State of every file and object in the journal, for comparison with the storage.

use std::collections::HashMap;

use async_trait::async_trait;
use panaversity_model::blob::StoredBlob;
use panaversity_model::layer::BASE;
use panaversity_model::path::folders_above;
use panaversity_model::ports::FileInventory;
use panaversity_model::publication::FileKey;
use panaversity_model::storage_listing::PublishedFile;
use panaversity_model::{BookId, BookPath, ContentHash, Fault};

use super::publications::key_values;
use super::rows::{self, BLOB};
use super::{SqlJournal, retried};
use crate::database::{Durability, Row, Value, placeholders, power_of_two_chunks, values_list};

/// Columns read by [`record`], of a journal row `f` and its publication `p`, which is looked up for each.
const RECORD: &str = "SELECT f.book_id, f.path, f.user_id, f.sha256, f.size, f.version, \
    CASE WHEN (SELECT p.state FROM publications p WHERE p.book_id = f.book_id AND p.path = f.path \
    AND p.user_id = f.user_id) = 'pending' THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END AS is_pending \
    FROM file_journal f";

fn record(row: &Row) -> Result<PublishedFile, Fault> {
    let key = rows::file_key(row)?;
    rows::read("read a journal row", || {
        let (raw_hash, size) = (row.text("sha256")?, rows::unsigned(row.int("size")?));
        let (version, pending) = (row.int("version")?, row.int("is_pending")? == 1);
        Ok(rows::hash(&raw_hash).map(|hash| PublishedFile {
            key,
            held: Some((hash, size)),
            version,
            pending,
        }))
    })
}

fn limited(limit: usize) -> Value {
    Value::Int(i64::try_from(limit).unwrap_or(i64::MAX))
}

#[async_trait]
impl FileInventory for SqlJournal {
    async fn records(
        &self,
        book: Option<&BookId>,
        after: Option<&FileKey>,
        limit: usize,
    ) -> Result<Vec<PublishedFile>, Fault> {
        let [mut from, path, user] = after.map_or(["", "", ""].map(Value::from), key_values);
        let mut of_book = "";
        if let Some(book) = book {
            // Not as an equality, of which PostgreSQL would expect so few rows that it would sort them.
            of_book = "AND f.book_id <= $1";
            from = book.as_str().into();
        }
        let sql = format!(
            "{RECORD} WHERE (f.book_id, f.user_id, f.path) > ($1, $2, $3) {of_book} \
             ORDER BY f.book_id, f.user_id, f.path LIMIT $4"
        );
        let values = vec![from, user, path, limited(limit)];
        self.read("list files", &sql, values).await?.iter().map(record).collect()
    }

    async fn records_of(&self, keys: &[FileKey]) -> Result<Vec<PublishedFile>, Fault> {
        let mut found = HashMap::new();
        for some in power_of_two_chunks(keys) {
            let list = values_list(1, some.len(), 3);
            let values: Vec<Value> = some.iter().flat_map(key_values).collect();
            let files = format!("{RECORD} WHERE (f.book_id, f.path, f.user_id) IN (VALUES {list})");
            for row in &self.read("look up files", &files, values.clone()).await? {
                let record = record(row)?;
                found.insert(record.key.clone(), record);
            }
            // Read after the files: a file changed in between is pending.
            let pending = format!(
                "SELECT book_id, path, user_id, version FROM publications \
                 WHERE state = 'pending' AND (book_id, path, user_id) IN (VALUES {list})"
            );
            for row in &self.read("look up what is pending", &pending, values).await? {
                let (key, version) =
                    (rows::file_key(row)?, rows::read("read a version", || Ok(Ok(row.int("version")?)))?);
                let gone = PublishedFile { key: key.clone(), held: None, version, pending: true };
                found.entry(key).or_insert(gone).pending = true;
            }
        }
        Ok(found.into_values().collect())
    }

    async fn conflicting_path(&self, key: &FileKey) -> Result<Option<BookPath>, Fault> {
        let folded = key.path.folded();
        let of_layers =
            |folded: &str| [key.layer.as_str(), BASE].map(|user| rows::name(key.book.as_str(), user, folded));
        let mut values: Vec<Value> = vec![key.path.as_str().into()];
        values.extend(of_layers(&folded).map(Value::from));
        let mut parts = vec![format!("f.path <> $1 AND {} IN ($2, $3)", rows::NAME)];
        for name in of_layers(&folded) {
            let n = values.len();
            parts.push(format!("f.path <> $1 AND {0} >= ${1} AND {0} < ${2}", rows::NAME, n + 1, n + 2));
            // `0` is the byte after `/`.
            values.extend([format!("{name}/"), format!("{name}0")].map(Value::from));
        }
        let above: Vec<Value> = folders_above(&folded).flat_map(of_layers).map(Value::from).collect();
        if !above.is_empty() {
            parts.push(format!("{} IN ({})", rows::NAME, placeholders(values.len() + 1, above.len())));
            values.extend(above);
        }
        // Each subquery is one index lookup.
        let parts = parts.iter().enumerate().map(|(n, condition)| {
            format!("SELECT * FROM (SELECT f.path FROM file_journal f WHERE {condition} LIMIT 1) p{n}")
        });
        let sql = parts.collect::<Vec<_>>().join(" UNION ALL ");
        let found = self.read("look for a path in the way", &sql, values).await?;
        found.first().map(|row| rows::read("read a path", || Ok(rows::path(&row.text("path")?)))).transpose()
    }

    async fn republish(&self, keys: &[FileKey]) -> Result<(), Fault> {
        let mut keys: Vec<&FileKey> = keys.iter().collect();
        keys.sort();
        for some in power_of_two_chunks(&keys) {
            // Leases are dropped: their holders may have put the bytes before these were lost.
            let sql = format!(
                "INSERT INTO publications (book_id, path, user_id, version, state) \
                 SELECT f.book_id, f.path, f.user_id, f.version, 'pending' FROM file_journal f \
                 WHERE (f.book_id, f.path, f.user_id) IN (VALUES {}) ORDER BY f.book_id, f.path, f.user_id \
                 ON CONFLICT (book_id, path, user_id) DO UPDATE SET state = 'pending', lease = NULL, \
                 lease_until = NULL, version = CASE WHEN excluded.version > publications.version \
                 THEN excluded.version ELSE publications.version END",
                values_list(1, some.len(), 3)
            );
            let values: Vec<Value> = some.iter().flat_map(|key| key_values(key)).collect();
            retried("publish files again", || async {
                let mut session = self.db.begin(Durability::Kill).await?;
                session.execute(sql.as_str(), values.clone()).await?;
                session.commit().await
            })
            .await?;
        }
        Ok(())
    }

    async fn retained_objects(
        &self,
        after: Option<ContentHash>,
        limit: usize,
    ) -> Result<Vec<StoredBlob>, Fault> {
        let sql = format!(
            "SELECT {BLOB} FROM blobs b WHERE b.hash > $1 AND b.deflated IS NULL AND b.state <> 'condemned' \
             AND EXISTS (SELECT 1 FROM versions v WHERE v.sha256 = b.hash) ORDER BY b.hash LIMIT $2"
        );
        let after = after.map_or(String::new(), |hash| hash.to_string());
        let found = self.read("list objects", &sql, vec![after.into(), limited(limit)]).await?;
        found.iter().map(rows::blob).collect()
    }

    async fn files_with_hash(&self, hash: ContentHash, limit: usize) -> Result<Vec<FileKey>, Fault> {
        let sql = "SELECT f.book_id, f.path, f.user_id FROM file_journal f \
                   JOIN versions v ON v.book_id = f.book_id AND v.path = f.path AND v.user_id = f.user_id \
                   AND v.version = f.version WHERE v.sha256 = $1 LIMIT $2";
        let values = vec![hash.to_string().into(), limited(limit)];
        self.read("look who holds a blob", sql, values).await?.iter().map(rows::file_key).collect()
    }
}
