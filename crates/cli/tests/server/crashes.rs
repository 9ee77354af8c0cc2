//! Kills (I9): eight writers load a server that is killed at a random moment and started again,
//! round after round on the same data. Acknowledged changes read back, a change whose answer was
//! lost happened as a whole or not at all, the tree converges to the API's content without foreign
//! or temporary files, and every chain is whole.

mod change_sets;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use panaversity_model::ContentHash;
use panaversity_testkit::{postgres, samples};
use serde_json::{Value, json};

use crate::harness::{Db, ServerProcess, TestClient, TestEnv, until};
use crate::publishers::end_leases;

const WRITERS: usize = 8;
const FILES_A_WRITER: usize = 5;
/// In the normal run.
const ROUNDS: usize = 3;
const MANY_ROUNDS: usize = 50;
/// Larger than the inline limit: these bytes are stored in objects.
const LARGE: usize = 200_000;
const BOOK: &str = "crash-book";

/// A random number, different in every run, to vary the moment of the kill.
fn random_below(sides: usize) -> usize {
    usize::try_from(RandomState::new().hash_one(0) >> 33).unwrap() % sides
}

/// A file that only one writer writes, and that writer's knowledge of it.
#[derive(Clone)]
struct OwnedFile {
    path: String,
    user: Option<String>,
    is_large: bool,
    /// Content after the last acknowledged change.
    holds: Option<String>,
    /// The change whose answer was lost.
    in_doubt: Option<WishedContent>,
}

/// Result of a change: a content, or `None` for a deletion.
#[derive(Clone, PartialEq)]
struct WishedContent(Option<String>);

impl OwnedFile {
    /// The files of a writer: three of the base, two of them large, and two overlays of files that
    /// the next writer has in the base.
    fn of_writer(writer: usize) -> Vec<Self> {
        let next = (writer + 1) % WRITERS;
        let lesson = |owner: usize, n: usize| samples::lesson(owner * 10 + n).as_str().to_owned();
        let file = |path, user: Option<&str>, is_large| Self {
            path,
            user: user.map(str::to_owned),
            is_large,
            holds: None,
            in_doubt: None,
        };
        let user = format!("user-{}", writer % 3);
        let files = vec![
            file(lesson(writer, 0), None, false),
            file(lesson(writer, 1), None, true),
            file(lesson(writer, 2), None, true),
            file(lesson(next, 0), Some(&user), false),
            file(lesson(next, 1), Some(&user), true),
        ];
        assert_eq!(files.len(), FILES_A_WRITER);
        files
    }

    fn arguments(&self) -> Value {
        let mut arguments = json!({ "book_id": BOOK, "path": self.path });
        if let Some(user) = &self.user {
            arguments["user_id"] = user.as_str().into();
        }
        arguments
    }

    /// Its published location, from `books/` on.
    fn published_at(&self) -> String {
        match &self.user {
            None => format!("{BOOK}/{}", self.path),
            Some(user) => format!("{BOOK}/users/{user}/{}", self.path),
        }
    }

    /// Changes the file; returns false if the server gave no answer.
    async fn change(&mut self, client: &TestClient) -> bool {
        let mut arguments = self.arguments();
        if let Some(held) = &self.holds {
            arguments["expected_hash"] = ContentHash::of(held.as_bytes()).to_string().into();
        }
        let (tool, wished) = if self.holds.is_some() && random_below(4) == 0 {
            ("delete_content", None)
        } else {
            let line = format!("{:016x}{:016x}\n", random_below(usize::MAX), random_below(usize::MAX));
            let content = if self.is_large { line.repeat(LARGE / line.len()) } else { line };
            arguments["content"] = content.as_str().into();
            ("write_content", Some(content))
        };
        self.in_doubt = Some(WishedContent(wished));
        let Some(answer) = client.try_call(tool, arguments).await else { return false };
        answer.expect_ok();
        self.holds = self.in_doubt.take().and_then(|WishedContent(content)| content);
        true
    }

    /// Reads it from a server that was started after a kill; asserts that it has a possible
    /// content.
    async fn look(&mut self, server: &ServerProcess) {
        let answer = server.call("read_content", self.arguments()).await;
        let layer = if self.user.is_some() { "overlay" } else { "base" };
        let read = if answer.code() == "NOT_FOUND" || answer.code() == "BOOK_NOT_FOUND" {
            None
        } else {
            let value = answer.expect_ok();
            // A reader without an overlay sees the base.
            (value["source"] == layer).then_some(value)
        };
        if let Some(read) = &read {
            let hash = ContentHash::of(read["content"].as_str().unwrap().as_bytes());
            assert_eq!(read["file_hash_sha256"], hash.to_string(), "{}", self.path);
        }
        let now = read.map(|read| read["content"].as_str().unwrap().to_owned());
        let happened = self.in_doubt.as_ref().is_some_and(|WishedContent(wished)| *wished == now);
        assert!(
            happened || now == self.holds,
            "{} of {:?} holds {:?}; acknowledged was {:?}, in doubt {:?}",
            self.path,
            self.user,
            now.as_deref().map(start),
            self.holds.as_deref().map(start),
            self.in_doubt.as_ref().map(|WishedContent(wished)| wished.as_deref().map(start)),
        );
        (self.holds, self.in_doubt) = (now, None);
    }
}

