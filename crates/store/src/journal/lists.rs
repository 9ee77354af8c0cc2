//! Lists of rows bound as one parameter, a JSON array of arrays. A statement has one text whatever the length of
//! its list, and planners, which assume that a list is short, look its rows up one by one by an index.

use crate::database::{Dialect, Value};

/// Most rows of a list, which bounds memory, and the time for which a transaction holds its locks.
pub(super) const LISTED: usize = 4_096;

/// SQL query of the list bound to a parameter: its columns, as text, and `n`, the position of a row from 0.
pub(super) fn listed(dialect: Dialect, parameter: usize, columns: &[&str]) -> String {
    let columns: Vec<String> =
        columns.iter().enumerate().map(|(n, name)| format!("value ->> {n} AS {name}")).collect();
    let columns = columns.join(", ");
    match dialect {
        Dialect::Sqlite => format!("SELECT key AS n, {columns} FROM json_each(${parameter})"),
        Dialect::Postgres => format!(
            "SELECT key - 1 AS n, {columns} FROM json_array_elements(CAST(CAST(${parameter} AS TEXT) AS JSON)) \
             WITH ORDINALITY AS e (value, key)"
        ),
    }
}

/// The value of a list.
pub(super) fn list<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> Value {
    rows.collect::<serde_json::Value>().to_string().into()
}
