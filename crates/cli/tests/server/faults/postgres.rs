//! `PostgreSQL` frozen, killed, cut off in the middle of a COMMIT, and with its connections
//! exhausted.

use std::time::Duration;

use panaversity_testkit::postgres::{Postgres, shared};
use panaversity_testkit::proxy::{Proxy, Trap};
use serde_json::json;

use super::load::LoadFiles;
use super::{assert_chained, assert_failed, gets_ready, gets_unready, in_time};
use crate::fixtures::{LESSON, created, entries, read, sha256, write};
use crate::harness::{Answer, Db, Server, TestClient, TestEnv, until};

const OTHER: &str = "content/README.md";

/// An environment on this database whose servers have short timeouts.
fn impatient(url: &str) -> TestEnv {
    TestEnv::new(Db::Sqlite).with("DATABASE_URL", url).with("DATABASE_POOL_TIMEOUT", "2")
}

/// An environment whose database is reached through a proxy.
async fn behind_a_proxy() -> (Proxy, TestEnv, Server) {
    let (postgres, url) = (shared(), shared().create_database());
    let proxy = Proxy::to(postgres.address()).await;
    let url = url.replace(&postgres.address().to_string(), &proxy.address().to_string());
    let env = impatient(&url);
    let server = env.start().await;
    (proxy, env, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_a_database_that_freezes_is_an_error_in_bounded_time_and_loses_nothing() {
    let postgres = Postgres::start();
    let env = impatient(&postgres.create_database());
    let server = env.start().await;
    let client = server.client();
    created(&client, LESSON, "one", json!({})).await;
    let load = LoadFiles::new().load(&server);
    load.until_changed().await;

    postgres.freeze();
    let calls = async || {
        let update = json!({ "expected_hash": sha256("one") });
        tokio::join!(
            in_time(read(&client, LESSON, json!({}))),
            in_time(write(&client, LESSON, "two", update)),
            in_time(write(&client, OTHER, "new", json!({}))),
            in_time(client.call("list_books", json!({}))),
            gets_unready(&server),
        )
    };
    // The first calls detect it; later ones wait less.
    for _ in 0..2 {
        let (a, b, c, d, ()) = calls().await;
        for answer in [a, b, c, d] {
            assert_failed(&answer, "DATABASE_UNAVAILABLE");
        }
    }
    postgres.thaw();
    gets_ready(&server).await;
    load.until_changed().await;
    let mut files = load.stop().await;
    assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], "one");
    assert_eq!(read(&client, OTHER, json!({})).await.code(), "NOT_FOUND");
    files.assert_whole(&env, &server).await;
    assert!(files.changes() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_a_database_that_is_killed_under_load_loses_nothing() {
    let mut postgres = Postgres::start();
    let env = impatient(&postgres.create_database());
    let server = env.start().await;
    let load = LoadFiles::new().load(&server);
    load.until_changed().await;
    postgres.kill9();
    gets_unready(&server).await;
    postgres.restart();
    gets_ready(&server).await;
    load.until_changed().await;
    let mut files = load.stop().await;
    files.assert_whole(&env, &server).await;
    assert!(files.changes() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_connections_that_are_reset_under_load_lose_nothing() {
    let (proxy, env, server) = behind_a_proxy().await;
    proxy.delay(Duration::from_millis(1));
    let load = LoadFiles::new().load(&server);
    for number in 0..10 {
        load.for_a_while(60).await;
        if number % 2 == 0 {
            proxy.reset();
        } else {
            proxy.cut();
        }
        proxy.set_trap("COMMIT", if number % 4 < 2 { Trap::After } else { Trap::Before });
    }
    load.until_changed().await;
    let mut files = load.stop().await;
    files.assert_whole(&env, &server).await;
    assert!(files.changes() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_all_connections_were_reset_the_very_next_call_succeeds() {
    let (proxy, _env, server) = behind_a_proxy().await;
    let client = server.client();
    created(&client, LESSON, "one", json!({})).await;
    server.all_published().await;
    // Slow enough that each of many concurrent callers needs a connection of its own.
    proxy.delay(Duration::from_millis(20));
    let reads = (0..16).map(|_| read(&client, LESSON, json!({})));
    assert!(futures::future::join_all(reads).await.iter().all(|answer| answer.ok));
    proxy.heal();
    for _ in 0..3 {
        proxy.reset();
        let answer = in_time(read(&client, LESSON, json!({}))).await;
        assert_eq!(answer.expect_ok()["content"], "one");
    }
}

/// Writes the lesson while the trap waits for the COMMIT.
async fn trapped(trap: Trap) -> (Proxy, TestEnv, Server, Answer) {
    let (proxy, env, server) = behind_a_proxy().await;
    let client = server.client();
    // The book exists and nothing is in progress: the next COMMIT is that of the change.
    created(&client, OTHER, "the start", json!({})).await;
    server.all_published().await;
    proxy.set_trap("COMMIT", trap);
    let answer = in_time(write(&client, LESSON, "one", json!({}))).await;
    assert!(proxy.has_sprung(), "no COMMIT was sent: {}", answer.value);
    (proxy, env, server, answer)
}

async fn assert_there_once(server: &TestClient) {
    let client = server.client();
    assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], "one");
    let all = entries(&client, json!({ "path": LESSON, "operation": "WRITE", "status": "success" })).await;
    let changes: Vec<_> = all.iter().filter(|entry| entry.get("change_id").is_some()).collect();
    assert_eq!(changes.len(), 1, "{changes:#?}");
    assert_chained(server).await;
    server.all_published().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_commit_was_made_but_not_answered_is_a_success() {
    let (_proxy, _env, server, answer) = trapped(Trap::After).await;
    assert_eq!(answer.expect_ok()["mode"], "created");
    assert_there_once(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_commit_never_arrived_is_made_again() {
    let (_proxy, _env, server, answer) = trapped(Trap::Before).await;
    assert_eq!(answer.expect_ok()["mode"], "created");
    assert_there_once(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_fate_cannot_be_learned_is_said_to_be_unknown_and_can_be_repeated() {
    let mut attempts = 0;
    let (proxy, _env, server, answer) = loop {
        let trapped = trapped(Trap::AfterAndRefuse).await;
        attempts += 1;
        // The publisher may have sprung the trap with a COMMIT of its own.
        if !trapped.3.ok || attempts == 5 {
            break trapped;
        }
    };
    assert_eq!(answer.code(), "DATABASE_UNAVAILABLE", "{}", answer.value);
    assert_eq!(answer.value["error"]["outcome"], "unknown", "{}", answer.value);
    gets_unready(&server).await;
    proxy.heal();
    gets_ready(&server).await;
    let repeated = write(&server.client(), LESSON, "one", json!({})).await.expect_ok();
    assert_eq!(repeated["mode"], "unchanged", "it had happened");
    assert_there_once(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connection_to_spare_callers_wait_a_while_and_are_told() {
    let url = shared().create_database();
    let env = impatient(&url).with("DATABASE_POOL_SIZE", "1").with("DATABASE_MAX_OVERFLOW", "0");
    let server = env.start().await;
    let client = server.client();
    created(&client, LESSON, "one", json!({})).await;
    server.all_published().await;

    let lock = shared().lock(&url, "file_journal");
    let answers = futures::future::join_all((0..12).map(|_| in_time(read(&client, LESSON, json!({}))))).await;
    let codes: Vec<_> = answers.iter().map(Answer::code).collect();
    assert!(codes.contains(&"DATABASE_UNAVAILABLE"), "no connection was free: {codes:?}");
    for answer in &answers {
        let code = if answer.code() == "TIMEOUT" { "TIMEOUT" } else { "DATABASE_UNAVAILABLE" };
        assert_failed(answer, code);
    }
    assert_eq!(server.get("/health/live").await.status, 200);
    drop(lock);
    until("it is read again", async || read(&client, LESSON, json!({})).await.ok).await;
    let answers = futures::future::join_all((0..12).map(|_| read(&client, LESSON, json!({})))).await;
    for answer in answers {
        assert_eq!(answer.expect_ok()["content"], "one");
    }
    gets_ready(&server).await;
    assert_chained(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_opens_its_size_and_its_overflow_under_load_and_keeps_its_size() {
    let url = shared().create_database();
    let env = impatient(&url).with("DATABASE_POOL_SIZE", "2").with("DATABASE_MAX_OVERFLOW", "3");
    let server = env.start().await;
    let client = server.client();
    created(&client, LESSON, "one", json!({})).await;
    server.all_published().await;
    let open = || -> u32 {
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND application_name = 'panaversity-fs'";
        shared().query(&url, sql).trim().parse().unwrap()
    };

    let lock = shared().lock(&url, "file_journal");
    let reads = (0..12).map(|_| {
        let client = client.client();
        tokio::spawn(async move { read(&client, LESSON, json!({})).await })
    });
    let reads: Vec<_> = reads.collect();
    until("all connections are used", async || open() == 5).await;
    drop(lock);
    for answer in reads {
        answer.await.unwrap();
    }
    until("the overflow is closed", async || open() <= 2).await;
    let scraped = server.get("/metrics").await.text();
    let sample =
        |name: &str| scraped.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned)).unwrap();
    assert_eq!(sample("panaversityfs_database_connections_max "), "5");
    let used: u32 = ["in_use", "idle"]
        .map(|state| {
            sample(&format!("panaversityfs_database_connections{{state=\"{state}\"}} "))
                .parse::<u32>()
                .unwrap()
        })
        .iter()
        .sum();
    assert!((1..=2).contains(&used), "{used} connections");
}
