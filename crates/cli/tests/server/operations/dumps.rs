//! `pg_dump` while servers write, and its restore beside the storage that went on: the store of the dump's
//! moment, with the tree mended by `reconcile --repair`.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use panaversity_testkit::postgres;
use serde_json::{Value, json};

use super::backup::{all_chains_are_whole, are_of_one_moment, write_until};
use crate::fixtures::{BOOK, LESSON, created, read, sha256};
use crate::harness::{Db, Storage, TestBackend, TestEnv, until};

/// Runs a program of PostgreSQL's.
async fn run(program: &'static str, arguments: Vec<String>) {
    let command = move || Command::new(postgres::shared().programs().join(program)).args(arguments).output();
    let output = tokio::task::spawn_blocking(command).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Rows of the journal: published path and hash.
fn journal(database: &str) -> Vec<(String, String)> {
    let rows = postgres::shared().query(
        database,
        "SELECT book_id || CASE user_id WHEN '__base__' THEN '/' ELSE '/users/' || user_id || '/' END || path, \
         sha256 FROM file_journal ORDER BY 1",
    );
    rows.lines()
        .map(|row| row.split_once('|').unwrap())
        .map(|(path, hash)| (path.into(), hash.into()))
        .collect()
}

async fn dumped_and_restored(storage: Storage) {
    let env = TestEnv::new(TestBackend::new(Db::Postgres, storage));
    let server = env.start().await;
    created(&server.client(), LESSON, "hers", json!({ "user_id": "eve" })).await;
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writers: Vec<_> = (2..6)
        .map(|n| tokio::spawn(write_until(stop.clone(), server.client(), n, written.clone())))
        .collect();
    until("writers write", async || written.load(Ordering::Relaxed) > 40).await;
    created(&server.client(), LESSON, "acknowledged before", json!({})).await;
    let dump = env.folder().join("panaversity.dump").display().to_string();
    let to =
        vec!["--format=custom".into(), format!("--file={dump}"), format!("--dbname={}", env.database_url())];
    run("pg_dump", to).await;
    let at_least = written.load(Ordering::Relaxed);
    until("writers go on", async || written.load(Ordering::Relaxed) > at_least + 20).await;
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    created(&server.client(), "content/index.md", "written after", json!({})).await;
    server.all_published().await;
    server.stop().await;

    let restored = postgres::shared().create_database();
    run("pg_restore", vec!["--exit-on-error".into(), format!("--dbname={restored}"), dump]).await;
    let journal = journal(&restored);
    let env = env.with("DATABASE_URL", &restored);
    let server = env.start().await;
    let client = server.client();
    let repair = || env.command().args(["reconcile", "--repair", "--json"]).output().unwrap();
    let repaired = repair();
    let said: Value = serde_json::from_slice(&repaired.stdout).unwrap_or_default();
    assert!(repaired.status.success() && said["status"] == "mended", "{repaired:?}");
    server.all_published().await;

    assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], "acknowledged before");
    assert_eq!(read(&client, "content/index.md", json!({})).await.code(), "NOT_FOUND");
    for writer in 2..6 {
        are_of_one_moment(&client, writer).await;
    }
    for (path, hash) in &journal {
        let path = Path::new(path).strip_prefix(BOOK).unwrap().to_str().unwrap();
        let (path, view) = match path.strip_prefix("users/eve/") {
            Some(path) => (path, json!({ "user_id": "eve" })),
            None => (path, json!({})),
        };
        let found = read(&client, path, view).await.expect_ok();
        assert_eq!(sha256(found["content"].as_str().unwrap()), *hash, "{path}");
    }
    let tree: Vec<_> = env.published().into_iter().map(|(path, bytes)| (path, sha256(bytes))).collect();
    assert!(tree == journal, "the tree is the journal's");
    let aside = env.everything().into_keys().filter(|key| key.starts_with(".panaversity/lost+found/"));
    assert!(aside.filter(|key| key.ends_with("content/index.md")).count() == 1, "later files are set aside");
    all_chains_are_whole(&client).await;
    let (code, said) = (repair().status.code(), String::from_utf8(repair().stdout).unwrap());
    assert_eq!((code, said.contains("\"left\":0")), (Some(0), true), "{said}");
    created(&client, "content/README.md", "new", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_under_writes_restores_the_moment_that_it_was_made_at_beside_a_folder() {
    dumped_and_restored(Storage::Fs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_under_writes_restores_the_moment_that_it_was_made_at_beside_a_bucket() {
    dumped_and_restored(Storage::S3).await;
}
