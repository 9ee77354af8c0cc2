//! Full disks: the database's, and the one with objects and tree.

use panaversity_testkit::disk::Disk;
use serde_json::json;

use super::{assert_chained, assert_failed, gets_ready, gets_unready, in_time, or_skip};
use crate::fixtures::{LESSON, created, delete, read, sha256, write};
use crate::harness::{Db, TestEnv};

/// A text larger than the inline limit.
fn large() -> String {
    "a large file\n".repeat(20_000)
}

/// Text that does not compress.
fn noise(seed: usize, lines: usize) -> String {
    let line = |n: usize| sha256(format!("{seed} {n}")) + "\n";
    (0..lines).map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_sqlite_refuses_changes_and_keeps_what_was_there() {
    let env = TestEnv::new(Db::Sqlite);
    let at = env.folder().join("disk");
    let Some(disk) = or_skip(Disk::small(&at, 4096)) else { return };
    let env = env.with("DATABASE_URL", &format!("sqlite:{}", at.join("journal.db").display()));
    let server = env.start().await;
    let client = server.client();
    created(&client, LESSON, "one", json!({})).await;
    server.all_published().await;
    assert!(super::is_ready(&server).await);

    disk.fill();
    // Writes succeed as long as the database's write-ahead log has allocated space.
    let mut written = 0;
    let path = |n: usize| format!("content/01-Part/02-Chapter/{n:02}-noise.md");
    let refused = loop {
        let answer = in_time(write(&client, &path(written), &noise(written, 400), json!({}))).await;
        if !answer.ok {
            break answer;
        }
        written += 1;
    };
    assert_failed(&refused, "DATABASE_UNAVAILABLE");
    let update = write(&client, LESSON, &noise(99, 400), json!({ "expected_hash": sha256("one") })).await;
    assert_failed(&update, "DATABASE_UNAVAILABLE");
    gets_unready(&server).await;

    disk.make_room();
    gets_ready(&server).await;
    assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], "one");
    assert_eq!(read(&client, &path(written), json!({})).await.code(), "NOT_FOUND");
    for n in 0..written {
        assert_eq!(read(&client, &path(n), json!({})).await.expect_ok()["content"], noise(n, 400));
    }
    created(&client, &path(written), "there is room", json!({})).await;
    assert_chained(&server).await;
    server.stop().await;
    // A refused write is not found after a restart either.
    let server = env.start().await;
    assert_eq!(read(&server.client(), LESSON, json!({})).await.expect_ok()["content"], "one");
    assert_chained(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_storage_still_takes_small_text_and_publishes_it_later() {
    let env = TestEnv::new(Db::Sqlite);
    let Some(disk) = or_skip(Disk::small(&env.storage_root(), 2048)) else { return };
    let server = env.start().await;
    let client = server.client();
    created(&client, LESSON, "one", json!({})).await;
    let readme = "content/README.md";
    created(&client, readme, "the start", json!({})).await;
    server.all_published().await;

    disk.fill();
    let answer = in_time(write(&client, "content/01-Part/README.md", &large(), json!({}))).await;
    assert_failed(&answer, "STORAGE_UNAVAILABLE");
    gets_unready(&server).await;
    write(&client, LESSON, "two", json!({ "expected_hash": sha256("one") })).await.expect_ok();
    created(&client, "content/01-Part/01-Chapter/02-new.md", "new", json!({})).await;
    delete(&client, readme, json!({})).await.expect_ok();
    assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], "two");
    assert!(server.get("/health").await.json()["pending_publications"].as_u64().unwrap() >= 2);

    disk.make_room();
    gets_ready(&server).await;
    created(&client, "content/01-Part/README.md", &large(), json!({})).await;
    server.all_published().await;
    let expected = [
        ("content/01-Part/01-Chapter/01-lesson.md", "two".to_owned()),
        ("content/01-Part/01-Chapter/02-new.md", "new".to_owned()),
        ("content/01-Part/README.md", large()),
    ];
    let expected = expected.map(|(path, content)| (format!("ai-python/{path}"), content.into_bytes()));
    assert!(env.published() == expected.into(), "{:?}", env.published().keys());
    assert_eq!(env.temporary_files(), Vec::<String>::new());
    assert_chained(&server).await;
    server.stop().await;
}
