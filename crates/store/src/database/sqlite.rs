//! `SQLite` connections: write-ahead log, one durable and one relaxed writer, many readers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlitePool};
use tokio::sync::Mutex;

use super::error::is_retryable;
use super::{Engine, PoolOptions, Sql, SqlError};
use crate::file_identity::FileIdentity;
use crate::limits::{SQLITE_BUSY_TIMEOUT, SQLITE_MOST_READERS};

/// Page cache per connection, in `SQLite`'s notation for kilobytes.
const CACHE: &str = "-8000";
/// Bytes of free disk space required after a change could not be written.
const ROOM: usize = 256 << 10;

pub(super) async fn connect(file: &Path, pool: PoolOptions) -> Sql<Engine> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(SQLITE_BUSY_TIMEOUT)
        .foreign_keys(true)
        .statement_cache_capacity(256)
        .pragma("cache_size", CACHE)
        // Mapped, each connection would have the whole file in the memory of the process.
        .pragma("mmap_size", "0")
        .disable_statement_logging();
    let suspicious = Arc::new(AtomicBool::new(false));
    let writer =
        |synchronous| writer_pool(options.clone().synchronous(synchronous), pool, suspicious.clone());
    let durable = writer(SqliteSynchronous::Full);
    // The first connection creates the file and enables the write-ahead log, which must not be concurrent.
    let first = patiently(&durable).await?;
    drop(first);
    let opened = FileIdentity::of_path(file).map_err(std::io::Error::from)?;
    let readers = SqlitePoolOptions::new()
        .max_connections(pool.size.clamp(1, SQLITE_MOST_READERS))
        .acquire_timeout(pool.timeout)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(options.clone().pragma("query_only", "ON"));
    Ok(Engine::Sqlite {
        file: file.into(),
        opened,
        readers,
        durable,
        relaxed: writer(SqliteSynchronous::Normal),
        gate: Arc::new(Mutex::new(())),
        suspicious,
    })
}

/// Refuses a file that was removed, or replaced by another, since it was opened.
pub(super) fn require_in_place(file: &Path, opened: FileIdentity) -> std::io::Result<()> {
    if opened.is_at(file) {
        return Ok(());
    }
    let why = format!("{} was moved away, removed or replaced: put it back, or restart", file.display());
    Err(std::io::Error::new(std::io::ErrorKind::NotFound, why))
}

/// Checks that the disk accepts as many bytes as a change may need: a database that cannot grow may
/// still have room for a smaller change.
pub(super) fn look_for_room(database: &Path) -> std::io::Result<()> {
    let mut name = database.as_os_str().to_owned();
    name.push("-room");
    let written = std::fs::write(&name, vec![1; ROOM]);
    std::fs::remove_file(&name)?;
    written
}

fn writer_pool(options: SqliteConnectOptions, pool: PoolOptions, suspicious: Arc<AtomicBool>) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(1)
        // A COMMIT that fails (disk full) rolls back by itself, which leaves the connection's transaction
        // counter wrong. Such a connection is closed, not reused.
        .after_release(move |connection, _| {
            let suspicious = suspicious.clone();
            Box::pin(async move {
                if !suspicious.swap(false, Ordering::AcqRel) {
                    return Ok(true);
                }
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
        .acquire_timeout(pool.timeout)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(options)
}

/// Acquires with retries: enabling the log is not covered by the busy timeout if several servers start
/// at once.
async fn patiently(pool: &SqlitePool) -> Sql<sqlx::pool::PoolConnection<sqlx::Sqlite>> {
    let mut tries = 0;
    loop {
        match pool.acquire().await.map_err(SqlError::from) {
            Err(error) if tries < 50 && is_retryable(&error) => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            result => return result,
        }
    }
}
