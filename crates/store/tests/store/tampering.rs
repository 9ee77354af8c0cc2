//! Tampering with the log's rows (R6): in a copy of each database without its guards, every change to
//! the rows is detected by verifying the chains, and attributed to the chain concerned; with the guards
//! in place the database itself refuses it.

mod guards;
mod tamper_cases;

use panaversity_model::audit::{AuditEntry, ChainKey, EntryPosition};
use panaversity_model::chain::{ChainError, ChainRecord, ChainVerifier};
use panaversity_model::fault::FaultKind;
use panaversity_model::ports::AuditLog;
use panaversity_model::{ContentHash, Layer};
use panaversity_store::SqlJournal;
use panaversity_testkit::contract::{ContractFixture, Setup};
use panaversity_testkit::postgres;
use panaversity_testkit::samples::{delete, draft, lesson, overlay, write};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio_postgres::SimpleQueryMessage;

use crate::engines::{on_postgres_directly, open, sqlite_file, sqlite_url};

/// The contract's query that finds breaks, verbatim.
const BREAKS: &str = "SELECT a.* FROM audit_log a
LEFT JOIN audit_log b ON a.prev_hash = b.entry_hash
WHERE a.prev_hash IS NOT NULL AND b.id IS NULL;";

const GUARDS: [&str; 2] = [
    "DROP TRIGGER audit_log_no_update; DROP TRIGGER audit_log_no_delete; DROP TRIGGER audit_log_no_replace; \
     DROP INDEX audit_log_link; DROP INDEX audit_log_entry_hash",
    "DROP TRIGGER audit_log_no_change ON audit_log; DROP TRIGGER audit_log_no_truncate ON audit_log; \
     DROP INDEX audit_log_link; DROP INDEX audit_log_entry_hash",
];

/// A database without open connections.
enum Place {
    Sqlite(TempDir),
    Postgres(String),
}

impl Place {
    fn sqlite() -> Self {
        Self::Sqlite(TempDir::new().unwrap())
    }

    fn postgres() -> Self {
        Self::Postgres(postgres::shared().create_database())
    }

    fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => sqlite_url(folder),
            Self::Postgres(url) => url.clone(),
        }
    }

    fn copy(&self) -> Self {
        match self {
            Self::Sqlite(folder) => {
                let copy = TempDir::new().unwrap();
                std::fs::copy(sqlite_file(folder), sqlite_file(&copy)).unwrap();
                Self::Sqlite(copy)
            }
            Self::Postgres(url) => Self::Postgres(postgres::shared().copy_database(url)),
        }
    }
}

/// A connection that bypasses the journal.
enum Raw {
    Sqlite(Connection),
    Postgres(tokio_postgres::Client),
}

impl Raw {
    async fn open(place: &Place) -> Self {
        match place {
            Place::Sqlite(folder) => Self::Sqlite(Connection::open(sqlite_file(folder)).unwrap()),
            Place::Postgres(url) => Self::Postgres(on_postgres_directly(url).await),
        }
    }

    /// Runs statements; returns the number of rows changed, or the database's error.
    async fn run(&self, sql: &str) -> Result<u64, String> {
        match self {
            Self::Sqlite(connection) => {
                let before = connection.total_changes();
                connection.execute_batch(sql).map_err(|error| error.to_string())?;
                Ok(connection.total_changes() - before)
            }
            Self::Postgres(client) => {
                let ran = client.simple_query(sql).await;
                let ran = ran.map_err(|error| error.as_db_error().unwrap().message().to_owned())?;
                let changed = ran.iter().map(|message| match message {
                    SimpleQueryMessage::CommandComplete(rows) => *rows,
                    _ => 0,
                });
                Ok(changed.sum())
            }
        }
    }

    /// First column of the rows, which must be text.
    async fn texts(&self, sql: &str) -> Vec<String> {
        match self {
            Self::Sqlite(connection) => {
                let mut select = connection.prepare(sql).unwrap();
                let rows = select.query_map([], |row| row.get(0)).unwrap();
                rows.collect::<Result<_, _>>().unwrap()
            }
            Self::Postgres(client) => {
                client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
            }
        }
    }

    async fn remove_guards(&self) {
        let guards = match self {
            Self::Sqlite(_) => GUARDS[0],
            Self::Postgres(_) => GUARDS[1],
        };
        self.run(guards).await.unwrap();
    }
}

/// The chain that is tampered with: its entries, oldest first, and its row.
struct Victim {
    key: ChainKey,
    entries: Vec<AuditEntry>,
    record: ChainRecord,
}

/// Pseudo-random numbers that only have to be scattered (xorshift).
struct Dice(u64);

