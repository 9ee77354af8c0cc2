//! Reading files. Keeps R5: every query names only the layers of the view.

use std::fmt::Write;

use async_trait::async_trait;
use panaversity_model::asset::Asset;
use panaversity_model::blob::StoredBlob;
use panaversity_model::delta::Delta;
use panaversity_model::file::{BaseChange, FileRecord, Found, OverlaidFile};
use panaversity_model::path::{Folder, Prefix};
use panaversity_model::ports::Files;
use panaversity_model::{BookId, BookPath, ContentHash, Fault, Layer, Timestamp, View};

use super::SqlJournal;
use super::rows::{self, BLOB, FILE};
use crate::database::{Queued, Row, Session, SqlError, Value, fault};

#[async_trait]
impl Files for SqlJournal {
    async fn find(&self, book: &BookId, path: &BookPath, view: &View) -> Result<Option<Found>, Fault> {
        let sql = format!(
            "SELECT {FILE}, {BLOB} FROM file_journal f LEFT JOIN blobs b ON b.hash = f.sha256 \
             WHERE f.book_id = $1 AND f.user_id IN ($2, '__base__') AND f.path = $3 \
             ORDER BY f.user_id = '__base__' LIMIT 1"
        );
        let values = vec![book.as_str().into(), view.top().as_str().into(), path.as_str().into()];
        let found = self.read("find a file", &sql, values).await?;
        found.first().map(rows::found).transpose()
    }

    async fn find_overlaid(
        &self,
        book: &BookId,
        path: &BookPath,
        view: &View,
    ) -> Result<Option<OverlaidFile>, Fault> {
        let sql = format!(
            "SELECT {FILE}, {BLOB}, {} FROM file_journal f LEFT JOIN blobs b ON b.hash = f.sha256 \
             WHERE f.book_id = $1 AND f.user_id IN ($2, '__base__') AND f.path = $3 \
             ORDER BY f.user_id = '__base__' LIMIT 1",
            base_columns()
        );
        let values = vec![book.as_str().into(), view.top().as_str().into(), path.as_str().into()];
        let found = self.read("find a file", &sql, values).await?;
        let overlaid = |row| Ok(OverlaidFile { found: rows::found(row)?, base_change: base_change(row)? });
        found.first().map(overlaid).transpose()
    }

    async fn find_version(
        &self,
        book: &BookId,
        path: &BookPath,
        view: &View,
        hash: ContentHash,
    ) -> Result<Option<Found>, Fault> {
        let sql = format!(
            "SELECT f.path, f.user_id, f.sha256, f.size, f.at AS last_written_at, '' AS storage_backend, f.version, {BLOB} \
             FROM versions f LEFT JOIN blobs b ON b.hash = f.sha256 \
             WHERE f.book_id = $1 AND f.path = $2 AND f.user_id IN ($3, '__base__') AND f.sha256 = $4 \
             ORDER BY f.user_id = '__base__', f.version DESC LIMIT 1"
        );
        let values = vec![
            book.as_str().into(),
            path.as_str().into(),
            view.top().as_str().into(),
            hash.to_string().into(),
        ];
        let found = self.read("find a version", &sql, values).await?;
        let mut found = found.first().map(rows::found).transpose()?;
        if let Some(found) = &mut found {
            self.backend.name().clone_into(&mut found.record.storage);
        }
        Ok(found)
    }

