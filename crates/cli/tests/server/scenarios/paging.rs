//! Pages of results: a book of more than 1,000 files and one of more than 1 MB are read and planned
//! page by page, and all pages together are the whole.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::fixtures::{BOOK, create_all, created, field, fresh, manifest_hash, pages, text, with, write};
use crate::harness::TestBackend;

on_both_databases!(
    a_book_of_more_than_1_000_files_is_read_and_planned_page_by_page,
    a_plan_goes_on_as_it_began_while_agents_write,
    more_than_100_books_are_listed_page_by_page,
);

on_one_backend!(
    a_book_of_more_than_1_mb_is_read_page_by_page,
    a_cursor_goes_on_with_its_own_call_alone,
    no_page_is_larger_than_1_mb_as_json,
);

fn lesson(n: usize) -> String {
    format!("content/{:02}-Part/{:02}-Chapter/{:02}-lesson.md", n / 400, n / 20 % 20, n % 20)
}

fn small_files() -> BTreeMap<String, String> {
    (0..1_050).map(|n| (lesson(n), format!("lesson {n}"))).collect()
}

async fn a_book_of_more_than_1_000_files_is_read_and_planned_page_by_page(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let files = small_files();
    create_all(&client, files.clone()).await;
    let whole = json!({ "book_id": BOOK, "scope": "book" });
    let (read, lengths) = pages(&client, "read_content", whole.clone(), "files").await;
    assert_eq!(lengths, [1_000, 50]);
    let read: Vec<_> = field(&read, "path").into_iter().zip(field(&read, "content")).collect();
    assert_eq!(read, files.clone().into_iter().collect::<Vec<_>>(), "in path order");

    let (planned, lengths) = pages(&client, "plan_build", json!({ "book_id": BOOK }), "files").await;
    assert_eq!(lengths, [1_000, 50]);
    assert_eq!(field(&planned, "path"), files.keys().cloned().collect::<Vec<_>>());
    let last = client.call("plan_build", json!({ "book_id": BOOK })).await.expect_ok();
    let bytes = files.iter().map(|(path, text)| (path.as_str(), text.as_bytes()));
    assert_eq!(text(&last["manifest_hash"]), manifest_hash(bytes));
    assert_eq!((&last["total_files"], &last["changed_count"]), (&json!(1_050), &json!(1_050)));

    // An overlay on both sides of the page's end, above the base and beside it.
    let beside = "content/00-Part/00-Chapter/99-hers.md".to_owned();
    let mut hers = files;
    for (path, content) in [(lesson(0), "first"), (lesson(1_049), "last"), (beside, "hers")] {
        created(&client, &path, content, json!({ "user_id": "eve" })).await;
        hers.insert(path, content.to_owned());
    }
    let whole = crate::fixtures::with(whole, json!({ "user_id": "eve" }));
    let (read, lengths) = pages(&client, "read_content", whole, "files").await;
    assert_eq!(lengths, [1_000, 51]);
    let read: Vec<_> = field(&read, "path").into_iter().zip(field(&read, "content")).collect();
    assert_eq!(read, hers.into_iter().collect::<Vec<_>>());
}

async fn a_plan_goes_on_as_it_began_while_agents_write(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let files = small_files();
    create_all(&client, files.clone()).await;
    let first = client.call("plan_build", json!({ "book_id": BOOK })).await.expect_ok();
    let (changed, added) = (lesson(1_049), "content/99-Part/99-Chapter/99-new.md");
    let hash = crate::fixtures::sha256(&files[&changed]);
    write(&client, &changed, "changed meanwhile", json!({ "expected_hash": hash })).await.expect_ok();
    created(&client, added, "new", json!({})).await;
    crate::fixtures::delete(&client, &lesson(1_048), json!({})).await.expect_ok();

    let rest = json!({ "book_id": BOOK, "cursor": first["next_cursor"] });
    let rest = client.call("plan_build", rest).await.expect_ok();
    assert_eq!(rest["manifest_hash"], first["manifest_hash"]);
    let all = [first["files"].as_array().unwrap().as_slice(), rest["files"].as_array().unwrap()].concat();
    assert_eq!(field(&all, "path"), files.keys().cloned().collect::<Vec<_>>());
    // Versions named by the plan are readable, whatever changed since.
    for file in all.iter().rev().take(3) {
        let version = json!({ "book_id": BOOK, "path": file["path"], "hash": file["current_hash"] });
        let version = client.call("read_content", version).await.expect_ok();
        assert_eq!(version["content"], json!(files[&text(&file["path"])]));
    }
}

