//! The data of every released schema: it survives the way up to this program's schema and, where the older
//! one has a place for it, the way down.

use std::fs;
use std::process::{Command, Output};

use panaversity_testkit::postgres;
use serde_json::{Value, json};

use super::backup::all_chains_are_whole;
use crate::fixtures::{BOOK, LESSON, created, entries, manifest, read, sha256, text, write};
use crate::harness::{Db, TestClient, TestEnv, log_watch};

/// Rows that a program of revision 1 wrote, computed from the documented formats, not by this program.
const REVISION_1: &str = include_str!("upgrades/0001.sql");
/// Id of the store in them.
const STORE_ID: &str = "019a9d0e-0000-7000-8000-000000000001";
/// Hash of the manifest that they keep: of before the second version of [`LESSON`].
const KEPT_MANIFEST: &str = "cdcd7b3e939e636d6fe73917a106acc887cf44407df541a9b0767ae7488c9db3";
const LARGE_FILE: &str = "content/01-Part/01-Chapter/02-large.md";
const DELETED: &str = "content/README.md";

fn large() -> String {
    "large\n".repeat(30_000)
}

fn migrate(env: &TestEnv, line: &str) -> Output {
    env.command().arg("migrate").args(line.split(' ')).output().unwrap()
}

#[track_caller]
fn migrated(env: &TestEnv, line: &str) {
    let output = migrate(env, line);
    assert!(output.status.success(), "{line}: {output:?}");
}

