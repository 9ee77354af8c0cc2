//! `grep_search`: lines by a regular expression, in one book or in all.

use std::time::Instant;

use serde_json::{Value, json};

use crate::fixtures::{
    BOOK, LESSON, TOOLS, create_all, created, delete, entries, fresh, sha256, text, with, write,
};
use crate::harness::{Storage, TestBackend, TestClient, TestEnv};
use crate::scenarios::assets::upload;

on_every_backend!(
    a_line_is_found_by_a_regular_expression_of_its_own,
    a_match_comes_with_the_lines_around_it,
    a_search_ends_at_the_most_results_and_says_so,
    only_files_that_the_glob_accepts_are_searched,
    r5_a_search_finds_the_own_overlay_in_place_of_the_base_and_no_other,
    a_file_whose_bytes_are_lost_is_named_and_the_others_are_searched,
    only_text_is_searched,
    over_all_books_each_match_names_its_book,
    a_search_finds_what_is_written_now_whichever_server_wrote_it,
    an_answer_stays_below_its_size,
);

on_one_backend!(a_pattern_that_cannot_be_searched_is_refused_with_the_reason, bombs_are_harmless,);

const SECOND: &str = "content/01-Part/01-Chapter/02-second.md";
const THIRD: &str = "content/02-Part/01-Chapter/01-third.md";

async fn grep(client: &TestClient, pattern: &str, more: Value) -> Value {
    let arguments = with(json!({ "book_id": BOOK, "pattern": pattern }), more);
    client.call("grep_search", arguments).await.expect_ok()
}

/// Matches as `path:line_number:matched_line`, with the path's number in the list.
fn lines(answer: &Value) -> Vec<String> {
    let matches = answer["matches"].as_array().unwrap().iter();
    matches
        .map(|found| {
            let path = text(&found["path"]);
            let name = path.rsplit('/').next().unwrap().split('.').next().unwrap().to_owned();
            format!("{name}:{}:{}", found["line_number"], text(&found["matched_line"]))
        })
        .collect()
}

async fn a_line_is_found_by_a_regular_expression_of_its_own(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, "# Größe\r\n\r\nEin Straßenname\r\nend", json!({})).await;
    created(&client, SECOND, "\u{feff}# Second\nGRÖSSE, größe\n\nthe end\n", json!({})).await;
    for (pattern, more, due) in [
        ("^# ", json!({}), vec!["01-lesson:1:# Größe", "02-second:1:# Second"]),
        (
            "e$",
            json!({}),
            vec!["01-lesson:1:# Größe", "01-lesson:3:Ein Straßenname", "02-second:2:GRÖSSE, größe"],
        ),
        ("^end$", json!({}), vec!["01-lesson:4:end"]),
        ("^$", json!({}), vec!["01-lesson:2:", "02-second:3:"]),
        ("GRÖ", json!({}), vec!["02-second:2:GRÖSSE, größe"]),
        ("GRÖ", json!({ "ignore_case": true }), vec!["01-lesson:1:# Größe", "02-second:2:GRÖSSE, größe"]),
        (
            r"\w+ß\w+",
            json!({ "ignore_case": "true" }),
            vec!["01-lesson:1:# Größe", "01-lesson:3:Ein Straßenname", "02-second:2:GRÖSSE, größe"],
        ),
        (r"(?i)the\s+END\b", json!({}), vec!["02-second:4:the end"]),
        (r"\r", json!({}), vec![]),
        ("Größe.Ein", json!({}), vec![]),
        (
            "x*",
            json!({ "path_glob": SECOND }),
            vec!["02-second:1:# Second", "02-second:2:GRÖSSE, größe", "02-second:3:", "02-second:4:the end"],
        ),
    ] {
        let answer = grep(&client, pattern, more).await;
        assert_eq!(lines(&answer), due, "{pattern}");
        assert_eq!((&answer["truncated"], answer.get("unreadable")), (&json!(false), None), "{answer}");
    }
    let whole = grep(&client, "Straße", json!({})).await;
    let found =
        json!({ "book_id": BOOK, "path": LESSON, "line_number": 3, "matched_line": "Ein Straßenname" });
    assert_eq!(whole, json!({ "matches": [found], "truncated": false, "files_searched": 2 }));
    let log = entries(&client, json!({ "operation": "SEARCH", "book_id": BOOK })).await;
    assert_eq!((log.len(), &log[0]["status"], &log[0]["path"]), (12, &json!("success"), &json!("")));
}

