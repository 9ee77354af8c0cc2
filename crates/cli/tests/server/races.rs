//! Races through the client (I8): of sixteen writers of one file with one precondition exactly one
//! wins, on either database and on two servers at once; the file has the winner's bytes, and the
//! log has one change per round, each linked to the one before.

use std::collections::BTreeMap;
use std::time::Instant;

use panaversity_model::ContentHash;
use panaversity_testkit::contract::run_concurrently;
use panaversity_testkit::samples;
use serde_json::{Value, json};

use crate::harness::{Answer, Db, Server, TestClient, TestEnv};

const WRITERS: usize = 16;
/// In the normal run.
const ROUNDS: usize = 10;
const MANY_ROUNDS: usize = 200;
const BOOK: &str = "race-book";

/// Servers that share a database, and a client per writer, spread over them.
struct Track {
    env: TestEnv,
    servers: Vec<Server>,
    writers: Vec<TestClient>,
}

/// The winner of a round, and the hash it wrote.
struct Won {
    agent: String,
    hash: String,
}

impl Track {
    async fn new(db: Db, servers: usize) -> Self {
        let env = TestEnv::new(db);
        let mut running = Vec::with_capacity(servers);
        for _ in 0..servers {
            running.push(env.start().await);
        }
        let writer = |number: usize| running[number % servers].client().of_agent(&format!("writer-{number}"));
        let writers = (0..WRITERS).map(writer).collect();
        Self { env, servers: running, writers }
    }

    /// All write at the same moment, each its own bytes; asserts that exactly one does it in
    /// `mode`, that the others get `loser` with the winner's hash, and that every server reads the
    /// winner's bytes.
    async fn race(&self, path: &str, expected: Option<&str>, mode: &str, loser: &str) -> Won {
        let text = |writer: usize| format!("writer {writer} of {path} after {expected:?}");
        let answers = run_concurrently(WRITERS, |writer| {
            let client = self.writers[writer].clone();
            let mut arguments = json!({ "book_id": BOOK, "path": path, "content": text(writer) });
            if let Some(hash) = expected {
                arguments["expected_hash"] = hash.into();
            }
            async move { client.call("write_content", arguments).await }
        })
        .await;
        let winners: Vec<usize> = (0..WRITERS).filter(|writer| answers[*writer].ok).collect();
        assert_eq!(winners.len(), 1, "exactly one wins, not {winners:?}: {answers:#?}");
        let winner = winners[0];
        let (content, hash) = (text(winner), ContentHash::of(text(winner).as_bytes()).to_string());
        assert_eq!(answers[winner].value["mode"], mode);
        assert_eq!(answers[winner].value["file_hash"], hash);
        let is_told =
            |answer: &&Answer| answer.code() == loser && answer.value["error"]["current_hash"] == hash;
        assert_eq!(answers.iter().filter(is_told).count(), WRITERS - 1, "{hash} won: {answers:#?}");
        for server in &self.servers {
            let read =
                server.call("read_content", json!({ "book_id": BOOK, "path": path })).await.expect_ok();
            assert_eq!((&read["content"], &read["file_hash_sha256"]), (&json!(content), &json!(hash)));
        }
        Won { agent: format!("writer-{winner}"), hash }
    }

    /// Asserts that the log has exactly these changes, per file in this order, each linked to the
    /// one before, and that the tree has the content written last.
    async fn assert_recorded(&self, races: &BTreeMap<String, Vec<Won>>) {
        let server = &self.servers[0];
        for (path, winners) in races {
            let entries = all_entries(server, path).await;
            let changes: Vec<&Value> = entries.iter().filter(|entry| !entry["change_id"].is_null()).collect();
            assert_eq!(changes.len(), winners.len(), "one change per round: {changes:#?}");
            let mut before = &Value::Null;
            for (change, won) in changes.into_iter().zip(winners) {
                assert_eq!(change["agent_id"], won.agent, "{change}");
                assert_eq!(change["new_content_hash"], won.hash, "{change}");
                assert_eq!(change.get("old_content_hash").unwrap_or(&Value::Null), before, "{change}");
                before = &change["new_content_hash"];
            }
            let mut tip = &Value::Null;
            for entry in &entries {
                assert_eq!(entry.get("prev_hash").unwrap_or(&Value::Null), tip, "{entry}");
                tip = &entry["entry_hash"];
            }
        }
        let verified = server.call("verify_audit_chain", json!({ "book_id": BOOK })).await.expect_ok();
        assert_eq!(verified["valid"], true, "{verified}");
        server.all_published().await;
        let held = self.env.published();
        let held: BTreeMap<_, _> =
            held.iter().map(|(name, bytes)| (name.as_str(), ContentHash::of(bytes))).collect();
        for (path, winners) in races {
            let hash = held[format!("{BOOK}/{path}").as_str()].to_string();
            assert_eq!(Some(hash), winners.last().map(|won| won.hash.clone()), "{path}");
        }
    }
}