/// Runs SQL by the database's own program.
fn sql(env: &TestEnv, db: Db, sql: &str) -> String {
    if db == Db::Postgres {
        return postgres::shared().query(env.database_url(), sql);
    }
    let file = env.folder().join("journal.db");
    let output =
        Command::new("sqlite3").args(["-bail".as_ref(), file.as_os_str()]).arg(sql).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A store of revision 1 that no program has touched since.
fn store_of_revision_1(db: Db) -> TestEnv {
    let env = TestEnv::unmigrated(db);
    migrated(&env, "upgrade 1");
    let (rows, counter) = match db {
        Db::Sqlite => (REVISION_1.to_owned(), "UPDATE counters SET value = 7 WHERE name = 'version'"),
        Db::Postgres => (REVISION_1.replace("X'", "'\\x"), "SELECT setval('file_versions', 7)"),
    };
    sql(&env, db, &format!("{rows}{counter};"));
    let hash = sha256(large());
    let objects = env.storage_root().join(".panaversity/objects").join(&hash[..2]);
    fs::create_dir_all(&objects).unwrap();
    fs::write(objects.join(hash), large()).unwrap();
    fs::write(env.storage_root().join(".panaversity/store-id"), format!("{STORE_ID}\n")).unwrap();
    env
}

/// Asserts that everything of that store is there, and that it can be written to.
async fn has_the_data_of_revision_1(client: &TestClient) {
    for (path, content) in [(LESSON, "two"), (LARGE_FILE, &*large()), ("content/index.md", "")] {
        assert!(read(client, path, json!({})).await.expect_ok()["content"] == content, "{path}");
    }
    assert_eq!(read(client, LESSON, json!({ "user_id": "eve" })).await.expect_ok()["content"], "hers");
    let old = read(client, LESSON, json!({ "hash": sha256("one") })).await.expect_ok();
    assert_eq!(old["content"], "one");
    assert_eq!(read(client, DELETED, json!({})).await.code(), "NOT_FOUND");
    let target = json!({ "book_id": BOOK, "target_manifest_hash": KEPT_MANIFEST });
    let plan = client.call("plan_build", target).await.expect_ok();
    let changed: Vec<_> = plan["files"].as_array().unwrap().iter().map(|file| text(&file["path"])).collect();
    assert_eq!(
        (changed, plan.get("warning")),
        (vec![LESSON.to_owned(), "content/index.md".to_owned()], None)
    );
    // Those of the base: an overlay is its owner's.
    let log = entries(client, json!({ "book_id": BOOK, "until": "2026-11-21T00:00:00Z" })).await;
    assert_eq!((log.len(), &log[1]["error_code"]), (8, &json!("CONFLICT")), "{log:?}");
    all_chains_are_whole(client).await;
}

/// Writes, among others, bytes of which an older program had condemned the blob.
async fn can_be_written_to(client: &TestClient) {
    created(client, DELETED, "gone", json!({})).await;
    let more = json!({ "expected_hash": sha256(large()) });
    write(client, LARGE_FILE, &format!("more {}", large()), more).await.expect_ok();
    write(client, LESSON, "three", json!({ "expected_hash": sha256("two") })).await.expect_ok();
    all_chains_are_whole(client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_every_schema_is_whole_after_the_upgrade() {
    for db in Db::both() {
        for revision in 1..10 {
            let env = store_of_revision_1(db);
            migrated(&env, &format!("upgrade {revision}"));
            let key = "ab".repeat(32);
            if [4, 5].contains(&revision) {
                log_watch::secret(&key);
                sql(&env, db, &format!("UPDATE store SET signing_key = '{key}'"));
            }
            migrated(&env, "upgrade");
            if [4, 5].contains(&revision) {
                assert_eq!(sql(&env, db, "SELECT key FROM signing_keys"), key);
            }
            let server = env.start().await;
            has_the_data_of_revision_1(&server.client()).await;
            can_be_written_to(&server.client()).await;
            server.all_published().await;
            let (files, tree) = (manifest(&server.client()).await, env.published());
            let base: Vec<_> = tree.iter().filter(|(path, _)| !path.contains("/users/")).collect();
            let base = base.iter().map(|(path, bytes)| (&path[BOOK.len() + 1..], bytes.as_slice()));
            assert_eq!(crate::fixtures::manifest_hash(base), files, "{db:?} {revision}");
            server.stop().await;
            let swept = env.command().args(["gc", "--json"]).output().unwrap();
            assert!(swept.status.success(), "{swept:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_every_schema_is_whole_after_the_way_down_to_it_and_up_again() {
    for db in Db::both() {
        let env = store_of_revision_1(db);
        for revision in (1..10).rev() {
            migrated(&env, "upgrade");
            let server = env.start().await;
            has_the_data_of_revision_1(&server.client()).await;
            server.stop().await;
            for below in (revision..10).rev() {
                migrated(&env, &format!("downgrade {below}"));
            }
            let counted = sql(&env, db, "SELECT count(*) FROM versions");
            assert_eq!(counted, "7", "{db:?} {revision}");
        }
        migrated(&env, "upgrade");
        let server = env.start().await;
        has_the_data_of_revision_1(&server.client()).await;
        can_be_written_to(&server.client()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downgrade_that_would_drop_api_keys_needs_to_be_told_so() {
    for db in Db::both() {
        let env = TestEnv::new(db);
        let server = env.start().await;
        created(&server.client(), LESSON, "one", json!({})).await;
        server.stop().await;
        let create = ["keys", "create", "--agent", "ada", "--scope", "read", "--json"];
        let made = env.command().args(create).output().unwrap();
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        log_watch::secret(&text(&made["key"]));
        migrated(&env, "downgrade 5");
        let refused = migrate(&env, "downgrade 1");
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert_eq!((refused.status.code(), stderr.contains("--drop-api-keys")), (Some(1), true), "{stderr}");
        assert!(stderr.contains("drops 1 API key(s)"), "{stderr}");
        let current = String::from_utf8(migrate(&env, "current").stdout).unwrap();
        assert_eq!(current, "current: 0005 api_keys\n", "nothing was changed");
        migrated(&env, "downgrade 1 --drop-api-keys");
        let server = env.start().await;
        assert_eq!(read(&server.client(), LESSON, json!({})).await.expect_ok()["content"], "one");
    }
}