/// The first line, which identifies a content.
fn start(content: &str) -> &str {
    content.lines().next().unwrap_or_default()
}

/// Changes one file after the other until the server is gone; returns the number of acknowledged
/// changes.
async fn write_until_the_end(client: TestClient, mut files: Vec<OwnedFile>) -> (Vec<OwnedFile>, usize) {
    let mut acknowledged = 0;
    loop {
        let file = random_below(files.len());
        if !files[file].change(&client).await {
            return (files, acknowledged);
        }
        acknowledged += 1;
    }
}

/// Loads the server and kills it at a random moment.
async fn load_and_kill(server: ServerProcess, writers: &mut Vec<Vec<OwnedFile>>) -> usize {
    let load: Vec<_> = writers
        .drain(..)
        .enumerate()
        .map(|(number, files)| {
            let client = server.client().of_agent(&format!("writer-{number}"));
            tokio::spawn(write_until_the_end(client, files))
        })
        .collect();
    let moment = Duration::from_millis(u64::try_from(50 + random_below(550)).unwrap());
    tokio::time::sleep(moment).await;
    server.kill9().await;
    let mut acknowledged = 0;
    for task in load {
        let (files, some) = task.await.unwrap();
        writers.push(files);
        acknowledged += some;
    }
    acknowledged
}

/// `PostgreSQL` finishes a statement of a client that is gone; only then is the outcome known. Then the
/// killed server's leases end too, which takes longer than the rest of a round.
async fn sessions_end(db: Db, env: &TestEnv) {
    if db == Db::Postgres {
        let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                      AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        until("the killed server's sessions end", async || {
            postgres::shared().query(env.database_url(), others) == "0"
        })
        .await;
        end_leases(env);
    }
}

async fn assert_whole(env: &TestEnv, server: &ServerProcess, writers: &mut [Vec<OwnedFile>]) {
    for file in writers.iter_mut().flatten() {
        file.look(server).await;
    }
    server.all_published().await;
    let expected: BTreeMap<_, _> = writers
        .iter()
        .flatten()
        .filter_map(|file| Some((file.published_at(), file.holds.clone()?.into_bytes())))
        .collect();
    let published = env.published();
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&published), names(&expected));
    for (name, bytes) in &expected {
        assert!(published[name] == *bytes, "{name} is published with other bytes than it holds");
    }
    for user in [None, Some("user-0"), Some("user-1"), Some("user-2")] {
        let scope = user.map_or(json!({}), |user| json!({ "user_id": user }));
        let verified = server.call("verify_audit_chain", scope).await.expect_ok();
        assert_eq!(verified["valid"], true, "{user:?}: {verified}");
    }
    assert_eq!(env.temporary_files(), Vec::<String>::new());
}

async fn survives_kills(db: Db, rounds: usize) {
    let (began, env) = (Instant::now(), TestEnv::new(db));
    let mut writers: Vec<Vec<OwnedFile>> = (0..WRITERS).map(OwnedFile::of_writer).collect();
    let (mut server, mut acknowledged) = (env.start_process().await, 0);
    for _ in 0..rounds {
        acknowledged += load_and_kill(server, &mut writers).await;
        sessions_end(db, &env).await;
        server = env.start_process().await;
        assert_whole(&env, &server, &mut writers).await;
    }
    assert!(acknowledged >= rounds, "the load was no load: {acknowledged} changes in {rounds} rounds");
    assert!(server.terminate().await.success());
    eprintln!("{rounds} kills on {db:?}: {acknowledged} changes were acknowledged, {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_what_was_acknowledged_survives_kill_9_on_sqlite() {
    survives_kills(Db::Sqlite, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_what_was_acknowledged_survives_kill_9_on_postgresql() {
    survives_kills(Db::Postgres, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make torture"]
async fn i9_what_was_acknowledged_survives_fifty_kills_on_sqlite() {
    survives_kills(Db::Sqlite, MANY_ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make torture"]
async fn i9_what_was_acknowledged_survives_fifty_kills_on_postgresql() {
    survives_kills(Db::Postgres, MANY_ROUNDS).await;
}
