//! Books and their schemas: creation, admitted paths (R1), lists.

use serde_json::{Value, json};

use crate::fixtures::{BOOK, LESSON, created, delete, fresh, manifest_hash, text, write};
use crate::harness::TestBackend;

on_every_backend!(
    a_book_is_created_strict_by_its_first_write,
    creating_a_book_again_is_harmless,
    r1_a_schema_changes_only_while_the_book_is_empty,
    r1_a_docusaurus_book_admits_what_docusaurus_reads,
    r1_a_refused_name_comes_with_one_that_fits,
    a_book_is_listed_with_its_size_manifest_and_names,
    updated_at_never_goes_back,
);

async fn a_book_is_created_strict_by_its_first_write(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, "one", json!({})).await;
    let listed = client.call("list_books", json!({})).await.expect_ok();
    assert_eq!(
        (&listed["books"][0]["book_id"], &listed["books"][0]["schema"]),
        (&json!(BOOK), &json!("strict"))
    );
    assert_eq!(write(&client, "content/thesis.md", "x", json!({})).await.code(), "SCHEMA_VIOLATION");
}

async fn creating_a_book_again_is_harmless(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let create = async |more: Value| {
        client.call("create_book", crate::fixtures::with(json!({ "book_id": BOOK }), more)).await
    };
    let expected = |schema: &str, created: bool| json!({ "status": "success", "book_id": BOOK, "schema": schema, "created": created });
    let docusaurus = json!({ "schema": "docusaurus" });
    assert_eq!(create(docusaurus.clone()).await.expect_ok(), expected("docusaurus", true));
    assert_eq!(create(docusaurus.clone()).await.expect_ok(), expected("docusaurus", false));
    assert_eq!(create(json!({})).await.expect_ok(), expected("docusaurus", false), "it keeps its schema");
    created(&client, "content/thesis.md", "x", json!({})).await;
    assert_eq!(create(docusaurus).await.expect_ok(), expected("docusaurus", false));
    assert_eq!(create(json!({})).await.expect_ok(), expected("docusaurus", false));
}

async fn r1_a_schema_changes_only_while_the_book_is_empty(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let become_ =
        async |schema: &str| client.call("create_book", json!({ "book_id": BOOK, "schema": schema })).await;
    become_("strict").await.expect_ok();
    assert_eq!(become_("docusaurus").await.expect_ok()["schema"], "docusaurus");
    for layer in [json!({}), json!({ "user_id": "eve" })] {
        created(&client, "content/thesis.md", "x", layer.clone()).await;
        let refused = become_("strict").await;
        assert_eq!(refused.code(), "CONFLICT", "{layer}");
        assert!(refused.value["error"]["hint"].as_str().unwrap().contains("list_books"));
        delete(&client, "content/thesis.md", layer).await.expect_ok();
    }
    become_("strict").await.expect_ok();
    assert_eq!(write(&client, "content/thesis.md", "x", json!({})).await.code(), "SCHEMA_VIOLATION");
}

async fn r1_a_docusaurus_book_admits_what_docusaurus_reads(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    client.call("create_book", json!({ "book_id": BOOK, "schema": "docusaurus" })).await.expect_ok();
    for admitted in [
        "content/thesis.md",
        "content/05-Python/32-gil/07_chapter_30_quiz.md",
        "content/guide/_category_.json",
        "content/guide/_category_.yml",
        "content/guide/\u{fc}ber uns (v2).mdx",
        "content/a/b/c/d/e/f/g/h.md",
        "content/guide/设置（高级）.md",
        "content/it’s new.md",
        "content/a–b.md",
        "content/🚀 start.md",
        "content/a\u{202f}b.md",
        "content/script.js",
        "content/data.csv",
        "content/tags.yml",
        "content/LICENSE",
        "content/v1.0/a.md",
        "content/aux.md",
        LESSON,
    ] {
        created(&client, admitted, "x", json!({})).await;
    }
    for refused in [
        "content/a/b/c/d/e/f/g/h/i.md",
        "content/.hidden.md",
        "content/a<b>.md",
        "content/a#b.md",
        "content/[a].md",
        "content/a!.md",
        "content/x.",
        "docs/x.md",
        "content",
        "static/img/text.md",
    ] {
        for layer in [json!({}), json!({ "user_id": "eve" })] {
            assert_eq!(write(&client, refused, "x", layer).await.code(), "SCHEMA_VIOLATION", "{refused}");
        }
    }
    // A name is a file's or a folder's, whichever came first.
    for refused in ["content/LICENSE/a.md", "content/license/a.md", "content/v1.0", "content/thesis.md/a.md"]
    {
        let answer = write(&client, refused, "x", json!({})).await;
        assert_eq!(answer.code(), "CONFLICT", "{refused}");
    }
}