/// Every entry about a file, oldest first.
async fn all_entries(server: &TestClient, path: &str) -> Vec<Value> {
    let mut entries: Vec<Value> = Vec::new();
    let mut arguments = json!({ "book_id": BOOK, "path": path, "limit": 1000 });
    loop {
        let mut page = server.call("query_audit_log", arguments.clone()).await.expect_ok();
        entries.extend(page["entries"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].take() {
            Value::Null => break,
            cursor => arguments["cursor"] = cursor,
        }
    }
    entries.reverse();
    entries
}

/// One file, updated round after round.
async fn race_updates(db: Db, servers: usize, rounds: usize) {
    let (track, path) = (Track::new(db, servers).await, "content/README.md");
    let start = json!({ "book_id": BOOK, "path": path, "content": "the start" });
    let first = track.writers[0].call("write_content", start).await.expect_ok();
    let mut now = first["file_hash"].as_str().unwrap().to_owned();
    let mut won = vec![Won { agent: "writer-0".to_owned(), hash: now.clone() }];
    let began = Instant::now();
    for _ in 0..rounds {
        won.push(track.race(path, Some(&now), "updated", "CONFLICT").await);
        now.clone_from(&won.last().unwrap().hash);
    }
    eprintln!("{rounds} rounds of updates on {servers} x {db:?}: {:?}", began.elapsed());
    track.assert_recorded(&BTreeMap::from([(path.to_owned(), won)])).await;
}

/// A new file in every round.
async fn race_creates(db: Db, servers: usize, rounds: usize) {
    let track = Track::new(db, servers).await;
    let mut races = BTreeMap::new();
    let began = Instant::now();
    for round in 0..rounds {
        let path = samples::lesson(round).as_str().to_owned();
        let won = track.race(&path, None, "created", "HASH_REQUIRED").await;
        races.insert(path, vec![won]);
    }
    eprintln!("{rounds} rounds of creates on {servers} x {db:?}: {:?}", began.elapsed());
    track.assert_recorded(&races).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i8_of_sixteen_updates_with_one_precondition_exactly_one_wins_on_sqlite() {
    race_updates(Db::Sqlite, 1, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i8_of_sixteen_updates_with_one_precondition_exactly_one_wins_on_postgresql() {
    race_updates(Db::Postgres, 1, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i8_of_sixteen_updates_with_one_precondition_exactly_one_wins_on_two_servers() {
    race_updates(Db::Postgres, 2, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i8_of_sixteen_creates_of_one_file_exactly_one_wins_on_sqlite() {
    race_creates(Db::Sqlite, 1, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i8_of_sixteen_creates_of_one_file_exactly_one_wins_on_postgresql() {
    race_creates(Db::Postgres, 1, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i8_of_sixteen_creates_of_one_file_exactly_one_wins_on_two_servers() {
    race_creates(Db::Postgres, 2, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make torture"]
async fn i8_two_hundred_rounds_of_updates_have_one_winner_each() {
    for (db, servers) in [(Db::Sqlite, 1), (Db::Postgres, 1), (Db::Postgres, 2)] {
        race_updates(db, servers, MANY_ROUNDS).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make torture"]
async fn i8_two_hundred_rounds_of_creates_have_one_winner_each() {
    for (db, servers) in [(Db::Sqlite, 1), (Db::Postgres, 1), (Db::Postgres, 2)] {
        race_creates(db, servers, MANY_ROUNDS).await;
    }
}
