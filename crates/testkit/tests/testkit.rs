//! Tests of the testkit itself: the fakes pass the contract suites (I11), the fault hook changes none of
//! what it does not break, no contract test is missing from the lists, the hook breaks the call it was set
//! to, and a private `PostgreSQL` starts and ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use panaversity_model::change::Verdict;
use panaversity_model::fault::FaultKind;
use panaversity_model::ports::{Changes, Clock, Files, IdGenerator, Journal, Objects, Tree, UploadStore};
use panaversity_model::{ContentHash, Fault, Layer};
use panaversity_testkit::contract::{ObjectsSetup, Setup, TreeSetup, UploadStoreSetup};
use panaversity_testkit::postgres::{self, Postgres};
use panaversity_testkit::samples::{self, book, change_set, key, lesson, view, write};
use panaversity_testkit::{
    FaultMode, Faults, FaultyObjects, FaultyTree, FaultyUploadStore, MemoryObjects, MemoryTree,
    MemoryUploadStore, TestClock, TestIds, TestJournal, journal_contract, objects_contract, tree_contract,
    upload_store_contract,
};

mod memory {
    use super::*;

    #[allow(clippy::unused_async, reason = "setups are async")]
    async fn objects_setup() -> ObjectsSetup {
        ObjectsSetup::new(Arc::new(MemoryObjects::new()), ())
    }

    #[allow(clippy::unused_async, reason = "setups are async")]
    async fn upload_store_setup() -> UploadStoreSetup {
        UploadStoreSetup::new(Arc::new(MemoryUploadStore::new()), ())
    }

    #[allow(clippy::unused_async, reason = "setups are async")]
    async fn tree_setup() -> TreeSetup {
        let tree = Arc::new(MemoryTree::new());
        let seen = tree.clone();
        TreeSetup::new(tree, move || seen.files(), ())
    }

    objects_contract!(objects_setup);
    upload_store_contract!(upload_store_setup);
    tree_contract!(tree_setup);
}

/// One database for all contract tests that run at once, as engines may have it.
mod shared_database {
    use super::*;
    use std::sync::{Mutex, PoisonError, Weak};

    #[allow(clippy::unused_async, reason = "setups are async")]
    async fn setup() -> Setup {
        static JOURNAL: Mutex<Weak<TestJournal>> = Mutex::new(Weak::new());
        let mut shared = JOURNAL.lock().unwrap_or_else(PoisonError::into_inner);
        let journal = shared.upgrade().unwrap_or_else(|| Arc::new(TestJournal::open()));
        *shared = Arc::downgrade(&journal);
        Setup::new(journal, ())
    }

    journal_contract!(setup);
}

/// A hook that breaks nothing changes nothing.
mod behind_the_hook {
    use super::*;

    #[allow(clippy::unused_async, reason = "setups are async")]
    async fn setup() -> Setup {
        let journal = TestJournal::open();
        let aged = journal.clone();
        Setup::new(Arc::new(journal.behind(&Faults::new())), ()).expiring_leases(move || {
            aged.age(Duration::from_mins(1));
            async {}
        })
    }

    #[allow(clippy::unused_async, reason = "setups are async")]
    async fn objects_setup() -> ObjectsSetup {
        let objects = Arc::new(MemoryObjects::new());
        ObjectsSetup::new(Arc::new(FaultyObjects::new(objects, &Faults::new())), ())
    }

    #[allow(clippy::unused_async, reason = "setups are async")]
    async fn upload_store_setup() -> UploadStoreSetup {
        UploadStoreSetup::new(
            Arc::new(FaultyUploadStore::new(Arc::new(MemoryUploadStore::new()), &Faults::new())),
            (),
        )
    }

    #[allow(clippy::unused_async, reason = "setups are async")]
    async fn tree_setup() -> TreeSetup {
        let tree = Arc::new(MemoryTree::new());
        let seen = tree.clone();
        TreeSetup::new(Arc::new(FaultyTree::new(tree, &Faults::new())), move || seen.files(), ())
    }

    journal_contract!(setup);
    objects_contract!(objects_setup);
    upload_store_contract!(upload_store_setup);
    tree_contract!(tree_setup);
}

