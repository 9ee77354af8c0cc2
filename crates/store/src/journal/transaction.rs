//! The deciding transaction of a batch. Keeps I8, I9, I10 and R6.
//!
//! # Protocol
//! 1. Begin. Take each book's lock shared, so that its schema does not change meanwhile; and the lock
//!    that publishes the moment since when this transaction makes changes (see `changes`).
//! 2. Lock the uploads that sets complete, in the order of their ids.
//! 3. Write the inline blobs and touch those in objects, each in hash order. A blob in an object
//!    must be live, with the staging that its writer received (the model's `gc`).
//! 4. Lock the names that the grammar does not keep disjoint (see `path_locks`). Create missing
//!    `chains` rows and lock all of them, in key order. They also stand for files that do not exist.
//!    This order, uploads, blobs, names, then chains, is the same in every transaction.
//! 5. Read the current content of the locked paths, the owners of their names, and the time.
//! 6. Decide every member in memory, each against the result of earlier members.
//! 7. Write journal, versions, audit entries, chains, publications and uploads.
//! 8. Commit. Callers are answered only after it.
//!
//! The number of statements does not depend on the number of files (up to 64 rows each); each book
//! and each completed upload takes one or two of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use panaversity_model::Timestamp;
use panaversity_model::audit::{AuditDraft, ChainKey};
use panaversity_model::blob::{Blob, BlobLocation, BlobState};
use panaversity_model::change::{ChangeSet, Verdict};
use sqlx::Error;

use super::decide::{Batch, ChainState, State, Writes, key_of};
use super::publications::lease_end;
use super::{blobs, changes, now, path_locks, rows, uploads};
use crate::backend::Backend;
use crate::database::{
    Database, Dialect, Durability, Session, Sql, Value, placeholders, power_of_two_chunks, values_list,
};

/// A decided batch, before its commit.
pub(super) struct Prepared {
    pub(super) session: Session,
    /// One verdict per set, in order.
    pub(super) verdicts: Vec<Verdict>,
    /// True if there is something to commit.
    pub(super) written: bool,
}

/// Steps 1 to 7.
pub(super) async fn prepare(
    db: &Database,
    backend: Backend,
    batch: &Batch<'_>,
    durability: Durability,
) -> Sql<Prepared> {
    let mut session = db.begin(durability).await?;
    share_books(db, &mut session, batch).await?;
    let open_uploads = uploads::lock_open(db, &mut session, &batch.uploads()).await?;
    let live = write_blobs(db, &mut session, batch).await?;
    path_locks::lock_names(db, &mut session, batch).await?;
    let keys = batch.chain_keys();
    let chains = lock_chains(db, &mut session, &keys).await?;
    let mut state = read_state(db, &mut session, batch, chains).await?;
    state.open_uploads = open_uploads;

    let mut writes = Writes::default();
    let mut verdicts = Vec::with_capacity(batch.sets.len());
    for set in &batch.sets {
        verdicts.push(state.decide(set, &live, &mut writes));
    }
    for draft in &batch.drafts {
        state.link(draft, &mut writes);
    }
    let leases = write_all(db, backend, &mut session, &state, &writes).await?;
    for (set, verdict) in batch.sets.iter().zip(&mut verdicts) {
        keep_leased(set, verdict, &leases);
    }
    Ok(Prepared { session, verdicts, written: !writes.entries.is_empty() })
}

/// Appends one entry within a transaction of another purpose.
pub(super) async fn record(db: &Database, session: &mut Session, draft: &AuditDraft) -> Sql<()> {
    let chains = lock_chains(db, session, &BTreeSet::from([draft.chain()])).await?;
    let nothing = Batch { sets: Vec::new(), drafts: Vec::new() };
    let mut state = read_state(db, session, &nothing, chains).await?;
    let mut writes = Writes::default();
    state.link(draft, &mut writes);
    write_log(session, &state, &writes).await
}

