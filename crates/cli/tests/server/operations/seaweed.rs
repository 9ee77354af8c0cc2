//! Smoke test of the whole on an independent S3 implementation.

use panaversity_testkit::{s3, seaweed};
use serde_json::{Value, json};

use crate::fixtures::{BOOK, LESSON, created, delete, read, sha256, write};
use crate::harness::{Db, TestEnv};

const LARGE: &str = "content/01-Part/01-Chapter/02-large.md";

/// Output of a command with `--json`, which must succeed.
fn printed(env: &TestEnv, line: &str) -> Value {
    let output = env.command().args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_lives_on_an_s3_that_others_have_written() {
    let there = seaweed::shared();
    let env = TestEnv::new(Db::Sqlite)
        .with("PANAVERSITY_STORAGE_BACKEND", "s3")
        .with("PANAVERSITY_S3_BUCKET", there.bucket())
        .with("PANAVERSITY_S3_ENDPOINT", &there.endpoint())
        .with("PANAVERSITY_S3_ACCESS_KEY_ID", s3::ACCESS_KEY_ID)
        .with("PANAVERSITY_S3_SECRET_ACCESS_KEY", s3::SECRET_ACCESS_KEY)
        .with("PANAVERSITY_RETENTION_DAYS", "0");
    let server = env.start().await;
    let client = server.client();
    let (large, larger) = ("large\n".repeat(30_000), "larger\n".repeat(30_000));
    created(&client, LESSON, "one", json!({})).await;
    created(&client, "content/01-Part/README.md", "# Part", json!({})).await;
    created(&client, LARGE, &large, json!({})).await;
    write(&client, LARGE, &larger, json!({ "expected_hash": sha256(&large) })).await.expect_ok();
    delete(&client, LESSON, json!({})).await.expect_ok();
    server.all_published().await;
    assert_eq!(server.get("/health/ready").await.status, 200);

    let found = printed(&env, "reconcile --json");
    assert_eq!((&found["files"], &found["found"]), (&json!(2), &json!(0)), "{found}");
    let swept = printed(&env, "gc --json");
    assert!(swept["blobs"].as_u64() >= Some(1), "the replaced text goes: {swept}");
    printed(&env, "config check --json");

    server.stop().await;
    let server = env.start().await;
    let client = server.client();
    assert_eq!(read(&client, LARGE, json!({})).await.expect_ok()["content"], json!(larger));
    assert_eq!(read(&client, LESSON, json!({})).await.code(), "NOT_FOUND");
    let verified = client.call("verify_audit_chain", json!({ "book_id": BOOK })).await.expect_ok();
    assert_eq!(verified["valid"], true);
}