#[test]
fn no_contract_test_is_forgotten() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/contract");
    let lists = std::fs::read_to_string(folder.join("suites.rs")).unwrap();
    let listed: Vec<_> = lists.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if ["mod.rs", "fixture.rs", "suites.rs"].iter().any(|other| path.ends_with(other)) {
            continue;
        }
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let Some(rest) = line.strip_prefix("pub async fn ") else { continue };
            let name = rest.split('(').next().unwrap();
            assert!(listed.contains(&name), "{name} of {} is in no list", path.display());
            count += 1;
        }
    }
    assert!(count > 50, "{count} contract tests");
}

#[test]
fn the_ids_of_a_world_ascend() {
    let (clock, ids) = (TestClock::new(), TestIds);
    let drawn: Vec<_> = (0..1000).map(|_| ids.new_id()).collect();
    assert!(drawn.is_sorted_by(|a, b| a < b));
    assert!(clock.monotonic() <= clock.monotonic());
}

/// A journal, objects and a tree behind one hook.
struct Broken {
    faults: Faults,
    held: TestJournal,
    stored: Arc<MemoryObjects>,
    published: Arc<MemoryTree>,
    journal: TestJournal,
    objects: FaultyObjects,
    tree: FaultyTree,
}

impl Broken {
    fn new() -> Self {
        let (held, faults) = (TestJournal::open(), Faults::new());
        let (stored, published) = (Arc::new(MemoryObjects::new()), Arc::new(MemoryTree::new()));
        Self {
            journal: held.behind(&faults),
            objects: FaultyObjects::new(stored.clone(), &faults),
            tree: FaultyTree::new(published.clone(), &faults),
            faults,
            held,
            stored,
            published,
        }
    }

    /// Puts an object, commits a file and publishes it, as far as it gets; returns what was done.
    async fn act(&self) -> (Vec<Option<(FaultKind, bool)>>, [bool; 3]) {
        let (book, hash) = (book(), ContentHash::of(b"a"));
        let set = change_set(&book, &Layer::Base, vec![write(&lesson(1), b"a", None)]);
        let answers = vec![
            self.objects.put(hash, b"a").await.err(),
            self.journal.commit(set).await.err(),
            self.tree.put(&key(&book, &lesson(1), &Layer::Base), b"a").await.err(),
        ];
        let committed = self.held.find(&book, &lesson(1), &view(&Layer::Base)).await.unwrap().is_some();
        let done = [!self.stored.contents().is_empty(), committed, !self.published.files().is_empty()];
        let faults = answers.into_iter().map(|fault| fault.map(|f| (f.kind, f.outcome_unknown)));
        (faults.collect(), done)
    }
}

#[tokio::test]
async fn the_hook_names_the_calls_in_order() {
    let broken = Broken::new();
    assert_eq!(broken.act().await, (vec![None, None, None], [true, true, true]));
    assert_eq!(broken.faults.calls(), ["objects.put", "journal.commit", "tree.put"]);
    broken.faults.reset();
    broken.journal.ping().await.unwrap();
    assert_eq!(broken.journal.backend(), "sqlite");
    assert_eq!(broken.faults.calls(), ["journal.ping"]);
}

#[tokio::test]
async fn the_hook_breaks_what_comes_part_by_part() {
    let broken = Broken::new();
    let upload_store = FaultyUploadStore::new(Arc::new(MemoryUploadStore::new()), &broken.faults);
    let hash = ContentHash::of(b"a");
    let act = async || -> Result<(), Fault> {
        let mut staging = broken.objects.stage().await?;
        staging.write(b"a").await?;
        staging.promote(hash).await?;
        let id = samples::upload_id();
        let mut receiving = upload_store.receive(id).await?;
        receiving.write(b"a").await?;
        receiving.finish().await?;
        let mut parts = upload_store.open(id).await?.unwrap();
        assert_eq!(parts.try_next().await?, Some(b"a".to_vec()));
        Ok(())
    };
    act().await.unwrap();
    let calls = [
        "objects.stage",
        "staging.write",
        "staging.promote",
        "upload_store.receive",
        "receiving.write",
        "receiving.finish",
        "upload_store.open",
        "upload_store.open.next",
    ];
    assert_eq!(broken.faults.calls(), calls);
    for (call, name) in calls.into_iter().enumerate() {
        for failure in FaultMode::ALL {
            broken.faults.reset();
            broken.faults.arm(call, failure);
            let fault = act().await.unwrap_err();
            assert!(fault.detail.starts_with(name), "{name}, {failure:?}: {fault}");
        }
    }
}

