//! Tests that no hot statement reads more than it returns, although nothing has ever analysed the database: the
//! calls of [`session`] on a book of many files. PostgreSQL tells the plans with `auto_explain`, both those that it
//! makes for given values and generic ones; on `SQLite` the instructions of each call are counted, beside those of
//! the same call on a book of few files.

mod explained;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use panaversity_model::ports::Publications;
use panaversity_model::{BookId, Layer};
use panaversity_testkit::postgres::{self, Postgres};
use panaversity_testkit::samples::{book, key, lesson};
use tempfile::TempDir;

use super::SqlJournal;
use crate::backend::Backend;
use crate::database::{Database, DatabaseUrl, Engine, PoolOptions};
use crate::migrations;

const FEW: usize = 256;
const MANY: usize = 10_000;
const POOL: PoolOptions = PoolOptions { size: 1, overflow: 2, timeout: Duration::from_mins(1) };

/// Ports of the journal, with all their methods.
const PORTS: &str = include_str!("../../../model/src/ports.rs");
/// Methods that are not hot. They read whole tables for maintenance, or the whole of what they return, or are about
/// the few rows of books, uploads and kept manifests.
const NOT_HOT: [&str; 30] = [
    "blobs",
    "books",
    "changes_per_day",
    "clear_uploads",
    "condemn",
    "condemn_unknown",
    "create_book",
    "damaged",
    "delete_book",
    "entry_count",
    "feed_end",
    "file_counts",
    "forget_manifests",
    "forget_uploads",
    "forget_versions",
    "journal_counts",
    "kept_manifests",
    "now",
    "open_upload",
    "orphaned_chains",
    "ping",
    "purge",
    "requeue_unsynced",
    "retained_objects",
    "rows",
    "stamp",
    "survey",
    "uncleared",
    "upload",
    "uploads_over",
];

async fn open(url: &str) -> (Database, Arc<SqlJournal>) {
    let db = Database::connect(&DatabaseUrl::parse(url).unwrap(), POOL).await.unwrap();
    migrations::upgrade(&db, None).await.unwrap();
    let journal = SqlJournal::open(db.clone(), Backend::Fs).await.unwrap();
    (db, journal)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_on_postgresql_reads_more_than_it_returns() {
    let (cluster, book) = (Postgres::start(), book());
    let url = cluster.create_database();
    cluster.query(&url, "ALTER SYSTEM SET autovacuum = off");
    cluster.query(&url, "SELECT pg_reload_conf()");
    let (db, journal) = open(&url).await;
    session::fill(&journal, &book, MANY).await;
    db.close().await;
    let name = url.rsplit('/').next().unwrap();
    for (setting, value) in [
        ("session_preload_libraries", "auto_explain"),
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_analyze", "on"),
        ("auto_explain.log_buffers", "on"),
        ("auto_explain.log_format", "json"),
    ] {
        cluster.query(&url, &format!("ALTER DATABASE {name} SET {setting} = '{value}'"));
    }
    let mut offences = Vec::new();
    for mode in ["force_generic_plan", "force_custom_plan"] {
        cluster.query(&url, &format!("ALTER DATABASE {name} SET plan_cache_mode = '{mode}'"));
        let seen = cluster.log().len();
        let (db, journal) = open(&url).await;
        session::run(&journal, &book, |_| {}).await;
        db.close().await;
        let plans = explained::plans(&cluster.log()[seen..]);
        assert!(plans.len() > 60, "{} statements were explained", plans.len());
        offences
            .extend(plans.iter().filter_map(explained::offence).map(|offence| format!("{mode}: {offence}")));
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

/// Instructions that the journal's connections have carried out.
async fn counted(db: &Database) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let Engine::Sqlite(sqlite) = &db.engine else { panic!("not SQLite") };
    let counter = count.clone();
    sqlite
        .on_a_reader_and_the_writer(move |connection| {
            let count = counter.clone();
            let one_more = move || {
                count.fetch_add(1, Ordering::Relaxed);
                false
            };
            connection.progress_handler(1, Some(one_more)).unwrap();
        })
        .await;
    count
}

/// The calls of a session on a book of this many files, with the instructions that each takes.
async fn costs(files: usize) -> Vec<(&'static str, u64)> {
    let (folder, book): (_, BookId) = (TempDir::new().unwrap(), book());
    let (db, journal) = open(&format!("sqlite:{}", folder.path().join("journal.db").display())).await;
    session::fill(&journal, &book, files).await;
    let (count, mut costs) = (counted(&db).await, Vec::new());
    session::run(&journal, &book, |call| costs.push((call, count.swap(0, Ordering::Relaxed)))).await;
    db.close().await;
    costs
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_on_sqlite_costs_more_in_a_book_of_many_files() {
    let (few, many) = (costs(FEW).await, costs(MANY).await);
    assert!(few.iter().all(|(call, count)| *count > 0 || call.is_empty()), "{few:?}");
    let pairs = few.iter().zip(&many);
    let more = pairs.filter(|((_, few), (_, many))| *many > few + few / 4 + 200);
    let more: Vec<_> = more.map(|((call, few), (_, many))| format!("{call}: {few}, then {many}")).collect();
    assert!(more.is_empty(), "{more:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_of_the_journal_is_called_or_is_not_hot() {
    let of_the_journal =
        PORTS.split("pub trait Changes").nth(1).unwrap().split("/// API keys").next().unwrap();
    let methods = of_the_journal.split("async fn ").skip(1).filter_map(|text| text.split('(').next());
    let mut left: Vec<_> = methods.filter(|method| !NOT_HOT.contains(method)).collect();
    let called: Vec<_> = costs(FEW).await.into_iter().map(|(call, _)| call).collect();
    assert!(left.len() > 30, "{left:?}");
    left.retain(|method| !called.contains(method));
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_has_statistics_after_a_bulk_load() {
    let url = postgres::shared().create_database();
    let (db, journal) = open(&url).await;
    let paths: Vec<_> = (0..MANY).map(|n| (key(&book(), &lesson(n), &Layer::Base), 1)).collect();
    let analysed = || {
        let sql =
            "SELECT count(*) FROM pg_class WHERE relname IN ('file_journal', 'audit_log') AND reltuples >= 0";
        postgres::shared().query(&url, sql)
    };
    journal.synced(&paths[1..]).await.unwrap();
    assert_eq!(analysed(), "0");
    journal.synced(&paths[..1]).await.unwrap();
    assert_eq!(analysed(), "2");
    db.close().await;
}
