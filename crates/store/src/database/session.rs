//! Sessions: statements on one connection of either database.
//!
//! Statements whose answers are not needed yet are queued, and sent together with the next one whose
//! answer is, or with COMMIT. They run in their order. On PostgreSQL that is one round trip, on `SQLite` one
//! hand-over to the thread of the connection.

use super::error::{Sql, SqlError};
use super::postgres::PostgresSession;
use super::sql::{Row, Statement, Value};
use super::sqlite::SqliteSession;

/// Connection, or transaction, of either database.
pub(super) enum SessionConnection {
    Sqlite(SqliteSession),
    Postgres(Box<PostgresSession>),
}

/// A session, with the statements that it has not sent yet.
pub(crate) struct Session {
    connection: SessionConnection,
    queued: Vec<Statement>,
    answers: Answers,
}

/// Place of a statement in its session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queued(usize);

/// Answer to a statement: its rows, and the number of those it changed.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    pub(super) changed: u64,
}

/// Answers to all statements of a session.
#[derive(Default)]
pub(crate) struct Answers(Vec<Answer>);

impl Answers {
    /// Takes the rows of a statement that was sent.
    pub(crate) fn take(&mut self, statement: Queued) -> Vec<Row> {
        self.0.get_mut(statement.0).map(|answer| std::mem::take(&mut answer.rows)).unwrap_or_default()
    }
}

/// Failure of a transaction that was sent together with its COMMIT.
#[derive(Debug)]
pub(crate) enum CommitFailure {
    /// A statement before COMMIT was refused, or COMMIT was not sent: nothing was committed.
    Before(SqlError),
    /// COMMIT was sent; it was refused, or there was no answer.
    AtCommit(SqlError),
}

impl From<CommitFailure> for SqlError {
    fn from(failure: CommitFailure) -> Self {
        match failure {
            CommitFailure::Before(error) | CommitFailure::AtCommit(error) => error,
        }
    }
}

impl From<SessionConnection> for Session {
    fn from(connection: SessionConnection) -> Self {
        Self { connection, queued: Vec::new(), answers: Answers::default() }
    }
}

