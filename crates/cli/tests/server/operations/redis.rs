//! Redis: servers share rates and content in it, and everything works without it.

use std::time::Duration;

use panaversity_testkit::proxy::Proxy;
use panaversity_testkit::redis::{PASSWORD, Redis, shared};
use serde_json::json;

use crate::fixtures::{LESSON, created, read, write};
use crate::harness::{Db, Server, TestEnv, log_watch, until};

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;

/// An environment whose servers reach Redis through a proxy.
async fn through_a_proxy(env: TestEnv) -> (TestEnv, Proxy) {
    log_watch::secret(PASSWORD);
    let proxy = Proxy::to(shared().address()).await;
    let env = env.with("PANAVERSITY_REDIS_URL", &Redis::url_at(proxy.address()));
    (env, proxy)
}

async fn state(server: &Server) -> String {
    server.get("/health").await.json()["redis"]["status"].as_str().unwrap_or("none").to_owned()
}

async fn becomes(server: &Server, expected: &str) {
    until(expected, async || state(server).await == expected).await;
}

async fn statuses(server: &Server, number: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..number {
        statuses.push(server.post("/mcp", LIST, &[]).await.status);
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_count_a_caller_s_rate_together_and_each_for_itself_while_redis_is_away() {
    let limited = TestEnv::new(Db::Postgres)
        .with("PANAVERSITY_RATE_LIMIT_PER_SECOND", "1")
        .with("PANAVERSITY_RATE_LIMIT_BURST", "6");
    let (env, proxy) = through_a_proxy(limited).await;
    let (first, second) = (env.start().await, env.start().await);
    for server in [&first, &second] {
        becomes(server, "ok").await;
    }
    let both = [statuses(&first, 6).await, statuses(&second, 6).await].concat();
    let taken = both.iter().filter(|status| **status == 200).count();
    assert!((6..=8).contains(&taken), "one bucket for both, which fills by one a second: {both:?}");
    assert!(both.iter().all(|status| matches!(status, 200 | 429)), "{both:?}");
    let refused = second.post("/mcp", LIST, &[]).await;
    if refused.status == 429 {
        assert_eq!(refused.headers["retry-after"], "1");
    }

    proxy.refuse();
    proxy.reset();
    for server in [&first, &second] {
        let alone = statuses(server, 8).await;
        assert_eq!(alone[..6], [200; 6], "each has its own bucket again, and no request fails: {alone:?}");
        assert!(alone.contains(&429), "and still a limit: {alone:?}");
        assert_eq!(state(server).await, "unavailable");
        assert_eq!(server.get("/health").await.status, 200, "nothing depends on it");
    }
    proxy.heal();
    for server in [&first, &second] {
        becomes(server, "ok").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_answers_no_more_delays_one_request_and_no_other() {
    let (env, proxy) = through_a_proxy(TestEnv::new(Db::Sqlite)).await;
    let server = env.start().await;
    becomes(&server, "ok").await;
    proxy.hold();
    let began = tokio::time::Instant::now();
    assert_eq!(statuses(&server, 20).await, [200; 20]);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(state(&server).await, "unavailable");
    proxy.heal();
    becomes(&server, "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_was_read_is_served_from_redis_and_never_with_other_bytes() {
    let (env, proxy) = through_a_proxy(TestEnv::new(Db::Sqlite)).await;
    let server = env.start().await;
    becomes(&server, "ok").await;
    let (client, large) = (server.client(), "large\n".repeat(40_000));
    let hash = created(&client, LESSON, &large, json!({})).await;
    let content = async || read(&client, LESSON, json!({})).await.expect_ok()["content"].clone();
    assert_eq!(content().await, large);
    let key = format!("*:object:{hash}");
    let kept = shared().keys(&key);
    assert_eq!(kept.len(), 1, "{kept:?}");
    let object = std::fs::read_dir(env.storage_root().join(".panaversity/objects").join(&hash[..2])).unwrap();
    let object = object.map(|entry| entry.unwrap().path()).find(|path| path.ends_with(&hash)).unwrap();
    std::fs::rename(&object, object.with_extension("aside")).unwrap();
    assert_eq!(content().await, large, "it needs no look into the storage");
    std::fs::rename(object.with_extension("aside"), &object).unwrap();

    shared().answer(&format!("SET {} forged", kept[0])).unwrap();
    assert_eq!(content().await, large, "what does not have the hash counts as nothing");
    write(&client, LESSON, "small", json!({ "expected_hash": hash })).await.expect_ok();
    assert_eq!(content().await, "small", "a cache by hash is never stale");
    proxy.refuse();
    proxy.reset();
    let old = read(&client, LESSON, json!({ "hash": hash })).await.expect_ok();
    assert_eq!(old["content"], large, "and is not needed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_none_ends_the_start_without_its_password() {
    let env = TestEnv::new(Db::Sqlite).with("PANAVERSITY_REDIS_URL", "http://:hunter22@localhost:6379");
    let output = env.command().args(["config", "check"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && error.contains("redis://host:6379/0"), "{error}");
    assert!(!error.contains("hunter22"), "{error}");
    let away = TestEnv::new(Db::Sqlite).with("PANAVERSITY_REDIS_URL", "redis://127.0.0.1:1/0");
    let server = away.start().await;
    assert_eq!(statuses(&server, 3).await, [200; 3], "a server starts without Redis");
    assert_eq!(state(&server).await, "unavailable");
}
