//! One database, one storage: only the first to open a storage claims it, and an interrupted start
//! claims nothing.

use futures::future::join_all;
use panaversity_model::Fault;
use panaversity_store::SqlJournal;
use panaversity_testkit::postgres;
use tempfile::TempDir;

use super::engines::{open, sqlite_url};

/// True if this start may claim a storage.
async fn may_take(journal: &SqlJournal) -> bool {
    journal.pair(async |_, fresh| Ok(fresh)).await.unwrap()
}

async fn one_takes(url: &str) {
    let (_, journal) = open(url).await;
    let failed = async |_: &str, fresh: bool| -> Result<(), Fault> {
        assert!(fresh);
        Err(Fault::storage("no such storage"))
    };
    assert!(journal.pair(failed).await.is_err());
    // Concurrent starts.
    let (_, another) = open(url).await;
    assert_eq!(another.store_id(), journal.store_id());
    let starts = [&*journal, &*another, &*journal, &*another].map(may_take);
    let took = join_all(starts).await;
    assert_eq!(took.iter().filter(|took| **took).count(), 1, "{took:?}");
    assert!(!may_take(&journal).await);
    let (_, later) = open(url).await;
    assert_eq!(later.store_id(), journal.store_id());
    assert!(!may_take(&later).await);
}

#[tokio::test]
async fn of_many_first_starts_one_takes_its_storage_on_sqlite() {
    let folder = TempDir::new().unwrap();
    one_takes(&sqlite_url(&folder)).await;
}

#[tokio::test]
async fn of_many_first_starts_one_takes_its_storage_on_postgresql() {
    one_takes(&postgres::shared().create_database()).await;
}
