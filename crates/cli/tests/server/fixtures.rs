//! Fixtures of the tests: one book and its lessons, frequent calls, and the contract's formulas
//! computed independently. Contains no tests.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use panaversity_model::ContentHash;
use serde_json::{Value, json};

use crate::harness::{Answer, Server, ServerProcess, TestBackend, TestClient, TestEnv};

/// The book that most tests write.
pub(crate) const BOOK: &str = "ai-python";
/// A lesson that every schema admits.
pub(crate) const LESSON: &str = "content/01-Part/01-Chapter/01-lesson.md";
/// A hash of no content in any test.
pub(crate) const NO_HASH: &str = "00000000000000000000000000000000000000000000000000000000000000aa";
/// Number of tools.
pub(crate) const TOOLS: usize = 23;
/// Maximum number of pages of any list in the tests.
const MOST_PAGES: usize = 100;

/// A server in this process on an empty database and storage.
pub(crate) async fn fresh(on: impl Into<TestBackend>) -> (TestEnv, Server, TestClient) {
    let env = TestEnv::new(on);
    let server = env.start().await;
    let client = server.client();
    (env, server, client)
}

/// The same, as a process of the binary.
pub(crate) async fn fresh_process(on: impl Into<TestBackend>) -> (TestEnv, ServerProcess, TestClient) {
    let env = TestEnv::new(on);
    let server = env.start_process().await;
    let client = server.client();
    (env, server, client)
}

pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    ContentHash::of(bytes.as_ref()).to_string()
}

/// `manifest_hash` as the contract defines it.
pub(crate) fn manifest_hash<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let sorted: BTreeMap<&str, &[u8]> = files.into_iter().collect();
    let lines: Vec<_> = sorted.iter().map(|(path, bytes)| format!("{path}:{}", sha256(bytes))).collect();
    sha256(lines.join("\n"))
}

/// Arguments about [`BOOK`]; `more` adds to them or replaces some.
pub(crate) fn about(path: &str, more: Value) -> Value {
    with(json!({ "book_id": BOOK, "path": path }), more)
}

/// The arguments with more of them.
pub(crate) fn with(mut arguments: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("no arguments: {more}") };
    arguments.as_object_mut().expect("arguments").extend(more);
    arguments
}

/// Calls `write_content`, `read_content` or `delete_content` of [`BOOK`].
pub(crate) async fn write(client: &TestClient, path: &str, content: &str, more: Value) -> Answer {
    client.call("write_content", with(about(path, json!({ "content": content })), more)).await
}

/// See [`write`].
pub(crate) async fn read(client: &TestClient, path: &str, more: Value) -> Answer {
    client.call("read_content", about(path, more)).await
}

/// See [`write`].
pub(crate) async fn delete(client: &TestClient, path: &str, more: Value) -> Answer {
    client.call("delete_content", about(path, more)).await
}

/// Writes a new file of [`BOOK`], or of its user's overlay; returns its hash.
pub(crate) async fn created(client: &TestClient, path: &str, content: &str, more: Value) -> String {
    let answer = write(client, path, content, more).await.expect_ok();
    assert_eq!(answer["mode"], "created", "{answer}");
    text(&answer["file_hash"])
}

/// Writes many new files of [`BOOK`] at once.
pub(crate) async fn create_all(client: &TestClient, files: impl IntoIterator<Item = (String, String)>) {
    let writes = stream::iter(files).map(|(path, content)| async move {
        created(client, &path, &content, json!({})).await;
    });
    writes.buffer_unordered(32).collect::<Vec<()>>().await;
}

/// All entries that a paged tool returns under `list`, and the number of entries of each page.
pub(crate) async fn pages(
    client: &TestClient,
    tool: &str,
    arguments: Value,
    list: &str,
) -> (Vec<Value>, Vec<usize>) {
    let (mut arguments, mut all, mut lengths) = (arguments, Vec::new(), Vec::new());
    while lengths.len() < MOST_PAGES {
        let page = client.call(tool, arguments.clone()).await.expect_ok();
        let entries = page[list].as_array().unwrap_or_else(|| panic!("no `{list}` in {page}"));
        lengths.push(entries.len());
        all.extend(entries.iter().cloned());
        match page.get("next_cursor") {
            Some(cursor) => arguments["cursor"] = cursor.clone(),
            None => return (all, lengths),
        }
    }
    panic!("{tool} does not end after {MOST_PAGES} pages");
}

/// The entries of the audit log that match the filters, newest first, without the columns that are
/// NULL.
pub(crate) async fn entries(client: &TestClient, filters: Value) -> Vec<Value> {
    let mut entries = pages(client, "query_audit_log", filters, "entries").await.0;
    for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
        entry.retain(|_, column| !column.is_null());
    }
    entries
}

/// The `manifest_hash` that [`BOOK`] has by `plan_build`.
pub(crate) async fn manifest(client: &TestClient) -> String {
    let plan = client.call("plan_build", json!({ "book_id": BOOK })).await.expect_ok();
    text(&plan["manifest_hash"])
}

/// A string that must be one.
#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// The values of one field, in order.
pub(crate) fn field(entries: &[Value], name: &str) -> Vec<String> {
    entries.iter().map(|entry| text(&entry[name])).collect()
}
