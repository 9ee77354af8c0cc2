//! Reading: the whole answer, versions by hash, `if_none_match`, and folders. A version belongs to
//! one book, path and layer (R5).

use serde_json::{Value, json};

use crate::fixtures::{
    BOOK, LESSON, NO_HASH, about, created, delete, field, fresh, pages, read, sha256, text, with, write,
};
use crate::harness::{Db, TestBackend};

on_both_databases!(
    a_file_is_read_with_all_that_is_known_of_it,
    an_old_version_is_read_by_its_hash,
    a_hash_names_versions_of_the_same_book_path_and_layer_only,
    what_the_caller_has_already_is_not_sent_again,
    a_scope_holds_its_folder_and_nothing_beside_it,
    what_is_not_there_is_answered_with_what_is_near,
    an_asset_is_only_looked_for,
);

async fn a_file_is_read_with_all_that_is_known_of_it(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, "one", json!({})).await;
    let mut file = read(&client, LESSON, json!({})).await.expect_ok();
    let written = file.as_object_mut().unwrap().remove("last_modified").unwrap();
    let expected = json!({
        "path": LESSON, "content": "one", "file_size": 3, "storage_backend": on.storage_backend(),
        "file_hash_sha256": sha256("one"), "source": "base",
    });
    assert_eq!(file, expected);
    let audited = crate::fixtures::entries(&client, json!({ "operation": "WRITE" })).await;
    assert_eq!(written, audited[0]["timestamp"], "the file and its entry are of one moment");
}

async fn an_old_version_is_read_by_its_hash(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let large = "large\n".repeat(30_000);
    let mut hash = created(&client, LESSON, "one", json!({})).await;
    for content in [large.as_str(), "three"] {
        let updated = write(&client, LESSON, content, json!({ "expected_hash": hash })).await.expect_ok();
        hash = text(&updated["file_hash"]);
    }
    delete(&client, LESSON, json!({})).await.expect_ok();
    for content in ["one", large.as_str(), "three"] {
        let version = read(&client, LESSON, json!({ "hash": sha256(content) })).await.expect_ok();
        assert_eq!(version["content"], content);
        assert_eq!(version["file_hash_sha256"], json!(sha256(content)));
    }
    assert_eq!(read(&client, LESSON, json!({ "hash": NO_HASH })).await.code(), "NOT_FOUND");
}

async fn a_hash_names_versions_of_the_same_book_path_and_layer_only(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let elsewhere = "content/01-Part/01-Chapter/02-lesson.md";
    created(&client, LESSON, "base", json!({})).await;
    created(&client, elsewhere, "elsewhere", json!({})).await;
    created(&client, LESSON, "hers", json!({ "user_id": "eve" })).await;
    let other = json!({ "book_id": "other-book", "path": LESSON, "content": "of the other book" });
    client.call("write_content", other).await.expect_ok();

    let unknown = read(&client, LESSON, json!({ "hash": NO_HASH })).await;
    assert_eq!(unknown.code(), "NOT_FOUND");
    for content in ["elsewhere", "hers", "of the other book"] {
        let answer = read(&client, LESSON, json!({ "hash": sha256(content) })).await;
        assert_eq!(answer, unknown, "as if {content} did not exist");
    }
    let bobs = read(&client, LESSON, json!({ "hash": sha256("hers"), "user_id": "bob" })).await;
    assert_eq!(bobs, unknown);
    let hers = read(&client, LESSON, json!({ "hash": sha256("hers"), "user_id": "eve" })).await.expect_ok();
    assert_eq!((&hers["content"], &hers["source"]), (&json!("hers"), &json!("overlay")));
}

async fn what_the_caller_has_already_is_not_sent_again(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let hash = created(&client, LESSON, "one", json!({})).await;
    let same = read(&client, LESSON, json!({ "if_none_match": hash })).await.expect_ok();
    assert_eq!(same, json!({ "path": LESSON, "unchanged": true, "file_hash_sha256": hash }));
    let other = read(&client, LESSON, json!({ "if_none_match": NO_HASH })).await.expect_ok();
    assert_eq!((&other["content"], other.get("unchanged")), (&json!("one"), None));
    created(&client, LESSON, "hers", json!({ "user_id": "eve" })).await;
    let hers = read(&client, LESSON, json!({ "if_none_match": hash, "user_id": "eve" })).await.expect_ok();
    assert_eq!(hers["content"], "hers", "the base's hash is not hers");
    let gone = json!({ "if_none_match": hash, "path": "content/README.md" });
    assert_eq!(read(&client, LESSON, gone).await.code(), "NOT_FOUND");
}

