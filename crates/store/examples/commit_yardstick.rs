//! Reference measurement for the benchmarks: one client commits 2 KB rows to `SQLite` in WAL mode with
//! `synchronous=FULL`, as fast as possible. Prints commits per second and the median in milliseconds.
//!
//! `commit_yardstick FOLDER SECONDS [ROWS_A_COMMIT]`

use std::io::Write;
use std::time::{Duration, Instant};

use rusqlite::Connection;

type BoxError = Box<dyn std::error::Error>;

fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let usage = "commit_yardstick FOLDER SECONDS [ROWS_A_COMMIT]";
    let folder = std::path::PathBuf::from(arguments.next().ok_or(usage)?);
    let seconds: f64 = arguments.next().ok_or(usage)?.parse()?;
    let rows: u32 = arguments.next().unwrap_or_else(|| "1".to_owned()).parse()?;
    let mut connection = Connection::open(folder.join("yardstick.db"))?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, body BLOB)",
    )?;
    let (body, began, mut each) = (vec![7u8; 2048], Instant::now(), Vec::new());
    while began.elapsed() < Duration::from_secs_f64(seconds) {
        let start = Instant::now();
        let transaction = connection.transaction()?;
        for _ in 0..rows {
            transaction.prepare_cached("INSERT INTO t (body) VALUES (?1)")?.execute([&body])?;
        }
        transaction.commit()?;
        each.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let total = began.elapsed().as_secs_f64();
    each.sort_by(f64::total_cmp);
    let count = f64::from(u32::try_from(each.len())?);
    writeln!(std::io::stdout(), "{:.1} {:.3}", count / total, each[each.len() / 2])?;
    Ok(())
}