async fn a_match_comes_with_the_lines_around_it(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let long = format!("{}needle{}", "x".repeat(5_000), "y".repeat(5_000));
    created(&client, LESSON, &format!("one\ntwo\nneedle\nfour\nneedle\n{long}"), json!({})).await;
    let answer = grep(&client, "needle", json!({ "context_lines": 2 })).await;
    let [first, second, third] = answer["matches"].as_array().unwrap().as_slice() else { panic!("{answer}") };
    assert_eq!((&first["before"], &first["after"]), (&json!(["one", "two"]), &json!(["four", "needle"])));
    assert_eq!((&second["before"], first.get("cut")), (&json!(["needle", "four"]), None));
    // A long line is shown around its match, as it stands there.
    let shown = text(&third["matched_line"]);
    assert!(shown.contains("xneedley") && long.contains(&shown) && shown.len() == 300, "{third}");
    assert_eq!((&third["cut"], third.get("after")), (&json!(true), None));
    let bare = grep(&client, "needle", json!({})).await;
    assert!(bare["matches"][0].get("before").is_none() && bare["matches"][0].get("after").is_none());
    for wrong in [json!(11), json!(-1), json!("many")] {
        let arguments = json!({ "book_id": BOOK, "pattern": "x", "context_lines": wrong });
        assert_eq!(client.call("grep_search", arguments).await.code(), "INVALID_ARGUMENT");
    }
}

async fn a_search_ends_at_the_most_results_and_says_so(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let path = |n: usize| format!("content/01-Part/{:02}-Chapter/{:02}-lesson.md", n / 40, n % 40);
    let text = |n: usize| format!("line {n}\n").repeat(10);
    create_all(&client, (0..120).map(|n| (path(n), text(n)))).await;
    let first = grep(&client, "line", json!({})).await;
    let found = first["matches"].as_array().unwrap();
    assert_eq!(
        (found.len(), &found[99]["path"], &found[99]["line_number"]),
        (100, &json!(path(9)), &json!(10))
    );
    assert_eq!((&first["truncated"], &first["truncated_by"]), (&json!(true), &json!("max_results")));
    assert_eq!(first["files_searched"], 10);
    for (most, by_most) in [(1_000, true), (37, true)] {
        let answer = grep(&client, "line", json!({ "max_results": most })).await;
        assert_eq!(answer["matches"].as_array().unwrap().len(), most);
        assert_eq!(answer["truncated"], by_most);
    }
    // Exactly as many as there are: nothing is left out.
    let all = grep(&client, "^line 7$", json!({ "max_results": 10 })).await;
    assert_eq!((all["matches"].as_array().unwrap().len(), &all["truncated"]), (10, &json!(false)));
    assert_eq!((&all["files_searched"], all.get("truncated_by")), (&json!(120), None));
    for wrong in [json!(0), json!(1_001), json!(1.5)] {
        let arguments = json!({ "book_id": BOOK, "pattern": "x", "max_results": wrong });
        assert_eq!(client.call("grep_search", arguments).await.code(), "INVALID_ARGUMENT");
    }
}