async fn a_book_of_more_than_1_mb_is_read_page_by_page(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let sizes = [300_000, 300_000, 500_000, 10, 450_000, 350_001, 0];
    let files: BTreeMap<String, String> =
        sizes.iter().enumerate().map(|(n, size)| (lesson(n), "x".repeat(*size))).collect();
    create_all(&client, files.clone()).await;
    let mut arguments = json!({ "book_id": BOOK, "scope": "book" });
    let (mut read, mut count) = (Vec::new(), 0);
    loop {
        let page = client.call("read_content", arguments.clone()).await.expect_ok();
        let bytes: usize = field(page["files"].as_array().unwrap(), "content").iter().map(String::len).sum();
        assert!(bytes <= 1_000_000, "{bytes}");
        count += 1;
        read.extend(page["files"].as_array().unwrap().iter().cloned());
        let Some(cursor) = page.get("next_cursor") else { break };
        arguments["cursor"] = cursor.clone();
    }
    assert!(count >= 2);
    let read: Vec<_> = field(&read, "path").into_iter().zip(field(&read, "content")).collect();
    assert!(read == files.into_iter().collect::<Vec<_>>(), "the pages are not the whole");
}

/// Control characters take six bytes in JSON, quotes two; paths and hashes take space as well.
async fn no_page_is_larger_than_1_mb_as_json(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let since = "2020-01-01T00:00:00Z";
    let odd = (0..6).map(|n| (lesson(n), "\u{1}".repeat(120_000)));
    let quoted = (6..12).map(|n| (lesson(n), "\"\\\n".repeat(100_000)));
    let many = (12..900).map(|n| (lesson(n), "x".repeat(800)));
    let files: BTreeMap<String, String> = odd.chain(quoted).chain(many).collect();
    create_all(&client, files.clone()).await;
    for (tool, mut arguments, list) in [
        ("read_content", json!({ "book_id": BOOK, "scope": "book" }), "files"),
        ("delta_build", json!({ "book_id": BOOK, "since": since, "include_content": true }), "changed_files"),
    ] {
        let mut read = BTreeMap::new();
        loop {
            let page = client.call(tool, arguments.clone()).await.expect_ok();
            let (bytes, entries) = (page.to_string().len(), page[list].as_array().unwrap());
            assert!(bytes <= 1_000_000 && !entries.is_empty(), "{tool}: {bytes}");
            read.extend(entries.iter().map(|file| (text(&file["path"]), text(&file["content"]))));
            let Some(cursor) = page.get("next_cursor") else { break };
            arguments["cursor"] = cursor.clone();
        }
        assert!(read == files, "{tool}: the pages are not the whole");
    }
}

async fn more_than_100_books_are_listed_page_by_page(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let names: Vec<_> = (0..105).map(|n| format!("book-{n:03}")).collect();
    for name in &names {
        client.call("create_book", json!({ "book_id": name })).await.expect_ok();
    }
    created(&client, "content/README.md", "x", json!({})).await;
    for structure in ["none", "all"] {
        let arguments = json!({ "include_structure": structure });
        let (books, lengths) = pages(&client, "list_books", arguments, "books").await;
        assert_eq!(lengths, [100, 6]);
        assert_eq!(books[0]["book_id"], BOOK);
        assert_eq!(field(&books[1..], "book_id"), names);
        let content = &books[0].get("content").cloned().unwrap_or(Value::Null);
        let listed = json!([{ "folder": "content", "files": ["README.md"] }]);
        assert_eq!(*content, if structure == "all" { listed } else { Value::Null });
    }
}

/// A cursor is valid only with the arguments of its own call: with others it would skip or mix
/// entries.
async fn a_cursor_goes_on_with_its_own_call_alone(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    client.call("create_book", json!({ "book_id": BOOK, "schema": "docusaurus" })).await.expect_ok();
    client.call("create_book", json!({ "book_id": "other-book", "schema": "docusaurus" })).await.expect_ok();
    create_all(&client, (0..1_001).map(|n| (format!("content/{n:04}.md"), "x".to_owned()))).await;
    let all = json!({ "book_id": BOOK, "since": "2020-01-01T00:00:00Z" });
    let page = client.call("delta_build", all.clone()).await.expect_ok();
    let with_cursor = |more: Value| with(with(all.clone(), json!({ "cursor": page["next_cursor"] })), more);
    for same in [json!({}), json!({ "include_content": "false" })] {
        let rest = client.call("delta_build", with_cursor(same)).await.expect_ok();
        assert_eq!(rest["changed_files"].as_array().unwrap().len(), 1);
    }
    for other in [
        json!({ "book_id": "other-book" }),
        json!({ "since": "2021-01-01T00:00:00Z" }),
        json!({ "user_id": "eve" }),
        json!({ "include_content": true }),
    ] {
        let refused = client.call("delta_build", with_cursor(other)).await;
        assert_eq!(
            (refused.code(), &refused.value["error"]["argument"]),
            ("INVALID_ARGUMENT", &json!("cursor"))
        );
    }
    let glob = json!({ "book_id": BOOK, "pattern": "content/**", "cursor": page["next_cursor"] });
    assert_eq!(client.call("glob_search", glob).await.code(), "INVALID_ARGUMENT");
}
