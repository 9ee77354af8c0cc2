//! Blob rows.

use async_trait::async_trait;
use panaversity_model::blob::{Blob, BlobLocation, BlobState, StoredBlob};
use panaversity_model::gc::Staged;
use panaversity_model::ids::StagingId;
use panaversity_model::ports::Blobs;
use panaversity_model::{ContentHash, Fault};

use super::gc::staged_until;
use super::rows::{self, BLOB};
use super::{SqlJournal, retried};
use crate::database::{Durability, Value, fault, placeholders};

/// Number of blobs read in one statement.
const AT_ONCE: usize = 64;

/// Columns of [`values`].
pub(super) const COLUMNS: &str = "hash, size, crc32, state, touched_at, deflated, chunks";

/// Values of a blob row in the given state, without `touched_at`, which is the database's time.
pub(super) fn values(blob: &Blob, state: BlobState) -> [Value; 6] {
    let (deflated, chunks) = match &blob.location {
        BlobLocation::Inline(deflated) => (Some(deflated.clone()), None),
        BlobLocation::Object(chunks) => {
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
    async fn stage(&self, blob: &Blob, staging: StagingId) -> Result<Staged, Fault> {
        let (now, until) = (self.db.now_sql(), staged_until(self.db.dialect()));
        let sql = format!(
            // Live inline bytes stay, because the object is not put yet.
            "INSERT INTO blobs ({COLUMNS}, staging, staged_until) VALUES ($1, $2, $3, $4, {now}, $5, $6, $7, {until}) \
             ON CONFLICT (hash) DO UPDATE SET state = excluded.state, touched_at = excluded.touched_at, \
             deflated = CASE WHEN blobs.state = 'live' AND blobs.deflated IS NOT NULL \
             THEN blobs.deflated ELSE excluded.deflated END, chunks = excluded.chunks, \
             size = excluded.size, crc32 = excluded.crc32, \
             staging = CASE WHEN blobs.state = 'condemned' THEN excluded.staging \
             ELSE coalesce(blobs.staging, excluded.staging) END, \
             staged_until = excluded.staged_until, condemned_until = NULL \
             WHERE blobs.condemned_until IS NULL OR blobs.condemned_until <= {now} RETURNING staging"
        );
        let mut values = values(blob, BlobState::Live).to_vec();
        values.push(staging.to_string().into());
        let row = retried("stage a blob", || async {
            let mut session = self.db.begin(Durability::Kill).await?;
            let row = session.row(sql.as_str(), values.clone()).await?;
            session.commit().await?;
            Ok(row)
        })
        .await?;
        let Some(row) = row else { return Ok(Staged::BeingDeleted) };
        let stored = row.text("staging").map_err(|error| fault("stage a blob", &error))?;
        let staging = StagingId::from_stored(&stored);
        staging.map(Staged::Ready).ok_or_else(|| Fault::corrupt(format!("`{stored}` is no staging")))
    }

    async fn mark(&self, hash: ContentHash, state: BlobState) -> Result<(), Fault> {
        let sql = "UPDATE blobs SET state = $2 WHERE hash = $1 AND state <> 'condemned'";
        let values = vec![hash.to_string().into(), state.as_str().into()];
        self.write("mark a blob", sql, values).await.map(|_| ())
    }

    async fn blobs(&self, hashes: &[ContentHash]) -> Result<Vec<StoredBlob>, Fault> {
        let mut found = Vec::with_capacity(hashes.len());
        for some in hashes.chunks(AT_ONCE) {
            // Padded with the last hash, so that all chunks have the same statement text.
            let padded = some.iter().chain(std::iter::repeat(&some[some.len() - 1])).take(AT_ONCE);
            let sql = format!("SELECT {BLOB} FROM blobs b WHERE b.hash IN ({})", placeholders(1, AT_ONCE));
            let values = padded.map(|hash| hash.to_string().into()).collect();
            for row in &self.read("read blobs", &sql, values).await? {
                found.push(rows::blob(row)?);
            }
        }
        Ok(found)
    }

    async fn is_referenced(&self, hash: ContentHash) -> Result<bool, Fault> {
        let sql = "SELECT 1 FROM versions WHERE sha256 = $1 LIMIT 1";
        let found = self.read("look who names a blob", sql, vec![hash.to_string().into()]).await?;
        Ok(!found.is_empty())
    }

    async fn damaged(&self) -> Result<i64, Fault> {
        let sql = "SELECT count(*) AS blobs FROM blobs b WHERE b.state <> 'live' AND b.state IN ('missing', 'corrupt') \
                   AND EXISTS (SELECT 1 FROM file_journal f WHERE f.sha256 = b.hash)";
        let rows = self.read("count damaged blobs", sql, Vec::new()).await?;
        rows.first()
            .map_or(Ok(0), |row| row.int("blobs"))
            .map_err(|error| fault("count damaged blobs", &error))
    }
}
