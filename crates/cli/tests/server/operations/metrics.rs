//! Metrics are as documented: each write under its status and mode, no labels that callers can make
//! up, and a text that Prometheus reads.

use std::collections::BTreeMap;

use serde_json::json;

use crate::fixtures::{BOOK, LESSON, NO_HASH, created, delete, fresh, read, sha256, write};
use crate::harness::{Db, TestClient};

/// All series with their values; the text must be one that Prometheus reads.
async fn scrape(server: &TestClient) -> BTreeMap<String, String> {
    let text = server.get("/metrics").await.text();
    let mut series = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let bare = name.split('{').next().unwrap();
        assert!(bare.starts_with("panaversityfs_"), "{line}");
        assert!(bare.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
        assert!(!name.contains('{') || name.ends_with("\"}"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let twice = series.insert(name.to_owned(), value.to_owned());
        assert_eq!(twice, None, "{line}");
    }
    series
}

fn writes(book: &str, mode: &str, status: &str) -> String {
    format!("panaversityfs_write_total{{book_id=\"{book}\",mode=\"{mode}\",status=\"{status}\"}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_is_counted_under_its_status_and_mode() {
    for db in Db::both() {
        let (_env, server, client) = fresh(db).await;
        created(&client, LESSON, "one", json!({})).await;
        created(&client, LESSON, "hers", json!({ "user_id": "eve" })).await;
        for _ in 0..2 {
            write(&client, LESSON, "one", json!({})).await.expect_ok();
        }
        write(&client, LESSON, "two", json!({ "expected_hash": sha256("one") })).await.expect_ok();
        write(&client, LESSON, "x", json!({})).await;
        write(&client, LESSON, "x", json!({ "expected_hash": NO_HASH })).await;
        write(&client, "content/thesis.md", "x", json!({})).await;
        write(&client, "content/../thesis.md", "x", json!({})).await;
        write(&client, "content/README.md", "x", json!({ "expected_hash": NO_HASH })).await;
        write(&client, LESSON, &"x".repeat(500_001), json!({})).await;
        write(&client, LESSON, "x", json!({ "book_id": "no-such-book", "expected_hash": NO_HASH })).await;
        let series = scrape(&server).await;
        for (mode, status, count) in [
            ("created", "success", "2"),
            ("unchanged", "success", "2"),
            ("updated", "success", "1"),
            ("none", "hash_required", "1"),
            ("none", "conflict", "1"),
            ("none", "schema_violation", "2"),
            ("none", "not_found", "1"),
            ("none", "error", "1"),
        ] {
            assert_eq!(series[&writes(BOOK, mode, status)], count, "{mode} {status}");
        }
        assert_eq!(series[&writes("unknown", "none", "not_found")], "1");
        let duration = |end: &str| series[&format!("panaversityfs_write_duration_seconds_{end}")].as_str();
        assert_eq!(duration("count{book_id=\"ai-python\"}"), "11");
        assert_eq!(duration("bucket{book_id=\"ai-python\",le=\"+Inf\"}"), "11");
        let within = |seconds: &str| -> u64 {
            duration(&format!("bucket{{book_id=\"ai-python\",le=\"{seconds}\"}}")).parse().unwrap()
        };
        assert!(
            within("0.0005") <= within("1") && within("1") <= within("30"),
            "buckets hold those before them"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_files_and_requests_are_counted() {
    for db in Db::both() {
        let (_env, server, client) = fresh(db).await;
        let before = scrape(&server).await;
        created(&client, LESSON, "one", json!({})).await;
        created(&client, LESSON, "hers", json!({ "user_id": "eve" })).await;
        created(&client, "content/README.md", &"large\n".repeat(30_000), json!({})).await;
        read(&client, LESSON, json!({})).await.expect_ok();
        read(&client, LESSON, json!({ "user_id": "eve" })).await.expect_ok();
        read(&client, "content/index.md", json!({})).await;
        delete(&client, "content/README.md", json!({})).await.expect_ok();
        server.get("/nowhere").await;
        server.get("/health/live").await;
        client.post("/mcp", "{", &[]).await;
        server.all_published().await;
        let after = scrape(&server).await;
        for (series, count) in [
            ("panaversityfs_tool_calls_total{status=\"success\",tool=\"write_content\"}", "3"),
            ("panaversityfs_tool_calls_total{status=\"success\",tool=\"read_content\"}", "2"),
            ("panaversityfs_tool_calls_total{status=\"refused\",tool=\"read_content\"}", "1"),
            ("panaversityfs_tool_duration_seconds_count{tool=\"read_content\"}", "3"),
            ("panaversityfs_overlay_latency_seconds_count", "1"),
            ("panaversityfs_journal_entries_total{book_id=\"ai-python\"}", "2"),
            ("panaversityfs_pending_publications", "0"),
            ("panaversityfs_audit_chain_valid", "1"),
            ("panaversityfs_storage_rollback_total", "0"),
            (
                "panaversityfs_storage_operations_total{backend=\"fs\",operation=\"put\",status=\"success\"}",
                "1",
            ),
            (
                "panaversityfs_storage_operations_total{backend=\"fs\",operation=\"publish\",status=\"success\"}",
                "3",
            ),
            (
                "panaversityfs_storage_operations_total{backend=\"fs\",operation=\"unpublish\",status=\"success\"}",
                "1",
            ),
            ("panaversityfs_http_requests_total{route=\"/mcp\",status=\"200\"}", "7"),
            ("panaversityfs_http_requests_total{route=\"/mcp\",status=\"400\"}", "1"),
            ("panaversityfs_http_requests_total{route=\"unmatched\",status=\"404\"}", "1"),
            ("panaversityfs_http_requests_total{route=\"/health/live\",status=\"200\"}", "1"),
        ] {
            assert_eq!(after.get(series).map(String::as_str), Some(count), "{series}");
        }
        assert!(before.keys().all(|series| after.contains_key(series)), "no series vanishes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_refused_after_its_blob_was_staged_is_a_rollback() {
    let (_env, server, client) = fresh(Db::Sqlite).await;
    let larges: Vec<_> = (0..8).map(|n| format!("large {n}\n").repeat(30_000)).collect();
    let mut rounds = 0;
    crate::harness::until("two writers of one new file met", async || {
        rounds += 1;
        let path = format!("content/01-Part/01-Chapter/{rounds:02}-lesson.md");
        let all = larges.iter().map(|large| write(&client, &path, large, json!({})));
        let answers = futures::future::join_all(all).await;
        assert_eq!(answers.iter().filter(|answer| answer.ok).count(), 1);
        scrape(&server).await["panaversityfs_storage_rollback_total"] != "0"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_cannot_make_labels_up() {
    let (_env, server, client) = fresh(Db::Sqlite).await;
    created(&client, LESSON, "one", json!({})).await;
    let before = scrape(&server).await.len();
    for n in 0..50 {
        let book = format!("no-such-book-{n}");
        read(&client, LESSON, json!({ "book_id": book })).await;
        write(&client, "content/thesis.md", "x", json!({ "book_id": book })).await;
        client.call(&format!("tool-{n}"), json!({})).await;
        server.get(&format!("/nowhere/{n}")).await;
    }
    let after = scrape(&server).await;
    assert!(after.len() < before + 80, "{} series became {}", before, after.len());
    assert!(!after.keys().any(|series| series.contains("no-such-book") || series.contains("nowhere")));
}
