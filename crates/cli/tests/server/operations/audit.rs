//! `audit` through the binary (R6): what was exported verifies offline, what was tampered with in the
//! database is named, and a log that its owner rewrote consistently is found by `--against`.

use std::fs;
use std::process::Output;

use panaversity_model::audit_export::ExportLine;
use panaversity_testkit::postgres;
use serde_json::{Value, json};

use crate::fixtures::{LESSON, created, entries, read, write};
use crate::harness::{Db, TestClient, TestEnv};

fn audit(env: &TestEnv, line: &str) -> Output {
    env.command().arg("audit").args(line.split(' ')).output().unwrap()
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8(output.stdout.clone()).unwrap().lines().map(str::to_owned).collect()
}

/// The answer of `audit verify`, and its exit code.
fn verify(env: &TestEnv, more: &str) -> (Option<i32>, Value) {
    let output = audit(env, format!("verify --json {more}").trim_end());
    let shown = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code(), shown)
}

/// Exports into a file of the environment's folder.
#[track_caller]
fn export(env: &TestEnv, name: &str, more: &str) -> String {
    let output = audit(env, format!("export --output {name} {more}").trim_end());
    assert!(output.status.success(), "{output:?}");
    fs::read_to_string(env.folder().join(name)).unwrap()
}

/// Two books with pages, an overlay and a deletion.
async fn write_books(client: &TestClient) {
    let hash = created(client, LESSON, "one", json!({})).await;
    write(client, LESSON, "two", json!({ "expected_hash": hash })).await.expect_ok();
    created(client, LESSON, "mine", json!({ "user_id": "ada" })).await;
    let other = json!({ "book_id": "other-book", "path": "content/README.md", "content": "text" });
    client.call("write_content", other.clone()).await.expect_ok();
    client
        .call("delete_content", json!({ "book_id": "other-book", "path": "content/README.md" }))
        .await
        .expect_ok();
    assert!(!read(client, "content/none.md", json!({})).await.ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_an_export_of_several_books_and_layers_verifies_offline_and_later_states_continue_it() {
    for db in Db::both() {
        let env = TestEnv::new(db);
        let server = env.start().await;
        write_books(&server.client()).await;
        let text = export(&env, "first.jsonl", "");
        let end: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let (code, found) = verify(&env, "first.jsonl");
        assert_eq!(
            (code, &found["valid"], &found["digest"]),
            (Some(0), &json!(true), &end["digest"]),
            "{found}"
        );
        assert_eq!((&found["entries_checked"], &found["chains"]), (&end["entries"], &end["chains"]));
        assert_eq!(found["entries_checked"], text.matches("\"type\":\"entry\"").count());
        assert_eq!(audit(&env, "export").stdout, text.as_bytes(), "the same log is the same export");

        created(&server.client(), "content/index.md", "new", json!({})).await;
        read(&server.client(), LESSON, json!({})).await.expect_ok();
        let grown = export(&env, "second.jsonl", "");
        assert!(grown.len() > text.len());
        for against in ["", "second.jsonl"] {
            let (code, found) = verify(&env, format!("{against} --against first.jsonl").trim_start());
            assert_eq!((code, &found["compared_chains"]), (Some(0), &end["chains"]), "{found}");
        }
        let (code, found) = verify(&env, "first.jsonl --against second.jsonl");
        assert_eq!((code, &found["valid"]), (Some(1), &json!(false)));
        assert!(found.to_string().contains("cut off") && found.to_string().contains("gone"), "{found}");
        let book = export(&env, "book.jsonl", "--book-id other-book");
        assert!(!book.contains("ai-python"));
        assert_eq!(verify(&env, "book.jsonl").0, Some(0));
        assert_eq!(verify(&env, "--against book.jsonl").0, Some(0));
        assert_eq!(audit(&env, "verify book.jsonl --against first.jsonl").status.code(), Some(2));
        let again = audit(&env, "export --output first.jsonl");
        assert_eq!(again.status.code(), Some(1), "an export is never overwritten");
        fs::write(env.folder().join("cut.jsonl"), &text[..text.len() - 1]).unwrap();
        let (code, found) = verify(&env, "cut.jsonl");
        assert_eq!((code, &found["breaks"][0]["line"]), (Some(1), &json!(text.lines().count())), "{found}");
        let names = fs::read_dir(env.folder()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with(".audit-export-")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_filters_as_the_tool_does_and_sees_all_layers() {
    for db in Db::both() {
        let env = TestEnv::new(db);
        let server = env.start().await;
        write_books(&server.client()).await;
        let asked = |line: &str| -> Vec<Value> {
            let output = audit(&env, &format!("query --json {line}"));
            assert!(output.status.success(), "{output:?}");
            lines(&output).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let mine = asked("--user-id ada");
        assert_eq!(mine.len(), 1);
        assert_eq!((&mine[0]["user_id"], mine[0].as_object().unwrap().len()), (&json!("ada"), 17));
        let written = asked("--book-id ai-python --path content/** --operation write");
        assert_eq!(written.len(), 3, "of both layers");
        assert_eq!(written[0]["user_id"], "ada", "newest first");
        assert_eq!(asked("--operation WRITE --limit 2").len(), 2);
        assert_eq!(asked("--status refused --since 2026-01-01 --until 9999-01-01").len(), 1);
        assert!(asked("--until 2020-01-01T00:00:00Z --agent-id nobody").is_empty());
        let tool = entries(&server.client(), json!({ "book_id": "other-book" })).await;
        let ids = |all: &[Value]| all.iter().map(|entry| entry["id"].clone()).collect::<Vec<_>>();
        let by_tool: Vec<_> = ids(&tool);
        assert!(ids(&asked("--book-id other-book")).ends_with(&by_tool[..]), "the query itself is an entry");
        let text = lines(&audit(&env, "query --user-id ada"));
        assert!(text[0].contains("Z  WRITE    success  ") && text[0].ends_with("overlay of ada"), "{text:?}");
        assert_eq!(audit(&env, "query --operation NONE").status.code(), Some(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_an_export_made_while_writers_write_verifies() {
    for db in Db::both() {
        let env = TestEnv::new(db);
        let server = env.start().await;
        write_books(&server.client()).await;
        let (client, stop) = (server.client(), std::sync::atomic::AtomicBool::new(false));
        let writing = async {
            let mut n = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                created(
                    &client,
                    &format!("content/01-Part/{:02}-Chapter/01-x.md", n % 90 + 2),
                    "x",
                    json!({}),
                )
                .await;
                client
                    .call(
                        "delete_content",
                        json!({ "book_id": "ai-python",
                    "path": format!("content/01-Part/{:02}-Chapter/01-x.md", n % 90 + 2) }),
                    )
                    .await
                    .expect_ok();
                n += 1;
            }
            n
        };
        let exporting = async {
            for n in 0..4 {
                let mut run = env.command();
                run.args(["audit", "export", "--output", &format!("{n}.jsonl")]);
                let done = tokio::task::spawn_blocking(move || run.output().unwrap()).await.unwrap();
                assert!(done.status.success(), "{done:?}");
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        };
        let (written, ()) = futures::join!(writing, exporting);
        assert!(written > 0);
        for n in 1..4 {
            let (code, found) = verify(&env, &format!("{n}.jsonl --against {}.jsonl", n - 1));
            assert_eq!(code, Some(0), "{found}");
        }
        assert_eq!(verify(&env, "--against 3.jsonl").0, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_what_was_tampered_with_is_named_and_a_consistent_rewrite_is_found_only_by_an_earlier_export() {
    let env = TestEnv::new(Db::Postgres);
    let server = env.start().await;
    write_books(&server.client()).await;
    server.stop().await;
    let text = export(&env, "first.jsonl", "");
    let sql = |sql: &str| postgres::shared().query(env.database_url(), sql);
    sql("ALTER TABLE audit_log DISABLE TRIGGER USER");
    let overlay = "WHERE user_id = 'ada'";
    sql(&format!("UPDATE audit_log SET agent_id = 'mallory' {overlay}"));
    let (code, found) = verify(&env, "");
    assert_eq!((code, found["breaks"].as_array().unwrap().len()), (Some(1), 1), "{found}");
    assert_eq!(
        (&found["breaks"][0]["user_id"], &found["breaks"][0]["path"]),
        (&json!("ada"), &json!(LESSON))
    );
    let said = lines(&audit(&env, "verify"));
    assert!(said[0].contains("edited") && said[1].starts_with("NOT valid: 1 breaks"), "{said:?}");
    let broken = audit(&env, "export --output broken.jsonl");
    assert_eq!(broken.status.code(), Some(1));
    let (code, found) = verify(&env, "broken.jsonl");
    assert_eq!((code, &found["breaks"][0]["user_id"]), (Some(1), &json!("ada")), "{found}");

    // The owner of the database rewrites the whole chain of the lesson, hashes and tip.
    let mut prev = None;
    for line in text.lines() {
        let ExportLine::Entry(mut entry) = serde_json::from_str(line).unwrap() else { continue };
        if entry.path != LESSON {
            continue;
        }
        let user = entry.user_id.clone();
        if entry.prev_hash.is_none() {
            prev = None;
        }
        entry.agent_id = "mallory".to_owned();
        entry.prev_hash = prev.take();
        entry.entry_hash = entry.computed_hash();
        let link = entry.prev_hash.as_ref().map_or("NULL".to_owned(), |hash| format!("'{hash}'"));
        let (id, hash) = (&entry.id, &entry.entry_hash);
        sql(&format!(
            "UPDATE audit_log SET agent_id = 'mallory', prev_hash = {link}, entry_hash = '{hash}' \
             WHERE id = '{id}'; \
             UPDATE chains SET tip = '{hash}' WHERE path = '{LESSON}' AND user_id = '{user}'"
        ));
        prev = Some(entry.entry_hash);
    }
    assert_eq!(verify(&env, "").0, Some(0), "nothing inside the database shows it");
    export(&env, "second.jsonl", "");
    assert_eq!(verify(&env, "second.jsonl").0, Some(0));
    for later in ["", "second.jsonl "] {
        let (code, found) = verify(&env, &format!("{later}--against first.jsonl"));
        let breaks = found["breaks"].as_array().unwrap();
        assert_eq!((code, breaks.len()), (Some(1), 2), "{found}");
        assert!(breaks.iter().all(|one| one["path"] == LESSON), "{found}");
        assert!(breaks.iter().all(|one| one["reason"].as_str().unwrap().contains("rewritten")), "{found}");
    }

    // A role that may only read is enough.
    let name = sql("SELECT current_database()");
    sql(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", name.trim()));
    assert_eq!(verify(&env, "").0, Some(0));
    export(&env, "third.jsonl", "");
    assert!(audit(&env, "query").status.success());
}
