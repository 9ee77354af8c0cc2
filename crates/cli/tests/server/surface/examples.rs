//! An example call and answer of every tool, as a snapshot, from which the reference is generated. They are
//! made on a real server; what differs from run to run is replaced by values that look like it.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::fixtures::{BOOK, LESSON, TOOLS, fresh, sha256};
use crate::harness::{Db, TestClient};

const TEXT: &str = "# One source\n\nOne place holds the truth.\n\n## Why\n\nCopies differ.\n";
const SECOND: &str = "content/01-Part/01-Chapter/02-lesson.md";

/// The calls, in order; each works on what the earlier ones left.
fn calls() -> Vec<(&'static str, Value)> {
    let edited = TEXT.replace("One place", "A single place");
    vec![
        ("create_book", json!({ "schema": "strict" })),
        ("write_content", json!({ "path": LESSON, "content": TEXT })),
        ("read_content", json!({ "path": LESSON, "section": "why" })),
        (
            "edit_content",
            json!({ "path": LESSON, "edits": [{ "old_text": "One place", "new_text": "A single place" }] }),
        ),
        (
            "apply_changes",
            json!({
                "changes": [
                    { "op": "write", "path": SECOND, "content": "# Two\n" },
                    { "op": "edit", "path": LESSON, "edits": [{ "old_text": "Copies differ", "new_text": "Copies drift" }] },
                ],
                "message": "Add the second lesson",
            }),
        ),
        ("list_history", json!({ "path": LESSON })),
        ("blame_content", json!({ "path": LESSON, "lines": "3-" })),
        (
            "restore_content",
            json!({
                "path": LESSON, "hash": sha256(&edited),
                "expected_hash": sha256(edited.replace("Copies differ", "Copies drift")),
            }),
        ),
        ("grep_search", json!({ "pattern": "copies \\w+", "ignore_case": true })),
        ("glob_search", json!({ "pattern": "content/**/02-*.md" })),
        (
            "upload_asset",
            json!({ "asset_type": "img", "filename": "cover.svg", "binary_data": "PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4=" }),
        ),
        ("get_asset", json!({ "asset_type": "img", "filename": "cover.svg" })),
        ("list_assets", json!({ "asset_type": "img" })),
        ("list_books", json!({ "include_structure": "content" })),
        ("validate_book", json!({})),
        ("plan_build", json!({})),
        ("delta_build", json!({ "since": "2026-01-01T00:00:00Z" })),
        ("get_book_archive", json!({ "scope": "content" })),
        ("delete_asset", json!({ "asset_type": "img", "filename": "cover.svg" })),
        ("delete_content", json!({ "path": SECOND, "expected_hash": sha256("# Two\n") })),
        ("query_audit_log", json!({ "path": SECOND, "limit": 1 })),
        ("verify_audit_chain", json!({})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_has_an_example() {
    let (_env, _server, client) = fresh(Db::Sqlite).await;
    let client = client.of_agent("writer-7");
    let mut examples = Vec::new();
    for (tool, mut arguments) in calls() {
        arguments["book_id"] = BOOK.into();
        let answer = client.call(tool, arguments.clone()).await.expect_ok();
        examples.push(example(tool, arguments, answer));
    }
    examples.push(completed_upload(&client).await);
    let named: std::collections::BTreeSet<_> = examples.iter().map(|one| one["tool"].to_string()).collect();
    assert_eq!(named.len(), TOOLS, "{named:?}");
    assert_json_snapshot!("examples", examples);
}

/// An upload to a link, completed.
async fn completed_upload(client: &TestClient) -> Value {
    let bytes = "a film\n".repeat(100);
    let begin =
        json!({ "book_id": BOOK, "asset_type": "videos", "filename": "intro.mp4", "file_size": bytes.len() });
    let upload = client.call("upload_asset", begin).await.expect_ok();
    let url = upload["upload_url"].as_str().unwrap();
    assert_eq!(client.send("PUT", url, &[], bytes).await.status / 100, 2);
    let arguments = json!({ "book_id": BOOK, "upload_id": upload["upload_id"] });
    let answer = client.call("complete_upload", arguments.clone()).await.expect_ok();
    example("complete_upload", arguments, answer)
}

fn example(tool: &str, mut arguments: Value, mut answer: Value) -> Value {
    for value in [&mut arguments, &mut answer] {
        settle("", value);
    }
    json!({ "tool": tool, "arguments": arguments, "answer": answer })
}

/// Replaces what differs from run to run: times, ids, durations, the server's address, signatures, and the
/// hashes of audit entries.
fn settle(name: &str, value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| settle(name, item)),
        Value::Object(fields) => fields.iter_mut().for_each(|(name, field)| settle(name, field)),
        Value::Number(_) if name == "execution_time_ms" => *value = 4.into(),
        Value::String(text) => {
            let is_time = text.len() == 27 && text.ends_with('Z') && text.as_bytes()[10] == b'T';
            if matches!(name, "prev_hash" | "entry_hash") {
                *text = sha256(name);
            } else if name == "next_cursor" {
                *text = text.split_once('.').map_or_else(String::new, |(call, _)| format!("{call}..."));
            } else if is_time {
                "2026-11-30T12:00:00.000000Z".clone_into(text);
            } else if uuid::Uuid::parse_str(text).is_ok() {
                "0193a1f0-7c2b-7d11-9c55-2f4f0e3a8b01".clone_into(text);
            } else if let Some(rest) = text.strip_prefix("http://127.0.0.1:") {
                let path = rest.split_once('/').map_or("", |(_, path)| path);
                let path = path.split_once('?').map_or(path.to_owned(), |(path, _)| format!("{path}?..."));
                *text = format!("http://localhost:8000/{path}");
            }
        }
        _ => {}
    }
}
