//! Connections to the database, `SQLite` or PostgreSQL, and sessions on it.
//!
//! Statements use the SQL common to both (`$1` placeholders, row values, upserts, `RETURNING`); where
//! they differ, both variants are next to each other at their use. `SQLite` allows one writer at a time;
//! a mutex in the process replaces its busy-waiting.

mod failover;
mod postgres;
mod sql;
mod sqlite;
mod url;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use panaversity_model::Fault;
use panaversity_model::connection_pool::PoolUsage;
use panaversity_model::fault::FaultKind;
use sqlx::SqlitePool;
use tokio::sync::Mutex;

use crate::file_identity::FileIdentity;
pub(crate) use postgres::answer_timeout;
pub(crate) use sql::{Row, Session, Value, Writing, placeholders, power_of_two_chunks, values_list};
pub use url::DatabaseUrl;

/// Result of a statement.
pub(crate) type Sql<T> = Result<T, sqlx::Error>;

/// Size and timeout of the connection pool of a server.
#[derive(Debug, Clone, Copy)]
pub struct PoolOptions {
    /// Number of connections kept open.
    pub size: u32,
    /// Number of further connections under load.
    pub overflow: u32,
    /// Longest time that a call waits for a connection, and, within bounds, for the result of a statement.
    pub timeout: Duration,
}

/// SQL dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// Durability of a commit: it survives a power cut, or only a killed process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    PowerCut,
    Kill,
}

/// A database with its connection pools. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pub(crate) engine: Engine,
    /// The last change could not be written, for a reason that is not the caller's.
    is_unwritable: Arc<AtomicBool>,
}

#[derive(Clone)]
pub(crate) enum Engine {
    Sqlite {
        file: Arc<Path>,
        /// The file that was opened.
        opened: FileIdentity,
        /// Pool of read-only connections.
        readers: SqlitePool,
        /// One connection that syncs to disk at each commit.
        durable: SqlitePool,
        /// One connection that does not.
        relaxed: SqlitePool,
        /// Mutex of the single writer.
        gate: Arc<Mutex<()>>,
        /// A commit has failed or is in progress: the connection is checked when it is released.
        suspicious: Arc<AtomicBool>,
    },
    Postgres(postgres::Postgres),
}

fn pool_usage(open: u32, idle: usize, max: u32) -> PoolUsage {
    let idle = u32::try_from(idle).unwrap_or(u32::MAX).min(open);
    PoolUsage { in_use: open - idle, idle, max }
}

impl Database {
    /// Connects; a missing SQLite file is created.
    ///
    /// # Errors
    /// `DATABASE_UNAVAILABLE` if the database does not answer or refuses the connection.
    pub async fn connect(url: &DatabaseUrl, pool: PoolOptions) -> Result<Self, Fault> {
        let engine = match url {
            DatabaseUrl::Sqlite { file } => sqlite::connect(file, pool).await,
            DatabaseUrl::Postgres(url) => postgres::connect(url, pool).await.map(Engine::Postgres),
        };
        let new = |engine| Self { engine, is_unwritable: Arc::default() };
        engine.map(new).map_err(|error| {
            let fault = fault("connect", &error);
            // A failure to open a file is not transient.
            let is_server = matches!(url, DatabaseUrl::Postgres(_));
            fault.transient_if(is_server && is_transient(&error))
        })
    }

    /// Records if the last change could be written.
    pub(crate) fn note_write_result(&self, written: bool) {
        self.is_unwritable.store(!written, Ordering::Release);
    }

    /// After a change that could not be written: checks if writing succeeds now.
    pub(crate) async fn try_writing(&self) -> Sql<()> {
        if let Engine::Sqlite { file, opened, .. } = &self.engine {
            sqlite::require_in_place(file, *opened)?;
        }
        if !self.is_unwritable.load(Ordering::Acquire) {
            return Ok(());
        }
        if let Engine::Sqlite { file, .. } = &self.engine {
            let file = file.clone();
            let room = tokio::task::spawn_blocking(move || sqlite::look_for_room(&file)).await;
            room.map_err(|broken| sqlx::Error::Protocol(broken.to_string()))??;
        }
        let mut session = self.begin(Durability::Kill).await?;
        session.execute("UPDATE store SET id = id", Vec::new()).await?;
        session.commit().await?;
        self.note_write_result(true);
        Ok(())
    }

