//! Lists of rows bound as one parameter, a JSON array of arrays. A statement has one text whatever the length of
//! its list, whose rows are looked up one by one by an index: on `SQLite` by `CROSS JOIN`, which keeps the order; on
//! PostgreSQL because it expects one row of the list, as of any range with two ends that it knows nothing of.

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
             WITH ORDINALITY AS e (value, key) WHERE key BETWEEN 1 AND 1000000"
        ),
    }
}

/// SQL query `w` of a list of paths and hashes of versions of the base, with the book bound to `$book`. It hides the
/// book, which is one, from PostgreSQL's planner: by it alone it would read all versions of the book first.
pub(super) fn listed_versions(dialect: Dialect, book: usize, parameter: usize) -> String {
    format!(
        "WITH w AS MATERIALIZED (SELECT l.n, l.path, l.hash, CAST(${book} AS TEXT) AS book_id, \
         '__base__' AS user_id FROM ({}) l)",
        listed(dialect, parameter, &["path", "hash"])
    )
}

/// The value of a list.
pub(super) fn list<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> Value {
    rows.collect::<serde_json::Value>().to_string().into()
}
