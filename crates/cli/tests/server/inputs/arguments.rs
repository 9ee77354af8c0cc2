//! Bad arguments: unknown, missing, mistyped, out of bounds, wrapped. Each is named in the answer.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Untouched;
use crate::fixtures::{BOOK, LESSON, NO_HASH, about, with};
use crate::harness::Db;

/// A call of each tool that would succeed, or be refused for its hash alone.
fn good() -> Vec<(&'static str, Value)> {
    let edits = json!([{ "old_text": "x", "new_text": "y" }]);
    let changes = json!([{ "op": "delete", "path": LESSON, "expected_hash": NO_HASH }]);
    vec![
        ("read_content", about(LESSON, json!({}))),
        ("write_content", about(LESSON, json!({ "content": "x", "expected_hash": NO_HASH }))),
        ("edit_content", about(LESSON, json!({ "edits": edits, "expected_hash": NO_HASH }))),
        ("apply_changes", json!({ "book_id": BOOK, "changes": changes })),
        ("list_history", about(LESSON, json!({}))),
        ("blame_content", about(LESSON, json!({}))),
        ("restore_content", about(LESSON, json!({ "hash": NO_HASH }))),
        ("delete_content", about(LESSON, json!({ "expected_hash": NO_HASH }))),
        ("list_books", json!({ "book_id": BOOK })),
        ("create_book", json!({ "book_id": BOOK })),
        ("plan_build", json!({ "book_id": BOOK })),
        ("glob_search", json!({ "book_id": BOOK, "pattern": "**" })),
        ("grep_search", json!({ "book_id": BOOK, "pattern": "x" })),
        ("delta_build", json!({ "book_id": BOOK, "since": "2026-01-01T00:00:00Z" })),
        ("validate_book", json!({ "book_id": BOOK })),
        ("query_audit_log", json!({ "book_id": BOOK })),
        ("verify_audit_chain", json!({ "book_id": BOOK })),
    ]
}

/// Arguments that must be refused, by the name that the answer has to mention.
fn bad() -> Vec<(&'static str, &'static str, Vec<Value>)> {
    let texts = vec![json!(5), json!(true), json!([]), json!({}), json!(["x"]), json!(1.5)];
    let also = |more: Vec<Value>| [texts.clone(), more].concat();
    let long = "x".repeat(2_001);
    vec![
        (
            "",
            "book_id",
            also(vec![
                json!("ab"),
                json!("AI"),
                json!("AI-python"),
                json!("a_b"),
                json!("../x"),
                json!("a/b"),
                json!("a b c"),
                json!("caf\u{e9}"),
                json!("x".repeat(51)),
                json!("abc\0"),
                json!(" abc"),
                json!("ab\n"),
            ]),
        ),
        (
            "read_content",
            "user_id",
            also(vec![
                json!(""),
                json!("__base__"),
                json!("../eve"),
                json!("e v e"),
                json!("e.v"),
                json!("x".repeat(101)),
                json!("eve\0"),
                json!("\u{e9}ve"),
            ]),
        ),
        ("write_content", "user_id", vec![json!("__base__"), json!("a/b"), json!("")]),
        ("delete_content", "user_id", vec![json!("__base__")]),
        ("query_audit_log", "user_id", vec![json!("__base__")]),
        ("verify_audit_chain", "user_id", vec![json!("__base__")]),
        ("glob_search", "user_id", vec![json!("__base__")]),
        ("delta_build", "user_id", vec![json!("__base__")]),
        (
            "glob_search",
            "pattern",
            also(vec![json!("a[b"), json!("{a"), json!("a\0"), json!("x".repeat(256))]),
        ),
        ("glob_search", "all_books", vec![json!(true), json!("true"), json!(1)]),
        ("delta_build", "since", also(vec![json!("yesterday"), json!("2026-01-01"), json!("")])),
        ("delta_build", "include_content", vec![json!("yes"), json!(0)]),
        ("read_content", "path", texts.clone()),
        ("read_content", "scope", also(vec![json!("files"), json!("FILE")])),
        ("read_content", "hash", also(vec![json!("abc"), json!("g".repeat(64)), json!("0".repeat(65))])),
        ("read_content", "if_none_match", also(vec![json!("*"), json!(format!("\"{NO_HASH}\""))])),
        ("read_content", "cursor", texts.clone()),
        ("write_content", "content", texts.clone()),
        ("write_content", "expected_hash", also(vec![json!("sha256:x"), json!(" ".repeat(64))])),
        ("list_books", "include_structure", also(vec![json!("everything")])),
        ("list_books", "cursor", also(vec![json!("%%%"), json!(long), json!("\0")])),
        ("create_book", "schema", also(vec![json!("Strict"), json!("hugo")])),
        ("plan_build", "target_manifest_hash", also(vec![json!("latest")])),
        ("validate_book", "strict", vec![json!("yes"), json!(1), json!([])]),
        ("validate_book", "include_warnings", vec![json!("no"), json!(0), json!({})]),
        (
            "query_audit_log",
            "limit",
            vec![
                json!(0),
                json!(-1),
                json!(1_001),
                json!(1.5),
                json!("0"),
                json!("1.5"),
                json!(u64::MAX),
                json!(1e300),
                json!(true),
                json!([5]),
            ],
        ),
        (
            "query_audit_log",
            "from",
            also(vec![json!("yesterday"), json!("2026-13-01T00:00:00Z"), json!("2026-01-01")]),
        ),
        ("query_audit_log", "since", also(vec![json!("yesterday")])),
        ("query_audit_log", "until", also(vec![json!("tomorrow")])),
        ("query_audit_log", "to", also(vec![json!("99999-01-01T00:00:00Z"), json!("\0")])),
        ("query_audit_log", "operation", also(vec![json!("write"), json!("DROP TABLE")])),
        ("query_audit_log", "status", also(vec![json!("ok")])),
        ("query_audit_log", "path", also(vec![json!("a[b"), json!("{a"), json!("x".repeat(256))])),
        ("query_audit_log", "agent_id", texts.clone()),
    ]
}