/// Leaves a set those publications whose path has its version and its lease.
fn keep_leased(set: &ChangeSet, verdict: &mut Verdict, leases: &HashMap<ChainKey, (i64, String)>) {
    let Verdict::Committed(applied) = verdict else { return };
    for applied in applied {
        let held = leases.get(&key_of(set, &applied.path));
        applied.publication.take_if(|publication| {
            held.is_none_or(|(version, lease)| {
                *version != publication.version || *lease != publication.lease.to_string()
            })
        });
    }
}

async fn share_books(db: &Database, session: &mut Session, batch: &Batch<'_>) -> Sql<()> {
    if db.dialect() == Dialect::Postgres {
        for book in batch.books() {
            let sql = format!(
                "SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0)), {}",
                changes::watermark_lock()
            );
            session.execute(sql, vec![book.into()]).await?;
        }
    }
    Ok(())
}

/// Step 3. Inline blobs include their bytes; an object must be live, with the staging that the change
/// names. Returns the live objects with their stagings.
async fn write_blobs(
    db: &Database,
    session: &mut Session,
    batch: &Batch<'_>,
) -> Sql<HashMap<String, Option<String>>> {
    let all = batch.blobs();
    let (inline, objects): (Vec<&Blob>, Vec<&Blob>) =
        all.into_values().partition(|blob| matches!(blob.location, BlobLocation::Inline(_)));
    for some in power_of_two_chunks(&inline) {
        let lists: Vec<String> = (0..some.len())
            .map(|n| {
                let at = n * 6;
                format!("({}, {}, {})", placeholders(at + 1, 4), db.now_sql(), placeholders(at + 5, 2))
            })
            .collect();
        let sql = format!(
            "INSERT INTO blobs ({}) VALUES {} ON CONFLICT (hash) DO UPDATE SET \
             touched_at = excluded.touched_at, state = 'live', size = excluded.size, crc32 = excluded.crc32, \
             staging = CASE WHEN blobs.state = 'condemned' THEN NULL ELSE blobs.staging END, \
             deflated = CASE WHEN blobs.state = 'live' THEN coalesce(blobs.deflated, excluded.deflated) \
             ELSE excluded.deflated END",
            blobs::COLUMNS,
            lists.join(", ")
        );
        let values = some.iter().flat_map(|blob| blobs::values(blob, BlobState::Live));
        session.execute(sql, values.collect()).await?;
    }
    touch_objects(db, session, &objects).await
}

/// Locks the rows of objects in hash order, touches them, and removes the writers' guard.
async fn touch_objects(
    db: &Database,
    session: &mut Session,
    objects: &[&Blob],
) -> Sql<HashMap<String, Option<String>>> {
    let mut live = HashMap::new();
    for some in power_of_two_chunks(objects) {
        let hashes: Vec<Value> = some.iter().map(|blob| blob.hash.to_string().into()).collect();
        let list = placeholders(1, some.len());
        let locked = if db.dialect() == Dialect::Postgres { "FOR UPDATE" } else { "" };
        let staged = format!(
            "SELECT hash, staging FROM blobs WHERE hash IN ({list}) AND state = 'live' ORDER BY hash {locked}"
        );
        for row in session.rows(staged, hashes.clone()).await? {
            live.insert(row.text("hash")?, row.optional_text("staging")?);
        }
        let touch = format!(
            "UPDATE blobs SET touched_at = {}, staged_until = NULL WHERE hash IN ({list}) AND state = 'live'",
            db.now_sql()
        );
        session.execute(touch, hashes).await?;
    }
    Ok(live)
}

