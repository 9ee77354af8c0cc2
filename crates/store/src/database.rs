//! Connections to the database, `SQLite` or PostgreSQL, and sessions on it.
//!
//! Statements use the SQL common to both (`$1` placeholders, row values, upserts, `RETURNING`); where
//! they differ, both variants are next to each other at their use. `SQLite` allows one writer at a time;
//! a mutex in the process replaces its busy-waiting.

mod error;
mod failover;
mod postgres;
mod session;
mod sql;
mod sqlite;
mod url;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use panaversity_model::Fault;
use panaversity_model::connection_pool::PoolUsage;

pub(crate) use error::{
    Sql, SqlError, fault, foreign_schema, is_lost_connection, is_retryable, is_transient, is_unsynced,
    was_answered,
};
use session::SessionConnection;
pub(crate) use session::{Answers, CommitFailure, Queued, Session};
pub(crate) use sql::{Row, Value, placeholders, power_of_two_chunks, values_list};
pub use url::DatabaseUrl;

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
    Sqlite(Arc<sqlite::Sqlite>),
    Postgres(Arc<postgres::Postgres>),
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
            DatabaseUrl::Sqlite { file } => {
                sqlite::Sqlite::open(file, pool).await.map(|sqlite| Engine::Sqlite(Arc::new(sqlite)))
            }
            DatabaseUrl::Postgres(url) => postgres::Postgres::connect(url, pool).await.map(Engine::Postgres),
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
        if let Engine::Sqlite(sqlite) = &self.engine {
            sqlite.require_in_place()?;
        }
        if !self.is_unwritable.load(Ordering::Acquire) {
            return Ok(());
        }
        if let Engine::Sqlite(sqlite) = &self.engine {
            sqlite.look_for_room().await?;
        }
        let mut session = self.begin(Durability::Kill).await?;
        session.execute("UPDATE store SET id = id", Vec::new()).await?;
        session.commit().await?;
        self.note_write_result(true);
        Ok(())
    }

    /// Use of the connections; on `SQLite` those of readers and the writer.
    pub(crate) fn pool_usage(&self) -> PoolUsage {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.pool_usage(),
            Engine::Postgres(server) => server.pool_usage(),
        }
    }

    /// Closes all connections.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.close().await,
            Engine::Postgres(server) => server.close().await,
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self.engine {
            Engine::Sqlite(_) => Dialect::Sqlite,
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
            Engine::Sqlite(sqlite) => Ok(SessionConnection::Sqlite(sqlite.reader(None).await?).into()),
            Engine::Postgres(server) => {
                Ok(SessionConnection::Postgres(Box::new(server.reader().await?)).into())
            }
        }
    }

    /// Read-only session whose statements all see the same snapshot.
    pub(crate) async fn snapshot(&self) -> Sql<Session> {
        match &self.engine {
            Engine::Sqlite(sqlite) => {
                Ok(SessionConnection::Sqlite(sqlite.reader(Some("BEGIN")).await?).into())
            }
            Engine::Postgres(server) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                Ok(SessionConnection::Postgres(Box::new(server.begin(begin).await?)).into())
            }
        }
    }

    /// Transaction that writes. If dropped without a commit, it is rolled back.
    pub(crate) async fn begin(&self, durability: Durability) -> Sql<Session> {
        match &self.engine {
            Engine::Sqlite(sqlite) => Ok(SessionConnection::Sqlite(sqlite.begin(durability).await).into()),
            Engine::Postgres(server) => {
                let begin = match durability {
                    // Also where `off` was configured as the default.
                    Durability::PowerCut => {
                        "BEGIN; SELECT set_config('synchronous_commit', 'on', true) \
                         WHERE current_setting('synchronous_commit') = 'off'"
                    }
                    Durability::Kill => "BEGIN; SET LOCAL synchronous_commit = off",
                };
                Ok(SessionConnection::Postgres(Box::new(server.begin(begin).await?)).into())
            }
        }
    }
}