/// The same, of `grep_search`.
fn bad_searches() -> Vec<(&'static str, &'static str, Vec<Value>)> {
    let texts = vec![json!(5), json!(true), json!([]), json!({}), json!(["x"]), json!(1.5)];
    let also = |more: Vec<Value>| [texts.clone(), more].concat();
    vec![
        ("grep_search", "user_id", vec![json!("__base__")]),
        (
            "grep_search",
            "pattern",
            also(vec![json!(""), json!("a(b"), json!("[z-a]"), json!("a\nb"), json!("x".repeat(1_001))]),
        ),
        ("grep_search", "path_glob", also(vec![json!("a[b"), json!("x".repeat(256))])),
        ("grep_search", "all_books", vec![json!(true), json!(1)]),
        ("grep_search", "ignore_case", vec![json!("yes"), json!(1)]),
        ("grep_search", "context_lines", vec![json!(11), json!(-1), json!("a"), json!(true)]),
        ("grep_search", "max_results", vec![json!(0), json!(1_001), json!([]), json!("0")]),
    ]
}

/// The same, of the tools that change places or several files, or go back.
fn bad_changes() -> Vec<(&'static str, &'static str, Vec<Value>)> {
    let edit = json!({ "old_text": "x", "new_text": "y" });
    let lists = vec![json!("x"), json!(5), json!({}), json!([]), json!([5]), json!(["x"]), json!("[}")];
    let also = |more: Vec<Value>| [lists.clone(), more].concat();
    vec![
        ("write_content", "on_conflict", vec![json!("theirs"), json!(true)]),
        (
            "edit_content",
            "edits",
            also(vec![
                json!([{ "old_text": "", "new_text": "y" }]),
                json!([{ "old_text": "x" }]),
                json!([{ "old_text": "x", "new_text": 5 }]),
                json!([edit, { "old_text": "x", "new_text": "y", "count": 2 }]),
                json!(vec![edit; 101]),
            ]),
        ),
        ("edit_content", "dry_run", vec![json!("yes"), json!(1)]),
        ("edit_content", "user_id", vec![json!("__base__"), json!("")]),
        (
            "apply_changes",
            "changes",
            also(vec![
                json!([{ "op": "copy", "path": LESSON }]),
                json!([{ "op": "delete" }]),
                json!([{ "op": "delete", "path": LESSON, "force": true }]),
                json!([{ "op": "move", "path": LESSON }]),
                json!([{ "op": "edit", "path": LESSON, "edits": [] }]),
                json!([{ "op": "write", "path": LESSON, "content": "x", "expected_hash": "abc" }]),
                json!(vec![json!({ "op": "delete", "path": LESSON }); 1_001]),
            ]),
        ),
        ("apply_changes", "message", vec![json!("a\nb"), json!("x".repeat(301)), json!(" "), json!(5)]),
        ("list_history", "cursor", vec![json!("%%%"), json!(5)]),
        ("list_history", "user_id", vec![json!("__base__")]),
        ("blame_content", "lines", vec![json!("a"), json!("0"), json!("3-2"), json!([])]),
        ("restore_content", "hash", vec![json!("abc"), json!(5)]),
        ("restore_content", "manifest_hash", vec![json!("latest"), json!(NO_HASH)]),
    ]
}

