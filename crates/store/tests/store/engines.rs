//! Both databases fulfil the journal's contract, and the folder the storages' (I11).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use panaversity_model::ports::Books;
use panaversity_store::{Backend, Database, DatabaseUrl, PoolOptions, SqlJournal, migrations};
use panaversity_testkit::contract::Setup;
use panaversity_testkit::{journal_contract, samples};
use tempfile::TempDir;

pub(crate) const POOL: PoolOptions = PoolOptions { size: 8, overflow: 0, timeout: Duration::from_secs(20) };

/// A migrated database, by URL.
pub(crate) async fn open(url: &str) -> (Database, Arc<SqlJournal>) {
    let db = Database::connect(&DatabaseUrl::parse(url).unwrap(), POOL).await.unwrap();
    migrations::upgrade(&db, None).await.unwrap();
    let journal = SqlJournal::open(db.clone(), Backend::Fs).await.unwrap();
    (db, journal)
}

/// Connection to PostgreSQL that bypasses the engine.
pub(crate) async fn on_postgres_directly(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// URL of a new `SQLite` file.
pub(crate) fn sqlite_url(folder: &TempDir) -> String {
    format!("sqlite:{}", sqlite_file(folder).display())
}

pub(crate) fn sqlite_file(folder: &TempDir) -> PathBuf {
    folder.path().join("journal.db")
}

const EXPIRE: &str = "UPDATE publications SET lease_until = '2001-01-01T00:00:00.000000Z'; \
    UPDATE blobs SET condemned_until = '2001-01-01T00:00:00.000000Z' WHERE condemned_until IS NOT NULL";

mod sqlite {
    use super::*;

    async fn setup() -> Setup {
        let folder = TempDir::new().unwrap();
        let (_, journal) = open(&sqlite_url(&folder)).await;
        let file = sqlite_file(&folder);
        Setup::new(journal, folder).expiring_leases(move || {
            let file = file.clone();
            async move { rusqlite::Connection::open(file).unwrap().execute_batch(EXPIRE).unwrap() }
        })
    }

    journal_contract!(setup);

    #[tokio::test]
    async fn a_database_is_not_mapped_into_memory() {
        let folder = TempDir::new().unwrap();
        let (_, journal) = open(&sqlite_url(&folder)).await;
        assert_eq!(journal.book(&samples::book()).await.unwrap(), None);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let file = sqlite_file(&folder);
        let is_mapped = |name: &str| maps.lines().any(|line| line.ends_with(name));
        assert!(!is_mapped(file.to_str().unwrap()));
        assert!(is_mapped(&format!("{}-shm", file.display())), "the index of its log is");
    }
}

mod postgres {
    use super::*;

    async fn setup() -> Setup {
        on_postgres("").await
    }

    journal_contract!(setup);
}

/// Without named statements, and with a transaction around every read, as required by transaction
/// poolers.
mod postgres_behind_a_pooler {
    use super::*;

    async fn setup() -> Setup {
        on_postgres("?pgbouncer=true").await
    }

    journal_contract!(setup);
}

async fn on_postgres(options: &str) -> Setup {
    let url = panaversity_testkit::postgres::shared().create_database();
    let (_, journal) = open(&format!("{url}{options}")).await;
    Setup::new(journal, ()).expiring_leases(move || {
        let url = url.clone();
        async move {
            on_postgres_directly(&url).await.batch_execute(EXPIRE).await.unwrap();
        }
    })
}
