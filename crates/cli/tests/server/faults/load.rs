//! Load during a fault: writers who each have files of their own, know after every answer the
//! possible contents, and repeat the same call when its outcome is unknown. Afterwards every file
//! has the expected content, and the log has each change exactly once.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use panaversity_model::ContentHash;
use panaversity_testkit::samples;
use serde_json::json;
use tokio::task::JoinHandle;

use super::{BOUND, assert_chained};
use crate::fixtures::{entries, with};
use crate::harness::{TestClient, TestEnv, until};

const WRITERS: usize = 6;
const FILES_A_WRITER: usize = 4;
/// Larger than the inline limit: these bytes are stored in objects.
const LARGE: usize = 200_000;
const BOOK: &str = "fault-book";
/// Error codes that a fault may cause.
const CODES: [&str; 3] = ["DATABASE_UNAVAILABLE", "STORAGE_UNAVAILABLE", "TIMEOUT"];

/// A random number, different in every run, to vary the moment of the fault.
pub(super) fn random_below(sides: usize) -> usize {
    usize::try_from(RandomState::new().hash_one(0) >> 33).unwrap() % sides
}

/// Result of a change: a content, or `None` for a deletion.
#[derive(Clone, PartialEq)]
struct LoadTarget(Option<String>);

/// A file that only one writer writes.
struct LoadFile {
    path: String,
    is_large: bool,
    holds: Option<String>,
    /// The change whose outcome is unknown.
    in_doubt: Option<LoadTarget>,
    /// Number of changes applied.
    changes: usize,
    /// What was asked and answered, for a failed test.
    history: Vec<String>,
}

impl LoadFile {
    /// Changes the file, or repeats the change in doubt; returns false if there was no answer at
    /// all, or it came when none `counts` any more.
    async fn change(&mut self, client: &TestClient, counts: &AtomicBool) -> bool {
        let wished = self.in_doubt.clone().unwrap_or_else(|| self.wish());
        let mut arguments = json!({ "book_id": BOOK, "path": self.path });
        if let Some(held) = &self.holds {
            arguments["expected_hash"] = ContentHash::of(held.as_bytes()).to_string().into();
        }
        let tool = match &wished {
            LoadTarget(None) => "delete_content",
            LoadTarget(Some(content)) => {
                arguments["content"] = content.as_str().into();
                "write_content"
            }
        };
        let answer = tokio::time::timeout(BOUND, client.try_call(tool, arguments)).await;
        let answer = answer.expect("an answer in bounded time");
        let said = answer.as_ref().map_or("no answer".to_owned(), |answer| answer.value.to_string());
        self.history.push(format!("{tool} {:?}: {said}", first_line(wished.0.as_ref())));
        let Some(answer) = answer.filter(|_| counts.load(Ordering::Acquire)) else {
            self.in_doubt = Some(wished);
            return false;
        };
        if answer.ok {
            (self.holds, self.in_doubt) = (wished.0, None);
            self.changes += 1;
            return true;
        }
        assert!(CODES.contains(&answer.code()), "{}: {}", self.path, answer.value);
        if answer.value["error"]["outcome"] == "unknown" {
            self.in_doubt = Some(wished);
        }
        true
    }

    fn wish(&self) -> LoadTarget {
        if self.holds.is_some() && random_below(4) == 0 {
            return LoadTarget(None);
        }
        let line = format!("{:016x}{:016x}\n", random_below(usize::MAX), random_below(usize::MAX));
        LoadTarget(Some(if self.is_large { line.repeat(LARGE / line.len()) } else { line }))
    }

    /// Reads the file; asserts that it has one of its possible contents.
    async fn look(&mut self, client: &TestClient) {
        let answer = client.call("read_content", json!({ "book_id": BOOK, "path": self.path })).await;
        let absent = ["NOT_FOUND", "BOOK_NOT_FOUND"].contains(&answer.code());
        let now =
            if absent { None } else { Some(answer.expect_ok()["content"].as_str().unwrap().to_owned()) };
        if now != self.holds {
            let doubt = self.in_doubt.as_ref().map(|LoadTarget(wished)| first_line(wished.as_ref()));
            assert!(
                self.in_doubt.as_ref().is_some_and(|LoadTarget(wished)| *wished == now),
                "{} holds {:?}, but was left with {:?}; in doubt is {doubt:?}; {:#?}",
                self.path,
                first_line(now.as_ref()),
                first_line(self.holds.as_ref()),
                &self.history[self.history.len().saturating_sub(8)..],
            );
            self.changes += 1;
        }
        (self.holds, self.in_doubt) = (now, None);
    }
}