/// The same, of the arguments that ask for a part of a file.
fn bad_parts() -> Vec<(&'static str, &'static str, Vec<Value>)> {
    vec![
        ("read_content", "outline", vec![json!("yes"), json!(1), json!([])]),
        ("read_content", "section", vec![json!(" "), json!("x".repeat(1_001)), json!(5), json!([])]),
        (
            "read_content",
            "lines",
            vec![
                json!("a"),
                json!("0"),
                json!("3-2"),
                json!("1-2-3"),
                json!(-1),
                json!(1.5),
                json!(true),
                json!([1]),
            ],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_argument_out_of_bounds_is_refused_by_name() {
    for db in Db::both() {
        let untouched = Untouched::new(db).await;
        for (tool, name, values) in
            bad().into_iter().chain(bad_parts()).chain(bad_searches()).chain(bad_changes())
        {
            let tools = good().into_iter().filter(|(one, _)| tool.is_empty() || tool == *one);
            for (tool, arguments) in tools {
                for value in &values {
                    let answer =
                        untouched.client.call(tool, with(arguments.clone(), json!({ name: value }))).await;
                    assert_eq!(answer.code(), "INVALID_ARGUMENT", "{tool} {name}={value}: {}", answer.value);
                    // Within a list the item and its field are named too.
                    let argument = answer.value["error"]["argument"].as_str().unwrap_or_default();
                    let rest = argument.strip_prefix(name);
                    assert!(
                        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('[')),
                        "{tool} {name}={value}: {}",
                        answer.value
                    );
                }
            }
        }
        untouched.nothing_happened().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_argument_is_refused_with_the_nearest_known_one() {
    let untouched = Untouched::new(Db::Sqlite).await;
    for (tool, arguments) in good() {
        for odd in ["bookid", "book", "Book_id", "x", "", "\0", "constructor", "__proto__", "messages"] {
            let answer = untouched.client.call(tool, with(arguments.clone(), json!({ odd: "x" }))).await;
            assert_eq!(answer.code(), "INVALID_ARGUMENT", "{tool} {odd:?}: {}", answer.value);
        }
    }
    for (tool, odd, near) in [
        ("read_content", "file_path", "path"),
        ("write_content", "expected_hsh", "expected_hash"),
        ("write_content", "contents", "content"),
        ("plan_build", "target_manifest", "target_manifest_hash"),
        ("query_audit_log", "agent", "agent_id"),
    ] {
        let arguments = good().into_iter().find(|(one, _)| *one == tool).unwrap().1;
        let answer = untouched.client.call(tool, with(arguments, json!({ odd: "x" }))).await;
        let message = answer.value["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("did you mean `{near}`")), "{message}");
    }
    let long = untouched.client.call("list_books", json!({ "x".repeat(100_000): 1 })).await;
    assert!(long.value.to_string().len() < 1_000, "a short answer to a long name");
    untouched.nothing_happened().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_argument_is_refused_by_name_and_null_counts_as_missing() {
    let untouched = Untouched::new(Db::Sqlite).await;
    for (tool, required) in [
        ("read_content", ["book_id", "path"].as_slice()),
        ("write_content", &["book_id", "path", "content"]),
        ("delete_content", &["book_id", "path"]),
        ("create_book", &["book_id"]),
        ("plan_build", &["book_id"]),
        ("validate_book", &["book_id"]),
        ("glob_search", &["pattern", "book_id"]),
        ("grep_search", &["pattern", "book_id"]),
        ("delta_build", &["book_id", "since"]),
    ] {
        for name in required {
            let mut arguments = good().into_iter().find(|(one, _)| *one == tool).unwrap().1;
            arguments[name] = Value::Null;
            let null = untouched.client.call(tool, arguments.clone()).await;
            arguments.as_object_mut().unwrap().remove(*name);
            let missing = untouched.client.call(tool, arguments).await;
            assert_eq!(missing.code(), "INVALID_ARGUMENT", "{tool} without {name}");
            assert_eq!((&null, &missing.value["error"]["argument"]), (&missing, &json!(name)));
        }
    }
    let nulls = json!({ "user_id": null, "hash": null, "if_none_match": null, "scope": null, "cursor": null,
            "outline": null, "section": null, "lines": null });
    untouched.client.call("read_content", about(LESSON, nulls)).await.expect_ok();
    untouched.nothing_happened().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_wrapped_in_params_are_unwrapped_and_nothing_else_is() {
    let untouched = Untouched::new(Db::Sqlite).await;
    let arguments = about(LESSON, json!({}));
    for wrapped in [json!({ "params": arguments }), json!({ "params": arguments.to_string() })] {
        let answer = untouched.client.call("read_content", wrapped).await.expect_ok();
        assert_eq!(answer["content"], "the lesson");
    }
    for other in [
        json!({ "params": arguments, "book_id": BOOK }),
        json!({ "params": { "params": arguments } }),
        json!({ "params": "not json" }),
        json!({ "params": "[]" }),
        json!({ "params": 5 }),
        json!({ "params": null }),
        json!({ "arguments": arguments }),
    ] {
        let answer = untouched.client.call("read_content", other.clone()).await;
        assert_eq!(answer.code(), "INVALID_ARGUMENT", "{other}");
    }
    for no_object in [json!([]), json!("x"), json!(5), json!(true), json!([{ "book_id": BOOK }])] {
        let answer = untouched.client.call("delete_content", no_object.clone()).await;
        assert_eq!(answer.code(), "INVALID_ARGUMENT", "{no_object}");
        assert_eq!(answer.value["error"]["argument"], "arguments");
    }
    untouched.nothing_happened().await;
}

/// Cursors that this server could have encoded, with other contents.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_cursor_is_refused_or_harmless() {
    for db in Db::both() {
        let untouched = Untouched::new(db).await;
        let forged = [
            json!("../../etc/passwd"),
            json!("content/\0"),
            json!({ "at": i64::MAX, "id": "\0" }),
            json!({ "at": i64::MIN, "id": "' OR 1=1 --" }),
            json!({ "at": 0, "id": "x".repeat(1_000) }),
            json!({ "book": "../x", "folder": null }),
            json!({ "book": BOOK, "folder": "\0" }),
            json!({ "book": "no-such-book", "folder": "x" }),
            json!({ "manifest": NO_HASH, "path": "\0" }),
            json!({ "manifest": "x", "path": "x" }),
            json!({ "book": BOOK, "path": "../x" }),
            json!({ "path": LESSON, "until": i64::MAX, "total": 0 }),
            json!({ "path": "\0", "until": 0, "total": 0 }),
            json!(null),
            json!([]),
        ];
        for (tool, arguments) in good() {
            for position in &forged {
                let cursor = BASE64_URL_SAFE_NO_PAD.encode(position.to_string());
                let mut arguments = with(arguments.clone(), json!({ "cursor": cursor }));
                if tool == "read_content" {
                    arguments["scope"] = "book".into();
                }
                let answer = untouched.client.call(tool, arguments).await;
                assert!(
                    answer.ok || answer.code() == "INVALID_ARGUMENT",
                    "{tool} {position}: {}",
                    answer.value
                );
            }
        }
        untouched.nothing_happened().await;
    }
}

/// NUL, the one character that `PostgreSQL`'s texts cannot contain, wherever text is admitted.
#[tokio::test(flavor = "multi_thread")]
async fn a_nul_character_is_refused_or_harmless_everywhere() {
    for db in Db::both() {
        let untouched = Untouched::new(db).await;
        for arguments in [
            json!({ "agent_id": "\0" }),
            json!({ "agent_id": "writer\0" }),
            json!({ "path": "content/\0*" }),
            json!({ "path": "*\0" }),
            json!({ "path": "\u{10ffff}*" }),
            json!({ "agent_id": "\u{ffff}" }),
        ] {
            let answer = untouched.client.call("query_audit_log", arguments.clone()).await;
            assert!(answer.ok || answer.code() == "INVALID_ARGUMENT", "{db:?} {arguments}: {}", answer.value);
        }
        for arguments in [json!({ "book_id": "\0\0\0" }), json!({ "\0": "x" }), json!({ "cursor": "\0" })] {
            let answer = untouched.client.call("list_books", arguments).await;
            assert_eq!(answer.code(), "INVALID_ARGUMENT");
        }
        untouched.nothing_happened().await;
    }
}
