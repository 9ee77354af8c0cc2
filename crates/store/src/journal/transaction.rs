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
//!
//! No statement of the steps 1 to 5 needs the answer to another: they are sent together. Those of step 7
//! are sent with COMMIT. So on PostgreSQL a transaction waits for two answers.

mod decision;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use panaversity_model::audit::{AuditDraft, ChainKey};
use panaversity_model::blob::{Blob, BlobLocation, BlobState};
use panaversity_model::{Fault, Timestamp};

use decision::LEASE;
pub(super) use decision::{Decision, Leases};

use super::decide::{Batch, ChainState, State, Writes};
use super::publications::lease_end;
use super::{blobs, changes, path_locks, rows, uploads};
use crate::backend::Backend;
use crate::database::{
    Database, Dialect, Queued, Row, Session, Sql, SqlError, Value, placeholders, power_of_two_chunks,
    values_list,
};

/// Steps 1 to 6, and the statements of step 7, which are queued and sent with COMMIT. Returns with the
/// decision whether there is something to commit.
pub(super) async fn prepare(
    db: &Database,
    backend: Backend,
    session: &mut Session,
    batch: &Batch<'_>,
) -> Sql<(Decision, bool)> {
    share_books(db, session, batch);
    let uploads = uploads::lock_open(db, session, &batch.uploads());
    let objects = write_blobs(db, session, batch);
    path_locks::lock_names(db, session, batch);
    let chains = lock_chains(db, session, &batch.chain_keys());
    let reads = queue_reads(db, session, batch);
    session.send().await?;

    let live = live_objects(session, objects)?;
    let open_uploads = uploads::open(session, uploads)?;
    let chains = locked_chains(session, chains)?;
    let mut state = State { open_uploads, ..state(session, chains, reads)? };
    let mut writes = Writes::default();
    let mut decision = Decision::default();
    for set in &batch.sets {
        decision.verdicts.push(state.decide(set, &live, &mut writes));
    }
    for draft in &batch.drafts {
        state.link(draft, &mut writes);
    }
    decision.publications = write_all(db, backend, session, &state, &writes);
    let is_needed = !writes.entries.is_empty();
    decision.published = writes.publications.into_keys().collect();
    Ok((decision, is_needed))
}

/// Queues one entry within a transaction of another purpose.
pub(super) async fn record(db: &Database, session: &mut Session, draft: &AuditDraft) -> Sql<()> {
    let chains = lock_chains(db, session, &BTreeSet::from([draft.chain()]));
    let reads = queue_reads(db, session, &Batch { sets: Vec::new(), drafts: Vec::new() });
    session.send().await?;
    let chains = locked_chains(session, chains)?;
    let mut state = state(session, chains, reads)?;
    let mut writes = Writes::default();
    state.link(draft, &mut writes);
    write_log(session, &state, &writes);
    Ok(())
}

fn share_books(db: &Database, session: &mut Session, batch: &Batch<'_>) {
    if db.dialect() == Dialect::Postgres {
        for book in batch.books() {
            let sql = format!(
                "SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0)), {}",
                changes::watermark_lock()
            );
            session.queue(sql, vec![book.into()]);
        }
    }
}

/// Step 3. Inline blobs include their bytes; an object must be live, with the staging that the change
/// names. Returns the statements that tell the live objects with their stagings.
fn write_blobs(db: &Database, session: &mut Session, batch: &Batch<'_>) -> Vec<Queued> {
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
        session.queue(sql, values.collect());
    }
    touch_objects(db, session, &objects)
}

/// Locks the rows of objects in hash order, touches them, and removes the writers' guard.
fn touch_objects(db: &Database, session: &mut Session, objects: &[&Blob]) -> Vec<Queued> {
    let mut reads = Vec::new();
    for some in power_of_two_chunks(objects) {
        let hashes: Vec<Value> = some.iter().map(|blob| blob.hash.to_string().into()).collect();
        let list = placeholders(1, some.len());
        let locked = if db.dialect() == Dialect::Postgres { "FOR UPDATE" } else { "" };
        let staged = format!(
            "SELECT hash, staging FROM blobs WHERE hash IN ({list}) AND state = 'live' ORDER BY hash {locked}"
        );
        reads.push(session.queue(staged, hashes.clone()));
        let touch = format!(
            "UPDATE blobs SET touched_at = {}, staged_until = NULL WHERE hash IN ({list}) AND state = 'live'",
            db.now_sql()
        );
        session.queue(touch, hashes);
    }
    reads
}

