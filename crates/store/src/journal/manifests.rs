//! Manifests: what the base of a book holds, and which states were named.

use async_trait::async_trait;
use panaversity_model::manifest::{Item, ManifestRow, Stamp};
use panaversity_model::ports::Manifests;
use panaversity_model::{BookId, ContentHash, Fault};

use super::{SqlJournal, rows};
use crate::database::{Row, Sql, Value, fault};

// Answered by the index on versions alone.
const STAMP: &str = "SELECT count(*), CAST(coalesce(sum(version), 0) AS BIGINT), coalesce(max(version), 0) \
                     FROM file_journal WHERE book_id = $1 AND user_id = '__base__'";

#[async_trait]
impl Manifests for SqlJournal {
    async fn stamp(&self, book: &BookId) -> Result<Stamp, Fault> {
        let found = self.read("read a stamp", STAMP, vec![book.as_str().into()]).await?;
        found.first().map_or(Ok(Stamp::default()), stamp).map_err(|error| fault("read a stamp", &error))
    }

    async fn rows(&self, book: &BookId, above: i64) -> Result<(Stamp, Vec<ManifestRow>), Fault> {
        let newer = "SELECT path, sha256, size, version FROM file_journal \
                     WHERE book_id = $1 AND user_id = '__base__' AND version > $2";
        let run = async {
            let mut session = self.db.snapshot().await?;
            let found = session.row(STAMP, vec![book.as_str().into()]).await?;
            let stamp = found.as_ref().map_or(Ok(Stamp::default()), stamp)?;
            let found = session.rows(newer, vec![book.as_str().into(), Value::Int(above)]).await?;
            session.commit().await?;
            Ok((stamp, found))
        };
        let (stamp, found) = run.await.map_err(|error| fault("read a manifest", &error))?;
        Ok((stamp, found.iter().map(manifest_row).collect::<Result<_, _>>()?))
    }

    async fn keep(&self, book: &BookId, hash: ContentHash, encoded: &[u8]) -> Result<(), Fault> {
        let sql = format!(
            "INSERT INTO manifests (book_id, hash, body, named_at) VALUES ($1, $2, $3, {}) \
             ON CONFLICT (book_id, hash) DO UPDATE SET named_at = excluded.named_at",
            self.db.now_sql()
        );
        let body = Value::Bytes(Some(encoded.to_vec()));
        let values = vec![book.as_str().into(), hash.to_string().into(), body];
        self.write("keep a manifest", &sql, values).await.map(|_| ())
    }

    async fn kept(&self, book: &BookId, hash: ContentHash) -> Result<Option<Vec<u8>>, Fault> {
        let sql = "SELECT body FROM manifests WHERE book_id = $1 AND hash = $2";
        let values = vec![book.as_str().into(), hash.to_string().into()];
        let found = self.read("read a kept manifest", sql, values).await?;
        found
            .first()
            .map(|row| row.bytes(0))
            .transpose()
            .map_err(|error| fault("read a kept manifest", &error))
    }
}

fn stamp(row: &Row) -> Sql<Stamp> {
    Ok(Stamp { count: row.int(0)?, sum: row.int(1)?, highest: row.int(2)? })
}

fn manifest_row(row: &Row) -> Result<ManifestRow, Fault> {
    rows::read("read a manifest row", || {
        let (path, raw_hash, size, version) = (row.text(0)?, row.text(1)?, row.int(2)?, row.int(3)?);
        let size = u64::try_from(size).unwrap_or(0);
        Ok(rows::hash(&raw_hash).map(|hash| ManifestRow { path, item: Item { hash, size, version } }))
    })
}
