//! Errors of statements, common to both databases: their kinds, and what follows from each.

use std::{fmt, io};

use panaversity_model::Fault;
use panaversity_model::fault::FaultKind;
use rusqlite::types::FromSqlError;

use super::Dialect;

/// Result of a statement.
pub(crate) type Sql<T> = Result<T, SqlError>;

/// Error of a statement or of a connection.
#[derive(Debug)]
pub(crate) enum SqlError {
    /// The database itself refused the statement.
    Refused {
        dialect: Dialect,
        /// `SQLSTATE` of PostgreSQL, extended result code of `SQLite`.
        code: String,
        message: String,
    },
    /// The connection, or a file, failed.
    Io(io::Error),
    /// There was no answer within the client's own time limit.
    NoAnswer,
    /// No connection was free, or could be made, in time.
    NoConnection,
    /// A stored value is not one that this program wrote.
    Decode(String),
    /// A row that always exists is missing.
    RowNotFound,
    /// Wrong parameters of the connection, or an error of the driver.
    Driver(String),
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { message, .. } => write!(f, "error returned from database: {message}"),
            Self::Io(why) => write!(f, "error communicating with database: {why}"),
            Self::NoAnswer => write!(f, "the database does not answer"),
            Self::NoConnection => write!(f, "timed out while waiting for a connection"),
            Self::Decode(why) => write!(f, "error decoding a value: {why}"),
            Self::RowNotFound => write!(f, "no row was returned by a query that returns one"),
            Self::Driver(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SqlError {}

impl From<io::Error> for SqlError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error() {
            Some(refused) => Self::Refused {
                dialect: Dialect::Sqlite,
                code: refused.extended_code.to_string(),
                message: format!("(code: {}) {error}", refused.extended_code),
            },
            None => Self::Driver(error.to_string()),
        }
    }
}

impl From<FromSqlError> for SqlError {
    fn from(error: FromSqlError) -> Self {
        Self::Decode(error.to_string())
    }
}

impl From<tokio_postgres::Error> for SqlError {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(refused) = error.as_db_error() {
            return Self::Refused {
                dialect: Dialect::Postgres,
                code: refused.code().code().to_owned(),
                message: refused.message().to_owned(),
            };
        }
        if error.is_closed() {
            return Self::Io(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was closed"));
        }
        let what = error.to_string();
        match error.into_source().map(<dyn std::error::Error + Send + Sync>::downcast::<io::Error>) {
            Some(Ok(why)) => Self::Io(*why),
            Some(Err(cause)) => Self::Driver(format!("{what}: {cause}")),
            None => Self::Driver(what),
        }
    }
}

impl SqlError {
    /// True if the database returned one of these codes.
    fn has_code(&self, codes: &[&str]) -> bool {
        matches!(self, Self::Refused { code, .. } if codes.contains(&code.as_str()))
    }

    /// True if PostgreSQL ended the connection, or a pooler before it lost it: class 08, and the codes of
    /// a server that stops or starts.
    fn ends_the_connection(&self) -> bool {
        let Self::Refused { dialect: Dialect::Postgres, code, .. } = self else { return false };
        ["57P01", "57P02", "57P03"].contains(&code.as_str()) || code.starts_with("08")
    }
}

/// Converts the error of a statement into a fault; `what` names the statement for the log.
pub(crate) fn fault(what: &str, error: &SqlError) -> Fault {
    let detail = format!("{what}: {error}");
    let fault = match error {
        // The database answered, but the stored value is not one that this program wrote.
        SqlError::Decode(_) => Fault::corrupt(detail),
        _ if took_too_long(error) => Fault::new(FaultKind::Timeout, detail),
        _ if lacks_a_table(error) => foreign_schema(&detail),
        _ => Fault::database(detail),
    };
    fault.transient_if(is_transient(error))
}

/// True if a retry may succeed later without intervention: PostgreSQL is unreachable, starting,
/// stopping, out of connections, or was blocked.
pub(crate) fn is_transient(error: &SqlError) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, PermissionDenied, Unsupported};
    match error {
        SqlError::Io(why) => {
            !matches!(why.kind(), PermissionDenied | InvalidData | InvalidInput | Unsupported)
        }
        SqlError::NoAnswer | SqlError::NoConnection => true,
        _ => {
            took_too_long(error)
                || error.ends_the_connection()
                || error.has_code(&["53300", "40001", "40P01"])
        }
    }
}

/// True if PostgreSQL does not let this connection in now, but may soon: it starts, stops, has no
/// connection to spare, or has not answered in time.
pub(crate) fn is_not_yet_open(error: &SqlError) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, NotConnected};
    match error {
        SqlError::Io(why) => matches!(why.kind(), ConnectionRefused | NotConnected),
        SqlError::NoConnection => true,
        _ => error.has_code(&["53300", "57P03"]),
    }
}

/// True if PostgreSQL refused to write because it is, or has become, a standby.
pub(crate) fn is_read_only(error: &SqlError) -> bool {
    error.has_code(&["25006"])
}

/// Fault for a database without the tables of this program, with advice for the operator.
pub(crate) fn foreign_schema(detail: &str) -> Fault {
    let next = "the database's schema is not this program's: `panaversity-fs migrate current` shows its revision, \
                `panaversity-fs migrate upgrade` brings an older one up; if it is the newest, tables were changed by \
                hand: restore a backup";
    Fault::new(FaultKind::Schema, format!("{detail} ({next})"))
}

/// True if a table or a column does not exist.
fn lacks_a_table(error: &SqlError) -> bool {
    // PostgreSQL's codes; SQLite has one code for every error in a statement.
    error.has_code(&["42P01", "42703"])
        || (error.has_code(&["1"])
            && ["no such table", "no such column"].iter().any(|why| error.to_string().contains(why)))
}

/// True if the whole transaction may be retried: deadlock, serialization failure, busy `SQLite`, or a
/// unique index that saw a concurrent writer first.
pub(crate) fn is_retryable(error: &SqlError) -> bool {
    // PostgreSQL's; then SQLITE_BUSY, SQLITE_BUSY_SNAPSHOT and similar, and the two unique constraints.
    error.has_code(&["40001", "40P01", "23505", "5", "261", "517", "1555", "2067"])
}

/// True if the database ended a statement that exceeded its time limit, running or waiting for a lock.
fn took_too_long(error: &SqlError) -> bool {
    error.has_code(&["57014", "55P03"])
}

/// True if `SQLite` failed to sync a commit to disk. The bytes may or may not be durable; only a restart
/// reveals it.
pub(crate) fn is_unsynced(error: &SqlError) -> bool {
    // The low byte of an extended code is its class: SQLITE_IOERR.
    matches!(error, SqlError::Refused { dialect: Dialect::Sqlite, code, .. }
        if code.parse::<u32>().is_ok_and(|code| code & 0xff == 10))
}

/// True if the connection is dead or the server is shutting down. Another connection may succeed.
pub(crate) fn is_lost_connection(error: &SqlError) -> bool {
    matches!(error, SqlError::Io(_)) || error.ends_the_connection()
}

/// True if the database itself returned the error; otherwise there was no response.
pub(crate) fn was_answered(error: &SqlError) -> bool {
    matches!(error, SqlError::Refused { .. })
}