/// Step 4, without the names.
pub(super) async fn lock_chains(
    db: &Database,
    session: &mut Session,
    keys: &BTreeSet<ChainKey>,
) -> Sql<HashMap<ChainKey, ChainState>> {
    let keys: Vec<&ChainKey> = keys.iter().collect();
    let lock = match db.dialect() {
        Dialect::Sqlite => "",
        Dialect::Postgres => "FOR UPDATE OF c",
    };
    // SQLite has one writer, which needs no locks.
    let to_create: &[&ChainKey] = if db.dialect() == Dialect::Postgres { &keys } else { &[] };
    for some in power_of_two_chunks(to_create) {
        let lists: Vec<String> =
            (0..some.len()).map(|n| format!("({}, 0, 0)", placeholders(n * 3 + 1, 3))).collect();
        let sql = format!(
            "INSERT INTO chains (book_id, path, user_id, count, version) VALUES {} ON CONFLICT DO NOTHING",
            lists.join(", ")
        );
        session.execute(sql, key_values(some)).await?;
    }
    let mut chains = HashMap::with_capacity(keys.len());
    for some in power_of_two_chunks(&keys) {
        let sql = format!(
            "SELECT c.book_id, c.path, c.user_id, c.tip, c.count, c.version, c.last_at FROM chains c \
             WHERE (c.book_id, c.path, c.user_id) IN (VALUES {}) \
             ORDER BY c.book_id, c.path, c.user_id {lock}",
            values_list(1, some.len(), 3)
        );
        for row in session.rows(sql, key_values(some)).await? {
            let state = ChainState {
                tip: row.optional_text("tip")?,
                count: row.int("count")?,
                version: row.int("version")?,
                last_at: row.optional_time("last_at")?,
            };
            chains.insert(rows::chain_key(&row)?, state);
        }
    }
    Ok(chains)
}

/// Step 5. Separate statements, after the locks: only then do they see the commits of the writers that
/// were waited for.
async fn read_state(
    db: &Database,
    session: &mut Session,
    batch: &Batch<'_>,
    chains: HashMap<ChainKey, ChainState>,
) -> Sql<State> {
    let (mut files, mut names, mut schemas) = (HashMap::new(), HashMap::new(), HashMap::new());
    let folded: Vec<_> = batch.folded_keys().into_iter().collect();
    for some in power_of_two_chunks(&folded) {
        let sql = format!(
            "SELECT f.book_id, f.path, f.user_id, f.sha256, f.folded FROM file_journal f \
             WHERE {} IN ({})",
            rows::NAME,
            placeholders(1, some.len())
        );
        let values = some.iter().map(|(book, user, folded)| rows::name(book, user, folded).into());
        for row in session.rows(sql, values.collect()).await? {
            let key = rows::chain_key(&row)?;
            names.insert((key.book.clone(), key.user.clone(), row.text("folded")?), key.path.clone());
            files.insert(key, rows::hash(&row.text("sha256")?).map_err(|fault| Error::Decode(fault.into()))?);
        }
    }
    path_locks::read_names_below(session, batch, &mut names).await?;
    let books: Vec<&str> = batch.books().into_iter().collect();
    for some in power_of_two_chunks(&books) {
        let sql =
            format!("SELECT book_id, schema FROM books WHERE book_id IN ({})", placeholders(1, some.len()));
        for row in session.rows(sql, some.iter().map(|book| (*book).into()).collect()).await? {
            let schema = rows::schema(&row.text("schema")?).map_err(|fault| Error::Decode(fault.into()))?;
            schemas.insert(row.text("book_id")?, schema);
        }
    }
    let (now, versions) = match batch.change_count() {
        0 => (now(db, session).await?, Vec::new()),
        count => take_versions(db, session, count).await?,
    };
    let versions = versions.into_iter();
    Ok(State { now, versions, schemas, chains, files, names, open_uploads: HashSet::new() })
}

/// The time, and `count` fresh versions, ascending.
async fn take_versions(db: &Database, session: &mut Session, count: usize) -> Sql<(Timestamp, Vec<i64>)> {
    let number = i64::try_from(count).unwrap_or(i64::MAX);
    let now = db.now_sql();
    match db.dialect() {
        Dialect::Sqlite => {
            let sql = format!(
                "UPDATE counters SET value = value + $1 WHERE name = 'version' RETURNING {now} AS now, value"
            );
            let row = session.row(sql, vec![Value::Int(number)]).await?.ok_or(Error::RowNotFound)?;
            let last = row.int("value")?;
            Ok((row.time("now")?, (last - number + 1..=last).collect()))
        }
        Dialect::Postgres => {
            let sql =
                format!("SELECT {now} AS now, nextval('file_versions') AS value FROM generate_series(1, $1)");
            let rows = session.rows(sql, vec![Value::Int(number)]).await?;
            let now = rows.last().ok_or(Error::RowNotFound)?.time("now")?;
            Ok((now, rows.iter().map(|row| row.int("value")).collect::<Sql<_>>()?))
        }
    }
}

