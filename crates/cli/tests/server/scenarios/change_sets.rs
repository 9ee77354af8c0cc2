//! `apply_changes`: sets of changes, all or nothing (I10), and moves whose history follows.

use std::collections::BTreeSet;

use panaversity_testkit::contract::run_concurrently;
use serde_json::{Value, json};

use crate::fixtures::{BOOK, LESSON, NO_HASH, about, created, fresh, read, sha256, with};
use crate::harness::{Answer, TestBackend, TestClient};

on_every_backend!(
    a_set_changes_several_files_at_once_under_one_id_with_its_message,
    i10_a_set_with_one_refused_change_changes_nothing_and_says_so_for_each,
    a_dry_run_of_a_set_tells_what_would_happen,
    a_moved_file_keeps_its_bytes_and_its_history,
    a_move_onto_another_file_is_refused_and_one_that_differs_by_case_is_made,
    i10_sets_that_overlap_neither_block_each_other_nor_mix,
);

const SECOND: &str = "content/01-Part/01-Chapter/02-lesson.md";
const THIRD: &str = "content/01-Part/01-Chapter/03-lesson.md";

async fn apply(client: &TestClient, changes: Value, more: Value) -> Answer {
    client.call("apply_changes", with(json!({ "book_id": BOOK, "changes": changes }), more)).await
}

async fn content(client: &TestClient, path: &str) -> Option<Value> {
    let answer = read(client, path, json!({})).await;
    answer.ok.then(|| answer.value["content"].clone())
}

async fn versions(client: &TestClient, path: &str) -> Vec<Value> {
    let history = client.call("list_history", about(path, json!({}))).await.expect_ok();
    history["versions"].as_array().unwrap().clone()
}

