//! Values and rows, common to both databases.

use std::error::Error;
use std::sync::Arc;

use bytes::BytesMut;
use panaversity_model::Timestamp;
use rusqlite::types::{ToSqlOutput, ValueRef};
use time::OffsetDateTime;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::error::{Sql, SqlError};

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

impl Value {
    /// Its type on PostgreSQL.
    pub(super) fn sql_type(&self) -> Type {
        match self {
            Self::Text(_) => Type::TEXT,
            Self::Int(_) => Type::INT8,
            Self::Bytes(_) => Type::BYTEA,
            Self::Time(_) => Type::TIMESTAMPTZ,
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self, declared: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Text(text) => text.to_sql_checked(declared, out),
            Self::Int(number) => number.to_sql_checked(declared, out),
            Self::Bytes(bytes) => bytes.to_sql_checked(declared, out),
            Self::Time(at) => at.map(moment).transpose()?.to_sql_checked(declared, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // Each variant has a type of its own.
        true
    }

    to_sql_checked!();
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Text(Some(text)) => ToSqlOutput::from(text.as_str()),
            Self::Int(number) => ToSqlOutput::from(*number),
            Self::Bytes(Some(bytes)) => ToSqlOutput::from(bytes.as_slice()),
            Self::Time(Some(at)) => ToSqlOutput::from(at.to_string()),
            Self::Text(None) | Self::Bytes(None) | Self::Time(None) => ToSqlOutput::Borrowed(ValueRef::Null),
        })
    }
}

/// Row of `SQLite`.
pub(crate) struct SqliteRow {
    columns: Arc<[String]>,
    values: Vec<rusqlite::types::Value>,
}

impl SqliteRow {
    /// Copies a row of these columns.
    pub(super) fn of(row: &rusqlite::Row<'_>, columns: &Arc<[String]>) -> Sql<Self> {
        let values = (0..columns.len()).map(|place| Ok(row.get_ref(place)?.try_into()?));
        Ok(Self { columns: columns.clone(), values: values.collect::<Sql<_>>()? })
    }

    fn get<T: rusqlite::types::FromSql>(&self, name: &str) -> Sql<T> {
        let place = self.columns.iter().position(|column| column == name);
        let value = place.and_then(|place| self.values.get(place));
        let value = value.ok_or_else(|| SqlError::Decode(format!("there is no column `{name}`")))?;
        T::column_result(value.into()).map_err(|error| SqlError::Decode(format!("`{name}`: {error}")))
    }
}

/// Row of either database. Columns are read by name.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(tokio_postgres::Row),
}

macro_rules! read_column {
    ($self:ident, $name:ident, $type:ty) => {
        match $self {
            Row::Sqlite(row) => row.get::<$type>($name),
            Row::Postgres(row) => postgres_column::<$type>(row, $name),
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
            Self::Sqlite(row) => match row.get::<Option<String>>(name)? {
                None => Ok(None),
                Some(text) => Timestamp::parse(&text).map(Some).ok_or_else(|| undecodable(&text)),
            },
            Self::Postgres(row) => {
                let moment = postgres_column::<Option<OffsetDateTime>>(row, name)?;
                let micros = moment.map(|at| i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000)));
                Ok(micros.map(|micros| Timestamp::from_micros(micros.unwrap_or(i64::MAX))))
            }
        }
    }

    pub(crate) fn time(&self, name: &str) -> Sql<Timestamp> {
        self.optional_time(name)?.ok_or_else(|| undecodable("NULL"))
    }
}

fn postgres_column<'a, T: FromSql<'a>>(row: &'a tokio_postgres::Row, name: &str) -> Sql<T> {
    row.try_get(name).map_err(|error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        SqlError::Decode(format!("`{name}`: {error}{cause}"))
    })
}

fn undecodable(text: &str) -> SqlError {
    SqlError::Decode(format!("`{text}` is no timestamp"))
}

fn moment(at: Timestamp) -> Result<OffsetDateTime, time::error::ComponentRange> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.micros()) * 1_000)
}

/// A statement with the values of its placeholders.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
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
