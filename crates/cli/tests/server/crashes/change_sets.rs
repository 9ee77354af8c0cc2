//! Kills during change sets (I10): after each kill the files of a set are either all from the last set or all
//! from the one before, moved ones included, and an acknowledged set is there.

use serde_json::{Value, json};

use super::{Db, TestClient, TestEnv, random_below, sessions_end};
use std::time::Duration;

const WRITERS: usize = 6;
const ROUNDS: usize = 3;
const BOOK: &str = "set-book";

/// The files of one writer: two texts, and one that every set moves to the other of its two paths.
fn paths(writer: usize) -> [String; 4] {
    ["1-text", "2-text", "3-here", "4-there"]
        .map(|name| format!("content/01-Part/01-Chapter/{writer}{name}.md"))
}

/// The set after `done` sets: both texts name it, and the third file changes its place.
fn set(writer: usize, done: usize) -> Value {
    let [one, two, here, there] = paths(writer);
    let text = |n: usize| format!("set {n}\n");
    if done == 0 {
        return json!([
            { "op": "write", "path": one, "content": text(1) },
            { "op": "write", "path": two, "content": text(1) },
            { "op": "write", "path": there, "content": "moved\n" },
        ]);
    }
    let (from, to) = if done.is_multiple_of(2) { (here, there) } else { (there, here) };
    json!([
        { "op": "move", "path": from, "to": to },
        { "op": "edit", "path": one, "edits": [{ "old_text": text(done), "new_text": text(done + 1) }] },
        { "op": "edit", "path": two, "edits": [{ "old_text": text(done), "new_text": text(done + 1) }] },
    ])
}

async fn read(client: &TestClient, path: &str) -> Option<String> {
    let answer = client.call("read_content", json!({ "book_id": BOOK, "path": path })).await;
    answer.ok.then(|| answer.value["content"].as_str().unwrap().to_owned())
}

/// Applies one set after the other until the server is gone; returns how many were acknowledged.
async fn apply_until_the_end(client: TestClient, writer: usize, mut done: usize) -> usize {
    loop {
        let arguments = json!({ "book_id": BOOK, "changes": set(writer, done), "message": "Next" });
        let Some(answer) = client.try_call("apply_changes", arguments).await else { return done };
        answer.expect_ok();
        done += 1;
    }
}

/// The number of the last set of a writer, whose files must all agree on it.
async fn last_set(client: &TestClient, writer: usize) -> usize {
    let [one, two, here, there] = paths(writer);
    let (first, second) = (read(client, &one).await, read(client, &two).await);
    assert_eq!(first, second, "the texts of writer {writer} are of one set");
    let Some(text) = first else {
        assert_eq!(read(client, &there).await, None);
        return 0;
    };
    let number: usize = text.trim_start_matches("set ").trim_end().parse().unwrap();
    let (at, gone) = if number.is_multiple_of(2) { (here, there) } else { (there, here) };
    assert_eq!(
        read(client, &at).await.as_deref(),
        Some("moved\n"),
        "the file is where set {number} moved it"
    );
    assert_eq!(read(client, &gone).await, None);
    number
}

async fn sets_survive_kills_as_a_whole(db: Db) {
    let env = TestEnv::new(db);
    let (mut server, mut done) = (env.start_process().await, [0; WRITERS]);
    for _ in 0..ROUNDS {
        let load: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(apply_until_the_end(server.client(), writer, done[writer])))
            .collect();
        let moment = Duration::from_millis(u64::try_from(200 + random_below(400)).unwrap());
        tokio::time::sleep(moment).await;
        server.kill9().await;
        let mut acknowledged = Vec::new();
        for task in load {
            acknowledged.push(task.await.unwrap());
        }
        sessions_end(db, &env).await;
        server = env.start_process().await;
        for (writer, acknowledged) in acknowledged.into_iter().enumerate() {
            done[writer] = last_set(&server, writer).await;
            let possible = acknowledged..=acknowledged + 1;
            assert!(possible.contains(&done[writer]), "{} sets, {acknowledged} acknowledged", done[writer]);
        }
        let verified = server.call("verify_audit_chain", json!({ "book_id": BOOK })).await.expect_ok();
        assert_eq!(verified["valid"], true, "{verified}");
    }
    assert!(done.iter().sum::<usize>() >= ROUNDS, "the load was no load: {done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn i10_a_killed_server_leaves_whole_change_sets_on_sqlite() {
    sets_survive_kills_as_a_whole(Db::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i10_a_killed_server_leaves_whole_change_sets_on_postgresql() {
    sets_survive_kills_as_a_whole(Db::Postgres).await;
}
