//! Tampering under a running server (R6): `verify_audit_chain` names the file whose entries or
//! journal row were modified in the database, and no other. The possible modifications of the rows
//! are tested in the store's tests, on both databases.

use panaversity_testkit::postgres;
use serde_json::{Value, json};

use crate::harness::{Db, TestClient, TestEnv};

const BOOK: &str = "tampered-book";
const PATH: &str = "content/README.md";
const TABLES: [&str; 3] = ["audit_log", "chains", "file_journal"];

async fn write_versions(server: &TestClient, path: &str) {
    let mut arguments = json!({ "book_id": BOOK, "path": path, "content": "version 0" });
    for version in 1..5 {
        let written = server.call("write_content", arguments.clone()).await.expect_ok();
        arguments["expected_hash"] = written["file_hash"].clone();
        arguments["content"] = format!("version {version}").into();
    }
}

async fn verify(server: &TestClient) -> Value {
    server.call("verify_audit_chain", json!({ "book_id": BOOK })).await.expect_ok()
}

/// Modifications in SQL, each with words of the expected reason.
fn deeds() -> [(String, &'static str); 6] {
    let nth = |n: usize, order: &str| {
        format!(
            "(SELECT id FROM audit_log WHERE path = '{PATH}' ORDER BY timestamp {order} LIMIT 1 OFFSET {n})"
        )
    };
    let (second, last) = (nth(1, "ASC"), nth(0, "DESC"));
    let added = format!(
        "INSERT INTO audit_log SELECT 'forged', timestamp + interval '1 second', agent_id, operation, book_id, path, \
         user_id, status, NULL, NULL, 1, request_id, NULL, NULL, NULL, entry_hash, repeat('f', 64) \
         FROM audit_log WHERE id = {last}"
    );
    [
        (format!("UPDATE audit_log SET agent_id = 'mallory' WHERE id = {second}"), "edited"),
        (format!("DELETE FROM audit_log WHERE id = {second}"), "does not follow"),
        (format!("DELETE FROM audit_log WHERE id = {last}"), "missing"),
        (added, "added"),
        (format!("UPDATE file_journal SET sha256 = repeat('a', 64) WHERE path = '{PATH}'"), "journal"),
        (format!("DELETE FROM chains WHERE path = '{PATH}'"), ""),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_verify_audit_chain_names_the_file_that_was_tampered_with() {
    let env = TestEnv::new(Db::Postgres);
    let server = env.start().await;
    for path in [PATH, "content/index.md"] {
        write_versions(&server, path).await;
    }
    let sql = |sql: &str| postgres::shared().query(env.database_url(), sql);
    sql("ALTER TABLE audit_log DISABLE TRIGGER USER");
    for table in TABLES {
        sql(&format!("CREATE TABLE saved_{table} AS SELECT * FROM {table}"));
    }
    assert_eq!(verify(&server).await["valid"], true);
    for (deed, because) in deeds() {
        sql(&deed);
        let found = verify(&server).await;
        assert_eq!(found["valid"], false, "{deed}");
        let breaks = found["breaks"].as_array().unwrap();
        assert!(breaks.iter().all(|one| one["path"] == PATH), "{deed}: {found}");
        let said = |one: &Value| one["reason"].as_str().unwrap().contains(because);
        assert!(breaks.iter().any(said), "{deed}: {found}");
        for table in TABLES {
            let mine = format!("WHERE path = '{PATH}'");
            sql(&format!(
                "DELETE FROM {table} {mine}; INSERT INTO {table} SELECT * FROM saved_{table} {mine}"
            ));
        }
        assert_eq!(verify(&server).await["valid"], true, "after it was undone: {deed}");
    }
}