async fn only_files_that_the_glob_accepts_are_searched(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    for path in [LESSON, SECOND, THIRD, "content/README.md"] {
        created(&client, path, "found\n", json!({})).await;
    }
    for (glob, due) in [
        ("**", 4),
        ("content/*.md", 1),
        ("content/01-*/**", 2),
        ("/content/**/0?-*.md", 3),
        ("content/0", 0),
        (THIRD, 1),
        ("static/**", 0),
    ] {
        let answer = grep(&client, "found", json!({ "path_glob": glob })).await;
        let found = answer["matches"].as_array().unwrap().len();
        assert_eq!((found, &answer["files_searched"]), (due, &json!(due)), "{glob}");
    }
    let wrong = json!({ "book_id": BOOK, "pattern": "x", "path_glob": "a[b" });
    let wrong = client.call("grep_search", wrong).await;
    assert_eq!((wrong.code(), &wrong.value["error"]["argument"]), ("INVALID_ARGUMENT", &json!("path_glob")));
}

async fn r5_a_search_finds_the_own_overlay_in_place_of_the_base_and_no_other(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, "of the base\n", json!({})).await;
    created(&client, THIRD, "of the base too\n", json!({})).await;
    created(&client, LESSON, "of eve\n", json!({ "user_id": "eve" })).await;
    created(&client, SECOND, "of eve alone\n", json!({ "user_id": "eve" })).await;
    created(&client, LESSON, "of bob\n", json!({ "user_id": "bob" })).await;
    let base = vec!["01-lesson:1:of the base", "01-third:1:of the base too"];
    let hers = vec!["01-lesson:1:of eve", "02-second:1:of eve alone", "01-third:1:of the base too"];
    let his = vec!["01-lesson:1:of bob", "01-third:1:of the base too"];
    for _ in 0..2 {
        for (who, due) in [
            (json!({}), &base),
            (json!({ "user_id": "eve" }), &hers),
            (json!({ "user_id": "bob" }), &his),
            (json!({ "user_id": "ann" }), &base),
        ] {
            assert_eq!(&lines(&grep(&client, "^of", who.clone()).await), due, "{who}");
            let everywhere = with(json!({ "all_books": true, "pattern": "^of" }), who);
            assert_eq!(&lines(&client.call("grep_search", everywhere).await.expect_ok()), due);
        }
    }
    // What is hidden by an overlay is not found through it, and shows again without it.
    delete(&client, LESSON, json!({ "user_id": "eve" })).await.expect_ok();
    let again = grep(&client, "^of", json!({ "user_id": "eve" })).await;
    assert_eq!(
        lines(&again),
        ["01-lesson:1:of the base", "02-second:1:of eve alone", "01-third:1:of the base too"]
    );
}

/// Removes or changes the object of a text.
fn damage(env: &TestEnv, on: TestBackend, content: &str, bytes: Option<&[u8]>) {
    let hash = sha256(content);
    let key = format!(".panaversity/objects/{}/{hash}", &hash[..2]);
    match (on.storage, bytes) {
        (Storage::S3, Some(bytes)) => env.bucket().put(&key, bytes),
        (Storage::S3, None) => env.bucket().remove(&key),
        (Storage::Fs, Some(bytes)) => std::fs::write(env.storage_root().join(key), bytes).unwrap(),
        (Storage::Fs, None) => std::fs::remove_file(env.storage_root().join(key)).unwrap(),
    }
}

