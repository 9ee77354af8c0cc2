//! `delta_build`: the changes since a given time. A client that continues from `next_since` misses
//! nothing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::fixtures::{
    BOOK, LESSON, create_all, created, delete, entries, fresh, pages, read, sha256, text, with, write,
};
use crate::harness::{TestBackend, TestClient};

on_both_databases!(
    a_delta_names_what_was_written_and_deleted_since,
    content_comes_along_if_it_is_asked_for,
    r5_with_user_id_a_delta_is_of_that_user_s_view,
    a_delta_of_more_than_1_000_files_comes_page_by_page,
    i9_a_follower_of_next_since_knows_every_acknowledged_change,
);

const ALWAYS: &str = "2026-01-01T00:00:00Z";

async fn delta(client: &TestClient, since: &str, more: Value) -> Value {
    let arguments = with(json!({ "book_id": BOOK, "since": since }), more);
    client.call("delta_build", arguments).await.expect_ok()
}

async fn a_delta_names_what_was_written_and_deleted_since(on: TestBackend) {
    let (_env, server, client) = fresh(on).await;
    let (gone, new) = ("content/README.md", "content/index.md");
    created(&client, LESSON, "one", json!({})).await;
    created(&client, gone, "readme", json!({})).await;
    created(&client, "content/01-Part/README.md", "stays", json!({})).await;
    let first = delta(&client, "2026-01-01T02:00:00+02:00", json!({})).await;
    assert_eq!(first["changed_count"], 3);
    assert_eq!(first["since"], "2026-01-01T00:00:00.000000Z");
    let since = text(&first["next_since"]);
    let nothing = delta(&client, &since, json!({})).await;
    assert_eq!((&nothing["changed_count"], &nothing["changed_files"]), (&json!(0), &json!([])));

    write(&client, LESSON, "two", json!({ "expected_hash": sha256("one") })).await.expect_ok();
    delete(&client, gone, json!({})).await.expect_ok();
    created(&client, new, "", json!({})).await;
    write(&client, "content/01-Part/README.md", "stays", json!({})).await.expect_ok();
    let second = delta(&client, &since, json!({})).await;
    let modified = async |path| read(&client, path, json!({})).await.expect_ok()["last_modified"].clone();
    let deleted = &entries(&client, json!({ "path": gone, "operation": "DELETE" })).await[0]["timestamp"];
    let expected = json!([
        { "path": LESSON, "sha256": sha256("two"), "last_modified": modified(LESSON).await, "namespace": "base" },
        { "path": gone, "sha256": null, "last_modified": deleted, "namespace": "base", "deleted": true },
        { "path": new, "sha256": sha256(""), "last_modified": modified(new).await, "namespace": "base" },
    ]);
    assert_eq!(second["changed_files"], expected);
    assert_eq!((&second["changed_count"], &second["since"]), (&json!(3), &json!(since)));
    assert!(text(&second["next_since"]) > since);

    let unknown = client.call("delta_build", json!({ "book_id": "no-such-book", "since": ALWAYS })).await;
    assert_eq!(unknown.code(), "BOOK_NOT_FOUND");
    let log = entries(&client, json!({ "book_id": BOOK, "operation": "DELTA" })).await;
    assert_eq!(log.len(), 3);
    let metrics = server.get("/metrics").await.text();
    for line in [
        format!("panaversityfs_delta_files_count_bucket{{book_id=\"{BOOK}\",le=\"0\"}} 1"),
        format!("panaversityfs_delta_files_count_count{{book_id=\"{BOOK}\"}} 3"),
        format!("panaversityfs_delta_files_count_sum{{book_id=\"{BOOK}\"}} 6"),
    ] {
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
}

async fn content_comes_along_if_it_is_asked_for(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let large = "large\n".repeat(60_000);
    let mut files = BTreeMap::from([(LESSON.to_owned(), "one".to_owned())]);
    for name in ["README", "index"] {
        files.insert(format!("content/{name}.md"), large.clone());
        files.insert(format!("content/01-Part/{name}.md"), large.clone());
    }
    create_all(&client, files.clone()).await;
    delete(&client, "content/index.md", json!({})).await.expect_ok();
    let arguments = json!({ "book_id": BOOK, "since": ALWAYS, "include_content": true });
    let (changed, lengths) = pages(&client, "delta_build", arguments, "changed_files").await;
    assert_eq!(lengths, [2, 1, 2], "a page has at most 1 MB as JSON");
    for file in &changed {
        let path = text(&file["path"]);
        if path == "content/index.md" {
            assert_eq!((&file["deleted"], file.get("content")), (&json!(true), None));
        } else {
            assert!(file["content"] == json!(files[&path]) && file["sha256"] == json!(sha256(&files[&path])));
        }
    }
    let without = delta(&client, ALWAYS, json!({ "include_content": false })).await;
    assert!(without["changed_files"].as_array().unwrap().iter().all(|file| file.get("content").is_none()));
}

async fn r5_with_user_id_a_delta_is_of_that_user_s_view(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let (hers, his) = (json!({ "user_id": "eve" }), json!({ "user_id": "bob" }));
    let (hidden, shown, lone) = ("content/index.md", "content/README.md", "content/01-Part/README.md");
    for path in [LESSON, hidden, shown] {
        created(&client, path, "base", json!({})).await;
    }
    for path in [hidden, shown, lone] {
        created(&client, path, "eve's", hers.clone()).await;
    }
    let since = text(&delta(&client, ALWAYS, json!({})).await["next_since"]);
    created(&client, LESSON, "eve's", hers.clone()).await;
    write(&client, hidden, "below eve's", json!({ "expected_hash": sha256("base") })).await.expect_ok();
    delete(&client, shown, hers.clone()).await.expect_ok();
    delete(&client, lone, hers.clone()).await.expect_ok();
    let told = |delta: &Value| -> Vec<(String, Value, String)> {
        let told = |file: &Value| (text(&file["path"]), file["sha256"].clone(), text(&file["namespace"]));
        delta["changed_files"].as_array().unwrap().iter().map(told).collect()
    };
    let said = |path: &str, sha256: Value, layer: &str| (path.to_owned(), sha256, layer.to_owned());
    let expected = [
        said(LESSON, json!(sha256("eve's")), "overlay"),
        said(lone, Value::Null, "overlay"),
        said(shown, json!(sha256("base")), "base"),
    ];
    assert_eq!(told(&delta(&client, &since, hers).await), expected);
    let expected = [said(hidden, json!(sha256("below eve's")), "base")];
    for who in [json!({}), his] {
        assert_eq!(told(&delta(&client, &since, who).await), expected);
    }
}

async fn a_delta_of_more_than_1_000_files_comes_page_by_page(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let path =
        |n: usize| format!("content/{:02}-Part/{:02}-Chapter/{:02}-lesson.md", n / 400, n / 20 % 20, n % 20);
    create_all(&client, (0..1_002).map(|n| (path(n), format!("{n}")))).await;
    let first = delta(&client, ALWAYS, json!({})).await;
    assert_eq!(first["changed_files"].as_array().unwrap().len(), 1_000);
    // Before the second page is read, a file of the first page and one of the second change.
    write(&client, &path(0), "new", json!({ "expected_hash": sha256("0") })).await.expect_ok();
    write(&client, &path(1_001), "new", json!({ "expected_hash": sha256("1001") })).await.expect_ok();
    let second = delta(&client, ALWAYS, json!({ "cursor": first["next_cursor"] })).await;
    assert_eq!(second["changed_files"].as_array().unwrap().len(), 2);
    assert_eq!(second.get("next_cursor"), None);
    for field in ["next_since", "changed_count"] {
        assert_eq!(second[field], first[field], "all pages are one delta");
    }
    assert_eq!(first["changed_count"], 1_002);
    let next = delta(&client, &text(&first["next_since"]), json!({})).await;
    let paths: Vec<_> =
        next["changed_files"].as_array().unwrap().iter().map(|file| text(&file["path"])).collect();
    assert_eq!(paths, [path(0), path(1_001)]);
}

async fn i9_a_follower_of_next_since_knows_every_acknowledged_change(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let path = |n: usize| format!("content/01-Part/01-Chapter/{n:02}-lesson.md");
    let writers: Vec<_> = (0..8)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut last = String::new();
                for round in 0..10 {
                    let expected =
                        if round == 0 { json!({}) } else { json!({ "expected_hash": sha256(&last) }) };
                    last = format!("{n} {round}");
                    write(&client, &path(n), &last, expected).await.expect_ok();
                }
                sha256(last)
            })
        })
        .collect();
    let (mut known, mut since, mut last_look) = (BTreeMap::new(), ALWAYS.to_owned(), false);
    while !last_look {
        last_look = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let answer = client.call("delta_build", json!({ "book_id": BOOK, "since": since })).await;
        if answer.code() == "BOOK_NOT_FOUND" {
            continue;
        }
        let answer = answer.expect_ok();
        for file in answer["changed_files"].as_array().unwrap() {
            known.insert(text(&file["path"]), text(&file["sha256"]));
        }
        since = text(&answer["next_since"]);
    }
    let mut expected = BTreeMap::new();
    for (n, writer) in writers.into_iter().enumerate() {
        expected.insert(path(n), writer.await.unwrap());
    }
    assert_eq!(known, expected);
}