async fn a_scope_holds_its_folder_and_nothing_beside_it(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let chapter = ["content/01-Part/01-Chapter/01-lesson.md", "content/01-Part/01-Chapter/README.md"];
    let part = ["content/01-Part/02-Chapter/01-lesson.md", "content/01-Part/index.md"];
    // Neighbors whose names have the same beginning.
    let rest = [
        "content/01-Part-2/01-Chapter/01-lesson.md",
        "content/01-Part/01-Chapter-2/01-lesson.md",
        "content/01-Parts/01-Chapter/01-lesson.md",
        "content/README.md",
    ];
    for path in chapter.iter().chain(&part).chain(&rest) {
        created(&client, path, path, json!({})).await;
    }
    let within = |prefix: &str| {
        let mut all: Vec<_> = chapter.iter().chain(&part).chain(&rest).map(ToString::to_string).collect();
        all.retain(|path| path.starts_with(prefix));
        all.sort();
        all
    };
    for (scope, path, prefix) in [
        ("chapter", "content/01-Part/01-Chapter", "content/01-Part/01-Chapter/"),
        ("chapter", "content/01-Part/01-Chapter/", "content/01-Part/01-Chapter/"),
        ("chapter", "content/01-Part/01-Chapter/99-not-there.md", "content/01-Part/01-Chapter/"),
        ("part", "content/01-Part", "content/01-Part/"),
        ("part", "content/01-Part/01-Chapter/01-lesson.md", "content/01-Part/"),
        ("part", "content/01-Part/index.md", "content/01-Part/"),
        ("book", "content/01-Part", "content/"),
    ] {
        let (files, _) =
            pages(&client, "read_content", about(path, json!({ "scope": scope })), "files").await;
        assert_eq!(field(&files, "path"), within(prefix), "{scope} {path}");
        assert_eq!(field(&files, "content"), within(prefix), "each holds its own path");
    }
    let whole = json!({ "book_id": BOOK, "scope": "book" });
    assert_eq!(pages(&client, "read_content", whole, "files").await.0.len(), 8);
    for (scope, path, code) in [
        ("chapter", "content/01-Part/09-Chapter", "NOT_FOUND"),
        ("chapter", "content/01-Part", "INVALID_ARGUMENT"),
        ("part", "content", "INVALID_ARGUMENT"),
        ("part", "static/img", "INVALID_ARGUMENT"),
        ("part", "users/eve", "INVALID_PATH"),
        ("part", "content/..", "INVALID_PATH"),
        ("volume", "content/01-Part", "INVALID_ARGUMENT"),
    ] {
        assert_eq!(read(&client, path, json!({ "scope": scope })).await.code(), code, "{scope} {path}");
    }
}

async fn what_is_not_there_is_answered_with_what_is_near(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    for n in 1..=8 {
        created(&client, &format!("content/01-Part/01-Chapter/{n:02}-lesson.md"), "x", json!({})).await;
    }
    let missing = read(&client, "content/01-Part/01-Chapter/01-leson.md", json!({})).await;
    assert_eq!(missing.code(), "NOT_FOUND");
    let suggestions = missing.value["error"]["suggestions"].as_array().unwrap().clone();
    assert_eq!((suggestions.len(), &suggestions[0]), (5, &json!(LESSON)));
    let other_folder = read(&client, "content/01-Part/02-Chapter/01-lesson.md", json!({})).await;
    assert_eq!(other_folder.value["error"]["suggestions"][0], LESSON);
    let far = read(&client, "static/video", json!({ "scope": "file" })).await;
    assert!(far.ok || far.value["error"]["suggestions"] == json!([]), "{}", far.value);
}

async fn an_asset_is_only_looked_for(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let asset = "static/img/logo.png";
    assert_eq!(read(&client, asset, json!({})).await.code(), "BOOK_NOT_FOUND");
    created(&client, LESSON, "one", json!({})).await;
    let expected: Value = json!({ "path": asset, "exists": false });
    assert_eq!(read(&client, asset, json!({})).await.expect_ok(), expected);
    let hers = with(json!({ "user_id": "eve" }), json!({ "if_none_match": NO_HASH }));
    assert_eq!(read(&client, asset, hers).await.expect_ok(), expected);
    assert_eq!(write(&client, asset, "text", json!({})).await.code(), "SCHEMA_VIOLATION");
}

/// Of many files that are read together, the damaged one is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_named_whatever_it_was_read_with() {
    let (env, server, client) = fresh(Db::Sqlite).await;
    let (large, hers) = ("large\n".repeat(30_000), "hers\n".repeat(40_000));
    let damaged = "content/02-Part/01-Chapter/01-lesson.md";
    created(&client, LESSON, "one", json!({})).await;
    created(&client, damaged, &large, json!({})).await;
    created(&client, LESSON, &hers, json!({ "user_id": "eve" })).await;
    server.all_published().await;
    let object = |text: &str| {
        let hash = sha256(text);
        env.storage_root().join(".panaversity/objects").join(&hash[..2]).join(hash)
    };
    std::fs::write(object(&large), "damaged").unwrap();
    let since = json!({ "book_id": BOOK, "since": "2020-01-01T00:00:00Z", "include_content": true });
    for (tool, arguments, is_wide) in [
        ("read_content", json!({ "book_id": BOOK, "scope": "book" }), true),
        ("read_content", about("content/02-Part", json!({ "scope": "part" })), true),
        ("delta_build", since.clone(), true),
        ("read_content", about(damaged, json!({})), false),
    ] {
        let answer = client.call(tool, arguments.clone()).await;
        let error = &answer.value["error"];
        assert_eq!(
            (answer.code(), &error["path"]),
            ("CORRUPT", &json!(damaged)),
            "{tool} {arguments}: {error}"
        );
        assert_eq!(text(&error["hint"]).contains("one by one"), is_wide, "{error}");
        let told = error.to_string();
        assert!(!told.contains(&sha256(&large)) && !told.contains("objects"), "{told}");
    }
    assert!(read(&client, LESSON, json!({})).await.ok, "the others are read one by one");
    let again = json!({ "expected_hash": sha256(&large) });
    write(&client, damaged, &large, again).await.expect_ok();
    client.call("read_content", json!({ "book_id": BOOK, "scope": "book" })).await.expect_ok();
    // R5: a damaged overlay file is named to its owner, and affects nobody else.
    std::fs::write(object(&hers), "damaged").unwrap();
    let own =
        client.call("read_content", json!({ "book_id": BOOK, "scope": "book", "user_id": "eve" })).await;
    assert_eq!((own.code(), &own.value["error"]["path"]), ("CORRUPT", &json!(LESSON)));
    client.call("read_content", json!({ "book_id": BOOK, "scope": "book" })).await.expect_ok();
}
