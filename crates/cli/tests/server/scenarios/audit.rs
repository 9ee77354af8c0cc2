//! The audit log as callers see it: every call leaves an entry with a real agent (R7), changes
//! carry their lineage, chains link (R6).

use std::collections::BTreeMap;

use panaversity_testkit::postgres::shared;
use serde_json::{Value, json};

use crate::fixtures::{
    BOOK, LESSON, NO_HASH, created, delete, entries, field, fresh, manifest, read, sha256, text, write,
};
use crate::harness::{Db, TestBackend};

on_both_databases!(
    r7_every_entry_names_the_agent_who_called,
    r7_who_claims_to_be_nobody_is_refused_and_changes_nothing,
    every_call_leaves_an_entry_whatever_came_of_it,
    changes_are_recorded_with_their_lineage,
    r6_entries_link_and_the_documented_sql_finds_no_break,
    a_query_gives_what_its_filters_leave_page_by_page,
);

async fn r7_every_entry_names_the_agent_who_called(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, "one", json!({})).await;
    let longest = "a".repeat(200);
    for agent in ["writer-7", "Claude (editor) <x@example.org>", longest.as_str()] {
        read(&client.clone().of_agent(agent), LESSON, json!({})).await.expect_ok();
        let newest = &entries(&client, json!({ "operation": "READ", "limit": 1 })).await[0];
        assert_eq!(newest["agent_id"], json!(agent));
        assert_eq!(entries(&client, json!({ "agent_id": agent })).await.len(), 1);
    }
    let first = &entries(&client, json!({ "operation": "WRITE" })).await[0];
    assert_eq!(first["agent_id"], "dev-mode-agent", "who says nothing is nobody in particular");
}

async fn r7_who_claims_to_be_nobody_is_refused_and_changes_nothing(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, "one", json!({})).await;
    let before = manifest(&client).await;
    let too_long = "a".repeat(201);
    for nobody in ["", "  ", "system", "SYSTEM", " System ", "a\tb", too_long.as_str()] {
        let client = client.clone().of_agent(nobody);
        for answer in [
            write(&client, "content/README.md", "x", json!({})).await,
            delete(&client, LESSON, json!({})).await,
            read(&client, LESSON, json!({})).await,
            client.call("list_books", json!({})).await,
        ] {
            assert_eq!(answer.code(), "INVALID_ARGUMENT", "{nobody:?}: {}", answer.value);
            assert_eq!(answer.value["error"]["argument"], "X-Agent-Id");
        }
    }
    assert_eq!(manifest(&client).await, before);
    let refused = entries(&client, json!({ "status": "refused", "operation": "DELETE" })).await;
    assert_eq!(refused.len(), 7, "each leaves an entry");
    assert!(field(&refused, "agent_id").iter().all(|agent| agent == "dev-mode-agent"));
    assert!(field(&refused, "path").iter().all(|path| path == LESSON));
}

async fn every_call_leaves_an_entry_whatever_came_of_it(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let client = client.of_agent("writer-7");
    created(&client, LESSON, "one", json!({})).await;
    write(&client, LESSON, "one", json!({})).await.expect_ok();
    assert!(!write(&client, LESSON, "two", json!({})).await.ok);
    assert!(!write(&client, "content/../x", "two", json!({})).await.ok);
    read(&client, LESSON, json!({})).await.expect_ok();
    assert!(!read(&client, "content/README.md", json!({ "hash": NO_HASH })).await.ok);
    client.call("list_books", json!({})).await.expect_ok();
    client.call("create_book", json!({ "book_id": BOOK })).await.expect_ok();
    client.call("plan_build", json!({ "book_id": BOOK })).await.expect_ok();
    client.call("verify_audit_chain", json!({})).await.expect_ok();
    client.call("validate_book", json!({ "book_id": BOOK })).await.expect_ok();
    delete(&client, LESSON, json!({})).await.expect_ok();
    delete(&client, LESSON, json!({})).await.expect_ok();
    assert!(!client.call("query_audit_log", json!({ "limit": 0 })).await.ok);

    let mut log = entries(&client, json!({})).await;
    log.reverse();
    let told: Vec<_> = log
        .iter()
        .map(|entry| {
            let code = entry.get("error_code").map(text).unwrap_or_default();
            let changed = entry.get("change_id").is_some();
            (text(&entry["operation"]), text(&entry["status"]), code, changed)
        })
        .collect();
    let expected = [
        ("WRITE", "success", "", true),
        ("WRITE", "success", "", false),
        ("WRITE", "refused", "HASH_REQUIRED", false),
        ("WRITE", "refused", "INVALID_PATH", false),
        ("READ", "success", "", false),
        ("READ", "refused", "NOT_FOUND", false),
        ("LIST", "success", "", false),
        ("CREATE", "success", "", false),
        ("PLAN", "success", "", false),
        ("VERIFY", "success", "", false),
        ("VALIDATE", "success", "", false),
        ("DELETE", "success", "", true),
        ("DELETE", "success", "", false),
        ("QUERY", "refused", "INVALID_ARGUMENT", false),
    ];
    let expected =
        expected.map(|(act, status, code, changed)| (act.into(), status.into(), code.into(), changed));
    assert_eq!(told, expected);
    for entry in &log {
        for column in
            ["id", "timestamp", "agent_id", "book_id", "path", "user_id", "request_id", "entry_hash"]
        {
            assert!(entry[column].is_string(), "{column} in {entry}");
        }
        assert!(entry["execution_time_ms"].is_number(), "{entry}");
        assert_eq!(entry["agent_id"], "writer-7");
    }
}