    /// Use of the connections; on `SQLite` those of readers and both writers.
    pub(crate) fn pool_usage(&self) -> PoolUsage {
        match &self.engine {
            Engine::Sqlite { readers, durable, relaxed, .. } => {
                let pools = [readers, durable, relaxed];
                let max = pools.iter().map(|pool| pool.options().get_max_connections()).sum();
                let idle = pools.iter().map(|pool| pool.num_idle()).sum();
                pool_usage(pools.iter().map(|pool| pool.size()).sum(), idle, max)
            }
            Engine::Postgres(server) => server.pool_usage(),
        }
    }

    /// Closes all connections.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite { readers, durable, relaxed, .. } => {
                readers.close().await;
                relaxed.close().await;
                durable.close().await;
            }
            Engine::Postgres(server) => server.close().await,
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self.engine {
            Engine::Sqlite { .. } => Dialect::Sqlite,
            Engine::Postgres(_) => Dialect::Postgres,
        }
    }

    /// SQL expression for the database's time, in whole microseconds.
    pub(crate) fn now_sql(&self) -> &'static str {
        match self.dialect() {
            // SQLite has milliseconds only.
            Dialect::Sqlite => "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')",
            Dialect::Postgres => "clock_timestamp()",
        }
    }

    /// Session for one read-only statement.
    pub(crate) async fn read(&self) -> Sql<Session> {
        match &self.engine {
            Engine::Sqlite { readers, .. } => Ok(Session::Sqlite(readers.acquire().await?)),
            Engine::Postgres(server) => Ok(Session::Postgres(server.reader().await?)),
        }
    }

    /// Read-only session whose statements all see the same snapshot.
    pub(crate) async fn snapshot(&self) -> Sql<Session> {
        let db = self.clone();
        spawn_uncancellable(async move {
            match &db.engine {
                Engine::Sqlite { readers, .. } => {
                    Ok(Session::SqliteTransaction(readers.begin().await?, None))
                }
                Engine::Postgres(server) => {
                    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                    server.begin(begin).await.map(Session::Postgres)
                }
            }
        })
        .await
    }

    /// Transaction that writes. If dropped without a commit, it is rolled back.
    pub(crate) async fn begin(&self, durability: Durability) -> Sql<Session> {
        let db = self.clone();
        spawn_uncancellable(async move { db.begin_now(durability).await }).await
    }

    async fn begin_now(&self, durability: Durability) -> Sql<Session> {
        match &self.engine {
            Engine::Sqlite { durable, relaxed, gate, suspicious, .. } => {
                let turn = gate.clone().lock_owned().await;
                let pool = if durability == Durability::PowerCut { durable } else { relaxed };
                let transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
                let writing = Writing { _turn: turn, suspicious: suspicious.clone() };
                Ok(Session::SqliteTransaction(transaction, Some(writing)))
            }
            Engine::Postgres(server) => {
                let begin = match durability {
                    // Also where `off` was configured as the default.
                    Durability::PowerCut => {
                        "BEGIN; SELECT set_config('synchronous_commit', 'on', true) \
                         WHERE current_setting('synchronous_commit') = 'off'"
                    }
                    Durability::Kill => "BEGIN; SET LOCAL synchronous_commit = off",
                };
                server.begin(begin).await.map(Session::Postgres)
            }
        }
    }
}

/// Begins a transaction in a separate task: a caller cancelled between BEGIN and its result would
/// release the connection to the pool with an open transaction that nothing tracks.
async fn spawn_uncancellable(begin: impl Future<Output = Sql<Session>> + Send + 'static) -> Sql<Session> {
    tokio::spawn(begin).await.unwrap_or_else(|broken| Err(sqlx::Error::Protocol(broken.to_string())))
}

