//! No file lies under another file's path: what the transaction locks and reads for that. Content
//! paths need none of it, for their grammar keeps files and folders apart.
//!
//! # Protocol
//! Who writes an asset locks its own name alone and the names of the folders above it together
//! with others (step 4, before the chains). So of two writers, one of `static/a` and one of
//! `static/a/b`, the later sees what the earlier left. SQLite has one writer, who need not lock.

use std::collections::{BTreeMap, HashMap};

use panaversity_model::change::Act;
use panaversity_model::path::folders_above;

use super::batch::{Batch, FoldedKey, folded_key};
use crate::database::{Database, Dialect, Session, Sql, Value};

/// The folded names of the assets that a batch writes.
fn written(batch: &Batch<'_>) -> Vec<FoldedKey> {
    let mut names = Vec::new();
    for set in &batch.sets {
        let writes = set.changes.iter().filter(|change| matches!(change.act, Act::Write(_)));
        for change in writes.filter(|change| change.path.is_asset()) {
            names.push(folded_key(set, set.layer.as_str(), &change.path));
        }
    }
    names
}

/// Locks names of assets and of the folders above them.
pub(super) async fn lock_names(db: &Database, session: &mut Session, batch: &Batch<'_>) -> Sql<()> {
    if db.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    // By name: is it locked alone?
    let mut locks: BTreeMap<String, bool> = BTreeMap::new();
    for (book, _, folded) in written(batch) {
        for folder in folders_above(&folded) {
            locks.entry(format!("{book}/{folder}")).or_default();
        }
        locks.insert(format!("{book}/{folded}"), true);
    }
    for (name, alone) in locks {
        let lock = if alone { "pg_advisory_xact_lock" } else { "pg_advisory_xact_lock_shared" };
        session.execute(format!("SELECT {lock}(hashtextextended($1, 0))"), vec![name.into()]).await?;
    }
    Ok(())
}

/// Adds the names of files that lie below the names of new assets: as many as show that one stays,
/// whatever the batch deletes.
pub(super) async fn read_names_below(
    session: &mut Session,
    batch: &Batch<'_>,
    names: &mut HashMap<FoldedKey, String>,
) -> Sql<()> {
    let deletions = batch.sets.iter().flat_map(|set| &set.changes).filter(|change| change.act == Act::Delete);
    let enough = i64::try_from(deletions.count() + 1).unwrap_or(i64::MAX);
    for (book, user, folded) in written(batch) {
        if names.contains_key(&(book.clone(), user.clone(), folded.clone())) {
            continue;
        }
        let sql = "SELECT folded, path FROM file_journal WHERE book_id = $1 AND user_id = $2 \
                   AND folded >= $3 AND folded < $4 LIMIT $5";
        // `0` is the byte after `/`.
        let range = [format!("{folded}/"), format!("{folded}0")].map(Value::from);
        let values = [book.as_str().into(), user.as_str().into()].into_iter().chain(range);
        for row in session.rows(sql, values.chain([Value::Int(enough)]).collect()).await? {
            names.insert((book.clone(), user.clone(), row.text(0)?), row.text(1)?);
        }
    }
    Ok(())
}