async fn a_file_whose_bytes_are_lost_is_named_and_the_others_are_searched(on: TestBackend) {
    let (env, server, client) = fresh(on).await;
    let [lost, changed, hers] = ["lost", "changed", "hers"].map(|text| format!("{text}\n").repeat(40_000));
    created(&client, LESSON, &lost, json!({})).await;
    created(&client, SECOND, &changed, json!({})).await;
    created(&client, THIRD, "not lost\n", json!({})).await;
    created(&client, "content/README.md", &hers, json!({ "user_id": "eve" })).await;
    server.all_published().await;
    damage(&env, on, &lost, None);
    damage(&env, on, &changed, Some(b"damaged"));
    damage(&env, on, &hers, None);
    let name = |path: &str| json!({ "book_id": BOOK, "path": path });
    let named = json!([name(LESSON), name(SECOND)]);
    for _ in 0..2 {
        let answer = grep(&client, "lost", json!({})).await;
        assert_eq!(lines(&answer), ["01-third:1:not lost"]);
        assert_eq!((&answer["unreadable"], &answer["files_searched"]), (&named, &json!(1)));
        assert_eq!(answer["truncated"], false);
    }
    // R5: a damaged file of an overlay is named to its owner alone.
    let own = grep(&client, "lost", json!({ "user_id": "eve" })).await;
    assert_eq!(own["unreadable"], json!([name(LESSON), name(SECOND), name("content/README.md")]));
    let narrow = grep(&client, "lost", json!({ "path_glob": "content/02-*/**" })).await;
    assert_eq!(narrow.get("unreadable"), None);
    let again = json!({ "expected_hash": sha256(&lost) });
    write(&client, LESSON, &lost, again).await.expect_ok();
    let mended = grep(&client, "lost", json!({ "max_results": 1 })).await;
    assert_eq!((lines(&mended), mended.get("unreadable")), (vec!["01-lesson:1:lost".to_owned()], None));
}

async fn only_text_is_searched(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    client.call("create_book", json!({ "book_id": BOOK, "schema": "docusaurus" })).await.expect_ok();
    let large = "needle\n".repeat(80_000);
    for (name, bytes) in [
        ("picture.png", &b"needle"[..]),
        ("latin1.csv", b"needle \xe9\n"),
        ("data.csv", b"needle,1\n"),
        ("nul.txt", b"needle\0\n"),
        ("large.txt", large.as_bytes()),
    ] {
        upload(&client, "content", name, bytes, json!({})).await.expect_ok();
    }
    upload(&client, "static", "robots.txt", b"needle", json!({})).await.expect_ok();
    created(&client, "content/index.mdx", "needle", json!({})).await;
    for _ in 0..2 {
        let answer = grep(&client, "needle", json!({})).await;
        assert_eq!(lines(&answer), ["data:1:needle,1", "index:1:needle", "nul:1:needle\0"]);
        assert_eq!((&answer["files_searched"], answer.get("unreadable")), (&json!(3), None));
    }
}

async fn over_all_books_each_match_names_its_book(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let unknown = json!({ "book_id": "no-such-book", "pattern": "x" });
    assert_eq!(client.call("grep_search", unknown).await.code(), "BOOK_NOT_FOUND");
    let everywhere = json!({ "all_books": true, "pattern": "found" });
    let none = client.call("grep_search", everywhere.clone()).await.expect_ok();
    assert_eq!(none, json!({ "matches": [], "truncated": false, "files_searched": 0 }));
    for book in ["zoology", BOOK, "botany"] {
        let write = json!({ "book_id": book, "path": LESSON, "content": "found" });
        client.call("write_content", write).await.expect_ok();
    }
    client.call("create_book", json!({ "book_id": "empty-book" })).await.expect_ok();
    let answer = client.call("grep_search", everywhere.clone()).await.expect_ok();
    let books: Vec<_> =
        answer["matches"].as_array().unwrap().iter().map(|found| text(&found["book_id"])).collect();
    assert_eq!(
        (books, &answer["files_searched"]),
        (vec![BOOK.to_owned(), "botany".into(), "zoology".into()], &json!(3))
    );
    let two = client.call("grep_search", with(everywhere, json!({ "max_results": 2 }))).await.expect_ok();
    assert_eq!((two["matches"].as_array().unwrap().len(), &two["truncated"]), (2, &json!(true)));
    let empty =
        client.call("grep_search", json!({ "book_id": "empty-book", "pattern": "x" })).await.expect_ok();
    assert_eq!(empty["files_searched"], 0);
    for (arguments, argument) in [
        (json!({ "pattern": "x" }), "book_id"),
        (json!({ "pattern": "x", "all_books": false }), "book_id"),
        (json!({ "pattern": "x", "all_books": true, "book_id": BOOK }), "all_books"),
        (json!({ "book_id": BOOK }), "pattern"),
    ] {
        let refused = client.call("grep_search", arguments).await;
        assert_eq!(
            (refused.code(), &refused.value["error"]["argument"]),
            ("INVALID_ARGUMENT", &json!(argument))
        );
    }
}

