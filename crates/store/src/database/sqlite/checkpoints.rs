//! Checkpoints: what copies the write-ahead log into the database. Left to `SQLite`, the writer makes them, and
//! all changes wait meanwhile.
//!
//! # Protocol
//! 1. After every [`COPIED_EACH`] pages that the writer appends, another connection copies what is there, while
//!    the writer goes on.
//! 2. Once that is done and the log has [`BEGUN_ANEW_AT`] pages, the writer copies the few that came
//!    meanwhile, so that the next transaction writes from the start of the log. A reader of older pages
//!    prevents that; the writer tries again after the next copy.
//! 3. Where the log has [`WAITED_FOR_AT`] pages, the writer waits for the copy, because the disk does not keep up.

use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use rusqlite::hooks::Wal;

use super::connection::SqliteConnection;
use crate::database::error::Sql;

/// Pages of 4 KiB. Of changes that follow each other most pages are the same, and are copied once.
const COPIED_EACH: i32 = 1000;
const BEGUN_ANEW_AT: i32 = 4 * COPIED_EACH;
const WAITED_FOR_AT: i32 = 12 * COPIED_EACH;

/// Has `checkpointer` copy what `writer` appends. It ends with [`leave_to_the_last`].
pub(super) async fn copy_beside(writer: &SqliteConnection, checkpointer: &SqliteConnection) -> Sql<()> {
    let copy = checkpointer.queue();
    // Length of the log when a copy was last asked for, and the end of that copy.
    let (mut asked_at, mut copying) = (0, None);
    let appended = move |wal: &mut Wal, pages: i32| {
        asked_at = if pages < asked_at { 0 } else { asked_at };
        if copying.as_ref().is_some_and(|copy| has_ended(copy, pages)) {
            copying = None;
            if pages >= BEGUN_ANEW_AT {
                // The transaction is committed. What is not copied stays in the log.
                let _ = wal.checkpoint();
            }
        }
        if copying.is_none() && pages - asked_at >= COPIED_EACH {
            let (done, end) = sync_channel::<()>(1);
            (asked_at, copying) = (pages, Some(end));
            copy(Box::new(move |connection| {
                let _ = connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)");
                drop(done);
            }));
        }
        Ok(())
    };
    writer.run(move |connection, _| connection.wal_hook(Some(appended))).await?.map_err(Into::into)
}

/// Whether a copy has ended, or was dropped because the connection is closed. Waits for it where the log is long.
fn has_ended(copy: &Receiver<()>, pages: i32) -> bool {
    if pages >= WAITED_FOR_AT {
        // Nothing is ever sent.
        let _ = copy.recv();
    }
    copy.try_recv() == Err(TryRecvError::Disconnected)
}

/// Ends the copying: the last connection that is closed does it.
pub(super) async fn leave_to_the_last(writer: &SqliteConnection) {
    let none: Option<fn(&mut Wal, i32) -> rusqlite::Result<()>> = None;
    // It fails only if the thread has ended.
    let _ = writer.run(move |connection, _| connection.wal_hook(none)).await;
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio_util::task::TaskTracker;

    use super::super::WRITER;
    use super::*;

    /// Bytes of a page, and of its header in the log.
    const PAGE: u64 = 4096 + 24;
    /// Transactions of 100 pages: three times as much as the log may hold.
    const TRANSACTIONS: i32 = WAITED_FOR_AT * 3 / 100;
    const LONGEST: i32 = WAITED_FOR_AT + COPIED_EACH;

    async fn open(file: &Path, pragmas: &str) -> SqliteConnection {
        SqliteConnection::open(file, pragmas.to_owned(), &TaskTracker::new()).await.unwrap()
    }

    async fn writer_and_checkpointer(file: &Path) -> [SqliteConnection; 2] {
        let table = "PRAGMA synchronous = NORMAL; CREATE TABLE texts (n INTEGER PRIMARY KEY, text BLOB);
                     INSERT INTO texts VALUES (-1, '')";
        let connections = [open(file, &format!("{WRITER} {table}")).await, open(file, "").await];
        copy_beside(&connections[0], &connections[1]).await.unwrap();
        connections
    }

    async fn write(writer: &SqliteConnection) {
        for n in 0..TRANSACTIONS {
            let sql = "INSERT OR REPLACE INTO texts VALUES (?1 % 8, randomblob(400000))";
            writer.run(move |connection, _| connection.execute(sql, [n])).await.unwrap().unwrap();
        }
    }

    async fn rows(connection: &SqliteConnection) -> i64 {
        let sql = "SELECT count(*) FROM texts";
        let count = connection.run(|connection, _| connection.query_row(sql, [], |row| row.get(0)));
        count.await.unwrap().unwrap()
    }

    /// Pages of the log.
    fn log(file: &Path) -> i32 {
        i32::try_from(std::fs::metadata(file.with_extension("db-wal")).unwrap().len() / PAGE).unwrap()
    }

    #[tokio::test]
    async fn the_log_begins_anew_while_changes_follow_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("journal.db");
        let [writer, _checkpointer] = writer_and_checkpointer(&file).await;
        write(&writer).await;
        assert!(log(&file) <= LONGEST, "{} pages", log(&file));
    }

    #[tokio::test]
    async fn a_reader_of_older_pages_holds_up_no_change_and_sees_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("journal.db");
        let [writer, _checkpointer] = writer_and_checkpointer(&file).await;
        let reader = open(&file, "BEGIN").await;
        assert_eq!(rows(&reader).await, 1);
        write(&writer).await;
        assert_eq!((rows(&reader).await, rows(&writer).await), (1, 9));
        assert!(log(&file) > LONGEST, "the reader has prevented nothing");
        reader.run(|connection, _| connection.execute_batch("COMMIT")).await.unwrap().unwrap();
        write(&writer).await;
        assert!(log(&file) <= LONGEST, "{} pages", log(&file));
    }
}