/// The first line of a content, which is different for each.
fn first_line(content: Option<&String>) -> Option<&str> {
    content.map(|text| &text[..33])
}

/// The writers' files, while nobody writes.
pub(super) struct LoadFiles(Vec<Vec<LoadFile>>);

/// Running writers.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    /// False: answers are as if they had not come.
    counts: Arc<AtomicBool>,
    /// Number of changes that were answered with success.
    changed: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<Vec<LoadFile>>>,
}

impl LoadFiles {
    pub(super) fn new() -> Self {
        let file = |number: usize| LoadFile {
            path: samples::lesson(number).as_str().to_owned(),
            is_large: number % 2 == 1,
            holds: None,
            in_doubt: None,
            changes: 0,
            history: Vec::new(),
        };
        let of_writer =
            |writer: usize| (0..FILES_A_WRITER).map(|n| file(writer * FILES_A_WRITER + n)).collect();
        Self((0..WRITERS).map(of_writer).collect())
    }

    /// Number of changes applied so far.
    pub(super) fn changes(&self) -> usize {
        self.0.iter().flatten().map(|file| file.changes).sum()
    }

    /// Starts the writers, which run until they are stopped or get no answer.
    pub(super) fn load(self, server: &TestClient) -> Load {
        let (stop, changed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let counts = Arc::new(AtomicBool::new(true));
        let write = |(number, mut files): (usize, Vec<LoadFile>)| {
            let client = server.client().of_agent(&format!("writer-{number}"));
            let (stop, counts, changed) = (stop.clone(), counts.clone(), changed.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let file = random_below(files.len());
                    let before = files[file].changes;
                    if !files[file].change(&client, &counts).await {
                        break;
                    }
                    changed.fetch_add(files[file].changes - before, Ordering::Relaxed);
                }
                files
            })
        };
        let tasks = self.0.into_iter().enumerate().map(write).collect();
        Load { stop, counts, changed, tasks }
    }

    /// Asserts that every file has its expected content and is published so, that the log has each
    /// change once, and that the chains are whole.
    pub(super) async fn assert_whole(&mut self, env: &TestEnv, server: &TestClient) {
        let client = server.client();
        for file in self.0.iter_mut().flatten() {
            file.look(&client).await;
        }
        server.all_published().await;
        let held = self.0.iter().flatten().filter_map(|file| {
            Some((format!("{BOOK}/{}", file.path), ContentHash::of(file.holds.as_ref()?.as_bytes())))
        });
        let held: BTreeMap<_, _> = held.collect();
        let of_load = env.published().into_iter().filter(|(name, _)| name.starts_with(BOOK));
        let published = of_load.map(|(name, bytes)| (name, ContentHash::of(&bytes)));
        assert_eq!(published.collect::<BTreeMap<_, _>>(), held);
        assert_chained(server).await;
        for file in self.0.iter().flatten() {
            let about = json!({ "book_id": BOOK, "path": file.path, "status": "success", "limit": 1000 });
            let of = async |operation| {
                let all = entries(&client, with(about.clone(), json!({ "operation": operation }))).await;
                all.iter().filter(|entry| entry.get("change_id").is_some()).count()
            };
            let logged = of("WRITE").await + of("DELETE").await;
            assert_eq!(logged, file.changes, "changes of {} in the log", file.path);
        }
        assert_eq!(env.temporary_files(), Vec::<String>::new());
    }
}

impl Load {
    /// Waits a while, so that the fault hits at a random moment.
    pub(super) async fn for_a_while(&self, milliseconds: u64) {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }

    /// From now on no answer counts, as if the machine could not send it any more.
    pub(super) fn hears_nothing(&self) {
        self.counts.store(false, Ordering::Release);
    }

    /// Waits until some changes have succeeded, however slow that is.
    pub(super) async fn until_changed(&self) {
        let before = self.changed.load(Ordering::Relaxed);
        until("some changes succeed", async || self.changed.load(Ordering::Relaxed) >= before + WRITERS)
            .await;
    }

    /// Stops the writers once each has its answer.
    pub(super) async fn stop(self) -> LoadFiles {
        self.stop.store(true, Ordering::Relaxed);
        let mut files = Vec::with_capacity(self.tasks.len());
        for task in self.tasks {
            files.push(task.await.unwrap());
        }
        LoadFiles(files)
    }
}