async fn changes_are_recorded_with_their_lineage(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, "one", json!({})).await;
    write(&client, LESSON, "two", json!({ "expected_hash": sha256("one") })).await.expect_ok();
    write(&client, LESSON, "two", json!({})).await.expect_ok();
    write(&client, LESSON, "three", json!({})).await;
    delete(&client, LESSON, json!({ "expected_hash": sha256("two") })).await.expect_ok();
    delete(&client, LESSON, json!({})).await.expect_ok();
    created(&client, LESSON, "four", json!({})).await;
    let mut log = entries(&client, json!({ "book_id": BOOK, "path": LESSON })).await;
    log.reverse();
    let lineage: Vec<_> = log
        .iter()
        .filter(|entry| entry.get("change_id").is_some())
        .map(|entry| (entry.get("old_content_hash").map(text), entry.get("new_content_hash").map(text)))
        .collect();
    let (one, two, four) = (Some(sha256("one")), Some(sha256("two")), Some(sha256("four")));
    assert_eq!(lineage, [(None, one.clone()), (one, two.clone()), (two, None), (None, four)]);
    for entry in log.iter().filter(|entry| entry.get("change_id").is_none()) {
        assert_eq!(entry.get("new_content_hash"), None, "it changed nothing: {entry}");
    }
    assert_eq!(log.len(), 7);
}

/// The columns of `audit_log` as the contract names them, in alphabetical order.
const COLUMNS: [&str; 17] = [
    "agent_id",
    "book_id",
    "change_id",
    "entry_hash",
    "error_code",
    "error_message",
    "execution_time_ms",
    "id",
    "new_content_hash",
    "old_content_hash",
    "operation",
    "path",
    "prev_hash",
    "request_id",
    "status",
    "timestamp",
    "user_id",
];

/// The statement of the contract, verbatim.
const BREAKS: &str = "SELECT a.* FROM audit_log a
LEFT JOIN audit_log b ON a.prev_hash = b.entry_hash
WHERE a.prev_hash IS NOT NULL AND b.id IS NULL;";

async fn r6_entries_link_and_the_documented_sql_finds_no_break(on: TestBackend) {
    let (env, _server, client) = fresh(on).await;
    for path in [LESSON, "content/README.md"] {
        created(&client, path, "one", json!({})).await;
        read(&client, path, json!({})).await.expect_ok();
        write(&client, path, "two", json!({ "expected_hash": NO_HASH })).await;
        created(&client, path, "hers", json!({ "user_id": "eve" })).await;
        delete(&client, path, json!({})).await.expect_ok();
    }
    let mut log = entries(&client, json!({ "book_id": BOOK })).await;
    log.reverse();
    let mut tips: BTreeMap<(String, String), Value> = BTreeMap::new();
    for entry in &log {
        let chain = (text(&entry["path"]), text(&entry["user_id"]));
        let previous = tips.insert(chain, entry["entry_hash"].clone());
        assert_eq!(entry.get("prev_hash"), previous.as_ref(), "{entry}");
    }
    assert_eq!((log.len(), tips.len()), (8, 2));
    let verified = client.call("verify_audit_chain", json!({ "book_id": BOOK })).await.expect_ok();
    assert_eq!(verified, json!({ "valid": true, "entries_checked": 9, "breaks": [] }), "and the query's own");
    let one = client.call("verify_audit_chain", json!({ "book_id": BOOK, "path": LESSON })).await.expect_ok();
    assert_eq!(one["entries_checked"], 4);
    if on.db == Db::Postgres {
        assert_eq!(shared().query(env.database_url(), BREAKS), "");
    }
}

async fn a_query_gives_what_its_filters_leave_page_by_page(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let paths: Vec<_> =
        (0..12).map(|n| format!("content/01-Part/{:02}-Chapter/{n:02}-lesson.md", n % 3)).collect();
    for path in &paths {
        created(&client.clone().of_agent("writer-7"), path, "one", json!({})).await;
        read(&client, path, json!({})).await.expect_ok();
    }
    let all = entries(&client, json!({ "book_id": BOOK })).await;
    assert_eq!(all.len(), 24);
    let times = field(&all, "timestamp");
    assert!(times.is_sorted_by(|newer, older| newer >= older), "newest first");
    let paged = entries(&client, json!({ "book_id": BOOK, "limit": 5, "to": times[0] })).await;
    assert_eq!(paged, all, "page by page it is the same");

    let shown = client.call("query_audit_log", json!({ "limit": "1" })).await.expect_ok();
    let columns = shown["entries"][0].as_object().unwrap().keys().map(String::as_str);
    assert_eq!(columns.collect::<Vec<_>>(), COLUMNS, "NULL or not");

    let count = async |filters| entries(&client, filters).await.len();
    assert_eq!(count(json!({ "agent_id": "writer-7" })).await, 12);
    assert_eq!(count(json!({ "operation": "READ", "book_id": BOOK })).await, 12);
    assert_eq!(count(json!({ "path": "content/*/00-Chapter/*", "operation": "WRITE" })).await, 4);
    assert_eq!(count(json!({ "path": "content/*" })).await, 0, "* stays within a folder");
    assert_eq!(
        count(json!({ "path": "content/**/0[0-3]-*.md", "agent_id": "writer-7", "limit": 2 })).await,
        4
    );
    assert_eq!(count(json!({ "path": paths[5] })).await, 2);
    assert_eq!(count(json!({ "status": "failed" })).await, 0);
    assert_eq!(count(json!({ "book_id": "no-such-book" })).await, 0);
    // Both ends are inclusive.
    let window = json!({ "book_id": BOOK, "since": times[10], "until": times[4] });
    assert_eq!(entries(&client, window).await, all[4..=10]);
    assert_eq!(count(json!({ "since": "9999-12-31T23:59:59Z" })).await, 0);
    assert_eq!(count(json!({ "until": "0000-01-01T00:00:00Z" })).await, 0);
}
