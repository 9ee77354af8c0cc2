//! Graceful shutdown: a running call is finished and answered, new connections are refused, and the
//! exit code is 0.

use std::thread;

use futures::future::join_all;
use panaversity_testkit::postgres::shared;
use serde_json::json;

use crate::fixtures::{LESSON, about, created, fresh_process, read};
use crate::harness::{Db, TestClient, TestEnv, until};

/// Returns true if the server's port accepts connections.
fn listens(server: &TestClient) -> bool {
    std::net::TcpStream::connect(server.url().trim_start_matches("http://")).is_ok()
}

/// Waits until `many` statements wait for the lock of [`held`].
async fn waiting(env: &TestEnv, many: usize) {
    let sql = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
               WHERE d.datname = current_database() AND NOT granted";
    until("the calls are running", async || {
        shared().query(env.database_url(), sql).parse::<usize>().unwrap() >= many
    })
    .await;
}

/// Locks the journal until the table `go` exists.
async fn held(env: &TestEnv) -> thread::JoinHandle<()> {
    let url = env.database_url().to_owned();
    shared().query(&url, "CREATE TABLE go (now BOOLEAN)");
    let lock = thread::spawn(move || {
        let sql = "BEGIN; LOCK TABLE file_journal IN ACCESS EXCLUSIVE MODE; \
                   DO $$ BEGIN WHILE NOT EXISTS (SELECT 1 FROM go) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$; COMMIT";
        shared().query(&url, sql);
    });
    until("the journal is locked", async || {
        let sql = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted \
                   AND relation = 'file_journal'::regclass";
        shared().query(env.database_url(), sql) == "1"
    })
    .await;
    lock
}

#[tokio::test(flavor = "multi_thread")]
async fn running_calls_are_answered_before_a_server_stops() {
    for name in ["-TERM", "-INT"] {
        // Objects are staged before the commit, so each call first reads the journal for itself.
        let env = TestEnv::new(Db::Postgres).with("PANAVERSITY_INLINE_LIMIT_KB", "0");
        let server = env.start_process().await;
        let client = server.client();
        created(&client, "content/README.md", "x", json!({})).await;
        let lock = held(&env).await;
        let calls: Vec<_> = (0..12)
            .map(|n| {
                let path = format!("content/01-Part/01-Chapter/{n:02}-lesson.md");
                let client = client.clone();
                tokio::spawn(async move {
                    client.try_call("write_content", about(&path, json!({ "content": "x" }))).await
                })
            })
            .collect();
        waiting(&env, 12).await;
        server.signal(name);
        until("nobody new is let in", async || !listens(&server)).await;
        shared().query(env.database_url(), "INSERT INTO go VALUES (true)");
        for answer in join_all(calls).await {
            assert_eq!(answer.unwrap().expect("a running call is answered").expect_ok()["mode"], "created");
        }
        lock.join().unwrap();
        assert!(server.ended().await.success(), "{name}");
        let server = env.start_process().await;
        let whole = json!({ "book_id": crate::fixtures::BOOK, "scope": "book" });
        assert_eq!(
            crate::fixtures::pages(&server.client(), "read_content", whole, "files").await.0.len(),
            13
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_under_load_stops_well_and_keeps_what_it_acknowledged() {
    for db in Db::both() {
        let (env, server, client) = fresh_process(db).await;
        created(&client, LESSON, "x", json!({})).await;
        let writers: Vec<_> = (0..16)
            .map(|writer| {
                let client = client.clone();
                tokio::spawn(async move {
                    let mut acknowledged = Vec::new();
                    for n in 0.. {
                        let path = format!(
                            "content/{writer:02}-Part/{:02}-Chapter/{:02}-lesson.md",
                            n / 100,
                            n % 100
                        );
                        let write =
                            client.try_call("write_content", about(&path, json!({ "content": path }))).await;
                        let Some(answer) = write else { break };
                        answer.expect_ok();
                        acknowledged.push(path);
                    }
                    acknowledged
                })
            })
            .collect();
        until("the load is on", async || {
            let listed = client.call("list_books", json!({})).await.expect_ok();
            listed["books"][0]["files"].as_u64().unwrap() > 50
        })
        .await;
        let status = server.terminate().await;
        assert!(status.success(), "{db:?}: {status}");
        let acknowledged: Vec<String> =
            join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
        assert!(acknowledged.len() > 40);
        let server = env.start_process().await;
        for path in &acknowledged {
            assert_eq!(read(&server.client(), path, json!({})).await.expect_ok()["content"], json!(path));
        }
        server.all_published().await;
        assert!(env.published().len() > acknowledged.len(), "all of it, and the first file");
        assert_eq!(env.temporary_files(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let env = TestEnv::new(Db::Postgres);
    let server = env.start_process().await;
    let client = server.client();
    created(&client, LESSON, "x", json!({})).await;
    let lock = held(&env).await;
    let call = tokio::spawn(async move { client.try_call("read_content", about(LESSON, json!({}))).await });
    waiting(&env, 1).await;
    server.signal("-TERM");
    until("nobody new is let in", async || !listens(&server)).await;
    let status = server.terminate().await;
    assert_eq!(status.code(), Some(1));
    assert!(call.await.unwrap().is_none(), "the call was cut off");
    shared().query(env.database_url(), "INSERT INTO go VALUES (true)");
    lock.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_waits_for_its_balancer_serves_on_but_is_not_ready_and_closes_connections() {
    let env = TestEnv::new(Db::Sqlite).with("PANAVERSITY_SHUTDOWN_DELAY", "600");
    let server = env.start_process().await;
    let client = server.client();
    created(&client, LESSON, "one", json!({})).await;
    server.signal("-TERM");
    until("it is not ready", async || server.get("/health/ready").await.status == 503).await;
    let ready = server.get("/health/ready").await;
    assert_eq!(ready.json(), json!({ "status": "stopping" }));
    assert_eq!(ready.headers["connection"], "close");
    assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], "one");
    created(&client, "content/README.md", "late", json!({})).await;
    assert_eq!(server.get("/health/live").await.status, 200);
    // A second signal ends it at once.
    assert_eq!(server.terminate().await.code(), Some(1));
}
