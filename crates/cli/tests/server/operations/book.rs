//! `book` through the binary, beside a running server: books are created, listed and deleted, and the
//! audit log keeps who did it.

use std::process::Output;

use serde_json::{Value, json};

use crate::fixtures::{BOOK, LESSON, created, entries, read, sha256};
use crate::harness::{Db, TestEnv};

fn book(env: &TestEnv, line: &str) -> Output {
    env.command().arg("book").args(line.split(' ')).output().unwrap()
}

fn result(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_is_created_and_listed_with_what_it_holds() {
    for db in Db::both() {
        let env = TestEnv::new(db);
        let server = env.start().await;
        let said = result(&book(&env, "create notes-2 --schema docusaurus --agent-id ada --json"));
        assert_eq!(said, json!({ "status": "created", "book_id": "notes-2", "schema": "docusaurus" }));
        assert_eq!(result(&book(&env, "create notes-2 --agent-id ada --json"))["status"], "exists");
        created(&server.client(), LESSON, "one", json!({})).await;
        created(&server.client(), LESSON, "hers", json!({ "user_id": "eve" })).await;
        let listed = result(&book(&env, "list --json"));
        let row = |index: usize, name: &str| listed["books"][index][name].clone();
        assert_eq!((row(0, "book_id"), row(0, "files"), row(0, "bytes")), (json!(BOOK), json!(1), json!(3)));
        assert_eq!((row(1, "book_id"), row(1, "schema")), (json!("notes-2"), json!("docusaurus")));
        let text = String::from_utf8(book(&env, "list").stdout).unwrap();
        assert!(text.lines().count() == 2 && text.contains(" 1 files"), "{text}");
        let wrong = book(&env, "create No --agent-id ada");
        assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_book_is_gone_with_its_overlays_and_the_log_keeps_who_deleted_it() {
    for db in Db::both() {
        let env = TestEnv::new(db);
        let server = env.start().await;
        let client = server.client();
        created(&client, LESSON, "one", json!({})).await;
        created(&client, LESSON, "hers", json!({ "user_id": "eve" })).await;
        created(&client, "content/README.md", &"large\n".repeat(30_000), json!({})).await;

        let asked = book(&env, &format!("delete {BOOK} --agent-id ada"));
        let said = String::from_utf8(asked.stderr).unwrap();
        assert_eq!(asked.status.code(), Some(1));
        assert!(said.contains("its 3 files") && said.contains("--yes"), "{said}");
        read(&client, LESSON, json!({})).await.expect_ok();

        let deleted = result(&book(&env, &format!("delete {BOOK} --yes --agent-id ada --json")));
        assert_eq!(deleted, json!({ "status": "deleted", "book_id": BOOK, "files": 3 }));
        assert_eq!(read(&client, LESSON, json!({})).await.code(), "BOOK_NOT_FOUND");
        assert_eq!(read(&client, LESSON, json!({ "user_id": "eve" })).await.code(), "BOOK_NOT_FOUND");
        let listed = client.call("list_books", json!({})).await.expect_ok();
        assert_eq!(listed["books"], json!([]));
        server.all_published().await;
        assert!(env.published().is_empty(), "{:?}", env.published().keys());
        let again = book(&env, &format!("delete {BOOK} --yes --agent-id ada"));
        assert!(String::from_utf8(again.stderr).unwrap().contains("no book"), "it is gone");

        // It begins anew, and its chains go on.
        created(&client, LESSON, "one again", json!({})).await;
        let log = entries(&client, json!({ "operation": "DELETE", "book_id": BOOK })).await;
        assert_eq!(log.len(), 3, "two files of the base and the book itself: {log:?}");
        assert!(log.iter().all(|entry| entry["agent_id"] == "ada" && entry["status"] == "success"));
        assert!(log.iter().any(|entry| entry["old_content_hash"] == sha256("one")));
        let verified = client.call("verify_audit_chain", json!({ "book_id": BOOK })).await.expect_ok();
        assert_eq!(verified["valid"], true, "{verified}");
    }
}
