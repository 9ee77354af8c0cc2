//! `GET /books/{book}/changes`: the feed of changes as pages and as a stream of events.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixtures::{BOOK, LESSON, about, created, entries, field, fresh, sha256, text, write};
use crate::harness::{Db, Events, TestBackend, TestClient, TestEnv, until};

on_both_databases!(
    the_feed_tells_each_change_set_with_its_files_on_pages,
    a_stream_goes_on_where_the_last_one_ended,
    a_stream_ends_well_when_the_server_stops,
);
on_one_backend!(
    what_the_feed_does_not_understand_is_refused_with_a_hint,
    a_caller_has_so_many_streams_at_once,
);

const README: &str = "content/README.md";

fn changes(query: &str) -> String {
    format!("/books/{BOOK}/changes?{query}")
}

async fn page(client: &TestClient, query: &str) -> Value {
    let reply = client.try_get(&changes(query)).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.headers["cache-control"], "no-store");
    reply.json()
}

/// All change sets, once so many are told.
async fn told(client: &TestClient, query: &str, many: usize) -> Vec<Value> {
    let mut all = Vec::new();
    until("all change sets are told", async || {
        all.clone_from(page(client, query).await["changes"].as_array().unwrap());
        all.len() >= many
    })
    .await;
    all
}

async fn the_feed_tells_each_change_set_with_its_files_on_pages(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    let client = client.of_agent("writer-7");
    created(&client, LESSON, "one", json!({})).await;
    created(&client, LESSON, "mine", json!({ "user_id": "eve" })).await;
    let moved = json!([{ "op": "move", "path": LESSON, "to": README, "expected_hash": sha256("one") },
        { "op": "write", "path": "content/index.md", "content": "index" }]);
    let set = json!({ "book_id": BOOK, "changes": moved, "message": "one page is enough" });
    let applied = client.call("apply_changes", set).await.expect_ok();
    let all = told(&client, "", 2).await;
    assert_eq!(field(&all, "agent_id"), ["writer-7", "writer-7"]);
    assert_eq!(all[1]["change_id"], applied["change_id"]);
    assert_eq!((&all[1]["message"], &all[1]["namespace"]), (&json!("one page is enough"), &json!("base")));
    assert_eq!(all[1]["operations"], json!(["MOVE", "WRITE"]));
    let one = sha256("one");
    assert_eq!(
        all[1]["files"],
        json!([
            { "path": LESSON, "operation": "MOVE", "old_hash": one, "new_hash": null },
            { "path": README, "operation": "MOVE", "old_hash": null, "new_hash": one, "moved_from": LESSON },
            { "path": "content/index.md", "operation": "WRITE", "old_hash": null, "new_hash": sha256("index") },
        ])
    );
    let mine = told(&client, "user_id=eve", 3).await;
    assert_eq!(field(&mine, "namespace"), ["base", "overlay", "base"]);
    assert_eq!(mine[1]["user_id"], "eve");

    let first = page(&client, "limit=1").await;
    assert_eq!((&first["changes"][0], &first["has_more"]), (&all[0], &json!(true)));
    let rest = page(&client, &format!("limit=1&since={}", text(&first["next"]))).await;
    assert_eq!((&rest["changes"][0], &rest["next"]), (&all[1], &all[1]["cursor"]));
    let end = page(&client, &format!("since={}", text(&rest["next"]))).await;
    assert_eq!((&end["changes"], &end["has_more"], &end["next"]), (&json!([]), &json!(false), &rest["next"]));
    let now = page(&client, "since=now").await;
    write(&client, README, "two", json!({ "expected_hash": one })).await.expect_ok();
    let later = told(&client, &format!("since={}", text(&now["next"])), 1).await;
    assert_eq!(later.last().unwrap()["files"][0]["new_hash"], sha256("two"));
    let recorded = entries(&client, json!({ "book_id": BOOK, "operation": "DELTA" })).await;
    assert!(
        recorded.len() > 5 && recorded.iter().all(|entry| entry["agent_id"] == "writer-7"),
        "{recorded:?}"
    );
}

