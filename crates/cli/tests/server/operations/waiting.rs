//! Start before database or bucket are up: the server is live and not ready, logs what it waits
//! for, and serves when it is there. It does not wait for permanent errors.

use std::time::Instant;

use panaversity_testkit::postgres::{self, Postgres};
use panaversity_testkit::proxy::Proxy;
use panaversity_testkit::s3;
use serde_json::json;

use crate::fixtures::{LESSON, created, read};
use crate::harness::{Db, Log, Storage, TEST_TIMEOUT, TestBackend, TestClient, TestEnv, logged, until};

const CALL: &str = r#"{"jsonrpc":"2.0","id":"seven","method":"tools/list","params":{}}"#;

/// Asserts that a server waiting for `what` is live, not ready, and refuses everything else.
async fn is_starting(client: &TestClient, what: &str, code: &str) {
    assert_eq!(client.get("/health/live").await.status, 200);
    for path in ["/health", "/health/ready"] {
        let reply = client.get(path).await;
        let told = reply.json();
        assert_eq!(
            (reply.status, &told["status"], &told["waiting_for"]),
            (503, &json!("starting"), &json!(what))
        );
        assert!(told["database"]["backend"].is_string() && told["storage"]["backend"].is_string(), "{told}");
    }
    for path in ["/metrics", "/books/ai-python/static/img/x.png", "/nowhere", "/mcp"] {
        let reply = client.get(path).await;
        assert_eq!((reply.status, &reply.headers["retry-after"]), (503, &"5".parse().unwrap()), "{path}");
        assert_eq!(reply.json()["error"]["code"], code, "{path}");
    }
    let call = client.post("/mcp", CALL, &[]).await;
    assert_eq!((call.status, &call.headers["retry-after"]), (503, &"5".parse().unwrap()));
    assert_eq!(call.headers["x-content-type-options"], "nosniff");
    let answer = call.json();
    assert_eq!((&answer["id"], &answer["error"]["data"]["code"]), (&json!("seven"), &json!(code)));
    let marked = format!("\u{feff}{CALL}");
    assert_eq!(client.post("/mcp", marked, &[]).await.json()["id"], json!("seven"), "with a byte order mark");
    assert_eq!(client.post("/mcp", "{", &[]).await.json()["id"], json!(null));
    for (name, value) in [("host", "evil.example"), ("origin", "https://evil.example")] {
        assert_eq!(client.post("/mcp", CALL, &[(name, value)]).await.status, 403, "{name}");
        assert_eq!(client.send("GET", "/health", &[(name, value)], "").await.status, 403, "{name}");
    }
}

/// Asserts that the server then serves, also clients that connected before.
async fn comes_up(server: &TestClient, log: &Log) {
    assert_eq!(server.get("/health/ready").await.status, 200);
    created(server, LESSON, "one", json!({})).await;
    assert_eq!(read(server, LESSON, json!({})).await.expect_ok()["content"], "one");
    assert_eq!(server.get("/metrics").await.status, 200);
    assert_eq!(log.count("listening on "), 1);
}

#[test]
fn a_database_that_is_not_up_yet_is_waited_for() {
    logged("INFO", async |log| {
        let mut cluster = Postgres::start();
        cluster.kill9();
        let env = TestEnv::new(Db::Sqlite)
            .with("DATABASE_URL", &cluster.url("postgres").replace('@', ":hunter22@"));
        let (server, client) = tokio::join!(env.start(), async {
            let client = log.waiting().await;
            is_starting(&client, "database", "DATABASE_UNAVAILABLE").await;
            until("it tries more than once", async || log.count("waiting for the database: ") > 1).await;
            cluster.restart();
            client
        });
        comes_up(&client, &log).await;
        assert!(log.count("refused") > 0 && log.count("hunter22") == 0);
        server.stop().await;
    });
}

#[test]
fn a_bucket_that_is_not_there_yet_is_waited_for() {
    logged("INFO", async |log| {
        let bucket = s3::shared().reserve_bucket();
        let env = TestEnv::new(TestBackend::new(Db::Sqlite, Storage::S3))
            .with("PANAVERSITY_S3_BUCKET", bucket.name());
        let (_server, client) = tokio::join!(env.start(), async {
            let client = log.waiting().await;
            is_starting(&client, "storage", "STORAGE_UNAVAILABLE").await;
            assert_eq!(client.get("/health").await.json()["database"]["status"], "ok");
            bucket.create();
            client
        });
        comes_up(&client, &log).await;
    });
}