/// Step 7. Returns, per published path, the version and the lease that its row has now.
async fn write_all(
    db: &Database,
    backend: Backend,
    session: &mut Session,
    state: &State,
    writes: &Writes,
) -> Sql<HashMap<ChainKey, (i64, String)>> {
    for (book, schema) in &writes.books {
        let sql = format!(
            "INSERT INTO books (book_id, schema, created_at) VALUES ($1, $2, {}) ON CONFLICT DO NOTHING",
            db.now_sql()
        );
        session.execute(sql, vec![book.as_str().into(), schema.as_str().into()]).await?;
    }
    uploads::note_done(session, &writes.uploads).await?;
    write_files(backend, session, writes).await?;
    insert(session, VERSIONS, "", &version_values(writes)).await?;
    write_log(session, state, writes).await?;
    write_publications(db, backend, session, &writes.publications).await
}

/// Writes the entries and the chains they are linked into.
async fn write_log(session: &mut Session, state: &State, writes: &Writes) -> Sql<()> {
    insert(session, ENTRIES, "", &entry_values(writes)).await?;
    let chains: Vec<Vec<Value>> = writes
        .chains
        .iter()
        .filter_map(|key| state.chains.get(key).map(|chain| chain_values(key, chain)))
        .collect();
    insert(session, CHAINS, CHAINS_UPDATE, &chains).await
}

const FILES: &str =
    "file_journal (book_id, path, user_id, sha256, last_written_at, storage_backend, size, version, folded)";
const FILES_UPDATE: &str = "ON CONFLICT (book_id, user_id, path) DO UPDATE SET sha256 = excluded.sha256, \
    last_written_at = excluded.last_written_at, storage_backend = excluded.storage_backend, \
    size = excluded.size, version = excluded.version";
const VERSIONS: &str = "versions (book_id, path, user_id, version, sha256, size, at, agent_id, operation, change_id, \
    message, moved_from)";
const ENTRIES: &str = "audit_log (id, timestamp, agent_id, operation, book_id, path, user_id, status, error_code, \
    error_message, execution_time_ms, request_id, change_id, old_content_hash, new_content_hash, prev_hash, entry_hash)";
const CHAINS: &str = "chains (book_id, path, user_id, tip, count, version, last_at)";
const CHAINS_UPDATE: &str = "ON CONFLICT (book_id, path, user_id) DO UPDATE SET tip = excluded.tip, \
    count = excluded.count, version = excluded.version, last_at = excluded.last_at";

async fn write_files(backend: Backend, session: &mut Session, writes: &Writes) -> Sql<()> {
    let gone: Vec<&ChainKey> =
        writes.files.iter().filter(|(_, row)| row.is_none()).map(|(key, _)| key).collect();
    for some in power_of_two_chunks(&gone) {
        let sql = format!(
            "DELETE FROM file_journal WHERE (book_id, path, user_id) IN (VALUES {})",
            values_list(1, some.len(), 3)
        );
        session.execute(sql, key_values(some)).await?;
    }
    let held = writes.files.iter().filter_map(|(key, row)| row.as_ref().map(|row| (key, row)));
    let values: Vec<Vec<Value>> = held
        .map(|(key, row)| {
            let mut values = key_values(&[key]);
            values.extend([
                row.hash.to_string().into(),
                row.at.into(),
                backend.name().into(),
                Value::Int(row.size),
                Value::Int(row.version),
                row.folded.as_str().into(),
            ]);
            values
        })
        .collect();
    insert(session, FILES, FILES_UPDATE, &values).await
}