async fn a_stream_goes_on_where_the_last_one_ended(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    created(&client, README, "0", json!({})).await;
    let next = async |n: usize| {
        let expected = sha256((n - 1).to_string());
        write(&client, README, &n.to_string(), json!({ "expected_hash": expected })).await.expect_ok();
    };
    let hash = |change: &Value| text(&change["files"][0]["new_hash"]);
    let mut stream = Events::open(&client, &changes(""), &[]).await;
    assert_eq!(hash(&stream.next().await.unwrap()), sha256("0"));
    for n in 1..4 {
        next(n).await;
        let change = stream.next().await.unwrap();
        assert_eq!((hash(&change), &change["cursor"]), (sha256(n.to_string()), &json!(stream.last_id)));
    }
    let last = stream.last_id.clone();
    drop(stream);
    next(4).await;
    // The last event wins over the query.
    let mut stream = Events::open(&client, &changes("since=now"), &[("last-event-id", &last)]).await;
    next(5).await;
    for n in 4..6 {
        assert_eq!(hash(&stream.next().await.unwrap()), sha256(n.to_string()));
    }
    drop(stream);
    // One that began with `now` has a cursor from its beginning on.
    let stream = Events::open(&client, &changes("since=now"), &[]).await;
    let begun = stream.last_id.clone();
    drop(stream);
    next(6).await;
    let missed = told(&client, &format!("since={begun}"), 1).await;
    assert_eq!(hash(missed.last().unwrap()), sha256("6"));
}

async fn a_stream_ends_well_when_the_server_stops(backend: TestBackend) {
    let (_env, server, client) = fresh(backend).await;
    created(&client, README, "0", json!({})).await;
    let mut stream = Events::open(&client, &changes(""), &[]).await;
    stream.next().await.unwrap();
    let began = Instant::now();
    tokio::join!(server.stop(), stream.ended());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

async fn what_the_feed_does_not_understand_is_refused_with_a_hint(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    created(&client, README, "0", json!({})).await;
    for (query, argument) in [
        ("since=yesterday", "since"),
        ("since=1.5", "since"),
        ("limit=0", "limit"),
        ("user_id=", "user_id"),
        ("sinse=now", "sinse"),
    ] {
        let reply = client.try_get(&changes(query)).await.unwrap();
        let error = reply.json()["error"].clone();
        assert_eq!((reply.status, &error["code"]), (400, &json!("INVALID_ARGUMENT")), "{query}: {error}");
        assert_eq!(error["argument"], argument);
        assert!(!text(&error["hint"]).is_empty());
    }
    let nowhere = client.try_get("/books/no-such-book/changes").await.unwrap();
    assert_eq!((nowhere.status, &nowhere.json()["error"]["code"]), (404, &json!("BOOK_NOT_FOUND")));
    assert_eq!(client.try_get("/books/No%20Book/changes").await.unwrap().status, 400);
    let headers = [("accept", "text/event-stream"), ("last-event-id", "7")];
    assert_eq!(client.open("GET", &changes(""), &headers).await.unwrap().status(), 400);
}

async fn a_caller_has_so_many_streams_at_once(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    created(&client, README, "0", json!({})).await;
    let mut streams = Vec::new();
    for _ in 0..32 {
        streams.push(Events::open(&client, &changes(""), &[]).await);
    }
    let open = async || client.open("GET", &changes(""), &[("accept", "text/event-stream")]).await.unwrap();
    let refused = open().await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"5".parse().unwrap()));
    // Neither pages nor calls wait for streams.
    page(&client, "").await;
    client.call("read_content", about(README, json!({}))).await.expect_ok();
    streams.pop();
    until("a place is free again", async || open().await.status() == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_on_one_server_wakes_the_streams_of_another() {
    /// Less than the time after which a stream looks by itself.
    const WOKEN: Duration = Duration::from_millis(1_500);
    let env = TestEnv::new(Db::Postgres);
    let (one, other) = (env.start().await, env.start().await);
    created(&one, README, "0", json!({})).await;
    let mut stream = Events::open(&other, &changes(""), &[]).await;
    stream.next().await.unwrap();
    // The first ones may come before the server listens.
    let mut times = Vec::new();
    for n in 1..=5 {
        let expected = json!({ "expected_hash": sha256((n - 1).to_string()) });
        write(&one, README, &n.to_string(), expected).await.expect_ok();
        let began = Instant::now();
        stream.next().await.unwrap();
        times.push(began.elapsed());
        // So that the stream waits, and no poll of its own is due.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(times.iter().filter(|time| **time < WOKEN).count() >= 4, "{times:?}");
}