async fn r1_a_refused_name_comes_with_one_that_fits(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    for odd in [
        "content/thesis.md",
        "content/05-Python/32-gil/07_chapter_30_quiz.md",
        "content/1. Intro/Set up/3 install.summary.mdx",
        "content/1-Part/1-Chapter/lesson.md",
    ] {
        let refused = write(&client, odd, "x", json!({})).await;
        assert_eq!(refused.code(), "SCHEMA_VIOLATION", "{odd}");
        let error = &refused.value["error"];
        let message = error["message"].as_str().unwrap();
        assert!(
            message.starts_with("Path must match content/{NN-Name}/{NN-Name}/{NN-name}[.summary].md"),
            "{message}"
        );
        created(&client, &text(&error["suggestion"]), "x", json!({})).await;
    }
}

async fn a_book_is_listed_with_its_size_manifest_and_names(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    client.call("create_book", json!({ "book_id": "empty-book" })).await.expect_ok();
    let files = [("content/README.md", "readme"), (LESSON, "one"), ("content/01-Part/index.md", "")];
    for (path, content) in files {
        created(&client, path, content, json!({})).await;
    }
    created(&client, "content/01-Part/README.md", "hers", json!({ "user_id": "eve" })).await;
    let one = async |structure: &str| {
        let listed =
            client.call("list_books", json!({ "book_id": BOOK, "include_structure": structure })).await;
        let mut books = listed.expect_ok()["books"].as_array().unwrap().clone();
        assert_eq!(books.len(), 1);
        books.remove(0)
    };
    let mut book = one("none").await;
    assert!(text(&book.as_object_mut().unwrap().remove("updated_at").unwrap()).ends_with('Z'));
    let hash = manifest_hash(files.iter().map(|(path, content)| (*path, content.as_bytes())));
    let expected = json!({
        "book_id": BOOK, "schema": "strict", "files": 3, "bytes": 9, "manifest_hash": hash,
        "storage_backend": on.storage_backend(),
    });
    assert_eq!(book, expected);
    let content = json!([
        { "folder": "content", "files": ["README.md"] },
        { "folder": "content/01-Part", "files": ["index.md"] },
        { "folder": "content/01-Part/01-Chapter", "files": ["01-lesson.md"] },
    ]);
    let all = one("all").await;
    assert_eq!((&all["content"], &all["assets"]), (&content, &json!([])));
    assert_eq!(one("content").await.get("assets"), None);
    assert_eq!(one("assets").await.get("content"), None);
    let both = client.call("list_books", json!({})).await.expect_ok();
    let empty = &both["books"][1];
    assert_eq!((&empty["files"], &empty["manifest_hash"]), (&json!(0), &json!(manifest_hash([]))));
}

async fn updated_at_never_goes_back(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let updated = async || {
        let listed = client.call("list_books", json!({ "book_id": BOOK })).await.expect_ok();
        text(&listed["books"][0]["updated_at"])
    };
    let create = async |schema: &str| {
        client.call("create_book", json!({ "book_id": BOOK, "schema": schema })).await.expect_ok();
    };
    create("docusaurus").await;
    let created_at = updated().await;
    create("strict").await;
    let mut last = updated().await;
    assert!(last > created_at, "another schema is a change");
    create("strict").await;
    assert_eq!(updated().await, last, "the same again is none");
    for path in ["content/README.md", LESSON] {
        created(&client, path, "x", json!({})).await;
        assert!(updated().await > last);
        last = updated().await;
    }
    for path in [LESSON, "content/README.md"] {
        delete(&client, path, json!({})).await.expect_ok();
        let now = updated().await;
        assert!(now > last, "{path} is gone: {now} after {last}");
        last = now;
        delete(&client, path, json!({})).await.expect_ok();
        created(&client, path, "hers", json!({ "user_id": "eve" })).await;
        assert_eq!(updated().await, last, "nothing of the base has changed");
    }
}
