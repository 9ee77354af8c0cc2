//! `list_history`, `blame_content` and `restore_content`.

use serde_json::{Value, json};

use crate::fixtures::{
    BOOK, LESSON, NO_HASH, about, created, delete, fresh, manifest, read, sha256, with, write,
};
use crate::harness::{Answer, TestBackend, TestClient};

on_every_backend!(
    a_history_lists_every_version_of_the_layer_that_is_seen,
    a_long_history_goes_on_page_by_page,
    each_line_is_blamed_on_the_version_that_wrote_it,
    a_file_is_restored_to_any_version_under_the_contract_for_writing,
    a_book_is_restored_to_the_state_that_a_manifest_names,
    a_restore_whose_bytes_are_gone_is_refused_by_name,
);

async fn history(client: &TestClient, path: &str, more: Value) -> Value {
    client.call("list_history", about(path, more)).await.expect_ok()
}

async fn restore(client: &TestClient, more: Value) -> Answer {
    client.call("restore_content", with(json!({ "book_id": BOOK }), more)).await
}

async fn a_history_lists_every_version_of_the_layer_that_is_seen(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let (ann, bob) = (client.client().of_agent("ann"), client.client().of_agent("bob"));
    let one = created(&ann, LESSON, "one\n", json!({})).await;
    write(&bob, LESSON, "two\n", json!({ "expected_hash": one })).await.expect_ok();
    created(&bob, LESSON, "mine\n", json!({ "user_id": "eve" })).await;
    delete(&ann, LESSON, json!({})).await.expect_ok();
    let seen = |history: &Value| -> Vec<(String, String, Value, u64)> {
        let versions = history["versions"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        versions
            .map(|v| {
                (text(&v["agent_id"]), text(&v["operation"]), v["hash"].clone(), v["size"].as_u64().unwrap())
            })
            .collect()
    };
    let of_base = history(&client, LESSON, json!({})).await;
    let expected = [
        ("ann".to_owned(), "DELETE".to_owned(), Value::Null, 0),
        ("bob".to_owned(), "WRITE".to_owned(), json!(sha256("two\n")), 4),
        ("ann".to_owned(), "WRITE".to_owned(), json!(one), 4),
    ];
    assert_eq!((seen(&of_base).as_slice(), &of_base["namespace"]), (&expected[..], &json!("base")));
    assert!(of_base.get("next_cursor").is_none());
    let of_eve = history(&client, LESSON, json!({ "user_id": "eve" })).await;
    assert_eq!((seen(&of_eve).len(), &of_eve["namespace"]), (1, &json!("overlay")));
    let never = client.call("list_history", about("content/README.md", json!({}))).await;
    assert_eq!(never.code(), "NOT_FOUND");
    let no_book = client.call("list_history", json!({ "book_id": "no-book", "path": LESSON })).await;
    assert_eq!(no_book.code(), "BOOK_NOT_FOUND");
}

async fn a_long_history_goes_on_page_by_page(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let mut hash = created(&client, LESSON, "0\n", json!({})).await;
    let moved = "content/01-Part/01-Chapter/02-lesson.md";
    for n in 1..250 {
        if n == 120 {
            let changes = json!([{ "op": "move", "path": LESSON, "to": moved }]);
            client.call("apply_changes", json!({ "book_id": BOOK, "changes": changes })).await.expect_ok();
        }
        let path = if n < 120 { LESSON } else { moved };
        let written =
            write(&client, path, &format!("{n}\n"), json!({ "expected_hash": hash })).await.expect_ok();
        written["file_hash"].as_str().unwrap().clone_into(&mut hash);
    }
    let (mut seen, mut cursor, mut pages) = (Vec::new(), Value::Null, 0);
    loop {
        let page = history(&client, moved, json!({ "cursor": cursor })).await;
        seen.extend(page["versions"].as_array().unwrap().iter().map(|v| v["hash"].clone()));
        pages += 1;
        match page.get("next_cursor") {
            Some(next) => cursor = next.clone(),
            None => break,
        }
    }
    // The move is a version too, of the same content.
    let mut expected: Vec<Value> = (0..250).rev().map(|n| json!(sha256(format!("{n}\n")))).collect();
    expected.insert(130, json!(sha256("119\n")));
    assert_eq!((seen, pages), (expected, 3));
}

async fn each_line_is_blamed_on_the_version_that_wrote_it(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let (ann, bob) = (client.client().of_agent("ann"), client.client().of_agent("bob"));
    let one = created(&ann, LESSON, "a\nb\nc\n", json!({})).await;
    let two = write(&bob, LESSON, "a\nB\nc\nd\n", json!({ "expected_hash": one })).await.expect_ok();
    let moved = "content/01-Part/01-Chapter/02-lesson.md";
    let changes = json!([{ "op": "move", "path": LESSON, "to": moved }]);
    let set = json!({ "book_id": BOOK, "changes": changes, "message": "Elsewhere" });
    client.call("apply_changes", set).await.expect_ok();
    let changes =
        json!([{ "op": "edit", "path": moved, "edits": [{ "old_text": "d\n", "new_text": "d\ne\n" }] }]);
    let set = json!({ "book_id": BOOK, "changes": changes, "message": "Add e" });
    ann.call("apply_changes", set).await.expect_ok();

    let blamed = client.call("blame_content", about(moved, json!({}))).await.expect_ok();
    let runs: Vec<_> = blamed["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| {
            (
                run["first_line"].as_u64().unwrap(),
                run["last_line"].as_u64().unwrap(),
                run["agent_id"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(runs, [(1, 1, "ann"), (2, 2, "bob"), (3, 3, "ann"), (4, 4, "bob"), (5, 5, "ann")]);
    assert_eq!(blamed["lines"][1]["hash"], two["file_hash"]);
    assert_eq!(blamed["lines"][4]["message"], "Add e");
    assert!(blamed["lines"][0].get("older").is_none(), "the whole history is kept: {blamed}");
    assert_eq!(blamed["total_lines"], 5);
    let never = client.call("blame_content", about(LESSON, json!({}))).await;
    assert_eq!(never.code(), "NOT_FOUND");
}

async fn a_file_is_restored_to_any_version_under_the_contract_for_writing(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let large = "long\n".repeat(40_000);
    let one = created(&client, LESSON, &large, json!({})).await;
    let two = write(&client, LESSON, "two\n", json!({ "expected_hash": one })).await.expect_ok();
    let two = two["file_hash"].as_str().unwrap();
    let to = |hash: &str, more: Value| with(json!({ "path": LESSON, "hash": hash }), more);
    assert_eq!(restore(&client, to(&one, json!({}))).await.code(), "HASH_REQUIRED");
    let stale = restore(&client, to(&one, json!({ "expected_hash": NO_HASH }))).await;
    assert_eq!((stale.code(), &stale.value["error"]["current_hash"]), ("CONFLICT", &json!(two)));
    let dry = restore(&client, to(&one, json!({ "expected_hash": two, "dry_run": true }))).await.expect_ok();
    assert_eq!(dry["changes"][0]["mode"], "updated");
    assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], "two\n");
    let back = restore(&client, to(&one, json!({ "expected_hash": two }))).await.expect_ok();
    assert_eq!(back["changes"], json!([{ "path": LESSON, "mode": "updated", "file_hash": one }]));
    assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], large);
    let again = restore(&client, to(&one, json!({}))).await.expect_ok();
    assert_eq!((&again["changes"][0]["mode"], again.get("change_id")), (&json!("unchanged"), None));
    // A deleted file.
    delete(&client, LESSON, json!({})).await.expect_ok();
    let back = restore(&client, to(two, json!({}))).await.expect_ok();
    assert_eq!(back["changes"][0]["mode"], "created");
    assert_eq!(restore(&client, to(NO_HASH, json!({}))).await.code(), "NOT_FOUND");
    let log =
        client.call("query_audit_log", about(LESSON, json!({ "operation": "RESTORE" }))).await.expect_ok();
    assert!(log["entries"].as_array().unwrap().iter().any(|entry| entry["new_content_hash"] == two), "{log}");
    for more in [
        json!({}),
        json!({ "path": LESSON }),
        json!({ "hash": one }),
        to(&one, json!({ "manifest_hash": one })),
    ] {
        assert_eq!(restore(&client, more).await.code(), "INVALID_ARGUMENT");
    }
    let overlay = json!({ "manifest_hash": one, "user_id": "eve" });
    assert_eq!(restore(&client, overlay).await.code(), "INVALID_ARGUMENT");
}

