//! Pairing of database and storage: servers that would store the files of one database in different
//! folders or buckets do not start, from the first moment on.

use std::sync::Arc;

use futures::future::join_all;

use super::starting::{one_line, refused};
use crate::harness::{Db, Storage, TestBackend, TestEnv};

/// Asserts that no server starts there, and its message.
fn assert_refused(env: &TestEnv) {
    let (code, stderr) = refused(env, &[]);
    assert_eq!(code, Some(1), "{stderr}");
    one_line(&stderr, "that this database is kept with");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_storage_is_refused_before_the_database_has_a_book() {
    for storage in [Storage::Fs, Storage::S3] {
        let env = TestEnv::new(TestBackend::new(Db::Postgres, storage));
        let server = env.start().await;
        for other in [storage, Storage::Fs, Storage::S3] {
            assert_refused(&env.on_another_storage(other));
        }
        assert_eq!(server.get("/health/ready").await.status, 200, "the first goes on");
        let (two, three) = tokio::join!(env.start(), env.start());
        for another in [&two, &three] {
            assert_eq!(another.get("/health/ready").await.status, 200, "and others beside it");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_servers_started_at_once_on_three_storages_one_comes_up() {
    let one = TestEnv::new(TestBackend::new(Db::Postgres, Storage::Fs));
    let others = [one.on_another_storage(Storage::Fs), one.on_another_storage(Storage::S3)];
    let envs: Vec<_> = [one].into_iter().chain(others).map(Arc::new).collect();
    let starts = envs.iter().cloned().map(|env| tokio::spawn(async move { env.start().await }));
    // The harness panics where a server does not come up.
    let servers: Vec<_> = join_all(starts).await.into_iter().map(Result::ok).collect();
    assert_eq!(servers.iter().flatten().count(), 1);
    for (env, server) in envs.iter().zip(&servers) {
        match server {
            Some(server) => assert_eq!(server.get("/health/ready").await.status, 200),
            None => assert_refused(env),
        }
    }
}
