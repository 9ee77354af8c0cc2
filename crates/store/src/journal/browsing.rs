//! Reading books in pages: children of folders, and changes by time. Keeps R5: every query names only the
//! layers of the view.
//!
//! The children of a folder are found one after the other: each step searches the index for the first path
//! behind all that the child before it holds. So the cost is that of the children, however much lies below
//! them.

use std::collections::BTreeMap;

use async_trait::async_trait;
use panaversity_model::audit::AuditEntry;
use panaversity_model::browsing::{ChangeFilter, ChildPosition, DayCount, FolderChild};
use panaversity_model::path::Folder;
use panaversity_model::ports::Browsing;
use panaversity_model::{BookId, Fault, Layer, Timestamp, View};

use super::SqlJournal;
use super::rows::{self, ENTRY, FILE};
use crate::database::{Dialect, Row, SqlError, Value, fault};

#[async_trait]
impl Browsing for SqlJournal {
    async fn children(
        &self,
        book: &BookId,
        folder: &Folder,
        view: &View,
        after: Option<&ChildPosition>,
        limit: usize,
    ) -> Result<Vec<FolderChild>, Fault> {
        let sql = children_sql(self.db.dialect());
        let layers = if view.top() == &Layer::Base {
            vec![Layer::Base]
        } else {
            vec![Layer::Base, view.top().clone()]
        };
        let run = async {
            let mut session = self.db.snapshot().await?;
            let queued: Vec<_> = layers
                .iter()
                .map(|layer| session.queue(sql.clone(), page(book, layer, folder, after, limit)))
                .collect();
            let mut answers = session.finish().await?;
            Ok::<_, SqlError>(queued.into_iter().flat_map(|one| answers.take(one)).collect::<Vec<Row>>())
        };
        let found = run.await.map_err(|error| fault("list a folder", &error))?;
        let mut children = BTreeMap::new();
        for row in &found {
            let child = child(folder, row)?;
            // The overlay comes after the base, and takes precedence.
            children.insert(child.position(), child);
        }
        Ok(children.into_values().take(limit).collect())
    }

    async fn file_counts(
        &self,
        book: &BookId,
        layer: &Layer,
        folders: &[Folder],
        most: usize,
    ) -> Result<Vec<usize>, Fault> {
        let sql = "SELECT count(*) AS files FROM (SELECT 1 AS one FROM file_journal f WHERE f.book_id = $1 \
                   AND f.user_id = $2 AND f.path > $3 AND f.path < $4 LIMIT $5) found";
        let run = async {
            let mut session = self.db.snapshot().await?;
            let queued: Vec<_> = folders
                .iter()
                .map(|folder| {
                    let (from, to) = bounds(folder);
                    let place = [book.as_str().into(), layer.as_str().into(), from.into(), to.into()];
                    session.queue(sql, place.into_iter().chain([int(most)]).collect())
                })
                .collect();
            let mut answers = session.finish().await?;
            let count = |one| answers.take(one).first().map_or(Ok(0), |row| row.int("files"));
            queued.into_iter().map(count).collect::<Result<Vec<i64>, SqlError>>()
        };
        let counts = run.await.map_err(|error| fault("count files", &error))?;
        Ok(counts.into_iter().map(|count| usize::try_from(count).unwrap_or(0)).collect())
    }

