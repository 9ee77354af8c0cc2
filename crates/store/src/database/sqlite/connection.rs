//! A connection on a thread of its own, which waits for locks and disks in place of the runtime's threads.

use std::path::Path;
use std::sync::mpsc;
use std::thread::Builder;

use rusqlite::{CachedStatement, Connection, OpenFlags};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::database::error::{Sql, SqlError};
use crate::database::session::Answer;
use crate::database::sql::{Row, SqliteRow, Statement};
use crate::limits::SQLITE_BUSY_TIMEOUT;

/// Prepared statements kept by a connection.
const STATEMENTS: usize = 256;

/// A use of the connection, on its thread.
pub(super) type ConnectionJob = Box<dyn FnOnce(&mut Connection) + Send>;

/// A connection. Its jobs run one after the other, in the order in which they were sent; after the last one
/// the thread ends when this is dropped.
pub(super) struct SqliteConnection {
    /// None when it is closed.
    jobs: Option<mpsc::Sender<ConnectionJob>>,
}

impl SqliteConnection {
    /// Opens a file, creating it if it is missing, and runs this script of PRAGMAs. The thread is one of
    /// `threads` until the connection is closed.
    pub(super) async fn open(file: &Path, pragmas: String, threads: &TaskTracker) -> Sql<Self> {
        let (file, (jobs, waiting)) = (file.to_owned(), mpsc::channel::<ConnectionJob>());
        let token = threads.token();
        let (opened, result) = oneshot::channel();
        let work = move || {
            let mut connection = match open(&file, &pragmas) {
                Ok(connection) => connection,
                // The caller has gone away.
                Err(error) => return drop(opened.send(Err(error))),
            };
            if opened.send(Ok(())).is_ok() {
                for job in waiting {
                    job(&mut connection);
                }
            }
            drop(connection);
            drop(token);
        };
        Builder::new().name("sqlite".to_owned()).spawn(work)?;
        result.await.unwrap_or_else(|_| Err(ended()))?;
        Ok(Self { jobs: Some(jobs) })
    }

    /// Queue of jobs that nobody waits for. They are dropped once the connection is closed.
    pub(super) fn queue(&self) -> impl Fn(ConnectionJob) + Send + use<> {
        let jobs = self.jobs.clone();
        move |job| {
            if let Some(jobs) = &jobs {
                // A thread that has ended runs nothing.
                let _ = jobs.send(job);
            }
        }
    }

    /// Runs a job and returns its result. A job is told whether its caller still waits.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection, &dyn Fn() -> bool) -> T + Send + 'static,
    ) -> Sql<T> {
        let (done, result) = oneshot::channel();
        self.queue()(Box::new(move |connection| {
            let result = job(connection, &|| !done.is_closed());
            // The caller has gone away.
            let _ = done.send(result);
        }));
        result.await.map_err(|_| ended())
    }

    /// Closes the connection after its last job.
    pub(super) fn close(&mut self) {
        self.jobs = None;
    }
}

fn ended() -> SqlError {
    SqlError::Driver("the thread of the connection has ended".to_owned())
}

fn open(file: &Path, pragmas: &str) -> Sql<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        // Only its thread uses the connection.
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(SQLITE_BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch(pragmas)?;
    Ok(connection)
}

/// Runs statements one after the other, up to the first error, while the caller waits.
pub(super) fn run_all(
    connection: &Connection,
    statements: &[Statement],
    is_wanted: &dyn Fn() -> bool,
) -> Sql<Vec<Answer>> {
    let mut answers = Vec::with_capacity(statements.len());
    for statement in statements {
        if !is_wanted() {
            return Err(SqlError::NoAnswer);
        }
        answers.push(run_one(connection, statement, is_wanted)?);
    }
    Ok(answers)
}

fn run_one(connection: &Connection, statement: &Statement, is_wanted: &dyn Fn() -> bool) -> Sql<Answer> {
    let mut prepared = connection.prepare_cached(&numbered(&statement.sql))?;
    for (place, value) in statement.values.iter().enumerate() {
        prepared.raw_bind_parameter(place + 1, value)?;
    }
    let found = rows(&mut prepared, is_wanted)?;
    let changed = if prepared.readonly() { 0 } else { connection.changes() };
    Ok(Answer { rows: found, changed })
}

fn rows(prepared: &mut CachedStatement<'_>, is_wanted: &dyn Fn() -> bool) -> Sql<Vec<Row>> {
    let columns = prepared.column_names().map(str::to_owned).collect::<Vec<_>>().into();
    let (mut found, mut rows) = (Vec::new(), prepared.raw_query());
    while let Some(row) = rows.next()? {
        if !is_wanted() {
            return Err(SqlError::NoAnswer);
        }
        found.push(Row::Sqlite(SqliteRow::of(row, &columns)?));
    }
    Ok(found)
}

/// The statement with `?1` in place of `$1`: `SQLite` numbers the latter by their order in the text.
fn numbered(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        text.push(if after.starts_with(|next: char| next.is_ascii_digit()) { '?' } else { '$' });
        rest = after;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_and_other_dollars_stay() {
        assert_eq!(numbered("SELECT $2, $10, '$.a' || $1"), "SELECT ?2, ?10, '$.a' || ?1");
        assert_eq!(numbered("SELECT 1$"), "SELECT 1$");
    }
}
