//! Operation with a bucket: clear messages at the start, and an outage of the bucket loses nothing.

use std::time::{Duration, Instant};

use panaversity_fs::RuntimeLimits;
use panaversity_service::limits::TaskTimes;
use panaversity_store::limits::BucketLimits;
use panaversity_testkit::s3::Trouble;
use serde_json::json;

use super::starting::{one_line, refused};
use crate::fixtures::{BOOK, LESSON, created, delete, read, sha256, write};
use crate::harness::{Db, Storage, TestBackend, TestClient, TestEnv, until};
use crate::publishers::end_leases;

const ON_S3: [TestBackend; 2] =
    [TestBackend::new(Db::Sqlite, Storage::S3), TestBackend::new(Db::Postgres, Storage::S3)];
const LARGE: &str = "content/01-Part/01-Chapter/02-large.md";

async fn ready(server: &TestClient) -> u16 {
    server.get("/health/ready").await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_be_used_is_named_with_what_to_check() {
    for (name, value, said) in [
        ("PANAVERSITY_S3_ACCESS_KEY_ID", "NOBODY", "check the access key id"),
        ("PANAVERSITY_S3_SECRET_ACCESS_KEY", "hunter22", "check the secret access key"),
        ("PANAVERSITY_S3_BUCKET", "no-such-bucket", "check the bucket's name"),
        ("PANAVERSITY_S3_REGION", "elsewhere-1", "check the region"),
        ("PANAVERSITY_S3_ENDPOINT", "http://127.0.0.1:9", "check the endpoint"),
    ] {
        let (code, stderr) = refused(&TestEnv::new(ON_S3[0]).with(name, value), &[]);
        assert_eq!(code, Some(1), "{stderr}");
        let last = stderr.lines().last().unwrap_or_default();
        one_line(last, said);
        assert!(last.contains("see PANAVERSITY_S3_") && !last.contains("hunter22"), "{last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn overlays_are_not_published_to_a_bucket_unless_asked_for() {
    let env = TestEnv::new(ON_S3[0]).with("PANAVERSITY_PUBLISH_OVERLAYS", "");
    let server = env.start().await;
    created(&server.client(), LESSON, "the base", json!({})).await;
    created(&server.client(), LESSON, "hers", json!({ "user_id": "eve" })).await;
    server.all_published().await;
    assert_eq!(env.published().into_keys().collect::<Vec<_>>(), [format!("{BOOK}/{LESSON}")]);
}

/// Small text is written and read, large text gets a clear error in bounded time, readiness
/// follows; when the bucket is back, what was written meanwhile is published.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_bucket_is_away_small_text_is_still_written_and_read() {
    tokio::join!(
        go_through(ON_S3[0], Trouble::Busy),
        go_through(ON_S3[1], Trouble::Silent),
        go_through(ON_S3[1], Trouble::Gone)
    );
}

async fn go_through(backend: TestBackend, trouble: Trouble) {
    let bucket = BucketLimits {
        request_timeout: Duration::from_secs(2),
        operation_timeout: Duration::from_secs(3),
        single_attempt_timeout: Duration::from_secs(2),
        ..BucketLimits::default()
    };
    let tasks = TaskTimes { publisher_pause: Duration::from_millis(100), ..TaskTimes::default() };
    let env = TestEnv::new(backend).within(RuntimeLimits { bucket, tasks, ..RuntimeLimits::default() });
    let server = env.start().await;
    let client = server.client();
    let large = "large\n".repeat(30_000);
    created(&client, LARGE, &large, json!({})).await;
    let deleted = "content/01-Part/01-Chapter/03-deleted.md";
    let hash = created(&client, deleted, "gone soon", json!({})).await;
    server.all_published().await;
    assert_eq!(ready(&server).await, 200);

    env.bucket().trouble(trouble, 1);
    created(&client, LESSON, "one", json!({})).await;
    write(&client, LESSON, "two", json!({ "expected_hash": sha256("one") })).await.expect_ok();
    delete(&client, deleted, json!({ "expected_hash": hash })).await.expect_ok();
    assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], "two");
    let (began, more) = (Instant::now(), "more\n".repeat(40_000));
    let (unread, unwritten) =
        tokio::join!(read(&client, LARGE, json!({})), write(&client, "content/README.md", &more, json!({})));
    assert_eq!((unread.code(), unwritten.code()), ("STORAGE_UNAVAILABLE", "STORAGE_UNAVAILABLE"));
    assert!(began.elapsed() < Duration::from_secs(10), "{trouble:?}: {:?}", began.elapsed());
    assert_eq!(ready(&server).await, 503, "{trouble:?}");
    assert_eq!(server.get("/health/live").await.status, 200);
    assert_eq!(read(&client, "content/README.md", json!({})).await.code(), "NOT_FOUND", "it left nothing");

    env.bucket().calm();
    until("the server is ready again", async || ready(&server).await == 200).await;
    // Requests that nobody answered keep their paths leased.
    until("everything is published", async || {
        if backend.db == Db::Postgres {
            end_leases(&env);
        }
        server.get("/health").await.json()["pending_publications"] == 0
    })
    .await;
    let expected = [(LARGE, large.as_str()), (LESSON, "two")];
    let expected = expected.map(|(path, text)| (format!("{BOOK}/{path}"), text.as_bytes().to_vec()));
    assert!(env.published() == expected.into(), "{trouble:?}: {:?}", env.published().keys());
    assert_eq!(read(&client, LARGE, json!({})).await.expect_ok()["content"], json!(large));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make torture"]
async fn a_bucket_that_fails_one_request_in_ten_is_hardly_noticed() {
    for trouble in
        [Trouble::Busy, Trouble::AppliedThenError, Trouble::Gone, Trouble::Slow(Duration::from_millis(300))]
    {
        let env = TestEnv::new(ON_S3[0]).with("PANAVERSITY_INLINE_LIMIT_KB", "0");
        let server = env.start().await;
        let client = server.client();
        env.bucket().trouble(trouble, 10);
        for n in 0..20 {
            let path = format!("content/01-Part/01-Chapter/{n:02}-lesson.md");
            let hash = created(&client, &path, &format!("lesson {n}"), json!({})).await;
            assert_eq!(read(&client, &path, json!({})).await.expect_ok()["file_hash_sha256"], json!(hash));
            if n % 4 == 0 {
                delete(&client, &path, json!({ "expected_hash": hash })).await.expect_ok();
            }
        }
        assert!(env.bucket().troubled() >= 4, "{trouble:?}");
        server.all_published().await;
        let held: Vec<_> = env.published().into_values().collect();
        let due: Vec<_> =
            (0..20).filter(|n| n % 4 != 0).map(|n| format!("lesson {n}").into_bytes()).collect();
        assert!(held == due, "{trouble:?}: {} of {}", held.len(), due.len());
    }
}

/// An outdated listing makes `reconcile` and `gc` see too much or too little; neither may remove
/// anything that is in use.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_listing_costs_no_file() {
    let env = TestEnv::new(ON_S3[1]).with("PANAVERSITY_RETENTION_DAYS", "0");
    let server = env.start().await;
    let client = server.client();
    let (large, larger) = ("large\n".repeat(30_000), "larger\n".repeat(30_000));
    created(&client, LARGE, &large, json!({})).await;
    let hash = created(&client, LESSON, "one", json!({})).await;
    server.all_published().await;

    env.bucket().trouble(Trouble::Stale, 1);
    write(&client, LARGE, &larger, json!({ "expected_hash": sha256(&large) })).await.expect_ok();
    delete(&client, LESSON, json!({ "expected_hash": hash })).await.expect_ok();
    created(&client, "content/README.md", "new", json!({})).await;
    server.all_published().await;
    for line in ["gc", "reconcile --repair", "gc"] {
        let output = env.command().args(line.split(' ')).output().unwrap();
        assert!(output.status.code().is_some_and(|code| code < 2), "{line}: {output:?}");
    }
    env.bucket().calm();

    assert_eq!(read(&client, LARGE, json!({})).await.expect_ok()["content"], json!(larger));
    let reconciled = env.command().args(["reconcile", "--json"]).output().unwrap();
    assert!(reconciled.status.success(), "{reconciled:?}");
    let expected = [(LARGE, larger.as_str()), ("content/README.md", "new")];
    let expected = expected.map(|(path, text)| (format!("{BOOK}/{path}"), text.as_bytes().to_vec()));
    assert!(env.published() == expected.into(), "{:?}", env.published().keys());
}