fn version_values(writes: &Writes) -> Vec<Vec<Value>> {
    let row = |row: &super::decide::VersionRow| {
        let mut values = key_values(&[&row.key]);
        values.extend([
            Value::Int(row.version),
            row.hash.map(|hash| hash.to_string()).into(),
            Value::Int(row.size),
            row.at.into(),
            row.agent.as_str().into(),
            row.operation.into(),
            row.change.as_str().into(),
            row.message.clone().into(),
            row.moved_from.clone().into(),
        ]);
        values
    };
    writes.versions.iter().map(row).collect()
}

fn entry_values(writes: &Writes) -> Vec<Vec<Value>> {
    let row = |entry: &panaversity_model::audit::AuditEntry| {
        vec![
            entry.id.as_str().into(),
            entry.timestamp.into(),
            entry.agent_id.as_str().into(),
            entry.operation.as_str().into(),
            entry.book_id.as_str().into(),
            entry.path.as_str().into(),
            entry.user_id.as_str().into(),
            entry.status.as_str().into(),
            entry.error_code.clone().into(),
            entry.error_message.clone().into(),
            Value::Int(entry.execution_time_ms),
            entry.request_id.as_str().into(),
            entry.change_id.clone().into(),
            entry.old_content_hash.clone().into(),
            entry.new_content_hash.clone().into(),
            entry.prev_hash.clone().into(),
            entry.entry_hash.as_str().into(),
        ]
    };
    writes.entries.iter().map(row).collect()
}

fn chain_values(key: &ChainKey, chain: &ChainState) -> Vec<Value> {
    let mut values = key_values(&[key]);
    values.extend([
        chain.tip.clone().into(),
        Value::Int(chain.count),
        Value::Int(chain.version),
        chain.last_at.into(),
    ]);
    values
}

/// Marks paths pending; acquires the lease on each unless another one is valid.
async fn write_publications(
    db: &Database,
    backend: Backend,
    session: &mut Session,
    publications: &BTreeMap<ChainKey, (i64, panaversity_model::ids::LeaseId)>,
) -> Sql<HashMap<ChainKey, (i64, String)>> {
    let all: Vec<_> = publications.iter().collect();
    let lease_end = lease_end(db.dialect(), backend);
    let mut leases = HashMap::with_capacity(all.len());
    for some in power_of_two_chunks(&all) {
        let lists: Vec<String> = (0..some.len())
            .map(|n| {
                let at = n * 5;
                format!("({}, 'pending', ${}, {})", placeholders(at + 1, 4), at + 5, lease_end)
            })
            .collect();
        let held = format!("publications.lease IS NOT NULL AND publications.lease_until > {}", db.now_sql());
        let sql = format!(
            "INSERT INTO publications (book_id, path, user_id, version, state, lease, lease_until) VALUES {} \
             ON CONFLICT (book_id, path, user_id) DO UPDATE SET version = excluded.version, state = 'pending', \
             lease = CASE WHEN {held} THEN publications.lease ELSE excluded.lease END, \
             lease_until = CASE WHEN {held} THEN publications.lease_until ELSE excluded.lease_until END \
             RETURNING book_id, path, user_id, version, lease",
            lists.join(", ")
        );
        let values = some.iter().flat_map(|(key, (version, lease))| {
            key_values(&[*key]).into_iter().chain([Value::Int(*version), lease.to_string().into()])
        });
        for row in session.rows(sql, values.collect()).await? {
            leases.insert(rows::chain_key(&row)?, (row.int("version")?, row.text("lease")?));
        }
    }
    Ok(leases)
}

/// Inserts rows of equal length into `table`, given with its columns.
async fn insert(session: &mut Session, table: &str, on_conflict: &str, rows: &[Vec<Value>]) -> Sql<()> {
    for some in power_of_two_chunks(rows) {
        let columns = some[0].len();
        let sql = format!("INSERT INTO {table} VALUES {} {on_conflict}", values_list(1, some.len(), columns));
        session.execute(sql, some.concat()).await?;
    }
    Ok(())
}

fn key_values(keys: &[&ChainKey]) -> Vec<Value> {
    keys.iter().flat_map(|key| [&key.book, &key.path, &key.user].map(|text| text.as_str().into())).collect()
}