async fn a_book_is_restored_to_the_state_that_a_manifest_names(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let path = |n: usize| format!("content/01-Part/01-Chapter/{n:02}-lesson.md");
    let mut hashes = Vec::new();
    for n in 0..6 {
        hashes.push(created(&client, &path(n), &format!("lesson {n}\n"), json!({})).await);
    }
    created(&client, LESSON, "mine\n", json!({ "user_id": "eve" })).await;
    let before = client.call("plan_build", json!({ "book_id": BOOK })).await.expect_ok();
    let before = before["manifest_hash"].clone();
    write(&client, &path(0), "other\n", json!({ "expected_hash": hashes[0] })).await.expect_ok();
    delete(&client, &path(1), json!({})).await.expect_ok();
    created(&client, &path(7), "new\n", json!({})).await;
    let now = manifest(&client).await;
    let to = |more: Value| with(json!({ "manifest_hash": before }), more);
    let required = restore(&client, to(json!({}))).await;
    assert_eq!((required.code(), &required.value["error"]["current_hash"]), ("HASH_REQUIRED", &json!(now)));
    assert_eq!(restore(&client, to(json!({ "expected_hash": NO_HASH }))).await.code(), "CONFLICT");
    let modes = json!([
        { "path": path(0), "mode": "updated", "file_hash": hashes[0] },
        { "path": path(1), "mode": "created", "file_hash": hashes[1] },
        { "path": path(7), "mode": "deleted" },
    ]);
    let dry = restore(&client, to(json!({ "dry_run": true }))).await.expect_ok();
    assert_eq!((&dry["changes"], dry.get("change_id")), (&modes, None));
    let back = restore(&client, to(json!({ "expected_hash": now }))).await.expect_ok();
    assert_eq!((&back["changes"], &back["changed_count"]), (&modes, &json!(3)));
    assert_eq!(json!(manifest(&client).await), before);
    let again = restore(&client, to(json!({}))).await.expect_ok();
    assert_eq!(again["changed_count"], 0);
    let mine = read(&client, LESSON, json!({ "user_id": "eve" })).await.expect_ok();
    assert_eq!(mine["content"], "mine\n", "overlays stay");
    let unknown = json!({ "manifest_hash": NO_HASH, "expected_hash": before });
    assert_eq!(restore(&client, unknown).await.code(), "NOT_FOUND");
}

async fn a_restore_whose_bytes_are_gone_is_refused_by_name(on: TestBackend) {
    let (env, _server, client) = fresh(on).await;
    let other = "content/01-Part/01-Chapter/02-lesson.md";
    let text = |n: usize| format!("long {n}\n").repeat(30_000);
    let (one, two) = (
        created(&client, LESSON, &text(1), json!({})).await,
        created(&client, other, &text(2), json!({})).await,
    );
    let state =
        client.call("plan_build", json!({ "book_id": BOOK })).await.expect_ok()["manifest_hash"].clone();
    write(&client, LESSON, "small\n", json!({ "expected_hash": one })).await.expect_ok();
    delete(&client, other, json!({})).await.expect_ok();
    env.remove_object(&two);
    let now = manifest(&client).await;
    let refused = restore(&client, json!({ "manifest_hash": state, "expected_hash": now })).await;
    let error = &refused.value["error"];
    assert_eq!((refused.code(), &error["changes"][0]["path"]), ("CORRUPT", &json!(other)), "{error}");
    assert_eq!(manifest(&client).await, now, "nothing was restored");
    let alone = restore(&client, json!({ "path": other, "hash": two })).await;
    assert_eq!(alone.code(), "CORRUPT");
}
