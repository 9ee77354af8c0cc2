//! Starting: concurrently with other servers, again after a stop, and not at all on an error; then
//! one line states error and remedy.

use std::net::TcpListener;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use panaversity_store::migrations;
use panaversity_testkit::postgres::shared;
use serde_json::json;

use crate::fixtures::{BOOK, LESSON, created, entries, manifest, read, sha256, write};
use crate::harness::{Db, TEST_TIMEOUT, TestEnv};

/// The exit code and stderr of a `serve` that must not come up, without waiting for anything.
pub(super) fn refused(env: &TestEnv, more: &[&str]) -> (Option<i32>, String) {
    let mut command = env.command();
    command.env("PANAVERSITY_STARTUP_TIMEOUT", "0");
    command.args(["serve", "--server-port", "0"]).args(more).stdout(Stdio::null()).stderr(Stdio::piped());
    let (mut child, start) = (command.spawn().unwrap(), Instant::now());
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > TEST_TIMEOUT {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Asserts that stderr is one line with this text.
#[track_caller]
pub(super) fn one_line(stderr: &str, said: &str) {
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(said), "{said} is not in {stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_started_at_once_on_an_empty_database_all_come_up() {
    for _ in 0..3 {
        let env = TestEnv::unmigrated(Db::Postgres);
        let (one, two, three) = tokio::join!(env.start_process(), env.start_process(), env.start_process());
        created(&one.client(), LESSON, "one", json!({})).await;
        for server in [&one, &two, &three] {
            assert_eq!(read(&server.client(), LESSON, json!({})).await.expect_ok()["content"], "one");
            assert_eq!(server.get("/health/ready").await.status, 200);
        }
        let migrated = [&one, &two, &three]
            .map(|server| server.log().iter().filter(|line| line.contains("migrated the database")).count());
        let revisions = migrations::all().len();
        assert_eq!(migrated.iter().sum::<usize>(), revisions, "each revision ran once");
        assert!(migrated.contains(&revisions), "all by one of them: {migrated:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_serves_what_was_written() {
    for db in Db::both() {
        let env = TestEnv::new(db);
        let server = env.start().await;
        let client = server.client();
        let large = "large\n".repeat(30_000);
        created(&client, LESSON, "one", json!({})).await;
        write(&client, LESSON, &large, json!({ "expected_hash": sha256("one") })).await.expect_ok();
        created(&client, LESSON, "hers", json!({ "user_id": "eve" })).await;
        let (hash, log) = (manifest(&client).await, entries(&client, json!({ "path": LESSON })).await);
        server.stop().await;

        let server = env.start().await;
        let client = server.client();
        assert_eq!(manifest(&client).await, hash);
        assert_eq!(entries(&client, json!({ "path": LESSON })).await, log);
        for (more, content) in [
            (json!({}), large.as_str()),
            (json!({ "user_id": "eve" }), "hers"),
            (json!({ "hash": sha256("one") }), "one"),
        ] {
            assert_eq!(read(&client, LESSON, more).await.expect_ok()["content"], json!(content));
        }
        let planned = json!({ "book_id": BOOK, "target_manifest_hash": hash });
        assert_eq!(client.call("plan_build", planned).await.expect_ok()["status"], "unchanged");
    }
}

#[test]
fn a_database_that_cannot_be_used_is_one_clear_line() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refusing = format!("postgresql://user:hunter22@{free}/books");
    let unknown = format!("{}/no-such-database", shared().url("x").rsplit_once('/').unwrap().0);
    for (url, code, said) in [
        (refusing.as_str(), 1, "check DATABASE_URL"),
        ("sqlite:/dev/null/x.db", 1, "check DATABASE_URL"),
        (&unknown, 1, "check DATABASE_URL"),
        ("oracle://user:hunter22@host/db", 2, "no database URL that can be used"),
        ("hunter22", 2, "no database URL that can be used"),
    ] {
        let env = TestEnv::new(Db::Sqlite).with("DATABASE_URL", url).with("DATABASE_POOL_TIMEOUT", "1");
        let (exit, stderr) = refused(&env, &[]);
        assert_eq!(exit, Some(code), "{url}: {stderr}");
        one_line(&stderr, said);
        assert!(!stderr.contains("hunter22"), "a password is never shown: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_and_a_folder_that_are_not_of_each_other_are_refused() {
    for db in Db::both() {
        let env = TestEnv::new(db);
        let server = env.start().await;
        created(&server.client(), LESSON, "one", json!({})).await;
        let stranger =
            TestEnv::new(db).with("PANAVERSITY_STORAGE_ROOT", env.storage_root().to_str().unwrap());
        let (code, stderr) = refused(&stranger, &[]);
        let last = stderr.lines().last().unwrap();
        assert_eq!(code, Some(1));
        assert!(last.contains("belongs to another database") && last.contains("DATABASE_URL"), "{last}");

        let other = env.folder().join("elsewhere");
        let (code, stderr) = refused(&env, &["--storage-root", other.to_str().unwrap()]);
        assert_eq!(code, Some(1));
        one_line(&stderr, "is not the storage that this database is kept with");
        assert_eq!(server.get("/health/ready").await.status, 200, "and the right pair goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_database_is_refused_and_left_alone() {
    let env = TestEnv::new(Db::Postgres);
    env.start().await.stop().await;
    shared().query(env.database_url(), "INSERT INTO schema_migrations VALUES (999, 'of the future', 'now')");
    let (code, stderr) = refused(&env, &[]);
    assert_eq!(code, Some(1));
    one_line(&stderr, "newer than this binary knows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let env = TestEnv::new(Db::Sqlite);
    let output = env.command().args(["serve", "--server-port", &port]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.lines().last().unwrap().contains("another program uses the port"), "{stderr}");
}

#[test]
fn a_name_that_sets_nothing_is_reported_with_the_nearest_known() {
    let env = TestEnv::new(Db::Sqlite)
        .with("PANAVERSITY_STORAGE_ROT", "x")
        .with("PANAVERSITY_FROBNICATE", "hunter22")
        .with("PANAVERSITY_PORT", "9")
        .with("DATABASE_URL", "sqlite:/dev/null/x.db");
    let (code, log) = refused(&env, &[]);
    assert_eq!(code, Some(1), "{log}");
    for said in [
        "PANAVERSITY_STORAGE_ROT is no setting and has no effect; did you mean PANAVERSITY_STORAGE_ROOT?",
        "PANAVERSITY_FROBNICATE is no setting and has no effect",
        "did you mean PANAVERSITY_SERVER_PORT?",
    ] {
        assert!(log.contains(said), "{said} is not in {log}");
    }
    assert!(!log.contains("hunter22"));
}

#[test]
fn a_setting_that_does_not_parse_exits_with_2() {
    for (name, value, said) in [
        ("PANAVERSITY_STORAGE_BACKEND", "gcs", "allowed is fs, s3 or supabase"),
        ("PANAVERSITY_INLINE_LIMIT_KB", "-1", "a whole number"),
        ("PANAVERSITY_ENV", "prod", "development or production"),
        ("PANAVERSITY_WEB", "perhaps", "on or off"),
        ("PANAVERSITY_LOG_LEVEL", "loud", "DEBUG"),
        ("DATABASE_POOL_SIZE", "0", "from 1"),
        ("DATABASE_URL_FILE", "/no/such/file", "both set"),
    ] {
        let (code, stderr) = refused(&TestEnv::new(Db::Sqlite).with(name, value), &[]);
        assert_eq!(code, Some(2), "{name}: {stderr}");
        one_line(&stderr, said);
    }
}
