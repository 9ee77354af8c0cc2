//! `gc` through the binary: what is old goes, what is held or young stays, and a dry run tells.

use serde_json::{Value, json};

use crate::harness::{Db, World};
use crate::lessons::{LESSON, created, delete, read, sha256, write};

fn gc(world: &World, arguments: &[&str]) -> Value {
    let output = world.command().arg("gc").args(arguments).arg("--json").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn objects(world: &World) -> usize {
    let objects = std::fs::read_dir(world.storage_root().join(".panaversity/objects")).unwrap();
    objects.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_stay_readable_for_the_retention_and_go_after_it() {
    for db in Db::both() {
        let world = World::new(db);
        let server = world.start().await;
        let (door, large) = (server.door(), "large\n".repeat(30_000));
        let hash = created(&door, LESSON, &large, json!({})).await;
        write(&door, LESSON, "small", json!({ "expected_hash": hash })).await.expect_ok();
        created(&door, "content/README.md", "gone", json!({})).await;
        delete(&door, "content/README.md", json!({})).await.expect_ok();
        let old = async || read(&door, LESSON, json!({ "hash": hash })).await;

        let nothing = gc(&world, &[]);
        assert_eq!(
            (&nothing["versions"], &nothing["blobs"]),
            (&json!(0), &json!(0)),
            "they are kept 30 days"
        );
        assert!(old().await.ok);
        let told = gc(&world, &["--dry-run", "--retention-days", "0"]);
        assert_eq!(
            (&told["dry_run"], &told["versions"], &told["blobs"]),
            (&json!(true), &json!(2), &json!(2))
        );
        assert_eq!(told["bytes"], large.len() + "gone".len());
        assert!(old().await.ok && objects(&world) == 1, "a dry run lets nothing go");

        let done = gc(&world, &["--retention-days", "0"]);
        assert_eq!((&done["versions"], &done["blobs"], &done["left"]), (&json!(2), &json!(2), &json!(0)));
        assert_eq!((old().await.code(), objects(&world)), ("NOT_FOUND", 0));
        assert_eq!(read(&door, LESSON, json!({})).await.expect_ok()["content"], "small");
        assert!(gc(&world, &["--retention-days", "0"])["blobs"] == 0);
        let again =
            write(&door, LESSON, &large, json!({ "expected_hash": sha256("small") })).await.expect_ok();
        assert_eq!(again["file_hash"], json!(hash));
        assert!(read(&door, LESSON, json!({})).await.expect_ok()["content"] == json!(large));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_nobody_knows_goes_when_it_is_older_than_the_retention() {
    let world = World::new(Db::Sqlite);
    let server = world.start().await;
    created(&server.door(), LESSON, &"large\n".repeat(30_000), json!({})).await;
    let hash = sha256("unknown");
    let folder = world.storage_root().join(".panaversity/objects").join(&hash[..2]);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(&hash), "unknown").unwrap();
    assert_eq!(gc(&world, &[])["unknown_objects"], 0, "it is too young");
    assert_eq!(gc(&world, &["--dry-run", "--retention-days", "0"])["unknown_bytes"], 7);
    assert_eq!(gc(&world, &["--retention-days", "0"])["unknown_objects"], 1);
    assert!(!folder.join(&hash).exists());
    assert!(read(&server.door(), LESSON, json!({})).await.ok);
    let output = world.command().args(["gc", "--dry-run"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text,
        "would let go: 0 blobs (0 bytes), 0 old versions, 0 manifests, 0 unknown objects (0 bytes), 0 uploads\n"
    );
}
