//! Reading the current and the former versions of files in one layer.

use std::collections::HashMap;

use panaversity_model::Fault;
use panaversity_model::file::FileMetadata;
use panaversity_model::ids::ChangeId;
use panaversity_model::publication::FileKey;
use panaversity_model::version::FileVersion;

use super::SqlJournal;
use super::lists::{LISTED, list, listed};
use super::publications::key_values;
use super::rows::{self, FILE};
use crate::database::Row;

impl SqlJournal {
    /// Implements [`current_metadata`](panaversity_model::ports::Changes::current_metadata).
    pub(super) async fn metadata_of(&self, keys: &[FileKey]) -> Result<Vec<Option<FileMetadata>>, Fault> {
        let mut found = HashMap::with_capacity(keys.len());
        let columns = format!(
            "f.book_id, {FILE}, b.state, \
             CASE WHEN b.deflated IS NULL THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END AS in_object"
        );
        for some in keys.chunks(LISTED) {
            let (sql, values) = if let [key] = some {
                let sql = format!(
                    "SELECT {columns} FROM file_journal f LEFT JOIN blobs b ON b.hash = f.sha256 \
                     WHERE f.book_id = $1 AND f.path = $2 AND f.user_id = $3"
                );
                (sql, key_values(key).to_vec())
            } else {
                let sql = format!(
                    "WITH w AS ({}) SELECT {columns} FROM w CROSS JOIN file_journal f \
                     LEFT JOIN blobs b ON b.hash = f.sha256 \
                     WHERE f.book_id = w.book_id AND f.path = w.path AND f.user_id = w.user_id",
                    listed(self.db.dialect(), 1, &["book_id", "path", "user_id"])
                );
                let row = |key: &FileKey| {
                    [key.book.as_str(), key.path.as_str(), key.layer.as_str()].map(str::to_owned)
                };
                (sql, vec![list(some.iter().map(row))])
            };
            for row in self.read("read what changes would replace", &sql, values).await? {
                found.insert(rows::file_key(&row)?, rows::metadata(&row)?);
            }
        }
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    /// Implements [`versions`](panaversity_model::ports::Changes::versions).
    pub(super) async fn versions_of(
        &self,
        key: &FileKey,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<FileVersion>, Fault> {
        let sql = "SELECT path, version, sha256, size, at, agent_id, operation, change_id, message, moved_from \
             FROM versions WHERE book_id = $1 AND path = $2 AND user_id = $3 AND version < $4 \
             ORDER BY version DESC LIMIT $5";
        let mut values = key_values(key).to_vec();
        values.push(before.unwrap_or(i64::MAX).into());
        values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
        let found = self.read("read the versions of a file", sql, values).await?;
        found.iter().map(version).collect()
    }
}

fn version(row: &Row) -> Result<FileVersion, Fault> {
    rows::read("read a version", || {
        let (path, hash, agent) = (row.text("path")?, row.optional_text("sha256")?, row.text("agent_id")?);
        let (change, moved_from) = (row.text("change_id")?, row.optional_text("moved_from")?);
        let (version, size, at) = (row.int("version")?, rows::unsigned(row.int("size")?), row.time("at")?);
        let (operation, message) = (row.text("operation")?, row.optional_text("message")?);
        Ok((|| {
            let unknown = || Fault::corrupt(format!("a stored change set does not parse: `{change}`"));
            Ok(FileVersion {
                path: rows::path(&path)?,
                version,
                hash: hash.map(|hash| rows::hash(&hash)).transpose()?,
                size,
                at,
                agent: rows::agent(&agent)?,
                operation,
                change: ChangeId::from_stored(&change).ok_or_else(unknown)?,
                message,
                moved_from: moved_from.map(|path| rows::path(&path)).transpose()?,
            })
        })())
    })
}