async fn a_set_changes_several_files_at_once_under_one_id_with_its_message(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let hash = created(&client, LESSON, "one\n", json!({})).await;
    created(&client, SECOND, "two\n", json!({})).await;
    let moved = "content/01-Part/01-Chapter/04-lesson.md";
    let changes = json!([
        { "op": "write", "path": THIRD, "content": "three\n" },
        { "op": "edit", "path": LESSON, "edits": [{ "old_text": "one", "new_text": "1" }], "expected_hash": hash },
        { "op": "move", "path": SECOND, "to": moved },
        { "op": "delete", "path": "content/README.md" },
    ]);
    let applied = apply(&client, changes.clone(), json!({ "message": "Renumber" })).await.expect_ok();
    let expected = json!([
        { "path": THIRD, "mode": "created", "file_hash": sha256("three\n") },
        { "path": LESSON, "mode": "updated", "file_hash": sha256("1\n") },
        { "path": moved, "mode": "moved", "file_hash": sha256("two\n"), "from": SECOND },
        { "path": "content/README.md", "mode": "unchanged" },
    ]);
    assert_eq!((&applied["changes"], &applied["changed_count"]), (&expected, &json!(3)));
    assert_eq!(content(&client, LESSON).await, Some(json!("1\n")));
    assert_eq!(content(&client, SECOND).await, None);
    assert_eq!(content(&client, moved).await, Some(json!("two\n")));

    let log = json!({ "book_id": BOOK, "path": "content/**" });
    let log = client.call("query_audit_log", log).await.expect_ok();
    let of_set: Vec<&Value> = log["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["change_id"] == applied["change_id"])
        .collect();
    let seen: BTreeSet<_> =
        of_set.iter().map(|e| (e["path"].as_str().unwrap(), e["operation"].as_str().unwrap())).collect();
    let wanted = [
        (THIRD, "WRITE"),
        (LESSON, "EDIT"),
        (SECOND, "MOVE"),
        (moved, "MOVE"),
        ("content/README.md", "DELETE"),
    ];
    assert_eq!(seen, wanted.into_iter().collect());
    assert!(of_set.iter().all(|e| e["error_message"] == "Renumber"), "{of_set:?}");
    assert_eq!(versions(&client, THIRD).await[0]["message"], "Renumber");
    let verified = client.call("verify_audit_chain", json!({ "book_id": BOOK })).await.expect_ok();
    assert_eq!(verified["valid"], true);
}

async fn i10_a_set_with_one_refused_change_changes_nothing_and_says_so_for_each(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, "one\n", json!({})).await;
    let hash = created(&client, SECOND, "two\n", json!({})).await;
    let changes = json!([
        { "op": "write", "path": THIRD, "content": "three\n" },
        { "op": "write", "path": SECOND, "content": "2\n", "expected_hash": NO_HASH },
        { "op": "edit", "path": LESSON, "edits": [{ "old_text": "none", "new_text": "" }] },
        { "op": "write", "path": "content/wrong.md", "content": "" },
        { "op": "delete", "path": LESSON.replace("01-lesson", "09-lesson") },
        { "op": "move", "path": LESSON.replace("01-lesson", "08-lesson"), "to": "content/README.md" },
    ]);
    let refused = apply(&client, changes, json!({})).await;
    let error = &refused.value["error"];
    assert_eq!(refused.code(), "CONFLICT", "the code of the first: {error}");
    let told: Vec<_> = error["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (change["would_pass"] == true, change["error"]["code"].as_str().unwrap_or_default()))
        .collect();
    let expected = [
        (true, ""),
        (false, "CONFLICT"),
        (false, "EDIT_NOT_UNIQUE"),
        (false, "SCHEMA_VIOLATION"),
        (true, ""),
        (false, "NOT_FOUND"),
    ];
    assert_eq!(told, expected, "{error}");
    assert_eq!(error["changes"][1]["error"]["current_hash"], hash);
    assert!(error["changes"][1]["error"]["hint"].as_str().unwrap().contains("expected_hash"));
    assert_eq!(content(&client, THIRD).await, None);
    assert_eq!(content(&client, SECOND).await, Some(json!("two\n")));

    for (changes, argument) in [
        (json!([]), "changes"),
        (json!([{ "op": "copy", "path": LESSON }]), "changes[0].op"),
        (json!([{ "op": "delete", "path": LESSON, "content": "x" }]), "changes[0].content"),
        (json!([{ "op": "write", "path": LESSON }]), "changes[0].content"),
        (json!([{ "op": "edit", "path": LESSON, "edits": [{}] }]), "changes[0].edits[0].old_text"),
    ] {
        let refused = apply(&client, changes, json!({})).await;
        assert_eq!(
            (refused.code(), &refused.value["error"]["argument"]),
            ("INVALID_ARGUMENT", &json!(argument))
        );
    }
    let twice = json!([{ "op": "delete", "path": LESSON }, { "op": "write", "path": LESSON, "content": "" }]);
    assert_eq!(apply(&client, twice, json!({})).await.code(), "INVALID_ARGUMENT");
    let large = json!([{ "op": "write", "path": LESSON, "content": "x".repeat(8 * 1024 * 1024 + 1) }]);
    assert_eq!(apply(&client, large, json!({})).await.code(), "TOO_LARGE");
}

async fn a_dry_run_of_a_set_tells_what_would_happen(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, "one\n", json!({})).await;
    let changes = json!([
        { "op": "write", "path": SECOND, "content": "two\n" },
        { "op": "edit", "path": LESSON, "edits": [{ "old_text": "one", "new_text": "1" }] },
    ]);
    let dry = apply(&client, changes, json!({ "dry_run": true })).await.expect_ok();
    assert_eq!((dry["changes"][0]["mode"].as_str(), dry.get("change_id")), (Some("created"), None));
    assert_eq!(content(&client, SECOND).await, None);
    // Names that conflict within the set, and with the book.
    let twins = json!([
        { "op": "write", "path": SECOND, "content": "" },
        { "op": "write", "path": SECOND.replace("02-lesson", "02-Lesson"), "content": "" },
        { "op": "write", "path": LESSON.replace("01-lesson", "01-Lesson"), "content": "" },
    ]);
    let refused = apply(&client, twins, json!({ "dry_run": true })).await;
    let told: Vec<_> =
        refused.value["error"]["changes"].as_array().unwrap().iter().map(|c| &c["would_pass"]).collect();
    assert_eq!(told, [&json!(true), &json!(false), &json!(false)]);
}

