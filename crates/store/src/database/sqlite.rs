//! `SQLite` connections: write-ahead log, one writer, several readers. Each runs on a thread of its own.

mod checkpoints;
mod connection;
mod readers;
mod session;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Pool, PoolError};
use panaversity_model::connection_pool::PoolUsage;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use self::checkpoints::{copy_beside, leave_to_the_last};
use self::connection::SqliteConnection;
use self::readers::ReaderManager;
use self::session::Held;
pub(crate) use self::session::SqliteSession;
use super::error::is_retryable;
use super::{Durability, PoolOptions, Sql, SqlError, pool_usage};
use crate::file_identity::FileIdentity;
use crate::limits::SQLITE_MOST_READERS;

/// PRAGMAs of every connection. Mapped, each connection would have the whole file in the memory of the process.
/// A statement that writes many rows copies each page before, to undo it:
/// into memory, as a temporary file took half of all writes.
const PRAGMAS: &str = "PRAGMA foreign_keys = ON; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;";
/// PRAGMAs of the writer. A log that a long reader has let grow is cut to 48 MB once it begins anew.
const WRITER: &str = "PRAGMA journal_mode = WAL; PRAGMA journal_size_limit = 50331648; \
                      PRAGMA cache_size = -8000;";
/// PRAGMAs of a reader. The page caches are given in kilobytes; each reader has one of its own, of the pages
/// that the system has in memory besides.
const READER: &str = "PRAGMA query_only = ON; PRAGMA cache_size = -2000;";
/// Bytes of free disk space required after a change could not be written.
const ROOM: usize = 256 << 10;

/// An open database.
pub(crate) struct Sqlite {
    file: Arc<Path>,
    /// The file that was opened.
    opened: FileIdentity,
    /// Of writers of this process, one at a time uses it; another process is waited for by `SQLite`.
    writer: Arc<Mutex<SqliteConnection>>,
    readers: Pool<ReaderManager>,
    /// Copies the log into the database.
    checkpointer: Mutex<SqliteConnection>,
    /// Threads of the writer and of the others.
    threads: (TaskTracker, TaskTracker),
    /// Longest time that a caller waits for a reader.
    timeout: Duration,
}

impl Sqlite {
    /// Opens a file; creates it, and the folders above it, if it is missing.
    pub(super) async fn open(file: &Path, pool: PoolOptions) -> Sql<Self> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // The first connection enables the write-ahead log.
        let threads = (TaskTracker::new(), TaskTracker::new());
        let writer = open_patiently(file, &threads.0).await?;
        let opened = FileIdentity::of_path(file).map_err(std::io::Error::from)?;
        let file: Arc<Path> = file.into();
        let pragmas = format!("{PRAGMAS} {READER}");
        let readers = ReaderManager { file: file.clone(), pragmas, threads: threads.1.clone() };
        let readers = Pool::builder(readers)
            .max_size(pool.size.clamp(1, SQLITE_MOST_READERS) as usize)
            .build()
            .map_err(|error| SqlError::Driver(error.to_string()))?;
        let checkpointer = SqliteConnection::open(&file, PRAGMAS.to_owned(), &threads.1).await?;
        copy_beside(&writer, &checkpointer).await?;
        let (writer, checkpointer) = (Arc::new(Mutex::new(writer)), Mutex::new(checkpointer));
        Ok(Self { file, opened, writer, readers, checkpointer, threads, timeout: pool.timeout })
    }

    /// The file.
    pub(crate) fn file(&self) -> &Arc<Path> {
        &self.file
    }

    /// Refuses a file that was removed, or replaced by another, since it was opened.
    pub(super) fn require_in_place(&self) -> std::io::Result<()> {
        if self.opened.is_at(&self.file) {
            return Ok(());
        }
        let file = self.file.display();
        let why = format!("{file} was moved away, removed or replaced: put it back, or restart");
        Err(std::io::Error::new(std::io::ErrorKind::NotFound, why))
    }

    /// Checks that the disk accepts as many bytes as a change may need: a database that cannot grow may
    /// still have room for a smaller change.
    pub(super) async fn look_for_room(&self) -> Sql<()> {
        let mut name = self.file.as_os_str().to_owned();
        name.push("-room");
        let room = tokio::task::spawn_blocking(move || {
            let written = std::fs::write(&name, vec![1; ROOM]);
            std::fs::remove_file(&name)?;
            written
        });
        Ok(room.await.map_err(|broken| SqlError::Driver(broken.to_string()))??)
    }

    /// Connection for read-only statements; with `begin`, in a transaction that this script begins.
    pub(super) async fn reader(&self, begin: Option<&'static str>) -> Sql<SqliteSession> {
        let acquired = tokio::time::timeout(self.timeout, self.readers.get()).await;
        let reader = acquired.map_err(|_| SqlError::NoConnection)?.map_err(|error| match error {
            PoolError::Backend(error) => error,
            other => SqlError::Driver(other.to_string()),
        })?;
        Ok(SqliteSession::new(Held::Reader(reader), begin))
    }

    /// Transaction that writes.
    pub(super) async fn begin(&self, durability: Durability) -> SqliteSession {
        let begin = match durability {
            Durability::PowerCut => "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
            Durability::Kill => "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
        };
        SqliteSession::new(Held::Writer(self.writer.clone().lock_owned().await), Some(begin))
    }

    /// Use of the connections, the writer included.
    pub(super) fn pool_usage(&self) -> PoolUsage {
        let status = self.readers.status();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let idle = status.available + usize::from(self.writer.try_lock().is_ok());
        pool_usage(count(status.size) + 1, idle, count(status.max_size) + 1)
    }

    /// Changes a reader, which is all of them in a pool of one, and the writer.
    #[cfg(test)]
    pub(crate) async fn on_a_reader_and_the_writer(
        &self,
        change: impl Fn(&mut rusqlite::Connection) + Clone + Send + 'static,
    ) {
        let other = change.clone();
        self.readers.get().await.ok().unwrap().run(move |connection, _| other(connection)).await.unwrap();
        self.writer.lock().await.run(move |connection, _| change(connection)).await.unwrap();
    }

    /// Closes all connections, after what they are doing. The writer is the last one, and then `SQLite` copies
    /// the log into the database; of two that close at once neither would.
    pub(super) async fn close(&self) {
        let mut writer = self.writer.lock().await;
        leave_to_the_last(&writer).await;
        self.checkpointer.lock().await.close();
        self.readers.close();
        self.threads.1.close();
        self.threads.1.wait().await;
        writer.close();
        self.threads.0.close();
        self.threads.0.wait().await;
    }
}

/// Opens the writer, with retries: enabling the log is not covered by the busy timeout if several servers
/// start at once.
async fn open_patiently(file: &Path, threads: &TaskTracker) -> Sql<SqliteConnection> {
    let mut tries = 0;
    loop {
        let pragmas = format!("{WRITER} {PRAGMAS}");
        match SqliteConnection::open(file, pragmas, threads).await {
            Err(error) if tries < 50 && is_retryable(&error) => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            result => return result,
        }
    }
}