    async fn list(
        &self,
        book: &BookId,
        folder: &Folder,
        view: &View,
        after: Option<&BookPath>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, Fault> {
        let run = async {
            let mut session = self.db.snapshot().await?;
            let base = list_layer(&mut session, book, folder, &Layer::Base, after, limit);
            let own = match view.top() {
                Layer::Base => None,
                own @ Layer::Overlay(_) => Some(list_layer(&mut session, book, folder, own, after, limit)),
            };
            let mut answers = session.finish().await?;
            let own = own.map(|own| answers.take(own)).unwrap_or_default();
            Ok::<_, SqlError>((answers.take(base), own))
        };
        let (base, own) = run.await.map_err(|error| fault("list files", &error))?;
        let base = base.iter().map(rows::file).collect::<Result<Vec<_>, _>>()?;
        let own = own.iter().map(rows::file).collect::<Result<Vec<_>, _>>()?;
        Ok(merge(base, own, limit))
    }

    async fn paths(
        &self,
        book: Option<&BookId>,
        prefix: &Prefix,
        view: &View,
        after: Option<&(BookId, BookPath)>,
        limit: usize,
    ) -> Result<Vec<(BookId, BookPath)>, Fault> {
        let (from, to) = prefix.range();
        // Within a book the index is searched from the start of the page; one after it is searched whole.
        let from = match (book, after) {
            (Some(book), Some((of, path))) if of == book => from.max(path.as_str()),
            _ => from,
        };
        let mut values: Vec<Value> = vec![
            from.into(),
            // Every path sorts below `\u{10ffff}`.
            to.unwrap_or_else(|| char::MAX.to_string()).into(),
            Value::Int(i64::try_from(limit).unwrap_or(i64::MAX)),
        ];
        let mut place = String::new();
        if let Some(book) = book {
            values.push(book.as_str().into());
            let _ = write!(place, " AND book_id = ${}", values.len());
        }
        // Each layer in the order of its key, which ends at the limit; a sort of both would read all of them.
        let layers =
            if view.top() == &Layer::Base { vec![view.top()] } else { vec![view.top(), &Layer::Base] };
        let mut parts = Vec::new();
        for layer in layers {
            values.push(layer.as_str().into());
            let user = values.len();
            let mut place = place.clone();
            if let Some((after_book, after_path)) = after {
                values.extend([after_book.as_str().into(), after_path.as_str().into()]);
                let _ =
                    write!(place, " AND (book_id, user_id, path) > (${}, ${user}, ${})", user + 1, user + 2);
            }
            let wanted = format!("user_id = ${user} AND path >= $1 AND path < $2");
            // Of all books each row is looked at: conditions that planners can read would have them sort.
            let wanted =
                if book.is_some() { wanted } else { format!("CASE WHEN {wanted} THEN TRUE ELSE FALSE END") };
            parts.push(format!(
                "SELECT * FROM (SELECT book_id, path FROM file_journal WHERE {wanted}{place} \
                 ORDER BY book_id, user_id, path LIMIT $3) l{user}"
            ));
        }
        let sql = format!("{} ORDER BY book_id, path LIMIT $3", parts.join(" UNION "));
        let found = self.read("search paths", &sql, values).await?;
        found.iter().map(rows::book_path).collect()
    }

    async fn asset(&self, book: &BookId, path: &BookPath) -> Result<Option<Asset>, Fault> {
        let sql = format!("SELECT {} FROM file_journal f WHERE {OF_BASE} AND f.path = $2", asset_columns());
        let found =
            self.read("find an asset", &sql, vec![book.as_str().into(), path.as_str().into()]).await?;
        found.first().map(asset).transpose()
    }

    async fn find_asset(&self, book: &BookId, path: &BookPath) -> Result<Option<(Asset, StoredBlob)>, Fault> {
        let sql = format!(
            "SELECT {}, {BLOB} FROM file_journal f LEFT JOIN blobs b ON b.hash = f.sha256 \
             WHERE {OF_BASE} AND f.path = $2",
            asset_columns()
        );
        let found =
            self.read("find an asset", &sql, vec![book.as_str().into(), path.as_str().into()]).await?;
        found.first().map(|row| Ok((asset(row)?, rows::found(row)?.blob))).transpose()
    }

    async fn assets(
        &self,
        book: &BookId,
        folder: &Folder,
        after: Option<&BookPath>,
        limit: usize,
    ) -> Result<Vec<Asset>, Fault> {
        let sql = format!(
            "SELECT {} FROM file_journal f WHERE {OF_BASE} AND f.path > $2 AND f.path < $3 \
             ORDER BY f.path LIMIT $4",
            asset_columns()
        );
        let found = self.read("list assets", &sql, below(book, folder, after, limit)).await?;
        found.iter().map(asset).collect()
    }

    async fn changed(
        &self,
        book: &BookId,
        view: &View,
        since: Timestamp,
        after: Option<&BookPath>,
        limit: usize,
    ) -> Result<Delta, Fault> {
        self.delta(book, view, since, after, limit).await
    }
}

/// Columns read by [`base_change`], of an overlay's journal row called `f`. `base_then` is the newest kept
/// version of the base before the overlay's; `base_replaced` is the hash that the first kept change after it
/// replaced, from its audit entry, which has the time of the version.
fn base_columns() -> String {
    let of_base =
        |of: &str| format!("{of}.book_id = f.book_id AND {of}.path = f.path AND {of}.user_id = '__base__'");
    let next = |column: &str| {
        format!(
            "(SELECT n.{column} FROM versions n WHERE {} AND n.version > f.version ORDER BY n.version LIMIT 1)",
            of_base("n")
        )
    };
    let columns = [
        (next("version"), "base_next"),
        (format!("(SELECT g.sha256 FROM file_journal g WHERE {})", of_base("g")), "base_now"),
        (
            format!(
                "(SELECT t.sha256 FROM versions t WHERE {} AND t.version < f.version \
                 ORDER BY t.version DESC LIMIT 1)",
                of_base("t")
            ),
            "base_then",
        ),
        (
            format!(
                "(SELECT a.old_content_hash FROM audit_log a WHERE {} AND a.timestamp = {})",
                of_base("a"),
                next("at")
            ),
            "base_replaced",
        ),
    ];
    let of_overlay = |(column, name): (String, &str)| {
        format!("CASE WHEN f.user_id = '__base__' THEN NULL ELSE {column} END AS {name}")
    };
    columns.map(of_overlay).join(", ")
}

/// Change of the base since an overlay's file was written.
fn base_change(row: &Row) -> Result<Option<BaseChange>, Fault> {
    rows::read("read a change of the base", || {
        if row.optional_int("base_next")?.is_none() {
            return Ok(Ok(None));
        }
        let (now, then, replaced) = (
            row.optional_text("base_now")?,
            row.optional_text("base_then")?,
            row.optional_text("base_replaced")?,
        );
        // If they differ, the version between them is no longer kept.
        let then = then.filter(|then| replaced.as_ref() == Some(then));
        Ok((|| {
            let hash = |raw: Option<String>| raw.map(|raw| rows::hash(&raw)).transpose();
            let (then, now) = (hash(then)?, hash(now)?);
            Ok((then.is_none() || then != now).then_some(BaseChange { then, now }))
        })())
    })
}

/// Queues the statement that lists a layer.
fn list_layer(
    session: &mut Session,
    book: &BookId,
    folder: &Folder,
    layer: &Layer,
    after: Option<&BookPath>,
    limit: usize,
) -> Queued {
    let sql = format!(
        "SELECT {FILE} FROM file_journal f WHERE f.book_id = $1 AND f.user_id = $5 \
         AND f.path > $2 AND f.path < $3 ORDER BY f.path LIMIT $4"
    );
    let mut values = below(book, folder, after, limit);
    values.push(layer.as_str().into());
    session.queue(sql, values)
}

/// Columns read by [`asset`]. The newest version of a file is never deleted.
fn asset_columns() -> String {
    format!(
        "{FILE}, (SELECT v.agent_id FROM versions v WHERE v.book_id = f.book_id AND v.path = f.path \
         AND v.user_id = f.user_id AND v.version = f.version) AS agent_id"
    )
}

/// Condition on base files of the book `$1`.
const OF_BASE: &str = "f.book_id = $1 AND f.user_id = '__base__'";

fn asset(row: &Row) -> Result<Asset, Fault> {
    let record = rows::file(row)?;
    let agent = rows::read("read an asset", || row.optional_text("agent_id").map(Ok))?;
    let agent = agent.ok_or_else(|| Fault::corrupt(format!("`{}` has no version", record.path)))?;
    Ok(Asset { record, agent: rows::agent(&agent)? })
}

/// Parameters `$1` to `$4`: book, bounds of a page, both exclusive, and its length. There is one lower bound,
/// because `SQLite` searches an index by one and compares each row with the other.
fn below(book: &BookId, folder: &Folder, after: Option<&BookPath>, limit: usize) -> Vec<Value> {
    // The range of a folder begins with its own name and a slash, which is no file's path.
    let (mut from, to) = folder.range();
    if let Some(after) = after {
        from = from.max(after.as_str().to_owned());
    }
    vec![
        book.as_str().into(),
        from.into(),
        // Every path sorts below `\u{10ffff}`.
        to.unwrap_or_else(|| char::MAX.to_string()).into(),
        Value::Int(i64::try_from(limit).unwrap_or(i64::MAX)),
    ]
}

/// Merges two lists in path order; for a path in both, the overlay's file takes precedence.
fn merge(base: Vec<FileRecord>, own: Vec<FileRecord>, limit: usize) -> Vec<FileRecord> {
    let mut by_path: std::collections::BTreeMap<BookPath, FileRecord> =
        base.into_iter().map(|record| (record.path.clone(), record)).collect();
    by_path.extend(own.into_iter().map(|record| (record.path.clone(), record)));
    by_path.into_values().take(limit).collect()
}
