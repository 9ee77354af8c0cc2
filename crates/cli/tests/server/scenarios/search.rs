//! `glob_search`: files by a pattern of their path, in one book or in all.

mod grep;

use serde_json::{Value, json};

use crate::fixtures::{BOOK, LESSON, create_all, created, delete, entries, fresh};
use crate::harness::{TestBackend, TestClient};

on_both_databases!(
    over_all_books_a_match_names_its_book,
    r5_a_search_sees_the_own_overlay_and_no_other,
    more_than_1_000_matches_come_page_by_page,
    a_search_sees_every_change_at_once_whichever_server_made_it,
);

on_one_backend!(a_star_stays_within_a_folder_and_two_do_not, either_one_book_or_all_must_be_named,);

const SUMMARY: &str = "content/01-Part/01-Chapter/01-lesson.summary.md";

async fn found(client: &TestClient, arguments: Value) -> Vec<String> {
    let answer = client.call("glob_search", arguments).await.expect_ok();
    serde_json::from_value(answer["matches"].clone()).unwrap()
}

async fn a_star_stays_within_a_folder_and_two_do_not(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let other = "content/02-Part/01-Chapter/01-other.md";
    for path in ["content/README.md", "content/01-Part/README.md", LESSON, SUMMARY, other] {
        created(&client, path, "x", json!({})).await;
    }
    for (pattern, expected) in [
        ("content/*.md", vec!["content/README.md"]),
        ("*.md", vec![]),
        ("content/*/*.md", vec!["content/01-Part/README.md"]),
        ("**/*.summary.md", vec![SUMMARY]),
        ("content/01-*/**", vec![LESSON, SUMMARY, "content/01-Part/README.md"]),
        ("**/README.md", vec!["content/01-Part/README.md", "content/README.md"]),
        ("content/0?-Part/*/01-[!l]*.md", vec![other]),
        ("content/**/{README,01-other}.md", vec!["content/01-Part/README.md", other, "content/README.md"]),
        (LESSON, vec![LESSON]),
        ("static/**", vec![]),
    ] {
        assert_eq!(
            found(&client, json!({ "book_id": BOOK, "pattern": pattern })).await,
            expected,
            "{pattern}"
        );
    }
    delete(&client, SUMMARY, json!({})).await.expect_ok();
    let gone = json!({ "book_id": BOOK, "pattern": "**/*.summary.md" });
    assert_eq!(found(&client, gone).await, Vec::<String>::new());
    let log = entries(&client, json!({ "operation": "SEARCH", "book_id": BOOK })).await;
    assert_eq!(log.len(), 11, "every search is recorded");
}

async fn over_all_books_a_match_names_its_book(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    for book in ["zoology", BOOK, "botany"] {
        let write = json!({ "book_id": book, "path": LESSON, "content": "x" });
        client.call("write_content", write).await.expect_ok();
    }
    created(&client, "content/README.md", "x", json!({})).await;
    let all = found(&client, json!({ "all_books": true, "pattern": "content/*/*/*.md" })).await;
    assert_eq!(all, [format!("{BOOK}/{LESSON}"), format!("botany/{LESSON}"), format!("zoology/{LESSON}")]);
    let in_book = found(&client, json!({ "all_books": true, "pattern": "botany/**" })).await;
    assert_eq!(in_book, Vec::<String>::new(), "the pattern is about the path in the book");
}

async fn either_one_book_or_all_must_be_named(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, "x", json!({})).await;
    for (arguments, argument) in [
        (json!({ "pattern": "**" }), "book_id"),
        (json!({ "pattern": "**", "all_books": false }), "book_id"),
        (json!({ "pattern": "**", "all_books": true, "book_id": BOOK }), "all_books"),
    ] {
        let refused = client.call("glob_search", arguments).await;
        assert_eq!(
            (refused.code(), &refused.value["error"]["argument"]),
            ("INVALID_ARGUMENT", &json!(argument))
        );
    }
    let unknown = client.call("glob_search", json!({ "pattern": "**", "book_id": "no-such-book" })).await;
    assert_eq!(unknown.code(), "BOOK_NOT_FOUND");
    let one = json!({ "pattern": "**", "book_id": BOOK, "all_books": false });
    assert_eq!(found(&client, one).await, [LESSON]);
}

