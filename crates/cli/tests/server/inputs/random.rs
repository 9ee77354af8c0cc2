//! Random JSON as arguments of any tool: an answer of the contract, never a fault of the server.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;

use super::Untouched;
use crate::fixtures::{BOOK, LESSON, NO_HASH};
use crate::harness::Db;

const TOOLS: [&str; 11] = [
    "glob_search",
    "grep_search",
    "read_content",
    "write_content",
    "delete_content",
    "list_books",
    "create_book",
    "plan_build",
    "query_audit_log",
    "verify_audit_chain",
    "validate_book",
];
const NAMES: [&str; 30] = [
    "pattern",
    "all_books",
    "path_glob",
    "ignore_case",
    "context_lines",
    "max_results",
    "book_id",
    "path",
    "content",
    "expected_hash",
    "user_id",
    "scope",
    "hash",
    "if_none_match",
    "cursor",
    "include_structure",
    "schema",
    "target_manifest_hash",
    "agent_id",
    "operation",
    "status",
    "from",
    "to",
    "since",
    "until",
    "limit",
    "params",
    "x",
    "",
    "\0",
];
/// Words that a malicious caller, or a confused model, might send.
const WORDS: [&str; 22] = [
    BOOK,
    LESSON,
    NO_HASH,
    "content/README.md",
    "eve",
    "file",
    "book",
    "chapter",
    "all",
    "strict",
    "docusaurus",
    "WRITE",
    "refused",
    "**",
    "2026-01-01T00:00:00Z",
    "../../etc/passwd",
    "\0",
    "' OR 1=1 --",
    "",
    "\u{202e}",
    "content/01-Part/01-Chapter/02-new.md",
    "__base__",
];
/// Internals that an answer must never show.
const INSIDE: [&str; 8] =
    ["sqlx", "SELECT", "panicked", "/tmp/", "src/", "postgres", "sqlite", "RUST_BACKTRACE"];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => prop::sample::select(&WORDS[..]).prop_map(Value::from),
        2 => ".{0,20}".prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(Value::from("x".repeat(300))),
    ];
    let position = prop_oneof![
        Just(json!(LESSON)),
        any::<i64>().prop_map(|at| json!({ "at": at, "id": "" })),
        prop::sample::select(&WORDS[..]).prop_map(|word| json!({ "book": word, "folder": word })),
        prop::sample::select(&WORDS[..]).prop_map(|word| json!({ "manifest": NO_HASH, "path": word })),
        prop::sample::select(&WORDS[..]).prop_map(|word| json!({ "at": 0, "id": word })),
    ];
    // With a space in front, so that it does not begin as a token does: as a path it comes into the log.
    let cursor =
        position.prop_map(|position| Value::from(BASE64_URL_SAFE_NO_PAD.encode(format!(" {position}"))));
    let whole = prop_oneof![8 => leaf, 1 => cursor];
    whole.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(&NAMES[..]), inner, 0..4)
                .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

/// Mostly a book and a path that exist, so that calls pass the first check.
fn any_arguments() -> impl Strategy<Value = Value> {
    let likely = prop::option::weighted(0.8, Just(()));
    let odd = prop::collection::btree_map(prop::sample::select(&NAMES[..]), any_json(), 0..4);
    let built = (likely.clone(), likely, odd).prop_map(|(book, path, odd)| {
        let mut arguments = Map::new();
        if book.is_some() {
            arguments.insert("book_id".into(), BOOK.into());
        }
        if path.is_some() {
            arguments.insert("path".into(), LESSON.into());
        }
        arguments.extend(odd.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Value::Object(arguments)
    });
    prop_oneof![9 => built, 1 => any_json()]
}

fn any_json_to_every_tool(untouched: &Untouched, cases: u32) {
    let mut runner = TestRunner::new(Config { cases, max_shrink_iters: 200, ..Config::default() });
    let runtime = Handle::current();
    let outcome = runner.run(&any_arguments(), |arguments| {
        for tool in TOOLS {
            let params = json!({ "name": tool, "arguments": arguments });
            let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
            let reply = runtime.block_on(untouched.client.post("/mcp", message.to_string(), &[]));
            prop_assert_eq!(reply.status, 200, "{} {}: {}", tool, &arguments, reply.text());
            let result = &reply.json()["result"];
            let error = &result["structuredContent"]["error"];
            prop_assert!(result["isError"].is_boolean(), "{tool} {arguments}: {}", reply.text());
            let broken = ["INTERNAL", "DATABASE_UNAVAILABLE", "STORAGE_UNAVAILABLE", "TIMEOUT", "CORRUPT"];
            let code = error["code"].as_str().unwrap_or_default();
            prop_assert!(!broken.contains(&code), "{tool} {arguments}: {error}");
            let said = error["message"].to_string();
            let shown = INSIDE
                .iter()
                .find(|inside| said.contains(*inside) && !arguments.to_string().contains(*inside));
            prop_assert_eq!(shown, None, "{} {}: {}", tool, &arguments, error);
        }
        Ok(())
    });
    outcome.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn random_arguments_never_break_a_server_on_sqlite() {
    let untouched = Untouched::new(Db::Sqlite).await;
    tokio::task::block_in_place(|| any_json_to_every_tool(&untouched, 60));
    untouched.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_arguments_never_break_a_server_on_postgres() {
    let untouched = Untouched::new(Db::Postgres).await;
    tokio::task::block_in_place(|| any_json_to_every_tool(&untouched, 60));
    untouched.is_well().await;
}
