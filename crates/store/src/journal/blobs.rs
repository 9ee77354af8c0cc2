//! Blob rows.

use async_trait::async_trait;
use panaversity_model::blob::{Blob, Health, Place, StoredBlob};
use panaversity_model::ports::Blobs;
use panaversity_model::{ContentHash, Fault};

use super::SqlJournal;
use super::rows::{self, BLOB};
use crate::database::{Value, fault, placeholders};

/// Blobs read in one statement.
const AT_ONCE: usize = 64;

/// The columns of [`values`].
pub(super) const COLUMNS: &str = "hash, size, crc32, state, touched_at, deflated, chunks";

/// A blob row in the given state, without `touched_at`, which is the database's time.
pub(super) fn values(blob: &Blob, state: Health) -> [Value; 6] {
    let (deflated, chunks) = match &blob.place {
        Place::Inline(deflated) => (Some(deflated.clone()), None),
        Place::Object(chunks) => {
            (None, Some(chunks.iter().flat_map(panaversity_model::ContentHash::as_bytes).copied().collect()))
        }
    };
    [
        blob.hash.to_string().into(),
        Value::Int(i64::try_from(blob.size).unwrap_or(i64::MAX)),
        Value::Int(i64::from(blob.crc32)),
        state.as_str().into(),
        Value::Bytes(deflated),
        Value::Bytes(chunks),
    ]
}

#[async_trait]
impl Blobs for SqlJournal {
    async fn stage(&self, blob: &Blob) -> Result<(), Fault> {
        let sql = format!(
            // Live inline bytes stay: the object that is to be put is not there yet.
            "INSERT INTO blobs ({COLUMNS}) VALUES ($1, $2, $3, $4, {}, $5, $6) \
             ON CONFLICT (hash) DO UPDATE SET state = excluded.state, touched_at = excluded.touched_at, \
             deflated = CASE WHEN blobs.state = 'live' AND blobs.deflated IS NOT NULL \
             THEN blobs.deflated ELSE excluded.deflated END, chunks = excluded.chunks",
            self.db.now_sql()
        );
        self.write("stage a blob", &sql, values(blob, Health::Live).to_vec()).await.map(|_| ())
    }

    async fn mark(&self, hash: ContentHash, health: Health) -> Result<(), Fault> {
        let sql = "UPDATE blobs SET state = $2 WHERE hash = $1 AND state <> 'condemned'";
        let values = vec![hash.to_string().into(), health.as_str().into()];
        self.write("mark a blob", sql, values).await.map(|_| ())
    }

    async fn blobs(&self, hashes: &[ContentHash]) -> Result<Vec<StoredBlob>, Fault> {
        let mut found = Vec::with_capacity(hashes.len());
        for some in hashes.chunks(AT_ONCE) {
            // The last hash again and again: one statement text for all chunks.
            let padded = some.iter().chain(std::iter::repeat(&some[some.len() - 1])).take(AT_ONCE);
            let sql = format!("SELECT {BLOB} FROM blobs b WHERE b.hash IN ({})", placeholders(1, AT_ONCE));
            let values = padded.map(|hash| hash.to_string().into()).collect();
            for row in &self.read("read blobs", &sql, values).await? {
                found.push(rows::blob(row, 0)?);
            }
        }
        Ok(found)
    }

    async fn damaged(&self) -> Result<i64, Fault> {
        let sql = "SELECT count(*) FROM blobs b WHERE b.state <> 'live' AND b.state IN ('missing', 'corrupt') \
                   AND EXISTS (SELECT 1 FROM file_journal f WHERE f.sha256 = b.hash)";
        let rows = self.read("count damaged blobs", sql, Vec::new()).await?;
        rows.first().map_or(Ok(0), |row| row.int(0)).map_err(|error| fault("count damaged blobs", &error))
    }
}