async fn a_search_finds_what_is_written_now_whichever_server_wrote_it(on: TestBackend) {
    let (env, _server, client) = fresh(on).await;
    let other = env.start().await;
    let clients = [client, other.client()];
    let mut hash = created(&clients[0], LESSON, "round 0\n", json!({})).await;
    created(&clients[0], THIRD, "a round that stays\n", json!({})).await;
    for round in 1..6 {
        let (writer, reader) = (&clients[round % 2], &clients[(round + 1) % 2]);
        let content = format!("round {round}\n");
        write(writer, LESSON, &content, json!({ "expected_hash": hash })).await.expect_ok();
        hash = sha256(&content);
        let due = [format!("01-lesson:1:round {round}"), "01-third:1:a round that stays".to_owned()];
        for client in [reader, writer] {
            assert_eq!(lines(&grep(client, "round", json!({})).await), due);
        }
    }
    delete(&clients[1], LESSON, json!({})).await.expect_ok();
    assert_eq!(lines(&grep(&clients[0], "round", json!({})).await), ["01-third:1:a round that stays"]);
}

async fn an_answer_stays_below_its_size(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let long = format!("{}\n", "\u{1}\"x\\".repeat(200)).repeat(400);
    created(&client, LESSON, &long, json!({})).await;
    let call = json!({ "name": "grep_search", "arguments": {
        "book_id": BOOK, "pattern": "x", "max_results": 1_000, "context_lines": 10 } });
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call });
    let answer = client.rpc(message).await["result"]["structuredContent"].clone();
    assert_eq!((&answer["truncated"], &answer["truncated_by"]), (&json!(true), &json!("size")));
    let bytes = answer.to_string().len();
    assert!((500_000..1_000_000).contains(&bytes), "{bytes}");
}

async fn a_pattern_that_cannot_be_searched_is_refused_with_the_reason(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, "aaa\n", json!({})).await;
    for (pattern, why) in [
        ("a(b", "unclosed group, at character 2"),
        ("", "it is empty"),
        (r"a\nb", "each line is searched by itself"),
        (r"(a)\1", "backreferences are not supported"),
        ("(?!a)", "is not supported, at character 1"),
        ("((a{1000}){1000}){1000}", "it stands for too much"),
        (&"x".repeat(1_001), "at most 1000 bytes"),
    ] {
        let refused = client.call("grep_search", json!({ "book_id": BOOK, "pattern": pattern })).await;
        let error = &refused.value["error"];
        assert_eq!((refused.code(), &error["argument"]), ("INVALID_ARGUMENT", &json!("pattern")), "{error}");
        assert!(text(&error["message"]).contains(why), "{pattern}: {error}");
        assert!(text(&error["hint"]).contains("repeat the call"), "{error}");
    }
    let list = client.rpc(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} })).await;
    assert_eq!(list["result"]["tools"].as_array().unwrap().len(), TOOLS);
}

async fn bombs_are_harmless(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, &format!("{}!\n", "a".repeat(100_000)), json!({})).await;
    let began = Instant::now();
    for pattern in ["(a+)+$", "(a|aa)+$", "(a|a?)+b", "(.*)*x", r"^(([a-z])+.)+[A-Z]([a-z])+$"] {
        let answer = grep(&client, pattern, json!({})).await;
        assert_eq!(lines(&answer), Vec::<String>::new(), "{pattern}");
        assert_eq!(answer["truncated"], false);
    }
    // Milliseconds; a backtracking engine would need longer than the test may run.
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}
