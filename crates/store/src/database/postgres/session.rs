//! A connection of the pool in use, possibly in a transaction.
//!
//! What begins a transaction is sent with the first statements. Should it fail, which only a server does
//! that was frozen or has no memory, they run nevertheless, each in a transaction of its own. So what must
//! happen as a whole is sent after the answers to these, as a change is, or may be repeated.

use std::sync::Arc;

use deadpool::managed::Object;

use super::Postgres;
use super::connection::{PostgresConnection, Request};
use super::connector::Connector;
use crate::database::error::{Sql, SqlError, is_lost_connection, was_answered};
use crate::database::session::{Answer, CommitFailure};
use crate::database::sql::Statement;

/// If dropped in the middle of a statement, the connection is closed, because the statement may still
/// run; if dropped in a transaction, the transaction is rolled back.
pub(crate) struct PostgresSession {
    /// Present until the session is dropped.
    connection: Option<Object<Connector>>,
    server: Arc<Postgres>,
    /// Script that begins the transaction; it is sent with the first statement.
    begin: Option<String>,
    /// A transaction is open.
    is_open: bool,
    /// A statement was sent, and its response has not arrived.
    is_busy: bool,
}

impl PostgresSession {
    /// With `begin`, a transaction.
    pub(super) fn new(connection: Object<Connector>, server: Arc<Postgres>, begin: Option<String>) -> Self {
        Self { connection: Some(connection), server, begin, is_open: false, is_busy: false }
    }

    /// Sends statements together; returns the answers to all.
    pub(in crate::database) async fn run(&mut self, statements: &[Statement]) -> Sql<Vec<Answer>> {
        if statements.is_empty() {
            return Ok(Vec::new());
        }
        let (begun, answers) = self.send(statements, false).await?;
        begun?;
        answers.into_iter().collect()
    }

    /// Runs a script, limited only by the server's timeouts.
    pub(in crate::database) async fn script(&mut self, sql: &str) -> Sql<()> {
        let begin = self.begin.take();
        let connection = self.connection.as_ref().ok_or(SqlError::NoConnection)?;
        (self.is_busy, self.is_open) = (true, self.is_open || begin.is_some());
        let result = match begin {
            Some(begin) => connection.script(&format!("{begin}; {sql}")).await,
            None => connection.script(sql).await,
        };
        self.is_busy = false;
        result
    }

    /// Sends statements together with COMMIT, if a transaction is open; returns the answers to all
    /// statements.
    ///
    /// PostgreSQL answers COMMIT without an error also in a transaction that has failed, and rolls it
    /// back. But it fails only by an error, which is the answer to the statement that met it. So the
    /// transaction is committed if all answers, COMMIT's included, are free of errors.
    pub(in crate::database) async fn commit(
        mut self,
        statements: &[Statement],
    ) -> Result<Vec<Answer>, CommitFailure> {
        if !self.is_open && (self.begin.is_none() || statements.is_empty()) {
            return self.run(statements).await.map_err(CommitFailure::Before);
        }
        let (begun, mut answers) = self.send(statements, true).await.map_err(CommitFailure::Before)?;
        let committed = answers.pop().unwrap_or(Err(SqlError::NoAnswer));
        begun.map_err(CommitFailure::AtCommit)?;
        let answers = answers.into_iter().collect::<Sql<Vec<_>>>().map_err(|error| {
            // The connection may end after a COMMIT that nobody answered.
            if was_answered(&error) && !is_lost_connection(&error) {
                CommitFailure::Before(error)
            } else {
                CommitFailure::AtCommit(error)
            }
        })?;
        committed.map_err(CommitFailure::AtCommit)?;
        self.is_open = false;
        Ok(answers)
    }

    /// Sends statements together, after what begins the transaction and before what commits it; returns
    /// the answer to the former, and those to all others. `Err`: nothing was sent.
    async fn send(&mut self, statements: &[Statement], commits: bool) -> Sql<(Sql<()>, Vec<Sql<Answer>>)> {
        let connection = self.connection.as_mut().ok_or(SqlError::NoConnection)?;
        let monitor = self.server.monitor().clone();
        self.is_busy = true;
        let prepared = monitor.within(connection.prepared(statements)).await;
        self.is_busy = matches!(prepared, Err(SqlError::NoAnswer));
        let (prepared, begin) = (prepared?, self.begin.take());
        let mut requests: Vec<Request<'_>> = begin.as_deref().map(Request::Script).into_iter().collect();
        requests.extend(prepared);
        requests.extend(commits.then_some(Request::Script("COMMIT")));
        (self.is_busy, self.is_open) = (true, self.is_open || begin.is_some());
        let mut answers = connection.pipeline(requests, &monitor).await;
        self.is_busy = answers.iter().any(|answer| matches!(answer, Err(SqlError::NoAnswer)));
        let opened = if begin.is_some() { answers.remove(0).map(drop) } else { Ok(()) };
        Ok((opened, answers))
    }
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if self.is_busy {
            PostgresConnection::abort(Object::take(connection));
        } else if self.is_open {
            let server = self.server.clone();
            tokio::spawn(async move {
                match server.monitor().within(connection.script("ROLLBACK")).await {
                    Ok(()) => server.release(connection),
                    Err(_) => Object::take(connection).abort(),
                }
            });
        } else {
            self.server.release(connection);
        }
    }
}
