//! Changes of a view since a moment. Keeps R5, and the guarantee of
//! [`delta`](panaversity_model::delta): a caller that queries again from `complete_until` misses
//! nothing.
//!
//! # Protocol
//! 1. Determine a moment that no unseen change precedes, *before* the rows are read.
//!    - On `SQLite` there is one writer: begin a write transaction and read the time. Earlier writers
//!      have committed; later writers get a later time.
//!    - On PostgreSQL every transaction of changes first takes a shared advisory lock whose key encodes
//!      the current moment, and only then the times of its changes; the lock is released when its
//!      commit is visible. So the moment is the earliest one among these locks, or now if there is
//!      none: a transaction that locks after the query gets a later time.
//! 2. Only then take the snapshot and read the rows.
//!
//! Changes are read from the audit log, which contains an entry of each, written in the same transaction
//! with the same time, and never loses one.

use panaversity_model::delta::{ChangedFile, Delta, Shown};
use panaversity_model::{BookId, BookPath, Fault, Layer, Timestamp, View};

use super::{SqlJournal, now, retried, rows};
use crate::database::{Dialect, Durability, Row, Sql, SqlError, Value, fault};

/// The lock's key has two halves, unlike all other advisory locks of this program. The first half is the
/// second in which it was taken, counted from 2020-01-01, so that it fits until 2088; the lower 20 bits
/// of the other are the microseconds, the upper ones this mark, to distinguish it from locks of other
/// programs in the database.
const FROM: i64 = 1_577_836_800;
const MARK: i64 = 1_617;

/// SQL expression that takes the lock of step 1 on PostgreSQL, for the rest of the transaction.
pub(super) fn watermark_lock() -> String {
    format!(
        "(SELECT pg_advisory_xact_lock_shared(CAST(floor(t) - {FROM} AS INT), \
         CAST(floor((t - floor(t)) * 1000000) AS INT) + {}) \
         FROM (SELECT extract(epoch FROM clock_timestamp()) AS t) AS moment)",
        MARK << 20
    )
}

impl SqlJournal {
    /// Reads a delta, by the protocol of this module.
    pub(super) async fn delta(
        &self,
        book: &BookId,
        view: &View,
        since: Timestamp,
        after: Option<&BookPath>,
        limit: usize,
    ) -> Result<Delta, Fault> {
        let complete_until = self.complete_until().await?;
        let values = vec![
            book.as_str().into(),
            view.top().as_str().into(),
            since.into(),
            after.map_or("", |path| path.as_str()).into(),
            Value::Int(i64::try_from(limit).unwrap_or(i64::MAX)),
        ];
        let found = self.read("read what has changed", &changes_sql(), values).await?;
        let total = found.first().map_or(Ok(0), |row| row.int("total"));
        let total = total.map_err(|error| fault("read what has changed", &error))?;
        let files = found.iter().map(|row| changed_file(row, view)).collect::<Result<_, _>>()?;
        Ok(Delta { files, total: usize::try_from(total).unwrap_or(0), complete_until })
    }

    /// Step 1 of the protocol.
    pub(super) async fn complete_until(&self) -> Result<Timestamp, Fault> {
        match self.db.dialect() {
            Dialect::Sqlite => {
                retried("take the writer's turn", || async {
                    let mut turn = self.db.begin(Durability::Kill).await?;
                    let at = now(&self.db, &mut turn).await?;
                    turn.commit().await?;
                    Ok(at)
                })
                .await
            }
            Dialect::Postgres => {
                // A separate statement: within a snapshot the locks would be read after it was taken. The
                // statement's time is that of its arrival, before the locks are read.
                let sql = format!(
                    "SELECT least(statement_timestamp(), min(to_timestamp({FROM} + CAST(classid AS BIGINT)) \
                     + (CAST(objid AS BIGINT) & 1048575) * interval '1 microsecond')) AS complete_until \
                     FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 \
                     AND CAST(objid AS BIGINT) >> 20 = {MARK} \
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                );
                let found = self.read("look for changes under way", &sql, Vec::new()).await?;
                let at = found.first().map_or(Err(SqlError::RowNotFound), |row| row.time("complete_until"));
                at.map_err(|error| fault("look for changes under way", &error))
            }
        }
    }
}

/// Columns read by [`rows::file`].
const FILE_COLUMNS: [&str; 7] =
    ["path", "user_id", "sha256", "size", "last_written_at", "storage_backend", "version"];

/// SQL of a delta: the total count; of each path the time of the last change in any layer of the view
/// and in its top one, and the journal row that the view shows, or NULLs. An entry without hashes
/// changed nothing. A change of the base below a file of the overlay is not visible. The entries are selected
/// by their time before they are grouped; without that limit `SQLite` reads all chains in the order of paths.
fn changes_sql() -> String {
    // No column of a journal row is NULL.
    let shown = FILE_COLUMNS.map(|name| format!("coalesce(t.{name}, b.{name}) AS {name}")).join(", ");
    format!(
        "SELECT count(*) OVER () AS total, c.path AS changed_path, c.changed_at, c.changed_on_top, {shown} \
         FROM (SELECT book_id, path, max(timestamp) AS changed_at, \
               max(CASE WHEN user_id = $2 THEN timestamp END) AS changed_on_top \
               FROM (SELECT book_id, path, user_id, timestamp FROM audit_log \
                     WHERE book_id = $1 AND user_id IN ($2, '__base__') AND timestamp >= $3 \
                     AND change_id IS NOT NULL AND coalesce(new_content_hash, old_content_hash) IS NOT NULL \
                     LIMIT {}) AS recent WHERE path > $4 GROUP BY book_id, path) c \
         LEFT JOIN file_journal t ON t.book_id = c.book_id AND t.user_id = $2 AND t.path = c.path \
         LEFT JOIN file_journal b ON b.book_id = c.book_id AND b.user_id = '__base__' AND b.path = c.path \
         WHERE c.changed_on_top IS NOT NULL OR t.path IS NULL \
         ORDER BY c.path LIMIT $5",
        i64::MAX
    )
}

fn changed_file(row: &Row, view: &View) -> Result<ChangedFile, Fault> {
    let read = || -> Sql<_> {
        let (at, on_top) = (row.time("changed_at")?, row.optional_time("changed_on_top")?);
        Ok((row.text("changed_path")?, at, on_top, row.optional_text("path")?.is_some()))
    };
    let read = read().map_err(|error| fault("read what has changed", &error));
    let (path, at, on_top, is_shown) = read?;
    let now = if is_shown {
        Shown::File(rows::file(row)?)
    } else {
        let layer = if on_top == Some(at) { view.top().clone() } else { Layer::Base };
        Shown::Gone { at, layer }
    };
    Ok(ChangedFile { path: rows::path(&path)?, now })
}