#[tokio::test]
async fn the_hook_breaks_the_call_it_was_armed_for() {
    let (storage, database) = (Some((FaultKind::Storage, false)), Some((FaultKind::Database, false)));
    let unknown = Some((FaultKind::Database, true));
    let cases = [
        (0, FaultMode::FailBefore, vec![storage, None, None], [false, true, true]),
        (0, FaultMode::FailAfter, vec![storage, None, None], [true, true, true]),
        (1, FaultMode::FailBefore, vec![None, database, None], [true, false, true]),
        (1, FaultMode::FailAfter, vec![None, unknown, None], [true, true, true]),
        (2, FaultMode::FailAfter, vec![None, None, storage], [true, true, true]),
        (0, FaultMode::VanishBefore, vec![storage, database, storage], [false, false, false]),
        (0, FaultMode::VanishAfter, vec![storage, database, storage], [true, false, false]),
        (1, FaultMode::VanishBefore, vec![None, database, storage], [true, false, false]),
        (1, FaultMode::VanishAfter, vec![None, unknown, storage], [true, true, false]),
        (9, FaultMode::VanishBefore, vec![None, None, None], [true, true, true]),
    ];
    for (call, failure, faults, done) in cases {
        let broken = Broken::new();
        broken.faults.arm(call, failure);
        assert_eq!(broken.act().await, (faults, done), "call {call}, {failure:?}");
        broken.faults.revive();
        assert_eq!(broken.act().await.0, vec![None, None, None], "after call {call}, {failure:?}");
    }
}

#[tokio::test]
async fn a_lease_expires_as_its_journal_ages() {
    let journal = TestJournal::open();
    let book = book();
    let mut held = None;
    for (seconds, bytes, leased) in [(0, b"a", true), (1, b"b", false), (60, b"c", true)] {
        journal.age(Duration::from_secs(seconds));
        let set = change_set(&book, &Layer::Base, vec![write(&lesson(1), bytes, held)]);
        let Verdict::Committed(applied) = journal.commit(set).await.unwrap() else { panic!("committed") };
        assert_eq!(applied[0].publication.is_some(), leased, "{seconds} seconds later");
        held = Some(ContentHash::of(bytes));
    }
}

#[test]
fn a_private_postgres_answers() {
    let server = postgres::shared();
    let (one, other) = (server.create_database(), server.create_database());
    assert_ne!(one, other);
    assert_eq!(server.query(&one, "select 1"), "1");
    server.query(&one, "create table t (n int); insert into t values (7)");
    let copy = server.copy_database(&one);
    assert_eq!(server.query(&copy, "select n from t"), "7");
    assert_eq!(server.query(&other, "select count(*) from pg_tables where tablename = 't'"), "0");
    assert_eq!(server.query(&one, "show max_connections"), "1000");
    assert_eq!(server.query(&one, "show server_encoding"), "UTF8");
}

/// Environment variable with the path where the process to be killed writes its server's process
/// id.
const NOTE: &str = "PANAVERSITY_TEST_ORPHAN_NOTE";

#[test]
#[ignore = "it is run, and killed, by the test below"]
fn a_postgres_to_be_orphaned() {
    let Some(note) = std::env::var_os(NOTE) else { return };
    let server = Postgres::start();
    std::fs::write(note, server.pid().to_string()).unwrap();
    std::thread::sleep(Duration::from_mins(1));
}

#[test]
fn a_private_postgres_ends_with_a_killed_process() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("pid");
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_postgres_to_be_orphaned", "--ignored"])
        .env(NOTE, &note)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = wait_for(|| std::fs::read_to_string(&note).ok()?.parse::<u32>().ok());
    let server = format!("/proc/{pid}");
    assert!(Path::new(&server).exists());
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_for(|| (!Path::new(&server).exists()).then_some(()));
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..1500 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it did not happen within 30 seconds");
}