    async fn change_entries(
        &self,
        filter: &ChangeFilter,
        most: usize,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, Fault> {
        let mut values: Vec<Value> = vec![
            filter.book.as_str().into(),
            filter.layer.as_str().into(),
            filter.from.into(),
            filter.to.into(),
            int(most),
            int(limit),
        ];
        let mut wanted = "coalesce(new_content_hash, old_content_hash) IS NOT NULL".to_owned();
        if let Some(change) = filter.change {
            values.push(change.to_string().into());
            wanted.push_str(" AND change_id = $7");
        }
        // Selected by time first, so that the rows that are looked through are bounded.
        let sql = format!(
            "SELECT {ENTRY} FROM (SELECT {ENTRY} FROM audit_log WHERE book_id = $1 AND user_id = $2 \
             AND change_id IS NOT NULL AND timestamp >= $3 AND timestamp <= $4 \
             ORDER BY timestamp DESC LIMIT $5) recent WHERE {wanted} ORDER BY timestamp DESC LIMIT $6"
        );
        let found = self.read("read changes", &sql, values).await?;
        found.iter().map(rows::entry).collect()
    }

    async fn changes_per_day(
        &self,
        books: &[BookId],
        since: Timestamp,
        most: usize,
    ) -> Result<Vec<Vec<DayCount>>, Fault> {
        let day = match self.db.dialect() {
            Dialect::Sqlite => "CAST(julianday(substr(timestamp, 1, 10)) - 2440587.5 AS INTEGER)",
            Dialect::Postgres => "CAST(floor(extract(epoch FROM timestamp) / 86400) AS BIGINT)",
        };
        let sql = format!(
            "SELECT day, count(*) AS changes FROM (SELECT {day} AS day FROM audit_log WHERE book_id = $1 \
             AND user_id = '__base__' AND change_id IS NOT NULL AND timestamp >= $2 \
             ORDER BY timestamp DESC LIMIT $3) recent GROUP BY day ORDER BY day"
        );
        let run = async {
            let mut session = self.db.snapshot().await?;
            let queued: Vec<_> = books
                .iter()
                .map(|book| session.queue(sql.clone(), vec![book.as_str().into(), since.into(), int(most)]))
                .collect();
            let mut answers = session.finish().await?;
            let days = |one| answers.take(one).iter().map(day_count).collect::<Result<Vec<_>, SqlError>>();
            queued.into_iter().map(days).collect::<Result<Vec<_>, SqlError>>()
        };
        run.await.map_err(|error: SqlError| fault("count changes", &error))
    }
}

/// SQL of one layer's children of a folder: of each child the file, or of a folder the first file below it. The files
/// are looked up one by one, as those of a [list](super::lists): `w` hides book and layer from PostgreSQL's planner.
/// Parameters: those of [`page`].
fn children_sql(dialect: Dialect) -> String {
    let place = match dialect {
        Dialect::Sqlite => "instr",
        Dialect::Postgres => "strpos",
    };
    let slash = format!("{place}(substr(step.path, CAST($6 AS INT) + 1), '/')");
    let beyond = format!(
        "CASE WHEN {slash} = 0 THEN step.path \
         ELSE substr(step.path, 1, CAST($6 AS INT) + {slash}) || $7 END"
    );
    let first_after = |bound: &str| {
        format!(
            "(SELECT f.path FROM file_journal f WHERE f.book_id = $1 AND f.user_id = $2 AND f.path > {bound} \
             AND f.path < $4 ORDER BY f.path LIMIT 1)"
        )
    };
    format!(
        "WITH RECURSIVE step (n, path) AS (SELECT CAST(1 AS BIGINT), {} UNION ALL SELECT step.n + 1, {} FROM step \
         WHERE step.path IS NOT NULL AND step.n < $5), \
         w AS MATERIALIZED (SELECT n, path, CAST($1 AS TEXT) AS book_id, CAST($2 AS TEXT) AS user_id FROM step \
         WHERE path IS NOT NULL AND n BETWEEN 1 AND 1000000) \
         SELECT {FILE} FROM w CROSS JOIN file_journal f \
         WHERE f.book_id = w.book_id AND f.user_id = w.user_id AND f.path = w.path ORDER BY w.n",
        first_after("$3"),
        first_after(&beyond)
    )
}

/// Parameters of [`children_sql`]: book, layer, bounds of the paths, both exclusive, number of children,
/// length of the folder's path with its slash in characters, and what sorts behind every name.
fn page(
    book: &BookId,
    layer: &Layer,
    folder: &Folder,
    after: Option<&ChildPosition>,
    limit: usize,
) -> Vec<Value> {
    let (mut from, to) = bounds(folder);
    let length = from.chars().count();
    if let Some(after) = after {
        from = from.max(after.bound());
    }
    vec![
        book.as_str().into(),
        layer.as_str().into(),
        from.into(),
        to.into(),
        int(limit),
        int(length),
        char::MAX.to_string().into(),
    ]
}

/// Bounds of the paths below a folder, both exclusive.
fn bounds(folder: &Folder) -> (String, String) {
    let (from, to) = folder.range();
    // Every path sorts below `\u{10ffff}`.
    (from, to.unwrap_or_else(|| char::MAX.to_string()))
}

fn int(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The child of the folder that a file is, or lies below.
fn child(folder: &Folder, row: &Row) -> Result<FolderChild, Fault> {
    let record = rows::file(row)?;
    let depth = if folder.as_str().is_empty() { 1 } else { folder.as_str().split('/').count() + 1 };
    let below = record.path.segments().count() > depth;
    let inner = Folder::prefix_of(&record.path, depth).filter(|_| below);
    Ok(inner.map_or(FolderChild::File(record), FolderChild::Folder))
}

fn day_count(row: &Row) -> Result<DayCount, SqlError> {
    Ok(DayCount { day: row.int("day")?, changes: rows::unsigned(row.int("changes")?) })
}
