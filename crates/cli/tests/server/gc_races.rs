//! `gc` beside writers (I9): with no retention at all it runs in a loop while writers create,
//! delete and create the same large bytes again. Every acknowledged write is readable, no read
//! finds damage, and in the end nothing is missing and nothing is left over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use panaversity_model::audit::Operation;
use panaversity_model::permission::Principal;
use panaversity_model::{AgentId, BookId, BookPath, Error, Layer, Refusal};
use panaversity_service::read::ReadFile;
use panaversity_service::reconcile::{Finding, Mode};
use panaversity_service::write::Write;
use panaversity_service::{Call, Engines, Limits, Service};
use panaversity_store::{Backend, Database, DatabaseUrl, FileStorage, PoolOptions, SqlJournal, migrations};
use panaversity_testkit::contract::run_concurrently;
use panaversity_testkit::{TestClock, TestIds, samples};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::fixtures::{BOOK, created, delete, read};
use crate::harness::{Db, Storage, TEST_TIMEOUT, TestBackend, TestEnv};

const WRITERS: usize = 6;
/// In the normal run.
const ROUNDS: usize = 25;
const MANY_ROUNDS: usize = 1_000;
/// Number of texts. Each is written by two writers, in different rounds, so that it is referenced,
/// purged and written again all the time.
const TEXTS: usize = 6;

fn text(n: usize) -> String {
    format!("text {n}: {}", "and so on, ".repeat(400))
}

/// A server without transports, over engines of its own. With `beside`, another process is the
/// leader on `SQLite`.
async fn server(env: &TestEnv, beside: bool) -> Service {
    let pool = PoolOptions { size: 10, overflow: 0, timeout: Duration::from_secs(30) };
    let db = Database::connect(&DatabaseUrl::parse(env.database_url()).unwrap(), pool).await.unwrap();
    migrations::upgrade(&db, None).await.unwrap();
    let journal = if beside {
        SqlJournal::open_shared(db, Backend::Fs).await.unwrap()
    } else {
        SqlJournal::open(db, Backend::Fs).await.unwrap()
    };
    let storage = FileStorage::open(&env.storage_root(), journal.store_id(), true).unwrap();
    let engines = Engines {
        journal,
        objects: storage.clone(),
        upload_store: storage.clone(),
        tree: storage,
        clock: Arc::new(TestClock::new()),
        ids: Arc::new(TestIds),
    };
    Service::new(
        engines,
        Limits { inline_bytes: 64, direct_bytes: 10 << 20, asset_bytes: 100 << 20, publish_overlays: true },
    )
}

/// The number of the text that a writer writes.
fn text_of(writer: usize, round: usize) -> usize {
    writer / 2 + (round % 2) * (TEXTS / 2)
}

/// Number of completed runs of `gc`.
#[derive(Clone, Default)]
struct Runs(Arc<watch::Sender<u64>>);

impl Runs {
    fn ended(&self) {
        self.0.send_modify(|runs| *runs += 1);
    }

    fn count(&self) -> u64 {
        *self.0.borrow()
    }

    /// Waits for the end of the next run: blobs condemned before are purged then, and another run
    /// begins.
    async fn next(&self) {
        let mut runs = self.0.subscribe();
        tokio::time::timeout(TEST_TIMEOUT, runs.changed()).await.expect("gc ends").unwrap();
    }
}

/// A writer of one path.
#[derive(Clone)]
struct Writer {
    server: Service,
    book: BookId,
    path: BookPath,
}

impl Writer {
    fn new(server: &Service, book: &BookId, number: usize) -> Self {
        Self { server: server.clone(), book: book.clone(), path: samples::lesson(number) }
    }

    async fn call<T>(
        &self,
        operation: Operation,
        use_case: impl AsyncFnOnce(&mut Call) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let caller = self.server.caller(Principal::unrestricted(AgentId::unnamed()));
        self.server.run_unrecorded(caller, operation, use_case).await.result
    }

    async fn write(&self, text: &str) {
        let write = async |call: &mut Call| {
            let access = call.may_write(self.book.clone(), Layer::Base)?;
            let (path, content) = (self.path.clone(), text.to_owned());
            call.write_content(Write { access, path, content, expected: None }).await
        };
        self.call(Operation::Write, write).await.unwrap();
    }

    async fn delete(&self) {
        let deleted = self.call(Operation::Delete, async |call| {
            let access = call.may_write(self.book.clone(), Layer::Base)?;
            call.delete_content(&access, &self.path, None).await
        });
        assert_eq!(deleted.await, Ok(true));
    }

    /// The content of a path, its own or another's; `None` if there is no file.
    async fn read(&self, path: &BookPath) -> Option<Vec<u8>> {
        let read = async |call: &mut Call| {
            let access = call.may_read(self.book.clone(), Layer::Base)?;
            call.read_file(&ReadFile::whole(access, path.clone())).await
        };
        match self.call(Operation::Read, read).await {
            Ok(file) => file.content.into_text().map(String::into_bytes),
            Err(Error::Refused(Refusal::NotFound { .. } | Refusal::BookNotFound(_))) => None,
            Err(error) => panic!("{}: {error}", error.code()),
        }
    }

