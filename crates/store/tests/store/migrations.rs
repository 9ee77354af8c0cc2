//! The schema migrates up and down, once even if three servers start at once.

use panaversity_model::ErrorCode;
use panaversity_model::fault::FaultKind;
use panaversity_model::ports::{Books, Changes, Journal};
use panaversity_store::migrations::{self, DowngradeConsent, MigrationError};
use panaversity_store::{Database, DatabaseUrl};
use panaversity_testkit::postgres;
use panaversity_testkit::samples::{book, change_set, draft, lesson, write};
use tempfile::TempDir;

use crate::engines::{POOL, open, sqlite_file, sqlite_url};

async fn connect(url: &str) -> Database {
    Database::connect(&DatabaseUrl::parse(url).unwrap(), POOL).await.unwrap()
}

async fn goes_forward_and_back(url: &str) {
    let db = connect(url).await;
    assert_eq!(migrations::current(&db).await, Ok(None));
    let ran = migrations::upgrade(&db, None).await.unwrap();
    assert_eq!(ran, migrations::all());
    assert_eq!(migrations::upgrade(&db, None).await, Ok(vec![]));

    let newest = ran.last().unwrap().number;
    assert_eq!(migrations::current(&db).await, Ok(Some(newest)));
    let refused = migrations::downgrade(&db, 0, DowngradeConsent::default()).await.unwrap_err();
    assert!(
        matches!(&refused, MigrationError::Refused(why) if why.contains("--destroy-audit")),
        "{refused:?}"
    );
    assert_eq!(migrations::current(&db).await, Ok(Some(newest)), "a refused downgrade changes nothing");

    let consent = DowngradeConsent { audit_log: true, ..DowngradeConsent::default() };
    assert_eq!(migrations::downgrade(&db, 0, consent).await.unwrap().len(), ran.len());
    assert_eq!(migrations::current(&db).await, Ok(None));
    assert_eq!(migrations::upgrade(&db, None).await.unwrap(), ran, "and forward again");

    let unknown = migrations::upgrade(&db, Some(newest + 1)).await.unwrap_err();
    assert!(matches!(unknown, MigrationError::Refused(_)));
    db.close().await;
}

#[tokio::test]
async fn the_schema_goes_forward_and_back_on_sqlite() {
    let folder = TempDir::new().unwrap();
    goes_forward_and_back(&sqlite_url(&folder)).await;
}

#[tokio::test]
async fn the_schema_goes_forward_and_back_on_postgresql() {
    goes_forward_and_back(&postgres::shared().create_database()).await;
}

async fn migrates_once_for_three(url: &str) {
    let start = |url: String| async move {
        let db = connect(&url).await;
        let ran = migrations::upgrade(&db, None).await.unwrap().len();
        db.close().await;
        ran
    };
    let tasks: Vec<_> = (0..3).map(|_| tokio::spawn(start(url.to_owned()))).collect();
    let mut ran = 0;
    for task in tasks {
        ran += task.await.unwrap();
    }
    assert_eq!(ran, migrations::all().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_that_start_at_once_migrate_once_on_sqlite() {
    let folder = TempDir::new().unwrap();
    migrates_once_for_three(&sqlite_url(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_that_start_at_once_migrate_once_on_postgresql() {
    migrates_once_for_three(&postgres::shared().create_database()).await;
}

#[tokio::test]
async fn a_database_newer_than_the_binary_is_refused() {
    let folder = TempDir::new().unwrap();
    let db = connect(&sqlite_url(&folder)).await;
    migrations::upgrade(&db, None).await.unwrap();
    let newer = "INSERT INTO schema_migrations (revision, name, applied_at) VALUES (9999, 'future', '')";
    rusqlite::Connection::open(sqlite_file(&folder)).unwrap().execute_batch(newer).unwrap();
    let refused = migrations::upgrade(&db, None).await.unwrap_err();
    assert!(matches!(&refused, MigrationError::Refused(why) if why.contains("newer")), "{refused:?}");
}

/// Distinguishes a foreign schema from an unreachable database; `run` runs SQL without the journal.
async fn tells_a_foreign_schema(url: &str, run: impl AsyncFn(&str)) {
    let (db, journal) = open(url).await;
    journal.ping().await.unwrap();
    let set = || change_set(&book(), &panaversity_model::Layer::Base, vec![write(&lesson(1), b"a", None)]);
    journal.commit(set()).await.unwrap();
    for table in ["books", "audit_log", "blobs", "uploads"] {
        run(&format!("ALTER TABLE {table} RENAME TO elsewhere")).await;
        let pinged = journal.ping().await.unwrap_err();
        assert_eq!(pinged.kind, FaultKind::Schema, "{table}: {pinged}");
        let failed = match table {
            "books" => journal.book(&book()).await.unwrap_err(),
            "audit_log" => {
                journal.append(draft(None, None, &panaversity_model::Layer::Base)).await.unwrap_err()
            }
            "blobs" => journal.commit(set()).await.unwrap_err(),
            _ => pinged,
        };
        assert_eq!(
            (failed.kind, failed.kind.code()),
            (FaultKind::Schema, ErrorCode::DatabaseUnavailable),
            "{failed}"
        );
        assert!(failed.detail.contains("panaversity-fs migrate"), "{failed}");
        run(&format!("ALTER TABLE elsewhere RENAME TO {table}")).await;
        journal.ping().await.unwrap();
    }
    run("ALTER TABLE books RENAME COLUMN schema TO profile").await;
    assert_eq!(journal.book(&book()).await.unwrap_err().kind, FaultKind::Schema, "a column is missing");
    run("ALTER TABLE books RENAME COLUMN profile TO schema").await;
    migrations::stamp(&db, 1).await.unwrap();
    assert_eq!(journal.ping().await.unwrap_err().kind, FaultKind::Schema, "it is older");
    let newest = migrations::all().last().unwrap().number;
    migrations::stamp(&db, newest).await.unwrap();
    run("INSERT INTO schema_migrations (revision, name, applied_at) VALUES (9999, 'later', '')").await;
    journal.ping().await.unwrap();
    run("DROP TABLE schema_migrations").await;
    assert_eq!(journal.ping().await.unwrap_err().kind, FaultKind::Schema);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_does_not_fit_is_told_from_a_database_that_is_away_on_sqlite() {
    let folder = TempDir::new().unwrap();
    let file = sqlite_file(&folder);
    let run = async |sql: &str| {
        rusqlite::Connection::open(&file).unwrap().execute_batch(sql).unwrap();
    };
    tells_a_foreign_schema(&sqlite_url(&folder), run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_does_not_fit_is_told_from_a_database_that_is_away_on_postgresql() {
    let url = postgres::shared().create_database();
    tells_a_foreign_schema(&url, async |sql: &str| drop(postgres::shared().query(&url, sql))).await;
}