async fn r5_a_search_sees_the_own_overlay_and_no_other(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, "x", json!({})).await;
    created(&client, LESSON, "hers", json!({ "user_id": "eve" })).await;
    created(&client, SUMMARY, "hers", json!({ "user_id": "eve" })).await;
    let search = json!({ "book_id": BOOK, "pattern": "**" });
    let hers = crate::fixtures::with(search.clone(), json!({ "user_id": "eve" }));
    assert_eq!(found(&client, hers).await, [LESSON, SUMMARY]);
    let all = json!({ "all_books": true, "pattern": "**", "user_id": "eve" });
    assert_eq!(found(&client, all).await, [format!("{BOOK}/{LESSON}"), format!("{BOOK}/{SUMMARY}")]);
    for who in [json!({}), json!({ "user_id": "bob" })] {
        assert_eq!(found(&client, crate::fixtures::with(search.clone(), who)).await, [LESSON]);
    }
}

async fn more_than_1_000_matches_come_page_by_page(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let path =
        |n: usize| format!("content/{:02}-Part/{:02}-Chapter/{:02}-lesson.md", n / 400, n / 20 % 20, n % 20);
    let paths: Vec<_> = (0..1_003).map(path).collect();
    create_all(&client, paths.iter().map(|path| (path.clone(), String::new()))).await;
    let mut search = json!({ "book_id": BOOK, "pattern": "content/**/*.md" });
    let first = client.call("glob_search", search.clone()).await.expect_ok();
    search["cursor"] = first["next_cursor"].clone();
    let second = client.call("glob_search", search).await.expect_ok();
    assert_eq!(second.get("next_cursor"), None);
    let lists = [&first, &second].map(|page| page["matches"].as_array().unwrap().clone());
    assert_eq!([lists[0].len(), lists[1].len()], [1_000, 3]);
    assert_eq!(json!(lists.concat()), json!(paths));
    // A full last page is not followed by an empty one.
    let exactly = json!({ "book_id": BOOK, "pattern": "content/{00,01}-*/**" });
    let exactly = client.call("glob_search", exactly).await.expect_ok();
    assert_eq!((exactly["matches"].as_array().unwrap().len(), exactly.get("next_cursor")), (800, None));
}

async fn a_search_sees_every_change_at_once_whichever_server_made_it(on: TestBackend) {
    let (env, _server, client) = fresh(on).await;
    let other = env.start().await;
    let clients = [client, other.client()];
    created(&clients[0], LESSON, "x", json!({})).await;
    let search = json!({ "book_id": BOOK, "pattern": "content/*/*/*" });
    let hers = crate::fixtures::with(search.clone(), json!({ "user_id": "eve" }));
    for round in 0..3 {
        for (reader, writer) in [(0, 1), (1, 0)] {
            let (reader, writer) = (&clients[reader], &clients[writer]);
            assert_eq!(found(reader, search.clone()).await, [LESSON], "{round}");
            // One file more, another in its place, and none: count and versions change in every way.
            created(writer, SUMMARY, "x", json!({})).await;
            assert_eq!(found(reader, search.clone()).await, [LESSON, SUMMARY]);
            delete(writer, LESSON, json!({})).await.expect_ok();
            created(writer, LESSON, "x", json!({ "user_id": "eve" })).await;
            assert_eq!(found(reader, search.clone()).await, [SUMMARY]);
            assert_eq!(found(reader, hers.clone()).await, [LESSON, SUMMARY]);
            delete(writer, LESSON, json!({ "user_id": "eve" })).await.expect_ok();
            delete(writer, SUMMARY, json!({})).await.expect_ok();
            assert_eq!(found(reader, hers.clone()).await, Vec::<String>::new());
            created(writer, LESSON, "x", json!({})).await;
            assert_eq!(found(reader, hers.clone()).await, [LESSON]);
        }
    }
}
