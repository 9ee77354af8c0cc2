//! The agent contract for writing, row by row, in the base and in an overlay. R3, and R2 for all
//! kinds of text.

use serde_json::{Value, json};

use crate::fixtures::{BOOK, LESSON, NO_HASH, created, delete, fresh, manifest, read, sha256, text, write};
use crate::harness::{Answer, TestBackend, TestClient};

on_every_backend!(
    the_contract_for_writing_holds_row_by_row,
    the_contract_for_writing_holds_in_an_overlay_too,
    r3_deleting_again_is_success,
    r3_a_deleted_file_can_be_created_again_but_not_replaced,
    r2_every_text_reads_back_byte_for_byte,
    a_text_of_500_000_bytes_is_kept_and_one_byte_more_is_refused,
    a_first_write_that_is_refused_creates_no_book,
    names_that_differ_only_by_case_are_refused,
);

/// The code of a refusal, whose error has a hint.
#[track_caller]
fn refusal(answer: &Answer) -> (&str, &Value) {
    let error = &answer.value["error"];
    for part in ["message", "hint"] {
        assert!(error[part].as_str().is_some_and(|text| text.len() > 10), "no {part}: {error}");
    }
    assert!(error.get("outcome").is_none(), "{error}");
    (answer.code(), &error["current_hash"])
}

async fn the_contract_for_writing_holds_row_by_row(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    row_by_row(&client, json!({}), "base").await;
}

async fn the_contract_for_writing_holds_in_an_overlay_too(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, "the base's", json!({})).await;
    row_by_row(&client, json!({ "user_id": "eve" }), "overlay").await;
    assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], "the base's");
}

async fn row_by_row(client: &TestClient, layer: Value, namespace: &str) {
    let with_hash = |hash: &str| crate::fixtures::with(layer.clone(), json!({ "expected_hash": hash }));

    let given = write(client, LESSON, "one", with_hash(NO_HASH)).await;
    assert_eq!(refusal(&given), ("NOT_FOUND", &Value::Null));

    let first = write(client, LESSON, "one", layer.clone()).await.expect_ok();
    let expected = json!({
        "status": "success", "mode": "created", "path": LESSON, "file_size": 3,
        "file_hash": sha256("one"), "namespace": namespace,
    });
    assert_eq!(first, expected);

    let hash = text(&first["file_hash"]);
    for same in [layer.clone(), with_hash(&hash), with_hash(NO_HASH)] {
        let again = write(client, LESSON, "one", same).await.expect_ok();
        assert_eq!((&again["mode"], &again["file_hash"]), (&json!("unchanged"), &json!(hash)));
    }

    let missing = write(client, LESSON, "two", layer.clone()).await;
    assert_eq!(refusal(&missing), ("HASH_REQUIRED", &json!(hash)));
    let differs = write(client, LESSON, "two", with_hash(NO_HASH)).await;
    assert_eq!(refusal(&differs), ("CONFLICT", &json!(hash)));
    let now = read(client, LESSON, layer.clone()).await.expect_ok();
    assert_eq!((&now["content"], &now["source"]), (&json!("one"), &json!(namespace)));

    let updated = write(client, LESSON, "two", with_hash(&hash.to_uppercase())).await.expect_ok();
    assert_eq!((&updated["mode"], &updated["file_hash"]), (&json!("updated"), &json!(sha256("two"))));
    let late = write(client, LESSON, "three", with_hash(&hash)).await;
    assert_eq!(refusal(&late), ("CONFLICT", &json!(sha256("two"))));
    assert_eq!(read(client, LESSON, layer.clone()).await.expect_ok()["content"], "two");
}

async fn r3_deleting_again_is_success(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    assert_eq!(delete(&client, LESSON, json!({})).await.code(), "BOOK_NOT_FOUND");
    let hash = created(&client, LESSON, "one", json!({})).await;
    let differs = delete(&client, LESSON, json!({ "expected_hash": NO_HASH })).await;
    assert_eq!(refusal(&differs), ("CONFLICT", &json!(hash)));
    assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], "one");

    let expected = |existed: bool| json!({ "status": "success", "path": LESSON, "existed": existed, "namespace": "base" });
    assert_eq!(delete(&client, LESSON, json!({ "expected_hash": hash })).await.expect_ok(), expected(true));
    for again in [json!({}), json!({ "expected_hash": hash }), json!({ "expected_hash": NO_HASH })] {
        assert_eq!(delete(&client, LESSON, again).await.expect_ok(), expected(false));
    }
    assert_eq!(read(&client, LESSON, json!({})).await.code(), "NOT_FOUND");
    let never = delete(&client, "content/README.md", json!({})).await.expect_ok();
    assert_eq!(never["existed"], false);
}

