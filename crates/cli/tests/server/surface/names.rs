//! Names of tools, commands, settings, metrics and errors. The list of tools stays small, because
//! every agent's context contains it.

use std::collections::BTreeSet;
use std::fmt::Write;

use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};

use crate::fixtures::{BOOK, LESSON, NO_HASH, TOOLS, created, delete, fresh, read, sha256, with, write};
use crate::harness::{Answer, Db, TestClient, TestEnv};
use crate::surface::eras::modern;

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
/// Maximum size of the list of tools, in bytes: of all, and of those for the scope `read`.
const MOST_BYTES: usize = 20_000;
const MOST_BYTES_TO_READ: usize = 9_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_are_these() {
    let (_env, _server, client) = fresh(Db::Sqlite).await;
    let list = client.post("/mcp", LIST, &[]).await.json()["result"]["tools"].clone();
    assert_json_snapshot!("tools", list);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_tools_stays_under_20_kb_in_both_eras() {
    let (_env, _server, client) = fresh(Db::Sqlite).await;
    let legacy = client.post("/mcp", LIST, &[]).await;
    let modern = modern(&client, "tools/list", json!({}), &[]).await;
    for reply in [legacy, modern] {
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json()["result"]["tools"].as_array().unwrap().len(), TOOLS);
        assert!(reply.body.len() < MOST_BYTES, "{} bytes", reply.body.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_tools_for_the_scope_read_stays_under_9_kb() {
    let env = crate::auth::secured(Db::Sqlite);
    let server = env.start().await;
    let reply = crate::auth::holder(&server, "read", json!({})).post("/mcp", LIST, &[]).await;
    assert!(reply.body.len() < MOST_BYTES_TO_READ, "{} bytes", reply.body.len());
}

/// Output of the binary.
fn printed(env: &TestEnv, arguments: &[&str]) -> String {
    let output = env.command().args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    assert!(output.stderr.is_empty(), "help goes to stdout");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_commands_are_these() {
    let env = TestEnv::new(Db::Sqlite);
    let commands: &[&[&str]] = &[
        &[],
        &["serve"],
        &["mcp"],
        &["migrate"],
        &["migrate", "upgrade"],
        &["migrate", "downgrade"],
        &["migrate", "current"],
        &["migrate", "history"],
        &["migrate", "stamp"],
        &["config"],
        &["config", "check"],
        &["book"],
        &["book", "create"],
        &["book", "list"],
        &["book", "delete"],
        &["ingest"],
        &["hydrate"],
        &["keys"],
        &["keys", "create"],
        &["keys", "list"],
        &["keys", "revoke"],
        &["keys", "rotate-signing-key"],
        &["hooks"],
        &["hooks", "create"],
        &["hooks", "list"],
        &["hooks", "delete"],
        &["validate"],
        &["reconcile"],
        &["gc"],
        &["audit"],
        &["audit", "query"],
        &["audit", "verify"],
        &["audit", "export"],
        &["backup"],
        &["health"],
        &["slo"],
        &["completions"],
    ];
    let mut all = String::new();
    for &command in commands {
        let help = printed(&env, &[command, &["--help"]].concat());
        let _ = writeln!(all, "$ panaversity-fs {}\n{help}", [command, &["--help"]].concat().join(" "));
    }
    assert_snapshot!("commands", all);
    let version = printed(&env, &["--version"]);
    assert_eq!(version, format!("panaversity-fs {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_settings_are_these() {
    let help = printed(&TestEnv::new(Db::Sqlite), &["serve", "--help"]);
    let lists = help.split("[env: ").skip(1).filter_map(|rest| rest.split(']').next());
    let names: BTreeSet<&str> = lists.flat_map(|names| names.split(" or ")).collect();
    assert_snapshot!("settings", names.into_iter().collect::<Vec<_>>().join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_of_the_first_scrape_are_these() {
    let (_env, _server, client) = fresh(Db::Sqlite).await;
    let scrape = client.get("/metrics").await;
    assert_eq!(scrape.headers["content-type"], "text/plain; version=0.0.4");
    let mut all = BTreeSet::new();
    for line in scrape.text().lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ").or_else(|| line.strip_prefix("# HELP ")) {
            all.insert(typed.to_owned());
        } else if !line.starts_with('#') && !line.contains("le=\"") {
            let (series, value) = line.rsplit_once(' ').unwrap();
            all.insert(format!("  {}", series.replace(env!("CARGO_PKG_VERSION"), "(version)")));
            let counts_connections = series.starts_with("panaversityfs_database_connections");
            assert!(value == "0" || value == "1" || counts_connections, "{line}");
        }
    }
    assert_snapshot!("metrics", all.into_iter().collect::<Vec<_>>().join("\n"));
}

/// The error of an answer, without the parts that differ from run to run.
#[track_caller]
fn error(answer: &Answer) -> Value {
    assert!(!answer.ok, "{}", answer.value);
    let mut error = answer.value["error"].clone();
    if let Some(id) = error.get_mut("request_id") {
        *id = "(id)".into();
    }
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn the_errors_are_these() {
    let (env, _server, client) = fresh(Db::Sqlite).await;
    let large = "large\n".repeat(30_000);
    let unknown = read(&client, LESSON, json!({})).await;
    created(&client, LESSON, "one", json!({})).await;
    created(&client, "content/README.md", &large, json!({})).await;
    let (hash, object) = (sha256(&large), env.storage_root().join(".panaversity/objects"));
    std::fs::write(object.join(&hash[..2]).join(&hash), "damaged").unwrap();
    created(&client, "content/index.md", "# Use\n# Use\n", json!({})).await;
    let ambiguous = read(&client, "content/index.md", json!({ "section": "Use" })).await;
    delete(&client, "content/index.md", json!({})).await.expect_ok();
    let forbidden = client.post("/mcp", LIST, &[("Host", "evil.example")]).await.json();
    let create = json!({ "book_id": BOOK, "schema": "docusaurus" });
    let asset = json!({ "hash": NO_HASH });
    let picture = async |more| {
        let named = json!({ "book_id": BOOK, "asset_type": "img", "filename": "x.png" });
        client.call("upload_asset", with(named, more)).await
    };
    let begun = picture(json!({ "file_size": 7 })).await.expect_ok();
    let complete = json!({ "book_id": BOOK, "upload_id": begun["upload_id"] });
    let unknown_upload = json!({ "book_id": BOOK, "upload_id": "018f0000-0000-7000-8000-000000000000" });
    let incomplete = error(&client.call("complete_upload", complete).await);
    picture(json!({ "binary_data": "aGVsbG8=" })).await.expect_ok();
    let folder_twice =
        json!({ "book_id": BOOK, "asset_type": "img", "filename": "static/img/x.png", "file_size": 1 });
    let folder_twice = client.call("upload_asset", folder_twice).await;
    let secured = crate::auth::secured(Db::Sqlite);
    let locked = secured.start().await;
    let reader = crate::auth::holder(&locked, "read", json!({ "user_id": "ann" }));
    let expired = locked.client().with_token(&crate::auth::token("read", json!({ "exp": 1 })));
    let rpc_error = async |client: &crate::harness::TestClient| {
        client.post("/mcp", LIST, &[]).await.json()["error"].clone()
    };
    let samples = [
        ("a missing argument", error(&client.call("read_content", json!({ "book_id": BOOK })).await)),
        ("an unknown argument", error(&write(&client, LESSON, "x", json!({ "expected": "x" })).await)),
        ("a nameless agent", error(&client.clone().of_agent("system").call("list_books", json!({})).await)),
        ("an unsafe path", error(&read(&client, "content/../x", json!({})).await)),
        ("an unfit path", error(&write(&client, "content/1-Part/x/notes.md", "x", json!({})).await)),
        ("an unfit path with no way out", error(&write(&client, "content/notes.txt", "x", json!({})).await)),
        ("no file", error(&read(&client, "content/01-Part/01-Chapter/02-lesson.md", json!({})).await)),
        ("no section", error(&read(&client, LESSON, json!({ "section": "Install" })).await)),
        ("lines beyond the end", error(&read(&client, LESSON, json!({ "lines": "1-9" })).await)),
        ("several sections of one title", error(&ambiguous)),
        ("no version", error(&read(&client, LESSON, json!({ "hash": NO_HASH })).await)),
        (
            "no file to replace",
            error(&write(&client, "content/index.md", "x", json!({ "expected_hash": NO_HASH })).await),
        ),
        ("no book", error(&unknown)),
        ("another version", error(&write(&client, LESSON, "x", json!({ "expected_hash": NO_HASH })).await)),
        (
            "another version to delete",
            error(&delete(&client, LESSON, json!({ "expected_hash": NO_HASH })).await),
        ),
        ("another schema", error(&client.call("create_book", create).await)),
        ("a twin", error(&write(&client, &LESSON.replace("01-l", "01-L"), "x", json!({})).await)),
        ("no version named", error(&write(&client, LESSON, "x", json!({})).await)),
        ("an image as text", error(&write(&client, "content/img/p.png", "iVBORw0KGgo=", json!({})).await)),
        ("an asset as text", error(&write(&client, "static/img/p.png", "iVBORw0KGgo=", json!({})).await)),
        ("a folder named twice", error(&folder_twice)),
        ("too large", error(&write(&client, LESSON, &"x".repeat(500_001), json!({})).await)),
        ("an asset's version", error(&read(&client, "static/img/x.png", asset).await)),
        ("an asset that is there", error(&picture(json!({ "binary_data": "eA==" })).await)),
        ("another asset", error(&picture(json!({ "file_size": 1, "expected_hash": NO_HASH })).await)),
        ("too large an asset", error(&picture(json!({ "file_size": 1u64 << 40 })).await)),
        ("nothing uploaded", incomplete),
        ("no upload", error(&client.call("complete_upload", unknown_upload).await)),
        ("a forged link", client.send("PUT", "/uploads/x", &[], "").await.json()["error"].clone()),
        ("an unsigned link", client.get("/books/ai-python/content/img/p.png").await.json()["error"].clone()),
        ("no asset", client.get("/books/ai-python/static/img/none.png").await.json()["error"].clone()),
        ("damaged bytes", error(&read(&client, "content/README.md", json!({})).await)),
        ("a foreign host", forbidden["error"].clone()),
        (
            "no such tool",
            client
                .rpc(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "x" } }))
                .await["error"]
                .clone(),
        ),
        ("no token", rpc_error(&locked).await),
        ("an expired token", rpc_error(&expired).await),
        ("a missing scope", error(&write(&reader, LESSON, "x", json!({})).await)),
        ("the overlay of another user", error(&read(&reader, LESSON, json!({ "user_id": "eve" })).await)),
        ("no such route", client.get("/nowhere").await.json()["error"].clone()),
    ];
    let changes = change_errors(&client).await;
    let samples: serde_json::Map<_, _> =
        samples.into_iter().chain(changes).map(|(name, error)| (name.to_owned(), settled(error))).collect();
    assert_json_snapshot!("errors", samples);
}

/// The error with a time that does not differ from run to run.
fn settled(mut error: Value) -> Value {
    if let Some(at) = error.get_mut("changed_by").and_then(|by| by.get_mut("at")) {
        *at = "2026-11-30T12:00:00.000000Z".into();
    }
    error
}

/// Errors of edits, merges, change sets and restores, about a file of their own.
async fn change_errors(client: &TestClient) -> [(&'static str, Value); 7] {
    let path = "content/01-Part/01-Chapter/05-lesson.md";
    let first = created(client, path, "one\ntwo\n", json!({})).await;
    write(client, path, "one\n2\n", json!({ "expected_hash": first })).await.expect_ok();
    let known = |more: Value| with(json!({ "expected_hash": first }), more);
    let edit = async |old: &str| {
        let edits = json!([{ "old_text": old, "new_text": "" }]);
        error(&client.call("edit_content", crate::fixtures::about(path, json!({ "edits": edits }))).await)
    };
    let apply = async |changes: Value| {
        error(&client.call("apply_changes", json!({ "book_id": BOOK, "changes": changes })).await)
    };
    let restore = json!({ "book_id": BOOK, "manifest_hash": NO_HASH });
    let changed = error(&write(client, path, "x", known(json!({}))).await);
    let merged = error(&write(client, path, "one\nzwei\n", known(json!({ "on_conflict": "merge" }))).await);
    let samples = [
        ("a kept version that others have changed", changed),
        ("lines that both have changed", merged),
        ("an edit that fits no place", edit("ones and twos").await),
        ("an edit that fits two places", edit("\n").await),
        (
            "a change set with a change that can't be made",
            apply(json!([{ "op": "delete", "path": path }, { "op": "move", "path": "content/index.md", "to": path }]))
                .await,
        ),
        ("a file in the way of a move", apply(json!([{ "op": "move", "path": LESSON, "to": path }])).await),
        ("a restore without the current manifest", error(&client.call("restore_content", restore).await)),
    ];
    delete(client, path, json!({})).await.expect_ok();
    samples
}
