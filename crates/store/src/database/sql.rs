//! Statements, values and rows, common to both databases.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use panaversity_model::Timestamp;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Executor, Postgres, Row as _, SqlStr, Sqlite, Transaction};
use time::OffsetDateTime;
use tokio::sync::OwnedMutexGuard;

use super::Sql;
use super::postgres::PostgresSession;

/// A bound value; `None` is a typed NULL.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(Option<String>),
    Int(i64),
    Bytes(Option<Vec<u8>>),
    Time(Option<Timestamp>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<Timestamp> for Value {
    fn from(at: Timestamp) -> Self {
        Self::Time(Some(at))
    }
}

impl From<Option<Timestamp>> for Value {
    fn from(at: Option<Timestamp>) -> Self {
        Self::Time(at)
    }
}

/// Row of either database. Columns are read by name.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

macro_rules! read_column {
    ($self:ident, $name:ident, $type:ty) => {
        match $self {
            Row::Sqlite(row) => row.try_get::<$type, _>($name),
            Row::Postgres(row) => row.try_get::<$type, _>($name),
        }
    };
}

impl Row {
    pub(crate) fn text(&self, name: &str) -> Sql<String> {
        read_column!(self, name, String)
    }

    pub(crate) fn optional_text(&self, name: &str) -> Sql<Option<String>> {
        read_column!(self, name, Option<String>)
    }

    pub(crate) fn int(&self, name: &str) -> Sql<i64> {
        read_column!(self, name, i64)
    }

    pub(crate) fn optional_int(&self, name: &str) -> Sql<Option<i64>> {
        read_column!(self, name, Option<i64>)
    }

    pub(crate) fn optional_bytes(&self, name: &str) -> Sql<Option<Vec<u8>>> {
        read_column!(self, name, Option<Vec<u8>>)
    }

    pub(crate) fn bytes(&self, name: &str) -> Sql<Vec<u8>> {
        read_column!(self, name, Vec<u8>)
    }

    pub(crate) fn optional_time(&self, name: &str) -> Sql<Option<Timestamp>> {
        match self {
            Self::Sqlite(row) => match row.try_get::<Option<String>, _>(name)? {
                None => Ok(None),
                Some(text) => Timestamp::parse(&text).map(Some).ok_or_else(|| undecodable(&text)),
            },
            Self::Postgres(row) => {
                let moment = row.try_get::<Option<OffsetDateTime>, _>(name)?;
                let micros = moment.map(|at| i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000)));
                Ok(micros.map(|micros| Timestamp::from_micros(micros.unwrap_or(i64::MAX))))
            }
        }
    }

    pub(crate) fn time(&self, name: &str) -> Sql<Timestamp> {
        self.optional_time(name)?.ok_or_else(|| undecodable("NULL"))
    }
}

fn undecodable(text: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("`{text}` is no timestamp").into())
}

/// Write permit of `SQLite`'s single writer.
pub(crate) struct Writing {
    pub(super) _turn: OwnedMutexGuard<()>,
    pub(super) suspicious: Arc<AtomicBool>,
}