/// Live objects with their stagings.
fn live_objects(session: &mut Session, reads: Vec<Queued>) -> Sql<HashMap<String, Option<String>>> {
    let rows = reads.into_iter().flat_map(|statement| session.take(statement));
    rows.map(|row| Ok((row.text("hash")?, row.optional_text("staging")?))).collect()
}

/// Step 4, without the names. Returns the statements that tell the chains.
pub(super) fn lock_chains(db: &Database, session: &mut Session, keys: &BTreeSet<ChainKey>) -> Vec<Queued> {
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
        session.queue(sql, key_values(some));
    }
    let queue = |some: &[&ChainKey]| {
        let sql = format!(
            "SELECT c.book_id, c.path, c.user_id, c.tip, c.count, c.version, c.last_at FROM chains c \
             WHERE (c.book_id, c.path, c.user_id) IN (VALUES {}) \
             ORDER BY c.book_id, c.path, c.user_id {lock}",
            values_list(1, some.len(), 3)
        );
        session.queue(sql, key_values(some))
    };
    power_of_two_chunks(&keys).into_iter().map(queue).collect()
}

/// The locked chains.
fn locked_chains(session: &mut Session, locks: Vec<Queued>) -> Sql<HashMap<ChainKey, ChainState>> {
    let rows = locks.into_iter().flat_map(|statement| session.take(statement));
    let chain = |row: Row| {
        let state = ChainState {
            tip: row.optional_text("tip")?,
            count: row.int("count")?,
            version: row.int("version")?,
            last_at: row.optional_time("last_at")?,
        };
        Ok((rows::chain_key(&row)?, state))
    };
    rows.map(chain).collect()
}

/// Statements of step 5.
struct Reads {
    files: Vec<Queued>,
    names_below: Vec<Queued>,
    schemas: Vec<Queued>,
    /// The time and, for each change of the batch, a fresh version.
    time: Queued,
    changes: usize,
}

/// Step 5. Separate statements, after the locks: only then do they see the commits of the writers that
/// were waited for.
fn queue_reads(db: &Database, session: &mut Session, batch: &Batch<'_>) -> Reads {
    let folded: Vec<_> = batch.folded_keys().into_iter().collect();
    let mut files = Vec::new();
    for some in power_of_two_chunks(&folded) {
        let sql = format!(
            "SELECT f.book_id, f.path, f.user_id, f.sha256, f.folded FROM file_journal f \
             WHERE {} IN ({})",
            rows::NAME,
            placeholders(1, some.len())
        );
        let values = some.iter().map(|(book, user, folded)| rows::name(book, user, folded).into());
        files.push(session.queue(sql, values.collect()));
    }
    let names_below = path_locks::queue_names_below(session, batch);
    let books: Vec<&str> = batch.books().into_iter().collect();
    let mut schemas = Vec::new();
    for some in power_of_two_chunks(&books) {
        let sql =
            format!("SELECT book_id, schema FROM books WHERE book_id IN ({})", placeholders(1, some.len()));
        schemas.push(session.queue(sql, some.iter().map(|book| (*book).into()).collect()));
    }
    let changes = batch.change_count();
    Reads { files, names_below, schemas, time: queue_time(db, session, changes), changes }
}

/// What the statements of step 5 have read.
fn state(session: &mut Session, chains: HashMap<ChainKey, ChainState>, reads: Reads) -> Sql<State> {
    let undecodable = |fault: Fault| SqlError::Decode(fault.to_string());
    let (mut files, mut names, mut schemas) = (HashMap::new(), HashMap::new(), HashMap::new());
    for row in reads.files.into_iter().flat_map(|statement| session.take(statement)) {
        let key = rows::chain_key(&row)?;
        names.insert((key.book.clone(), key.user.clone(), row.text("folded")?), key.path.clone());
        files.insert(key, rows::hash(&row.text("sha256")?).map_err(undecodable)?);
    }
    path_locks::add_names_below(session, reads.names_below, &mut names)?;
    for row in reads.schemas.into_iter().flat_map(|statement| session.take(statement)) {
        let schema = rows::schema(&row.text("schema")?).map_err(undecodable)?;
        schemas.insert(row.text("book_id")?, schema);
    }
    let (now, versions) = time_and_versions(&session.take(reads.time), reads.changes)?;
    let versions = versions.into_iter();
    Ok(State { now, versions, schemas, chains, files, names, open_uploads: HashSet::new() })
}

