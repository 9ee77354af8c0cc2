//! Locks and reads that ensure that no file lies below another file's path. Pages of a strict book do
//! not need them, because their grammar keeps files and folders disjoint.
//!
//! # Protocol
//! A writer of any other file locks its name exclusively and the names of the folders above it shared
//! (step 4, before the chains). So of two writers, one of `static/a` and one of `static/a/b`, the later
//! sees the result of the earlier. `SQLite` has one writer, which needs no locks.

use std::collections::{BTreeMap, HashMap};

use panaversity_model::layer::BASE;
use panaversity_model::path::folders_above;

use super::decide::{Batch, FoldedKey, folded_key};
use super::rows;
use crate::database::{Database, Dialect, Queued, Session, Sql, Value, power_of_two_chunks, values_list};

/// Folded names of the files that a batch writes and whose grammar does not keep them disjoint.
fn written(batch: &Batch<'_>) -> Vec<FoldedKey> {
    let mut names = Vec::new();
    for set in &batch.sets {
        let writes = set.changes.iter().filter(|change| change.content.blob.is_some());
        for change in writes.filter(|change| set.schema.may_collide(&change.path)) {
            names.push(folded_key(set, set.layer.as_str(), &change.path));
        }
    }
    names
}

/// Queues the locks of the names of these files and of the folders above them, in name order.
pub(super) fn lock_names(db: &Database, session: &mut Session, batch: &Batch<'_>) {
    if db.dialect() == Dialect::Sqlite {
        return;
    }
    // By name; true for an exclusive lock.
    let mut locks: BTreeMap<String, bool> = BTreeMap::new();
    for (book, _, folded) in written(batch) {
        for folder in folders_above(&folded) {
            locks.entry(format!("{book}/{folder}")).or_default();
        }
        locks.insert(format!("{book}/{folded}"), true);
    }
    let locks: Vec<(String, bool)> = locks.into_iter().collect();
    for some in power_of_two_chunks(&locks) {
        let name = "hashtextextended(w.name, 0)";
        let sql = format!(
            "SELECT CASE WHEN w.alone = 1 THEN pg_advisory_xact_lock({name}) \
             ELSE pg_advisory_xact_lock_shared({name}) END FROM (VALUES {}) w (name, alone)",
            values_list(1, some.len(), 2)
        );
        let named =
            some.iter().flat_map(|(name, alone)| [name.as_str().into(), Value::Int(i64::from(*alone))]);
        session.queue(sql, named.collect());
    }
}

/// Queues reads of the names of files that lie below the written ones: enough of them that one remains
/// whatever the batch deletes. There are none below a file that exists.
pub(super) fn queue_names_below(session: &mut Session, batch: &Batch<'_>) -> Vec<Queued> {
    let deletions =
        batch.sets.iter().flat_map(|set| &set.changes).filter(|change| change.content.blob.is_none());
    let enough = i64::try_from(deletions.count() + 1).unwrap_or(i64::MAX);
    let mut new = written(batch);
    // Files of the base are visible through an overlay.
    let through: Vec<_> =
        new.iter().map(|(book, _, name)| (book.clone(), BASE.to_owned(), name.clone())).collect();
    new.extend(through);
    new.sort_unstable();
    new.dedup();
    let queue = |some: &[FoldedKey]| {
        let below = (0..some.len()).map(|n| {
            let (name, from, to) = (rows::NAME, 2 * n + 2, 2 * n + 3);
            format!(
                "SELECT * FROM (SELECT f.book_id, f.user_id, f.folded, f.path FROM file_journal f \
                 WHERE {name} >= ${from} AND {name} < ${to} LIMIT $1) b{n}"
            )
        });
        let sql = below.collect::<Vec<_>>().join(" UNION ALL ");
        let ranges = some.iter().flat_map(|(book, user, folded)| {
            let name = rows::name(book, user, folded);
            // `0` is the byte after `/`.
            [format!("{name}/"), format!("{name}0")].map(Value::from)
        });
        session.queue(sql, std::iter::once(Value::Int(enough)).chain(ranges).collect())
    };
    power_of_two_chunks(&new).into_iter().map(queue).collect()
}

/// Adds the names that were read.
pub(super) fn add_names_below(
    session: &mut Session,
    reads: Vec<Queued>,
    names: &mut HashMap<FoldedKey, String>,
) -> Sql<()> {
    for row in reads.into_iter().flat_map(|statement| session.take(statement)) {
        let name = (row.text("book_id")?, row.text("user_id")?, row.text("folded")?);
        names.insert(name, row.text("path")?);
    }
    Ok(())
}