/// Connection or transaction on either database.
pub(crate) enum Session {
    Sqlite(PoolConnection<Sqlite>),
    SqliteTransaction(Transaction<'static, Sqlite>, Option<Writing>),
    Postgres(PostgresSession),
}

impl Session {
    /// Rows of a statement. Its text is never built from external input, which is bound instead.
    pub(crate) async fn rows(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Sql<Vec<Row>> {
        let sql = AssertSqlSafe(sql.into());
        let rows = match self {
            Self::Sqlite(connection) => sqlite_rows(connection, sql, values).await?,
            Self::SqliteTransaction(transaction, _) => sqlite_rows(transaction, sql, values).await?,
            Self::Postgres(session) => {
                let query = postgres_query(sql, values)?.persistent(session.keeps_statements());
                let rows = session.run(async |connection| query.fetch_all(connection).await).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        };
        Ok(rows)
    }

    /// First row of a statement, if there is one.
    pub(crate) async fn row(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Sql<Option<Row>> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Runs a statement; returns the number of rows changed.
    pub(crate) async fn execute(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Sql<u64> {
        let sql = AssertSqlSafe(sql.into());
        Ok(match self {
            Self::Sqlite(connection) => {
                sqlite_query(sql, values).execute(&mut **connection).await?.rows_affected()
            }
            Self::SqliteTransaction(t, _) => {
                sqlite_query(sql, values).execute(&mut **t).await?.rows_affected()
            }
            Self::Postgres(session) => {
                let query = postgres_query(sql, values)?.persistent(session.keeps_statements());
                session.run(async |connection| query.execute(connection).await).await?.rows_affected()
            }
        })
    }

    /// Runs a script of several statements.
    pub(crate) async fn script(&mut self, sql: &'static str) -> Sql<()> {
        match self {
            Self::Sqlite(connection) => connection.execute(sqlx::raw_sql(sql)).await.map(|_| ()),
            Self::SqliteTransaction(t, _) => t.execute(sqlx::raw_sql(sql)).await.map(|_| ()),
            Self::Postgres(session) => session.script(sql).await,
        }
    }

    /// Commits a transaction; no effect on a plain connection.
    pub(crate) async fn commit(self) -> Sql<()> {
        match self {
            Self::SqliteTransaction(transaction, Some(writing)) => {
                writing.suspicious.store(true, Ordering::Release);
                let committed = transaction.commit().await;
                if committed.is_ok() {
                    writing.suspicious.store(false, Ordering::Release);
                }
                committed
            }
            Self::SqliteTransaction(transaction, None) => transaction.commit().await,
            Self::Postgres(session) => session.commit().await,
            Self::Sqlite(_) => Ok(()),
        }
    }
}

async fn sqlite_rows(
    connection: &mut sqlx::SqliteConnection,
    sql: AssertSqlSafe<String>,
    values: Vec<Value>,
) -> Sql<Vec<Row>> {
    let rows = sqlite_query(sql, values).fetch_all(connection).await?;
    Ok(rows.into_iter().map(Row::Sqlite).collect())
}

fn sqlite_query(sql: AssertSqlSafe<String>, values: Vec<Value>) -> Query<'static, Sqlite, SqliteArguments> {
    let mut query = sqlx::query(sql_str(sql));
    for value in values {
        query = match value {
            Value::Text(text) => query.bind(text),
            Value::Int(number) => query.bind(number),
            Value::Bytes(bytes) => query.bind(bytes),
            Value::Time(at) => query.bind(at.map(|at| at.to_string())),
        };
    }
    query
}

fn postgres_query(
    sql: AssertSqlSafe<String>,
    values: Vec<Value>,
) -> Sql<Query<'static, Postgres, PgArguments>> {
    let mut query = sqlx::query(sql_str(sql));
    for value in values {
        query = match value {
            Value::Text(text) => query.bind(text),
            Value::Int(number) => query.bind(number),
            Value::Bytes(bytes) => query.bind(bytes),
            Value::Time(at) => query.bind(at.map(moment).transpose()?),
        };
    }
    Ok(query)
}

fn sql_str(sql: AssertSqlSafe<String>) -> SqlStr {
    sqlx::SqlSafeStr::into_sql_str(sql)
}

fn moment(at: Timestamp) -> Sql<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.micros()) * 1_000)
        .map_err(|error| sqlx::Error::Encode(error.into()))
}

/// `$from, $from+1, ...`, `count` of them.
pub(crate) fn placeholders(from: usize, count: usize) -> String {
    let names: Vec<String> = (from..from + count).map(|n| format!("${n}")).collect();
    names.join(", ")
}

/// `($1, $2), ($3, $4), ...`: `rows` rows of `columns` placeholders, the first being `$from`.
pub(crate) fn values_list(from: usize, rows: usize, columns: usize) -> String {
    let lists: Vec<String> =
        (0..rows).map(|row| format!("({})", placeholders(from + row * columns, columns))).collect();
    lists.join(", ")
}

/// Maximum number of rows in one statement.
const ROWS: usize = 64;

/// Splits into chunks whose lengths are powers of two, so that there are few statement texts and the
/// database's cache of prepared statements is effective.
pub(crate) fn power_of_two_chunks<T>(mut items: &[T]) -> Vec<&[T]> {
    let mut pieces = Vec::new();
    while !items.is_empty() {
        let length = items.len().min(ROWS);
        let power = 1 << length.ilog2();
        let (piece, rest) = items.split_at(power);
        pieces.push(piece);
        items = rest;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_powers_of_two_and_keep_the_order() {
        let items: Vec<_> = (0..203).collect();
        let pieces = power_of_two_chunks(&items);
        assert_eq!(pieces.iter().map(|p| p.len()).collect::<Vec<_>>(), [64, 64, 64, 8, 2, 1]);
        assert_eq!(pieces.concat(), items);
    }
}
