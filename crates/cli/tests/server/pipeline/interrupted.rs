//! Runs killed at any moment: the next run completes the work, and a reader of the output never
//! sees an empty or partial file meanwhile.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Ended, Tree, command, hydrate, ingest, lessons, plant, tree};
use crate::fixtures::BOOK;
use crate::harness::{Db, TEST_TIMEOUT, TestClient, TestEnv};

const FILES: usize = 400;
const CHANGED: usize = 100;

/// Number of files on the server.
async fn held(server: &TestClient) -> usize {
    let listed = server.call("list_books", json!({ "book_id": BOOK })).await;
    listed.value["books"][0]["files"].as_u64().map_or(0, |files| usize::try_from(files).unwrap())
}

/// Waits until the condition holds or the command has ended; returns true if it held.
pub(super) async fn meanwhile(child: &mut Child, mut is_so: impl AsyncFnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < TEST_TIMEOUT {
        if is_so().await {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("neither was it so nor did the command end");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_that_was_killed_is_completed_by_the_next() {
    for db in Db::both() {
        let env = TestEnv::new(db);
        let server = env.start().await;
        let book = lessons(FILES);
        let source = plant(&env.folder().join("source"), &book);
        let mut killed = 0;
        for enough in [0, 1, 40, 150, 300] {
            let mut run = command(&env, &server, "ingest", &source, &[]).spawn().unwrap();
            let in_time = meanwhile(&mut run, async || held(&server).await >= enough).await;
            run.kill().unwrap();
            run.wait().unwrap();
            killed += usize::from(in_time);
        }
        assert!(killed >= 2, "hardly ever was there something left to kill");
        ingest(&env, &server, &source, &[]).expect_ok();
        assert_eq!(held(&server).await, FILES);
        let report = ingest(&env, &server, &source, &[]).expect_ok();
        assert_eq!(report["unchanged"], json!(FILES));
        let output = env.folder().join("output");
        hydrate(&env, &server, &output, &[]).expect_ok();
        assert!(tree(&output) == book, "the output differs from the source");
    }
}

/// Watcher of a folder that scans it repeatedly, and reports every file that is none of these
/// versions.
struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Watcher {
    fn of(folder: &Path, versions: Vec<Tree>) -> Self {
        let (stop, folder) = (Arc::new(AtomicBool::new(false)), folder.to_owned());
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let (mut looks, mut bad) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                for (name, bytes) in tree(&folder) {
                    if !versions.iter().any(|version| version.get(&name) == Some(&bytes)) {
                        bad.push(format!("{name} with {} bytes", bytes.len()));
                    }
                }
                looks += 1;
                thread::sleep(Duration::from_millis(5));
            }
            (looks, bad)
        });
        Self { stop, thread }
    }

    fn saw_nothing_bad(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (looks, bad) = self.thread.join().unwrap();
        assert!(looks > 0 && bad.is_empty(), "{bad:?}");
    }
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hydrate_that_was_killed_is_completed_by_the_next_and_never_shows_half_a_file() {
    for db in Db::both() {
        let env = TestEnv::new(db);
        let server = env.start().await;
        let (first, mut second) = (lessons(FILES), lessons(FILES));
        for bytes in second.values_mut() {
            bytes.extend(b"and more\n");
        }
        second.remove("01-Part/00-Chapter/00-lesson.md");
        second.insert("09-Part/README.md".to_owned(), b"new".to_vec());
        let (output, state) = (env.folder().join("output"), env.folder().join(".output.panaversity"));
        let watcher = Watcher::of(&output, vec![first.clone(), second.clone()]);
        let mut killed = 0;
        for (n, book) in [first, second].into_iter().enumerate() {
            let source = plant(&env.folder().join(format!("source-{n}")), &book);
            ingest(&env, &server, &source, &["--delete", "--force"]).expect_ok();
            // While it plans, while it fetches, and while it installs.
            for (staged, installing) in [(0, false), (1, false), (FILES / 2, false), (0, true), (0, true)] {
                let mut run = command(&env, &server, "hydrate", &output, &[]).spawn().unwrap();
                let there = async || {
                    let said = fs::read(state.join("state.json")).unwrap_or_default();
                    let said: Value = serde_json::from_slice(&said).unwrap_or_default();
                    count(&state.join("staging")) >= staged && (!installing || said["installing"].is_object())
                };
                killed += usize::from(meanwhile(&mut run, there).await);
                run.kill().unwrap();
                run.wait().unwrap();
            }
            hydrate(&env, &server, &output, &[]).expect_ok();
            assert!(tree(&output) == book, "the output differs from the source");
            let report = hydrate(&env, &server, &output, &[]).expect_ok();
            assert_eq!((&report["transferred"], &report["unchanged"]), (&json!(0), &json!(book.len())));
        }
        assert!(killed >= 4, "hardly ever was there something left to kill");
        watcher.saw_nothing_bad();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_during_an_ingest_leaves_no_success_that_was_none() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start_process().await;
    let book = lessons(FILES);
    let source = plant(&env.folder().join("source"), &book);
    let mut run = command(&env, &server, "ingest", &source, &[]).spawn().unwrap();
    assert!(meanwhile(&mut run, async || held(&server).await >= 30).await, "it was too fast");
    server.kill9().await;
    let report = Ended::of(&run.wait_with_output().unwrap()).expect_failed();
    assert!(report["not_tried"].as_u64().unwrap() > 0 || !report["failed"].as_array().unwrap().is_empty());

    let server = env.start().await;
    let listed = json!({ "book_id": BOOK, "scope": "book" });
    let (files, _) = crate::fixtures::pages(&server.client(), "read_content", listed, "files").await;
    let there: Vec<_> = files.iter().map(|file| &file["path"]).collect();
    for claimed in report["created"].as_array().unwrap() {
        assert!(there.contains(&claimed), "{claimed} was reported and is not there");
    }
    let report = ingest(&env, &server, &source, &[]).expect_ok();
    assert_eq!(report["created"].as_array().unwrap().len() + there.len(), FILES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_during_a_hydrate_leaves_the_output_as_it_was() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start_process().await;
    let (mut book, output) = (lessons(FILES), env.folder().join("output"));
    let source = plant(&env.folder().join("source"), &book);
    ingest(&env, &server, &source, &[]).expect_ok();
    hydrate(&env, &server, &output, &[]).expect_ok();
    // As many changes as are fetched one by one.
    book.values_mut().take(CHANGED).for_each(|bytes| bytes.extend(b"and more\n"));
    plant(&source, &book);
    ingest(&env, &server, &source, &[]).expect_ok();
    let before = tree(&output);
    let staging = env.folder().join(".output.panaversity/staging");
    let mut run = command(&env, &server, "hydrate", &output, &[]).spawn().unwrap();
    assert!(meanwhile(&mut run, async || count(&staging) >= 5).await, "it was too fast");
    server.kill9().await;
    let report = Ended::of(&run.wait_with_output().unwrap()).expect_failed();
    assert!(report["error"].as_str().unwrap().starts_with("nothing was changed"), "{report}");
    assert!(tree(&output) == before, "the output has changed");

    let server = env.start().await;
    let report = hydrate(&env, &server, &output, &[]).expect_ok();
    assert!(tree(&output) == book, "the output differs from the source");
    let transferred = report["transferred"].as_u64().unwrap();
    assert!(transferred < u64::try_from(CHANGED).unwrap(), "what was fetched before is not fetched again");
}