impl Dice {
    fn random_below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// Fills a database with writes, deletions, refusals and reads of a few files in two layers.
async fn load(place: &Place) -> Victim {
    let (db, journal) = open(&place.url()).await;
    let fixture = ContractFixture::new(&Setup::new(journal.clone(), ()));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for step in 0..60 {
        let (layer, path) =
            ([Layer::Base, overlay("ann")][dice.random_below(2)].clone(), lesson(dice.random_below(3)));
        let text = format!("step {step}").into_bytes();
        match dice.random_below(6) {
            0 => _ = fixture.delete(&layer, &path).await,
            1 => {
                let stale = write(&path, &text, Some(ContentHash::of(b"stale")));
                fixture.refused(&layer, vec![stale]).await;
            }
            2 => journal_read(&fixture, &layer, step % 3).await,
            _ => _ = fixture.put(&layer, &path, &text).await,
        }
    }
    // Independently of the random steps: changes, a deletion and a read, and a change at the end.
    for text in ["one", "two", "three"] {
        fixture.put(&Layer::Base, &lesson(1), text.as_bytes()).await;
    }
    fixture.commit_one(&Layer::Base, delete(&lesson(1), None)).await;
    journal_read(&fixture, &Layer::Base, 1).await;
    for text in ["four", "five", "six"] {
        fixture.put(&Layer::Base, &lesson(1), text.as_bytes()).await;
    }
    let key = fixture.chain_key(Some(&lesson(1)), &Layer::Base);
    let victim = Victim {
        entries: fixture.chain(&key).await,
        record: journal.chain(&key).await.unwrap().unwrap(),
        key,
    };
    journal.close().await;
    db.close().await;
    victim
}

async fn journal_read(fixture: &ContractFixture, layer: &Layer, n: usize) {
    fixture.journal.append(draft(Some(&fixture.book), Some(&lesson(n)), layer)).await.unwrap();
}

/// All breaks of all chains, found as the service finds them.
async fn breaks(journal: &SqlJournal) -> Vec<ChainError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = journal.chains(None, None, after.as_ref(), 5).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        for record in page {
            found.extend(breaks_of(journal, record).await);
        }
    }
    let reason = "the chain's row is gone".to_owned();
    let gone = journal.orphaned_chains(None, None, 100).await.unwrap();
    found.extend(gone.into_iter().map(|key| ChainError { key, id: None, reason: reason.clone() }));
    found
}

async fn breaks_of(journal: &SqlJournal, record: ChainRecord) -> Vec<ChainError> {
    let (key, count) = (record.key.clone(), record.count);
    let (mut walk, mut after, mut beyond) = (ChainVerifier::new(record), None, None);
    loop {
        let page = match journal.chain_entries(&key, after.as_ref(), 4).await {
            Ok(page) => page,
            Err(fault) => {
                assert_eq!(fault.kind, FaultKind::Corrupt, "{fault}");
                return vec![ChainError { key, id: None, reason: "an entry cannot be read".to_owned() }];
            }
        };
        let Some(last) = page.last() else { break };
        after = Some(EntryPosition { timestamp: last.timestamp, id: last.id.clone() });
        for entry in &page {
            if walk.remaining() > 0 {
                walk.step(entry);
            } else {
                beyond = Some(entry.id.clone());
            }
        }
    }
    let mut breaks = walk.finish();
    if beyond.is_some() && journal.chain(&key).await.unwrap().unwrap().count <= count {
        breaks.push(ChainError { key, id: beyond, reason: "the entry was added".to_owned() });
    }
    breaks
}

/// Tables that are tampered with; saved as copies.
const TABLES: [&str; 3] = ["audit_log", "chains", "file_journal"];

async fn every_deed_is_found(place: Place) {
    let victim = load(&place).await;
    let copy = place.copy();
    let (db, journal) = open(&copy.url()).await;
    assert_eq!(breaks(&journal).await, vec![], "an untouched copy has no breaks");

    let raw = Raw::open(&copy).await;
    raw.remove_guards().await;
    for table in TABLES {
        raw.run(&format!("CREATE TABLE saved_{table} AS SELECT * FROM {table}")).await.unwrap();
    }
    for case in tamper_cases::of(&victim, matches!(raw, Raw::Sqlite(_))) {
        let changed = raw.run(&case.sql).await.unwrap_or_else(|why| panic!("{}: {why}", case.what));
        assert!(changed > 0, "{}: nothing was done", case.what);
        let found = breaks(&journal).await;
        for (key, because) in &case.shows {
            let named = |found: &ChainError| found.key == *key && found.reason.contains(because);
            assert!(found.iter().any(named), "{}: {key:?} should be named: {found:#?}", case.what);
        }
        let is_innocent = |found: &&ChainError| case.shows.iter().all(|(key, _)| found.key != *key);
        assert_eq!(found.iter().find(is_innocent), None, "{}: an innocent chain is named", case.what);
        for table in TABLES {
            let back = format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM saved_{table}");
            raw.run(&back).await.unwrap();
        }
        assert_eq!(breaks(&journal).await, vec![], "after {} was undone", case.what);
    }
    db.close().await;
}

#[tokio::test]
async fn r6_every_tampering_with_a_chain_is_found_and_named_on_sqlite() {
    every_deed_is_found(Place::sqlite()).await;
}

#[tokio::test]
async fn r6_every_tampering_with_a_chain_is_found_and_named_on_postgresql() {
    every_deed_is_found(Place::postgres()).await;
}

async fn the_contract_s_query_finds_a_deleted_row(place: Place) {
    let victim = load(&place).await;
    let copy = place.copy();
    let raw = Raw::open(&copy).await;
    assert_eq!(raw.texts(BREAKS).await, Vec::<String>::new());
    raw.remove_guards().await;
    let gone = &victim.entries[victim.entries.len() / 2];
    raw.run(&format!("DELETE FROM audit_log WHERE id = '{}'", gone.id)).await.unwrap();
    let next = &victim.entries[victim.entries.len() / 2 + 1];
    assert_eq!(raw.texts(BREAKS).await, std::slice::from_ref(&next.id));
}

#[tokio::test]
async fn r6_the_contract_s_query_finds_a_deleted_row_on_sqlite() {
    the_contract_s_query_finds_a_deleted_row(Place::sqlite()).await;
}

#[tokio::test]
async fn r6_the_contract_s_query_finds_a_deleted_row_on_postgresql() {
    the_contract_s_query_finds_a_deleted_row(Place::postgres()).await;
}
