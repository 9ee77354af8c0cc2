//! `health`, `slo` and `completions` through the binary, against a real server; Prometheus is played by
//! canned answers, for `scripts/monitoring` runs the queries against a real one.

use std::process::Output;

use axum::Router;
use axum::extract::RawQuery;
use axum::routing::get;
use serde_json::{Value, json};

use crate::fixtures::{LESSON, created};
use crate::harness::{Db, TestEnv};

fn run(env: &TestEnv, line: &str) -> Output {
    env.command().args(line.split(' ')).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A server at a free port that answers each query with the value that `value` gives for it.
async fn prometheus(value: fn(&str) -> Option<&'static str>) -> String {
    let answer = async move |RawQuery(query): RawQuery| {
        let url = reqwest::Url::parse(&format!("http://prometheus/?{}", query.unwrap_or_default())).unwrap();
        let (_, query) = url.query_pairs().find(|(name, _)| name == "query").unwrap();
        let samples = value(&query).map(|value| json!({ "metric": {}, "value": [0, value] }));
        let result: Vec<Value> = samples.into_iter().collect();
        json!({ "status": "success", "data": { "resultType": "vector", "result": result } }).to_string()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(
        async move { axum::serve(listener, Router::new().route("/api/v1/query", get(answer))).await },
    );
    format!("http://{address}")
}

fn healthy(query: &str) -> Option<&'static str> {
    match query {
        query if query.contains("storage_operations_total") => Some("100"),
        query if query.contains("archive_duration") => Some("NaN"),
        query if query.contains("overlay_latency") => Some("0.0042"),
        query if query.contains("delta_files") => None,
        _ => Some("1"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_by_its_exit_code_if_a_server_is_up() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    let url = server.url().to_owned();
    for part in ["", " --live", " --ready"] {
        let asked = run(&env, &format!("health{part} --url {url}"));
        assert!(asked.status.success() && stdout(&asked).starts_with("ok"), "{asked:?}");
    }
    let full = stdout(&run(&env, &format!("health --url {url}")));
    assert!(
        full.contains("\n  database: ") && full.contains("audit_chain: ") && full.contains("valid true"),
        "{full}"
    );
    let document: Value =
        serde_json::from_str(&stdout(&run(&env, &format!("health --json --url {url}/mcp")))).unwrap();
    assert_eq!(document["database"]["status"], "ok");
    std::fs::rename(env.storage_root(), env.folder().join("moved")).unwrap();
    let unready = run(&env, &format!("health --ready --url {url}"));
    assert_eq!(unready.status.code(), Some(1), "{unready:?}");
    assert!(stdout(&unready).starts_with("unavailable"), "{unready:?}");
    assert!(run(&env, &format!("health --live --url {url}")).status.success());
    server.stop().await;
    let gone = run(&env, &format!("health --url {url}"));
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8(gone.stderr).unwrap().contains("does not answer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_asks_the_server_that_the_same_settings_start() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    let port = server.url().rsplit(':').next().unwrap().trim_end_matches('/').to_owned();
    for (host, name) in [("0.0.0.0", "PANAVERSITY_SERVER_PORT"), ("127.0.0.1", "PORT")] {
        let mut command = env.command();
        command.env_remove("PANAVERSITY_SERVER_PORT").env(name, &port).env("PANAVERSITY_SERVER_HOST", host);
        let asked = command.arg("health").output().unwrap();
        assert!(asked.status.success(), "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slo_measures_every_criterion_changes_nothing_and_fails_on_a_miss() {
    for db in Db::both() {
        let env = TestEnv::new(db);
        let server = env.start().await;
        created(&server.client(), LESSON, "one", json!({})).await;
        server.all_published().await;
        let before = env.everything();
        let url = prometheus(healthy).await;
        let asked = run(&env, &format!("slo --prometheus {url} --window 1h --json"));
        assert!(asked.status.success(), "{asked:?}");
        let criteria = serde_json::from_str::<Value>(&stdout(&asked)).unwrap()["criteria"].clone();
        let verdicts: Vec<_> =
            criteria.as_array().unwrap().iter().map(|one| (&one["criterion"], &one["verdict"])).collect();
        let expected = [
            ("SC-001", "no data"),
            ("SC-001", "met"),
            ("SC-002", "met"),
            ("SC-003", "met"),
            ("SC-004", "met"),
            ("SC-005", "met"),
            ("SC-006", "met"),
            ("SC-007", "no data"),
            ("SC-009", "met"),
            ("SC-010", "met"),
        ]
        .map(|(id, verdict)| (json!(id), json!(verdict)));
        assert_eq!(verdicts, expected.iter().map(|(id, verdict)| (id, verdict)).collect::<Vec<_>>());
        assert_eq!(env.everything(), before, "nothing was changed");

        std::fs::write(env.storage_root().join("books/stray.md"), "by hand").unwrap();
        let stray = run(&env, &format!("slo --prometheus {url}"));
        assert_eq!(stray.status.code(), Some(1), "{stray:?}");
        let row = stdout(&stray).lines().find(|line| line.starts_with("SC-005")).unwrap().to_owned();
        assert!(row.ends_with("missed"), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slo_says_what_to_do_when_prometheus_has_nothing_to_say() {
    let env = TestEnv::new(Db::Sqlite);
    let _server = env.start().await;
    let empty = prometheus(|_| None).await;
    for (line, code, said) in [
        (format!("slo --prometheus {empty}"), 1, "scrape configuration"),
        ("slo --prometheus http://127.0.0.1:1".to_owned(), 1, "no answer"),
        ("slo --prometheus nonsense".to_owned(), 2, "must be a URL"),
        (format!("slo --prometheus {empty} --window 7"), 2, "such as 7d"),
    ] {
        let output = run(&env, &line);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.contains(said)), (Some(code), true), "{line}: {stderr}");
    }
}

#[test]
fn completions_are_printed_for_the_shells() {
    let env = TestEnv::unmigrated(Db::Sqlite);
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&env, &format!("completions {shell}"));
        assert!(script.status.success(), "{script:?}");
        let script = stdout(&script);
        assert!(script.contains("reconcile") && script.contains("server-port"), "{shell}");
    }
    assert_eq!(run(&env, "completions tcsh").status.code(), Some(2));
}
