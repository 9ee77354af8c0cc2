//! A caller that continues from `complete_until` misses nothing, although a change gets its time before
//! its commit: a change is blocked between the two, while a delta is read.

use std::sync::Arc;
use std::time::Duration;

use panaversity_model::delta::Delta;
use panaversity_model::feed::FeedPosition;
use panaversity_model::ports::{ChangeFeed, Changes, Files};
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
async fn a_set_that_one_under_way_may_precede_is_told_only_after_that_has_ended() {
    let url = postgres::shared().create_database();
    let (_, journal) = open(&url).await;
    let book = book();
    let feed = async |after| journal.feed(&book, &View::base(), after, 10).await.unwrap();
    // The lock of a transaction of changes, which has its time from now on.
    let other = on_postgres_directly(&url).await;
    let lock = "BEGIN; SELECT pg_advisory_xact_lock_shared(CAST(floor(t) - 1577836800 AS INT), \
                CAST(floor((t - floor(t)) * 1000000) AS INT) + (1617 << 20)) \
                FROM (SELECT extract(epoch FROM clock_timestamp()) AS t) AS moment";
    other.batch_execute(lock).await.unwrap();
    put(&journal, &book, 1).await;
    let first = feed(FeedPosition::start()).await;
    assert_eq!((first.items.len(), first.has_more, first.is_held_back), (0, false, true));
    other.batch_execute("COMMIT").await.unwrap();
    let second = feed(first.next).await;
    assert_eq!((second.items.len(), second.is_held_back), (1, false));
    assert_eq!(feed(second.next).await.items, vec![]);
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
