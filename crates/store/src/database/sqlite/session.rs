//! A connection in use, possibly in a transaction.

use std::ops::Deref;

use deadpool::managed::Object;
use rusqlite::Connection;
use tokio::sync::OwnedMutexGuard;

use super::connection::{SqliteConnection, run_all};
use super::readers::ReaderManager;
use crate::database::error::{Sql, SqlError};
use crate::database::session::{Answer, CommitFailure};
use crate::database::sql::Statement;

/// The connection of a session.
pub(super) enum Held {
    Reader(Object<ReaderManager>),
    Writer(OwnedMutexGuard<SqliteConnection>),
}

impl Deref for Held {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        match self {
            Self::Reader(reader) => reader,
            Self::Writer(writer) => writer,
        }
    }
}

/// If dropped in a transaction, the transaction is rolled back before the connection is used again: its
/// thread runs jobs in their order.
pub(crate) struct SqliteSession {
    /// Present until the session is dropped.
    held: Option<Held>,
    /// Script that begins the transaction; it runs with the first statement.
    begin: Option<&'static str>,
    /// A transaction was begun.
    is_open: bool,
}

impl SqliteSession {
    /// With `begin`, a transaction.
    pub(super) fn new(held: Held, begin: Option<&'static str>) -> Self {
        Self { held: Some(held), begin, is_open: false }
    }

    /// Runs statements; returns the answers to all.
    pub(in crate::database) async fn run(&mut self, statements: Vec<Statement>) -> Sql<Vec<Answer>> {
        if statements.is_empty() {
            return Ok(Vec::new());
        }
        let transaction = self.enter();
        let held = self.held.as_ref().ok_or(SqlError::NoConnection)?;
        held.run(move |connection, is_wanted| {
            transaction.enter(connection)?;
            run_all(connection, &statements, is_wanted)
        })
        .await?
    }

    /// Runs a script.
    pub(in crate::database) async fn script(&mut self, sql: &'static str) -> Sql<()> {
        let transaction = self.enter();
        let held = self.held.as_ref().ok_or(SqlError::NoConnection)?;
        held.run(move |connection, _| {
            transaction.enter(connection)?;
            Ok(connection.execute_batch(sql)?)
        })
        .await?
    }

    /// Runs statements and then COMMIT, if a transaction is open; returns the answers to all statements.
    pub(in crate::database) async fn commit(
        mut self,
        statements: Vec<Statement>,
    ) -> Result<Vec<Answer>, CommitFailure> {
        if !self.is_open && (self.begin.is_none() || statements.is_empty()) {
            return self.run(statements).await.map_err(CommitFailure::Before);
        }
        let transaction = self.enter();
        let held = self.held.as_ref().ok_or(CommitFailure::Before(SqlError::NoConnection))?;
        let committed = held.run(move |connection, is_wanted| {
            let answers =
                transaction.enter(connection).and_then(|()| run_all(connection, &statements, is_wanted));
            let answers = answers.map_err(CommitFailure::Before)?;
            connection.execute_batch("COMMIT").map_err(|error| CommitFailure::AtCommit(error.into()))?;
            Ok(answers)
        });
        let answers = committed.await.map_err(CommitFailure::AtCommit)??;
        self.is_open = false;
        Ok(answers)
    }

    /// What the next job does before its statements.
    fn enter(&mut self) -> Transaction {
        let begin = self.begin.take();
        let is_open = self.is_open;
        self.is_open = is_open || begin.is_some();
        Transaction { begin, is_open }
    }
}

struct Transaction {
    begin: Option<&'static str>,
    is_open: bool,
}

impl Transaction {
    /// Begins the transaction, if that is due. `SQLite` rolls a transaction back by itself after some errors,
    /// such as a full disk: what follows must not run outside it.
    fn enter(&self, connection: &Connection) -> Sql<()> {
        if let Some(begin) = self.begin {
            connection.execute_batch(begin)?;
        } else if self.is_open && connection.is_autocommit() {
            return Err(SqlError::Driver("the transaction was rolled back".to_owned()));
        }
        Ok(())
    }
}

impl Drop for SqliteSession {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        if !self.is_open {
            return;
        }
        let roll_back = |connection: &Connection| {
            if !connection.is_autocommit() {
                // It fails only if there is no transaction.
                let _ = connection.execute_batch("ROLLBACK");
            }
        };
        match held {
            Held::Reader(reader) => reader.queue()(Box::new(move |connection| roll_back(connection))),
            Held::Writer(writer) => writer.queue()(Box::new(move |connection| {
                roll_back(connection);
                // Now others may write.
                drop(writer);
            })),
        }
    }
}