impl Session {
    /// Queues a statement. Its text is never built from external input, which is bound instead.
    pub(crate) fn queue(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Queued {
        self.queued.push(Statement { sql: sql.into(), values });
        Queued(self.answers.0.len() + self.queued.len() - 1)
    }

    /// Sends the queued statements and waits for all answers.
    pub(crate) async fn send(&mut self) -> Sql<()> {
        let statements = std::mem::take(&mut self.queued);
        self.answers.0.extend(match &mut self.connection {
            SessionConnection::Sqlite(session) => session.run(statements).await?,
            SessionConnection::Postgres(session) => session.run(&statements).await?,
        });
        Ok(())
    }

    /// Takes the rows of a statement that was sent.
    pub(crate) fn take(&mut self, statement: Queued) -> Vec<Row> {
        self.answers.take(statement)
    }

    /// Rows of a statement.
    pub(crate) async fn rows(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Sql<Vec<Row>> {
        let statement = self.queue(sql, values);
        self.send().await?;
        Ok(self.take(statement))
    }

    /// First row of a statement, if there is one.
    pub(crate) async fn row(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Sql<Option<Row>> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Runs a statement; returns the number of rows changed.
    pub(crate) async fn execute(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Sql<u64> {
        let Queued(place) = self.queue(sql, values);
        self.send().await?;
        Ok(self.answers.0.get(place).map_or(0, |answer| answer.changed))
    }

    /// Runs a script of several statements.
    pub(crate) async fn script(&mut self, sql: &'static str) -> Sql<()> {
        self.send().await?;
        match &mut self.connection {
            SessionConnection::Sqlite(session) => session.script(sql).await,
            SessionConnection::Postgres(session) => session.script(sql).await,
        }
    }

    /// Sends the queued statements and commits the transaction; on a plain connection only the former.
    pub(crate) async fn commit(self) -> Sql<()> {
        Ok(self.finish().await.map(drop)?)
    }

    /// Same as [`commit`](Self::commit); returns the answers, and tells at which point it failed.
    pub(crate) async fn finish(mut self) -> Result<Answers, CommitFailure> {
        self.answers.0.extend(match self.connection {
            SessionConnection::Sqlite(session) => session.commit(self.queued).await?,
            SessionConnection::Postgres(session) => session.commit(&self.queued).await?,
        });
        Ok(self.answers)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use panaversity_testkit::postgres::shared;
    use tempfile::TempDir;

    use super::*;
    use crate::database::{Database, DatabaseUrl, Durability, PoolOptions, is_retryable};

    const POOL: PoolOptions = PoolOptions { size: 1, overflow: 0, timeout: Duration::from_secs(20) };

    async fn with_a_table(url: &str) -> Database {
        let db = Database::connect(&DatabaseUrl::parse(url).unwrap(), POOL).await.unwrap();
        let mut session = db.begin(Durability::PowerCut).await.unwrap();
        session.queue("CREATE TABLE numbers (n BIGINT PRIMARY KEY)", Vec::new());
        session.commit().await.unwrap();
        db
    }

    fn insert(session: &mut Session, n: i64) -> Queued {
        session.queue("INSERT INTO numbers (n) VALUES ($1) RETURNING n", vec![n.into()])
    }

    async fn count(db: &Database) -> i64 {
        let mut session = db.read().await.unwrap();
        let row = session.row("SELECT count(*) AS numbers FROM numbers", Vec::new()).await.unwrap();
        row.unwrap().int("numbers").unwrap()
    }

    async fn both(folder: &TempDir) -> [Database; 3] {
        let url = format!("sqlite:{}", folder.path().join("numbers.db").display());
        let postgres = shared().create_database();
        let pooled = format!("{}?pgbouncer=true", shared().create_database());
        [with_a_table(&url).await, with_a_table(&postgres).await, with_a_table(&pooled).await]
    }

    #[tokio::test]
    async fn statements_sent_together_run_in_their_order_and_each_is_answered() {
        let folder = TempDir::new().unwrap();
        for db in both(&folder).await {
            let mut session = db.begin(Durability::PowerCut).await.unwrap();
            let counted = "SELECT count(*) AS numbers FROM numbers";
            let mut queued = Vec::new();
            for n in 0..100 {
                queued.push((n, insert(&mut session, n), session.queue(counted, Vec::new())));
            }
            session.send().await.unwrap();
            for (n, inserted, counted) in &queued[..50] {
                assert_eq!(session.take(*inserted)[0].int("n").unwrap(), *n);
                assert_eq!(session.take(*counted)[0].int("numbers").unwrap(), n + 1);
            }
            assert_eq!(session.execute("DELETE FROM numbers WHERE n < 10", Vec::new()).await.unwrap(), 10);
            let last = insert(&mut session, 100);
            let mut answers = session.finish().await.unwrap();
            assert_eq!(answers.take(queued[99].1)[0].int("n").unwrap(), 99);
            assert_eq!(answers.take(last)[0].int("n").unwrap(), 100);
            assert_eq!(count(&db).await, 91);
        }
    }

    #[tokio::test]
    async fn i10_a_statement_refused_in_the_middle_fails_the_commit_that_was_sent_with_it() {
        let folder = TempDir::new().unwrap();
        for db in both(&folder).await {
            for answered_before in [true, false] {
                let mut session = db.begin(Durability::PowerCut).await.unwrap();
                if answered_before {
                    session.send().await.unwrap();
                    session.rows("SELECT n FROM numbers", Vec::new()).await.unwrap();
                }
                for n in [1, 2, 1, 3] {
                    insert(&mut session, n);
                }
                let refused = session.finish().await.err().unwrap();
                assert!(
                    matches!(&refused, CommitFailure::Before(error) if is_retryable(error)),
                    "{refused:?}"
                );
                assert_eq!(count(&db).await, 0, "a COMMIT that was answered has committed nothing");
            }
        }
    }

    #[tokio::test]
    async fn a_transaction_that_is_dropped_or_cancelled_leaves_nothing_behind() {
        let folder = TempDir::new().unwrap();
        for db in both(&folder).await {
            let mut session = db.begin(Durability::PowerCut).await.unwrap();
            insert(&mut session, 1);
            drop(session);
            let mut session = db.begin(Durability::PowerCut).await.unwrap();
            insert(&mut session, 1);
            session.send().await.unwrap();
            drop(session);
            assert_eq!(count(&db).await, 0);
        }
        let db = with_a_table(&shared().create_database()).await;
        for n in 0..3 {
            let mut session = db.begin(Durability::PowerCut).await.unwrap();
            insert(&mut session, n);
            session.queue("SELECT pg_sleep(60)", Vec::new());
            let waited = tokio::time::timeout(Duration::from_millis(20), session.finish()).await;
            assert!(waited.is_err(), "it sleeps");
            assert_eq!(count(&db).await, 0, "its connection is not used again");
        }
    }
}
