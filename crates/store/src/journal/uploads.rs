//! Rows of the uploads: created, read and deleted here. Completing an upload, exactly once, is part of
//! the commit.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use panaversity_model::ids::UploadId;
use panaversity_model::ports::Uploads;
use panaversity_model::precondition::Effect;
use panaversity_model::upload::{Announced, Completion, Upload};
use panaversity_model::{Fault, Timestamp};

use super::gc::seconds_from_now;
use super::{SqlJournal, retried, rows};
use crate::database::{
    Database, Dialect, Durability, Queued, Row, Session, Sql, SqlError, Value, placeholders,
    power_of_two_chunks,
};

/// Columns read by [`upload`].
const UPLOAD: &str =
    "id, book_id, path, agent_id, size, sha256, expected, created_at, expires_at, effect, hash";

#[async_trait]
impl Uploads for SqlJournal {
    async fn open_upload(&self, announced: &Announced, valid_for: Duration) -> Result<Upload, Fault> {
        let sql = format!(
            "INSERT INTO uploads (id, book_id, path, agent_id, size, sha256, expected, created_at, expires_at) \
             VALUES ({}, {}, {}) RETURNING {UPLOAD}",
            placeholders(1, 7),
            self.db.now_sql(),
            seconds_from_now(self.db.dialect(), valid_for.as_secs())
        );
        let values = vec![
            announced.id.to_string().into(),
            announced.book.as_str().into(),
            announced.path.as_str().into(),
            announced.agent.as_str().into(),
            Value::Int(i64::try_from(announced.size).unwrap_or(i64::MAX)),
            announced.sha256.map(|hash| hash.to_string()).into(),
            announced.expected.map(|hash| hash.to_string()).into(),
        ];
        let row = retried("open an upload", || async {
            let mut session = self.db.begin(Durability::PowerCut).await?;
            let row = session.row(sql.as_str(), values.clone()).await?;
            session.commit().await?;
            row.ok_or(SqlError::RowNotFound)
        })
        .await?;
        upload(&row)
    }

    async fn upload(&self, id: UploadId) -> Result<Option<Upload>, Fault> {
        let sql = format!("SELECT {UPLOAD} FROM uploads WHERE id = $1");
        let found = self.read("find an upload", &sql, vec![id.to_string().into()]).await?;
        found.first().map(upload).transpose()
    }

    async fn uploads_over(
        &self,
        expired_since: Timestamp,
        after: Option<UploadId>,
        limit: usize,
    ) -> Result<Vec<UploadId>, Fault> {
        let sql = "SELECT id FROM uploads WHERE expires_at <= $1 AND cleared_at IS NULL AND id > $2 \
                   ORDER BY id LIMIT $3";
        let after = after.map_or(String::new(), |id| id.to_string());
        let limit = Value::Int(i64::try_from(limit).unwrap_or(i64::MAX));
        let found = self.read("list uploads", sql, vec![expired_since.into(), after.into(), limit]).await?;
        found.iter().map(id).collect()
    }

    async fn clear_uploads(&self, ids: &[UploadId]) -> Result<(), Fault> {
        for some in power_of_two_chunks(ids) {
            let sql = format!(
                "UPDATE uploads SET cleared_at = {} WHERE id IN ({})",
                self.db.now_sql(),
                placeholders(1, some.len())
            );
            self.write("clear uploads", &sql, some.iter().map(|id| id.to_string().into()).collect()).await?;
        }
        Ok(())
    }

    async fn forget_uploads(&self, expired_since: Timestamp) -> Result<u64, Fault> {
        let sql = "DELETE FROM uploads WHERE expires_at <= $1 AND cleared_at IS NOT NULL";
        self.write("delete uploads", sql, vec![expired_since.into()]).await
    }

    async fn uncleared(&self, ids: &[UploadId]) -> Result<Vec<UploadId>, Fault> {
        let mut found = Vec::new();
        for some in power_of_two_chunks(ids) {
            let sql = format!(
                "SELECT id FROM uploads WHERE cleared_at IS NULL AND id IN ({})",
                placeholders(1, some.len())
            );
            let values = some.iter().map(|id| id.to_string().into()).collect();
            for row in &self.read("look uploads up", &sql, values).await? {
                found.push(id(row)?);
            }
        }
        Ok(found)
    }
}

/// Queues the locks of these uploads; [`open`] reads which are open. A concurrent completion is waited
/// for.
pub(super) fn lock_open(db: &Database, session: &mut Session, ids: &BTreeSet<UploadId>) -> Vec<Queued> {
    let ids: Vec<_> = ids.iter().copied().collect();
    let lock = if db.dialect() == Dialect::Postgres { "FOR UPDATE" } else { "" };
    let queue = |some: &[UploadId]| {
        let sql = format!(
            "SELECT id FROM uploads WHERE id IN ({}) AND hash IS NULL ORDER BY id {lock}",
            placeholders(1, some.len())
        );
        session.queue(sql, some.iter().map(|id| id.to_string().into()).collect())
    };
    power_of_two_chunks(&ids).into_iter().map(queue).collect()
}

/// Open uploads among those that were locked.
pub(super) fn open(session: &mut Session, locked: Vec<Queued>) -> Sql<HashSet<UploadId>> {
    let mut open = HashSet::new();
    for row in locked.into_iter().flat_map(|statement| session.take(statement)) {
        open.extend(UploadId::from_stored(&row.text("id")?));
    }
    Ok(open)
}

/// Queues the completion of locked uploads.
pub(super) fn note_done(session: &mut Session, done: &[(UploadId, Completion)]) {
    for (id, Completion { effect, hash }) in done {
        let sql = "UPDATE uploads SET effect = $2, hash = $3 WHERE id = $1";
        let values = vec![id.to_string().into(), effect.as_str().into(), hash.to_string().into()];
        session.queue(sql, values);
    }
}

fn id(row: &Row) -> Result<UploadId, Fault> {
    rows::read("read an upload's id", || {
        let raw = row.text("id")?;
        Ok(UploadId::from_stored(&raw).ok_or_else(|| Fault::corrupt(format!("`{raw}` is no upload"))))
    })
}

fn upload(row: &Row) -> Result<Upload, Fault> {
    rows::read("read an upload", || {
        let (book, path, agent) = (row.text("book_id")?, row.text("path")?, row.text("agent_id")?);
        let size = rows::unsigned(row.int("size")?);
        let (sha256, expected) = (row.optional_text("sha256")?, row.optional_text("expected")?);
        let (created_at, expires_at) = (row.time("created_at")?, row.time("expires_at")?);
        let (effect, hash) = (row.optional_text("effect")?, row.optional_text("hash")?);
        Ok((|| {
            let announced = Announced {
                id: id(row)?,
                book: rows::book_id(&book)?,
                path: rows::path(&path)?,
                agent: rows::agent(&agent)?,
                size,
                sha256: sha256.as_deref().map(rows::hash).transpose()?,
                expected: expected.as_deref().map(rows::hash).transpose()?,
            };
            let done = effect.zip(hash).map(|(effect, hash)| completion(&effect, &hash)).transpose()?;
            Ok(Upload { announced, created_at, expires_at, done })
        })())
    })
}

fn completion(effect: &str, hash: &str) -> Result<Completion, Fault> {
    let effect = Effect::from_stored(effect)
        .ok_or_else(|| Fault::corrupt(format!("an upload was completed as `{effect}`")))?;
    Ok(Completion { effect, hash: rows::hash(hash)? })
}