    async fn run(&self, number: usize, rounds: usize, runs: Runs) {
        for round in 0..rounds {
            let text = text(text_of(number, round));
            self.write(&text).await;
            assert!(
                self.read(&self.path).await == Some(text.into_bytes()),
                "what was acknowledged is readable"
            );
            let neighbour = samples::lesson((number + 1) % WRITERS);
            let _ = self.read(&neighbour).await;
            if round + 1 < rounds {
                self.delete().await;
            }
            if (round + number).is_multiple_of(3) {
                runs.next().await;
            }
        }
    }
}

async fn races(db: Db, rounds: usize) {
    let env = TestEnv::new(db);
    let servers = [server(&env, false).await, server(&env, true).await];
    let (collector, book) = (server(&env, true).await, samples::book());
    let (done, runs) = (Arc::new(AtomicBool::new(false)), Runs::default());
    let collecting = {
        let (done, runs) = (done.clone(), runs.clone());
        tokio::spawn(async move {
            let mut collected = 0;
            while !done.load(Ordering::Relaxed) {
                let swept = collector.gc(Duration::ZERO, false).await.unwrap();
                collected += swept.removed.blobs;
                assert_eq!(swept.left, 0);
                runs.ended();
            }
            (collector, collected)
        })
    };
    run_concurrently(WRITERS, |number| {
        let writer = Writer::new(&servers[number % servers.len()], &book, number);
        let runs = runs.clone();
        async move { writer.run(number, rounds, runs).await }
    })
    .await;
    done.store(true, Ordering::Relaxed);
    let (collector, collected) = collecting.await.unwrap();
    let again: u64 = servers.iter().map(|server| server.stats().rollbacks.load(Ordering::Relaxed)).sum();
    let runs = runs.count();
    eprintln!("{db:?}: {runs} runs of gc let {collected} blobs go, {again} commits were staged again");
    assert!(collected > 4, "there was a race");

    for server in &servers {
        server.publish_pending().await.unwrap();
        assert_eq!(server.stats().damaged_reads.load(Ordering::Relaxed), 0, "not one CORRUPT");
    }
    collector.gc(Duration::ZERO, false).await.unwrap();
    for number in 0..WRITERS {
        let writer = Writer::new(&servers[number % servers.len()], &book, number);
        let held = text(text_of(number, rounds - 1)).into_bytes();
        assert!(writer.read(&writer.path).await == Some(held), "writer {number}");
    }
    let mut found: Vec<Finding> = Vec::new();
    let report = collector.reconcile(None, &Mode::Report, &mut |finding| found.push(finding)).await.unwrap();
    assert_eq!(found, [], "{report:?}");
    assert_eq!(report.objects, TEXTS as u64 / 2, "and nothing is left over");
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_gc_without_retention_loses_nothing_that_writers_bring_again_on_sqlite() {
    races(Db::Sqlite, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_gc_without_retention_loses_nothing_that_writers_bring_again_on_postgresql() {
    races(Db::Postgres, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make torture"]
async fn i9_a_thousand_rounds_of_gc_beside_writers_lose_nothing() {
    for db in Db::both() {
        races(db, MANY_ROUNDS).await;
    }
}

/// The binary beside a running server: another process, started again and again.
#[tokio::test(flavor = "multi_thread")]
async fn i9_a_gc_of_its_own_process_beside_a_server_loses_nothing() {
    let folders = Db::both().map(|db| TestBackend::new(db, Storage::Fs));
    for backend in folders.into_iter().chain([TestBackend::new(Db::Postgres, Storage::S3)]) {
        let env = TestEnv::new(backend).with("PANAVERSITY_RETENTION_DAYS", "0");
        let server = env.start().await;
        let (client, text) = (server.client(), "large\n".repeat(30_000));
        let (done, runs) = (Arc::new(AtomicBool::new(false)), Runs::default());
        let (finished, collected) = (done.clone(), runs.clone());
        let writing = tokio::spawn(async move {
            let paths = [samples::lesson(1), samples::lesson(2)];
            let mut rounds = 0;
            while !finished.load(Ordering::Relaxed) {
                let path = paths[rounds % 2].as_str();
                created(&client, path, &text, json!({})).await;
                let content = read(&client, path, json!({})).await.expect_ok()["content"].clone();
                assert!(content == json!(text));
                delete(&client, path, json!({})).await.expect_ok();
                rounds += 1;
                // One run has begun before the deletion, the next sees it.
                for _ in 0..if rounds % 4 == 0 { 2 } else { 0 } {
                    if !finished.load(Ordering::Relaxed) {
                        collected.next().await;
                    }
                }
            }
            created(&client, paths[0].as_str(), &text, json!({})).await;
            (client, text, rounds)
        });
        let mut let_go = 0;
        for _ in 0..12 {
            let mut command = env.command();
            command.args(["gc", "--json"]);
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            let said: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(output.status.success(), "{output:?}");
            let_go += said["blobs"].as_u64().unwrap();
            runs.ended();
        }
        done.store(true, Ordering::Relaxed);
        runs.ended();
        let (client, text, rounds) = writing.await.unwrap();
        assert!(rounds > 0 && let_go > 0, "{rounds} rounds, {let_go} blobs");
        let held = read(&client, samples::lesson(1).as_str(), json!({})).await.expect_ok();
        assert!(held["content"] == json!(text));
        assert_eq!(server.get("/health").await.json()["damaged_blobs"], 0);
        let verified = client.call("verify_audit_chain", json!({ "book_id": BOOK })).await.expect_ok();
        assert_eq!(verified["valid"], true);
    }
}