#[test]
fn a_bucket_that_does_not_answer_yet_is_waited_for() {
    for db in Db::both() {
        logged("INFO", async |log| {
            let address = s3::shared().create_bucket().endpoint().replace("http://", "");
            let wire = Proxy::to(address.parse().unwrap()).await;
            wire.refuse();
            let env = TestEnv::new(TestBackend::new(db, Storage::S3));
            let env = env.with("PANAVERSITY_S3_ENDPOINT", &format!("http://{}", wire.address()));
            let (_server, client) = tokio::join!(env.start(), async {
                let client = log.waiting().await;
                assert_eq!(client.get("/health/ready").await.json()["waiting_for"], "storage");
                wire.heal();
                client
            });
            comes_up(&client, &log).await;
        });
    }
}

#[test]
fn api_keys_that_can_t_be_read_yet_are_waited_for() {
    logged("INFO", async |log| {
        // A wait for a lock has half of it.
        let env = TestEnv::new(Db::Postgres).with("DATABASE_POOL_TIMEOUT", "5");
        let lock = postgres::shared().lock(env.database_url(), "api_keys");
        let (server, client) = tokio::join!(env.start(), async {
            let client = log.waiting().await;
            is_starting(&client, "database", "DATABASE_UNAVAILABLE").await;
            drop(lock);
            client
        });
        comes_up(&client, &log).await;
        server.stop().await;

        let _lock = postgres::shared().lock(env.database_url(), "api_keys");
        let (code, log) = ended(&env.with("PANAVERSITY_STARTUP_TIMEOUT", "0"));
        assert_eq!(code, Some(1), "{log:?}");
        assert!(log.last().unwrap().contains("the API keys can't be read: "), "{log:?}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_wait() {
    let env = TestEnv::new(Db::Sqlite).with("DATABASE_URL", "postgresql://u@127.0.0.1:1/d");
    for name in ["-TERM", "-INT"] {
        let server = env.start_waiting().await;
        let start = Instant::now();
        server.signal(name);
        assert!(server.ended().await.success(), "{name}");
        assert!(start.elapsed() < TEST_TIMEOUT / 2, "{name}");
    }
}

/// The exit code of a `serve` that does not come up, and its log.
fn ended(env: &TestEnv) -> (Option<i32>, Vec<String>) {
    let output = env.command().args(["serve", "--server-port", "0"]).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), log.lines().map(str::to_owned).collect())
}

#[test]
fn when_the_time_is_over_the_last_reason_is_told() {
    let env = TestEnv::new(Db::Sqlite).with("DATABASE_URL", "postgresql://u:hunter22@127.0.0.1:1/d");
    let (code, log) = ended(&env.with("PANAVERSITY_STARTUP_TIMEOUT", "1"));
    assert_eq!(code, Some(1), "{log:?}");
    let (last, tries) = log.split_last().unwrap();
    assert!(
        last.contains("cannot open the database postgres://u:***@127.0.0.1:1/d")
            && last.contains("\"ERROR\""),
        "{last}"
    );
    assert!(
        !tries.is_empty() && tries.iter().all(|line| line.contains("waiting for the database: ")),
        "{tries:?}"
    );
}

#[test]
fn what_does_not_pass_by_itself_is_not_waited_for() {
    let cluster = Postgres::start();
    cluster.require_password("right-password");
    let on = |user: &str, database: &str| cluster.url(database).replace("postgres@", user);
    let bucket = || TestEnv::new(TestBackend::new(Db::Sqlite, Storage::S3));
    for (env, told) in [
        (
            TestEnv::new(Db::Sqlite).with("DATABASE_URL", &on("postgres:wrong-password@", "postgres")),
            "password authentication failed",
        ),
        (
            TestEnv::new(Db::Sqlite).with("DATABASE_URL", &on("postgres:right-password@", "none")),
            "does not exist",
        ),
        (
            TestEnv::new(Db::Sqlite).with("DATABASE_URL", &on("nobody:right-password@", "postgres")),
            "cannot open the database",
        ),
        (TestEnv::new(Db::Sqlite).with("DATABASE_URL", "sqlite:/dev/null/x.db"), "cannot open the database"),
        (
            bucket().with("PANAVERSITY_S3_SECRET_ACCESS_KEY", "wrong-secret-key"),
            "check the secret access key",
        ),
        (bucket().with("PANAVERSITY_S3_ACCESS_KEY_ID", "wrong"), "cannot use the bucket"),
    ] {
        let (code, log) = ended(&env);
        assert_eq!(
            (code, log.iter().filter(|line| line.contains("waiting for")).count()),
            (Some(1), 0),
            "{log:?}"
        );
        assert!(log.last().unwrap().contains(told), "{told}: {log:?}");
    }
}