/// Queues the statement that returns the time and takes `count` fresh versions.
fn queue_time(db: &Database, session: &mut Session, count: usize) -> Queued {
    let number = Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
    let now = db.now_sql();
    match db.dialect() {
        _ if count == 0 => session.queue(format!("SELECT {now} AS now"), Vec::new()),
        Dialect::Sqlite => {
            let sql = format!(
                "UPDATE counters SET value = value + $1 WHERE name = 'version' RETURNING {now} AS now, value"
            );
            session.queue(sql, vec![number])
        }
        Dialect::Postgres => {
            let sql =
                format!("SELECT {now} AS now, nextval('file_versions') AS value FROM generate_series(1, $1)");
            session.queue(sql, vec![number])
        }
    }
}

/// The time, and `count` versions, ascending. `SQLite` returns the last version alone.
fn time_and_versions(rows: &[Row], count: usize) -> Sql<(Timestamp, Vec<i64>)> {
    let now = rows.last().ok_or(SqlError::RowNotFound)?.time("now")?;
    let versions = match rows {
        _ if count == 0 => Vec::new(),
        [Row::Sqlite(_)] => {
            let last = rows[0].int("value")?;
            let number = i64::try_from(count).unwrap_or(i64::MAX);
            (last - number + 1..=last).collect()
        }
        rows => rows.iter().map(|row| row.int("value")).collect::<Sql<_>>()?,
    };
    Ok((now, versions))
}

/// Step 7. Returns the statements that tell the leases of the published paths.
fn write_all(
    db: &Database,
    backend: Backend,
    session: &mut Session,
    state: &State,
    writes: &Writes,
) -> Vec<Queued> {
    for (book, schema) in &writes.books {
        let sql = format!(
            "INSERT INTO books (book_id, schema, created_at) VALUES ($1, $2, {}) ON CONFLICT DO NOTHING",
            db.now_sql()
        );
        session.queue(sql, vec![book.as_str().into(), schema.as_str().into()]);
    }
    uploads::note_done(session, &writes.uploads);
    write_files(backend, session, writes);
    insert(session, VERSIONS, "", &version_values(writes));
    write_log(session, state, writes);
    write_publications(db, backend, session, &writes.publications)
}

/// Writes the entries and the chains they are linked into.
fn write_log(session: &mut Session, state: &State, writes: &Writes) {
    insert(session, ENTRIES, "", &entry_values(writes));
    let chains: Vec<Vec<Value>> = writes
        .chains
        .iter()
        .filter_map(|key| state.chains.get(key).map(|chain| chain_values(key, chain)))
        .collect();
    insert(session, CHAINS, CHAINS_UPDATE, &chains);
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

fn write_files(backend: Backend, session: &mut Session, writes: &Writes) {
    let gone: Vec<&ChainKey> =
        writes.files.iter().filter(|(_, row)| row.is_none()).map(|(key, _)| key).collect();
    for some in power_of_two_chunks(&gone) {
        let sql = format!(
            "DELETE FROM file_journal WHERE (book_id, path, user_id) IN (VALUES {})",
            values_list(1, some.len(), 3)
        );
        session.queue(sql, key_values(some));
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
    insert(session, FILES, FILES_UPDATE, &values);
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
fn write_publications(
    db: &Database,
    backend: Backend,
    session: &mut Session,
    publications: &BTreeMap<ChainKey, (i64, panaversity_model::ids::LeaseId)>,
) -> Vec<Queued> {
    let all: Vec<_> = publications.iter().collect();
    let lease_end = lease_end(db.dialect(), backend);
    let write = |some: &[(&ChainKey, &(i64, panaversity_model::ids::LeaseId))]| {
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
             RETURNING {LEASE}",
            lists.join(", ")
        );
        let values = some.iter().flat_map(|(key, (version, lease))| {
            key_values(&[*key]).into_iter().chain([Value::Int(*version), lease.to_string().into()])
        });
        session.queue(sql, values.collect())
    };
    power_of_two_chunks(&all).into_iter().map(write).collect()
}

/// Inserts rows of equal length into `table`, given with its columns.
fn insert(session: &mut Session, table: &str, on_conflict: &str, rows: &[Vec<Value>]) {
    for some in power_of_two_chunks(rows) {
        let columns = some[0].len();
        let sql = format!("INSERT INTO {table} VALUES {} {on_conflict}", values_list(1, some.len(), columns));
        session.queue(sql, some.concat());
    }
}

fn key_values(keys: &[&ChainKey]) -> Vec<Value> {
    keys.iter().flat_map(|key| [&key.book, &key.path, &key.user].map(|text| text.as_str().into())).collect()
}