/// Converts the error of a statement into a fault; `what` names the statement for the log.
pub(crate) fn fault(what: &str, error: &sqlx::Error) -> Fault {
    let detail = format!("{what}: {error}");
    let fault = match error {
        // The database answered, but the stored value is not one that this program wrote.
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => Fault::corrupt(detail),
        _ if took_too_long(error) => Fault::new(FaultKind::Timeout, detail),
        _ if lacks_a_table(error) => foreign_schema(&detail),
        _ => Fault::database(detail),
    };
    fault.transient_if(is_transient(error))
}

/// True if a retry may succeed later without intervention: PostgreSQL is unreachable, starting,
/// stopping, out of connections, or was blocked.
pub(crate) fn is_transient(error: &sqlx::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, PermissionDenied, Unsupported};
    match error {
        sqlx::Error::Io(why) => {
            !matches!(why.kind(), PermissionDenied | InvalidData | InvalidInput | Unsupported)
        }
        sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(refused) => refused.code().is_some_and(|code| {
            let codes = ["57P01", "57P02", "57P03", "53300", "40001", "40P01"];
            codes.contains(&&*code) || took_too_long(error) || (code.len() == 5 && code.starts_with("08"))
        }),
        _ => false,
    }
}

/// True if PostgreSQL refused to write because it is, or has become, a standby.
fn is_read_only(error: &sqlx::Error) -> bool {
    has_code(error, &["25006"])
}

/// Fault for a database without the tables of this program, with advice for the operator.
pub(crate) fn foreign_schema(detail: &str) -> Fault {
    let next = "the database's schema is not this program's: `panaversity-fs migrate current` shows its revision, \
                `panaversity-fs migrate upgrade` brings an older one up; if it is the newest, tables were changed by \
                hand: restore a backup";
    Fault::new(FaultKind::Schema, format!("{detail} ({next})"))
}

/// True if a table or a column does not exist.
fn lacks_a_table(error: &sqlx::Error) -> bool {
    // PostgreSQL's codes; SQLite has one code for every error in a statement.
    has_code(error, &["42P01", "42703"])
        || (has_code(error, &["1"])
            && ["no such table", "no such column"].iter().any(|why| error.to_string().contains(why)))
}

/// True if the error has one of these database error codes.
fn has_code(error: &sqlx::Error, codes: &[&str]) -> bool {
    let sqlx::Error::Database(refused) = error else { return false };
    refused.code().is_some_and(|code| codes.contains(&&*code))
}

/// True if the whole transaction may be retried: deadlock, serialization failure, busy `SQLite`, or a
/// unique index that saw a concurrent writer first.
pub(crate) fn is_retryable(error: &sqlx::Error) -> bool {
    // PostgreSQL's; then SQLITE_BUSY, SQLITE_BUSY_SNAPSHOT and similar, and the two unique constraints.
    has_code(error, &["40001", "40P01", "23505", "5", "261", "517", "1555", "2067"])
}

/// True if the database ended a statement that exceeded its time limit, running or waiting for a lock.
fn took_too_long(error: &sqlx::Error) -> bool {
    has_code(error, &["57014", "55P03"])
}

/// True if `SQLite` failed to sync a commit to disk. The bytes may or may not be durable; only a restart
/// reveals it.
pub(crate) fn is_unsynced(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(refused) = error else { return false };
    // The low byte of an extended code is its class: SQLITE_IOERR.
    let code = refused.code().and_then(|code| code.parse::<u32>().ok());
    refused.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some()
        && code.is_some_and(|code| code & 0xff == 10)
}

/// True if the connection is dead or the server is shutting down. Another connection may succeed.
pub(crate) fn is_lost_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) if postgres::is_answer_timeout(error) => false,
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(refused) => refused.code().is_some_and(|code| {
            ["57P01", "57P02", "57P03"].contains(&&*code) || (code.len() == 5 && code.starts_with("08"))
        }),
        _ => false,
    }
}

/// True if the database itself returned the error; otherwise there was no response.
pub(crate) fn was_answered(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(_))
}