async fn a_moved_file_keeps_its_bytes_and_its_history(on: TestBackend) {
    let (env, _server, client) = fresh(on).await;
    // One in the database, and one in an object.
    for (path, to, text) in [
        (LESSON, SECOND, "one\n".to_owned()),
        (THIRD, "content/01-Part/02-Chapter/01-lesson.md", "long\n".repeat(40_000)),
    ] {
        let first = created(&client, path, "before\n", json!({})).await;
        let hash = sha256(&text);
        let write = about(path, json!({ "content": text, "expected_hash": first }));
        client.call("write_content", write).await.expect_ok();
        let set = json!([{ "op": "move", "path": path, "to": to, "expected_hash": hash }]);
        apply(&client, set.clone(), json!({ "message": "Move it" })).await.expect_ok();
        assert_eq!(content(&client, to).await, Some(json!(text)));
        let again = apply(&client, set, json!({})).await.expect_ok();
        assert_eq!(again["changed_count"], 0, "repeating it is safe");
        let history = versions(&client, to).await;
        let seen: Vec<_> =
            history.iter().map(|v| (v["operation"].as_str().unwrap(), v.get("path"))).collect();
        let old = json!(path);
        assert_eq!(seen, [("MOVE", None), ("WRITE", Some(&old)), ("WRITE", Some(&old))], "{history:?}");
        assert_eq!(history[0]["from"], path);
        let gone = versions(&client, path).await;
        assert_eq!((&gone[0]["hash"], &gone[0]["operation"]), (&Value::Null, &json!("MOVE")));
        client.all_published().await;
        let tree = env.published();
        assert_eq!(tree.get(&format!("{BOOK}/{to}")).map(sha256), Some(hash));
        assert!(!tree.contains_key(&format!("{BOOK}/{path}")));
    }
}

async fn a_move_onto_another_file_is_refused_and_one_that_differs_by_case_is_made(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, "one\n", json!({})).await;
    created(&client, SECOND, "two\n", json!({})).await;
    let refused = apply(&client, json!([{ "op": "move", "path": LESSON, "to": SECOND }]), json!({})).await;
    assert_eq!(refused.code(), "CONFLICT");
    assert_eq!(content(&client, LESSON).await, Some(json!("one\n")));
    for (to, code) in [
        (LESSON, "INVALID_ARGUMENT"),
        ("static/img/a.md", "INVALID_ARGUMENT"),
        ("content/x.md", "SCHEMA_VIOLATION"),
    ] {
        let refused = apply(&client, json!([{ "op": "move", "path": LESSON, "to": to }]), json!({})).await;
        assert_eq!(refused.code(), code, "{to}");
    }
    let upper = LESSON.replace("01-lesson", "01-Lesson");
    apply(&client, json!([{ "op": "move", "path": LESSON, "to": upper }]), json!({})).await.expect_ok();
    assert_eq!(content(&client, &upper).await, Some(json!("one\n")));
    // Two files change places.
    let changes = json!([
        { "op": "write", "path": SECOND, "content": "one\n", "expected_hash": sha256("two\n") },
        { "op": "write", "path": upper, "content": "two\n", "expected_hash": sha256("one\n") },
    ]);
    apply(&client, changes, json!({})).await.expect_ok();
    assert_eq!(content(&client, SECOND).await, Some(json!("one\n")));
}

/// Every writer edits the same four files in an order of its own, each time all or none: after each set all
/// of them name the same writer and round.
async fn i10_sets_that_overlap_neither_block_each_other_nor_mix(on: TestBackend) {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 4;
    let (_env, _server, client) = fresh(on).await;
    let path = |n: usize| format!("content/01-Part/01-Chapter/{n:02}-lesson.md");
    for n in 0..4 {
        created(&client, &path(n), "by nobody\n", json!({})).await;
    }
    let wins = run_concurrently(WRITERS, |writer| {
        let client = client.client().of_agent(&format!("writer-{writer}"));
        async move {
            let mut wins = 0;
            for round in 0..ROUNDS {
                let mut changes = Vec::new();
                for n in 0..4 {
                    let path = path((n + writer) % 4);
                    let now = read(&client, &path, json!({})).await.expect_ok();
                    let content = format!("by {writer} in {round}\n");
                    let hash = &now["file_hash_sha256"];
                    changes.push(
                        json!({ "op": "write", "path": path, "content": content, "expected_hash": hash }),
                    );
                }
                let answer = apply(&client, changes.into(), json!({})).await;
                assert!(answer.ok || answer.code() == "CONFLICT", "{}", answer.value);
                wins += usize::from(answer.ok);
            }
            wins
        }
    })
    .await;
    assert!(wins.iter().sum::<usize>() > 0);
    let mut held = BTreeSet::new();
    for n in 0..4 {
        held.insert(content(&client, &path(n)).await.unwrap().to_string());
    }
    assert_eq!(held.len(), 1, "{held:?}");
}
