//! A caller that continues from `complete_until` misses nothing, although a change gets its time before
//! its commit: a change is blocked between the two, while a delta is read.

use std::sync::Arc;
use std::time::Duration;

use panaversity_model::delta::Delta;
use panaversity_model::ports::{Changes, Files};
use panaversity_model::{BookId, Layer, Timestamp, View};
use panaversity_store::SqlJournal;
use panaversity_testkit::postgres;
use panaversity_testkit::samples::{book, change_set, lesson, write};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::engines::{on_postgres_directly, open, sqlite_file, sqlite_url};

/// Long enough for a delta that does not wait to return.
const A_WHILE: Duration = Duration::from_millis(500);

async fn delta(journal: &SqlJournal, book: &BookId, since: Timestamp) -> Delta {
    journal.changed(book, &View::base(), since, None, 100).await.unwrap()
}

async fn put(journal: &SqlJournal, book: &BookId, n: usize) {
    let set = change_set(book, &Layer::Base, vec![write(&lesson(n), b"text", None)]);
    journal.commit(set).await.unwrap();
}

fn names(delta: &Delta, n: usize) -> bool {
    delta.files.iter().any(|file| file.path == lesson(n))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_under_way_on_postgresql_is_named_later() {
    let url = postgres::shared().create_database();
    let (_, journal) = open(&url).await;
    let book = book();
    put(&journal, &book, 1).await;
    // Changes have their time by now when they begin to write the versions.
    let other = on_postgres_directly(&url).await;
    other.batch_execute("BEGIN; LOCK TABLE versions IN EXCLUSIVE MODE").await.unwrap();
    let under_way = {
        let (journal, book) = (journal.clone(), book.clone());
        tokio::spawn(async move { put(&journal, &book, 2).await })
    };
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'versions'::regclass";
    while other.query_one_scalar::<i64, _>(waiting, &[]).await.unwrap() == 0 {}

    let first = delta(&journal, &book, Timestamp::default()).await;
    assert!(names(&first, 1) && !names(&first, 2));
    other.batch_execute("COMMIT").await.unwrap();
    under_way.await.unwrap();
    let second = delta(&journal, &book, first.complete_until).await;
    assert!(names(&second, 2), "it has the time of before the first delta");
    let third = delta(&journal, &book, second.complete_until).await;
    assert_eq!(third.files, vec![], "and with nothing under way, nothing is named twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_under_way_on_sqlite_is_waited_for() {
    let folder = TempDir::new().unwrap();
    let (_, journal) = open(&sqlite_url(&folder)).await;
    let book = book();
    put(&journal, &book, 1).await;
    let before = delta(&journal, &book, Timestamp::default()).await.complete_until;
    // Another process that has begun a write transaction, read the time, and not committed yet.
    let other = Connection::open(sqlite_file(&folder)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let again = format!(
        "INSERT INTO audit_log SELECT 'x' || id, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'), agent_id, operation, \
         book_id, '{}', user_id, status, error_code, error_message, execution_time_ms, request_id, change_id, \
         old_content_hash, new_content_hash, prev_hash, 'x' || entry_hash FROM audit_log",
        lesson(2)
    );
    other.execute_batch(&again).unwrap();
    let mut reading = {
        let (journal, book): (Arc<SqlJournal>, _) = (journal.clone(), book.clone());
        tokio::spawn(async move { delta(&journal, &book, before).await })
    };
    let early = tokio::time::timeout(A_WHILE, &mut reading).await;
    other.execute_batch("COMMIT").unwrap();
    let first = match early {
        Ok(first) => first.unwrap(),
        Err(_) => reading.await.unwrap(),
    };
    let second = delta(&journal, &book, first.complete_until).await;
    assert!(names(&first, 2) || names(&second, 2), "the change was missed");
}
