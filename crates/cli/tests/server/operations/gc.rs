//! `gc` through the binary: old content is purged, current and young content stays, and a dry run
//! only reports.

use serde_json::{Value, json};

use crate::fixtures::{LESSON, created, delete, read, sha256, write};
use crate::harness::{Db, TestEnv};

fn gc(env: &TestEnv, arguments: &[&str]) -> Value {
    let output = env.command().arg("gc").args(arguments).arg("--json").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn objects(env: &TestEnv) -> usize {
    let objects = std::fs::read_dir(env.storage_root().join(".panaversity/objects")).unwrap();
    objects.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_stay_readable_for_the_retention_and_go_after_it() {
    for db in Db::both() {
        let env = TestEnv::new(db);
        let server = env.start().await;
        let (client, large) = (server.client(), "large\n".repeat(30_000));
        let hash = created(&client, LESSON, &large, json!({})).await;
        write(&client, LESSON, "small", json!({ "expected_hash": hash })).await.expect_ok();
        created(&client, "content/README.md", "gone", json!({})).await;
        delete(&client, "content/README.md", json!({})).await.expect_ok();
        let old = async || read(&client, LESSON, json!({ "hash": hash })).await;

        let nothing = gc(&env, &[]);
        assert_eq!(
            (&nothing["versions"], &nothing["blobs"]),
            (&json!(0), &json!(0)),
            "they are kept 30 days"
        );
        assert!(old().await.ok);
        let told = gc(&env, &["--dry-run", "--retention-days", "0"]);
        assert_eq!(
            (&told["dry_run"], &told["versions"], &told["blobs"]),
            (&json!(true), &json!(2), &json!(2))
        );
        assert_eq!(told["bytes"], large.len() + "gone".len());
        assert!(old().await.ok && objects(&env) == 1, "a dry run lets nothing go");

        let done = gc(&env, &["--retention-days", "0"]);
        assert_eq!((&done["versions"], &done["blobs"], &done["left"]), (&json!(2), &json!(2), &json!(0)));
        assert_eq!((old().await.code(), objects(&env)), ("NOT_FOUND", 0));
        assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], "small");
        assert!(gc(&env, &["--retention-days", "0"])["blobs"] == 0);
        let again =
            write(&client, LESSON, &large, json!({ "expected_hash": sha256("small") })).await.expect_ok();
        assert_eq!(again["file_hash"], json!(hash));
        assert!(read(&client, LESSON, json!({})).await.expect_ok()["content"] == json!(large));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_nobody_knows_goes_when_it_is_older_than_the_retention() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    created(&server.client(), LESSON, &"large\n".repeat(30_000), json!({})).await;
    let hash = sha256("unknown");
    let folder = env.storage_root().join(".panaversity/objects").join(&hash[..2]);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(&hash), "unknown").unwrap();
    assert_eq!(gc(&env, &[])["unknown_objects"], 0, "it is too young");
    assert_eq!(gc(&env, &["--dry-run", "--retention-days", "0"])["unknown_bytes"], 7);
    assert_eq!(gc(&env, &["--retention-days", "0"])["unknown_objects"], 1);
    assert!(!folder.join(&hash).exists());
    assert!(read(&server.client(), LESSON, json!({})).await.ok);
    let output = env.command().args(["gc", "--dry-run"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text,
        "would delete: 0 blobs (0 bytes), 0 old versions, 0 manifests, 0 unknown objects (0 bytes), 0 uploads\n"
    );
}