async fn r3_a_deleted_file_can_be_created_again_but_not_replaced(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let hash = created(&client, LESSON, "one", json!({})).await;
    let unnamed = delete(&client, LESSON, json!({})).await.expect_ok();
    assert_eq!(unnamed["existed"], true, "without a hash it is deleted whatever it holds");
    let replaced = write(&client, LESSON, "two", json!({ "expected_hash": hash })).await;
    assert_eq!(refusal(&replaced).0, "NOT_FOUND");
    assert_eq!(created(&client, LESSON, "one", json!({})).await, hash);
}

async fn r2_every_text_reads_back_byte_for_byte(on: TestBackend) {
    let (env, server, client) = fresh(on).await;
    let large = "123456789\n".repeat(20_000);
    let texts = [
        "",
        "\n",
        "no line end",
        "\u{feff}a byte order mark\r\nand\rall\nline ends\u{2028}\u{2029}",
        "NUL \0, escape \u{1b}[31m, delete \u{7f}, \u{85}",
        "e\u{301} is not \u{e9}; \u{1f469}\u{200d}\u{1f52c} \u{10ffff} \u{ffff}",
        "\"quotes\" \\ back \\u0041 \\n slashes </script> {{ }}",
        &large,
    ];
    for (n, content) in texts.iter().enumerate() {
        let path = format!("content/01-Part/01-Chapter/{n:02}-text.md");
        let hash = created(&client, &path, content, json!({})).await;
        let file = read(&client, &path, json!({})).await.expect_ok();
        assert_eq!(file["content"].as_str(), Some(*content), "{path}");
        assert_eq!((&file["file_size"], &file["file_hash_sha256"]), (&json!(content.len()), &json!(hash)));
        assert_eq!(hash, sha256(content));
    }
    assert_eq!(large.len(), 200_000, "beyond the inline limit: it lies in an object");
    assert!(env.object(&sha256(&large)).unwrap() == large.as_bytes());
    server.all_published().await;
    let published = env.published();
    for (n, content) in texts.iter().enumerate() {
        let name = format!("{BOOK}/content/01-Part/01-Chapter/{n:02}-text.md");
        assert_eq!(published[&name], content.as_bytes(), "{name}");
    }
}

async fn a_text_of_500_000_bytes_is_kept_and_one_byte_more_is_refused(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let most = "x".repeat(500_000);
    created(&client, LESSON, &most, json!({})).await;
    assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], json!(most));
    let before = manifest(&client).await;
    // Bytes count, not characters.
    for (content, bytes) in [(most + "x", 500_001), ("\u{e9}".repeat(250_001), 500_002)] {
        for path in [LESSON, "content/README.md"] {
            let more = write(&client, path, &content, json!({ "expected_hash": NO_HASH })).await;
            assert_eq!(refusal(&more).0, "TOO_LARGE", "{path}");
            let error = &more.value["error"];
            assert_eq!((&error["actual"], &error["limit"]), (&json!(bytes), &json!(500_000)));
        }
    }
    assert_eq!(manifest(&client).await, before);
}

async fn a_first_write_that_is_refused_creates_no_book(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    for (path, more) in [
        ("content/thesis.md", json!({})),
        ("content/../x.md", json!({})),
        ("static/img/x.png", json!({})),
        (LESSON, json!({ "expected_hash": NO_HASH })),
        (LESSON, json!({ "user_id": "__base__" })),
        (LESSON, json!({ "user": "eve" })),
    ] {
        assert!(!write(&client, path, "x", more).await.ok, "{path}");
    }
    assert!(!write(&client, LESSON, &"x".repeat(500_001), json!({})).await.ok);
    assert_eq!(client.call("list_books", json!({})).await.expect_ok(), json!({ "books": [] }));
    for tool in ["plan_build", "read_content", "verify_audit_chain", "list_books"] {
        let mut arguments = json!({ "book_id": BOOK });
        if tool == "read_content" {
            arguments["path"] = LESSON.into();
        }
        assert_eq!(refusal(&client.call(tool, arguments).await).0, "BOOK_NOT_FOUND", "{tool}");
    }
}

async fn names_that_differ_only_by_case_are_refused(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    client.call("create_book", json!({ "book_id": BOOK, "schema": "docusaurus" })).await.expect_ok();
    created(&client, "content/Caf\u{e9}/Intro.md", "one", json!({})).await;
    for twin in ["content/Caf\u{e9}/intro.md", "content/caf\u{e9}/Intro.md", "content/CAF\u{c9}/INTRO.md"] {
        let refused = write(&client, twin, "two", json!({})).await;
        assert_eq!(refusal(&refused).0, "CONFLICT", "{twin}");
        assert!(refused.value.to_string().contains("Intro.md"), "it names the other: {}", refused.value);
    }
    delete(&client, "content/Caf\u{e9}/Intro.md", json!({})).await.expect_ok();
    created(&client, "content/caf\u{e9}/intro.md", "two", json!({})).await;
}
