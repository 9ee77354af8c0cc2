//! `backup` through the binary, beside a server and writers: it is the store of one moment, complete and
//! private or not there at all, and a server started on it goes on from that moment.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use panaversity_store::{BACKUP_DATABASE, BACKUP_STORAGE};
use serde_json::{Value, json};

use crate::fixtures::{BOOK, LESSON, create_all, created, delete, pages, read, sha256, text, write};
use crate::harness::{Db, Storage, TestBackend, TestClient, TestEnv, until};

/// Larger than the inline limit: an object.
fn large(seed: &str) -> String {
    format!("{seed}\n").repeat(200_000 / seed.len())
}

fn lesson(writer: usize, number: usize) -> String {
    format!("content/{writer:02}-Part/{:02}-Chapter/{:02}-lesson.md", number / 100, number % 100)
}

fn backup(env: &TestEnv, output: &Path) -> Output {
    env.command().arg("backup").arg("--output").arg(output).arg("--json").output().unwrap()
}

#[track_caller]
fn backed_up(env: &TestEnv, output: &Path) -> Value {
    let done = backup(env, output);
    assert!(done.status.success(), "{done:?}");
    serde_json::from_slice(&done.stdout).unwrap()
}

fn run(env: &TestEnv, line: &str) -> Output {
    env.command().args(line.split(' ')).output().unwrap()
}

/// An environment whose database and storage are those of the backup.
fn restored(backup: &Path) -> TestEnv {
    let env = TestEnv::unmigrated(Db::Sqlite);
    fs::rename(backup.join(BACKUP_DATABASE), env.folder().join("journal.db")).unwrap();
    fs::rename(backup.join(BACKUP_STORAGE), env.storage_root()).unwrap();
    env
}

fn temporary(output: &Path) -> PathBuf {
    let name = output.file_name().unwrap().to_str().unwrap();
    output.with_file_name(format!(".{name}.panaversity-backup"))
}

/// Path of an object in a storage folder.
fn object(root: &Path, hash: &str) -> PathBuf {
    root.join(format!(".panaversity/objects/{}/{hash}", &hash[..2]))
}

pub(super) async fn all_chains_are_whole(client: &TestClient) {
    let verified = client.call("verify_audit_chain", json!({ "book_id": BOOK })).await.expect_ok();
    assert_eq!(verified["valid"], true, "{verified}");
}

/// Creates files one after the other, some of them large, and deletes every fifth; after each, writes its
/// number into a file of the writer's own. Ends at `stop`.
pub(super) async fn write_until(
    stop: Arc<AtomicBool>,
    client: TestClient,
    writer: usize,
    written: Arc<AtomicUsize>,
) {
    let (counter, mut before) = (counter(writer), String::new());
    for number in 0..2_000 {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (path, seed) = (lesson(writer, number), format!("{writer}-{number}"));
        let content = if number % 3 == 0 { large(&seed) } else { seed };
        created(&client, &path, &content, json!({})).await;
        if number % 5 == 4 {
            delete(&client, &path, json!({})).await.expect_ok();
        }
        let hash = if before.is_empty() { json!({}) } else { json!({ "expected_hash": sha256(&before) }) };
        before = number.to_string();
        write(&client, &counter, &before, hash).await.expect_ok();
        written.fetch_add(1, Ordering::Relaxed);
    }
}

/// The file with the number of the writer's last one.
fn counter(writer: usize) -> String {
    format!("content/{writer:02}-Part/README.md")
}

/// Asserts that a writer's files are those of one moment: all up to the number that it had written, and
/// at most the next one.
pub(super) async fn are_of_one_moment(client: &TestClient, writer: usize) {
    let pattern = format!("content/{writer:02}-Part/*/*");
    let (found, _) =
        pages(client, "glob_search", json!({ "book_id": BOOK, "pattern": pattern }), "matches").await;
    let found: BTreeSet<_> = found.iter().map(text).collect();
    let last = read(client, &counter(writer), json!({})).await.expect_ok();
    let last: usize = text(&last["content"]).parse().unwrap();
    let due: BTreeSet<_> = (0..=last).filter(|n| n % 5 != 4).map(|number| lesson(writer, number)).collect();
    let next = lesson(writer, last + 1);
    let more: Vec<_> = found.symmetric_difference(&due).collect();
    assert!(more.is_empty() || more == [&next], "{writer} wrote {last}: {more:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_writers_is_the_store_of_one_moment_and_a_server_goes_on_from_it() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    let client = server.client();
    let first = large("first");
    let hash = created(&client, LESSON, &first, json!({})).await;
    write(&client, LESSON, "second", json!({ "expected_hash": hash })).await.expect_ok();
    created(&client, LESSON, &large("hers"), json!({ "user_id": "eve" })).await;
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writers: Vec<_> = (2..6)
        .map(|n| tokio::spawn(write_until(stop.clone(), server.client(), n, written.clone())))
        .collect();
    until("writers write", async || written.load(Ordering::Relaxed) > 40).await;
    created(&client, "content/README.md", "acknowledged before", json!({})).await;
    let output = env.folder().join("backup");
    let (said, env) = tokio::task::spawn_blocking({
        let output = output.clone();
        move || (backed_up(&env, &output), env)
    })
    .await
    .unwrap();
    let at_least = written.load(Ordering::Relaxed);
    until("writers go on", async || written.load(Ordering::Relaxed) > at_least + 8).await;
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!((&said["status"], &said["released"]), (&json!("success"), &json!(0)), "{said}");
    server.all_published().await;

    let checked =
        Command::new("sqlite3").arg(output.join(BACKUP_DATABASE)).arg("PRAGMA integrity_check").output();
    assert_eq!(String::from_utf8_lossy(&checked.unwrap().stdout).trim(), "ok");
    let then = restored(&output);
    let tree = then.storage_root().join("books");
    assert!(!tree.exists(), "the tree is derived");
    // The tree of the store that goes on: with files of later than the backup.
    assert!(
        Command::new("cp")
            .args(["-a".as_ref(), env.storage_root().join("books").as_os_str(), tree.as_os_str()])
            .status()
            .unwrap()
            .success()
    );
    let server = then.start().await;
    let client = server.client();
    assert_eq!(
        read(&client, "content/README.md", json!({})).await.expect_ok()["content"],
        "acknowledged before"
    );
    assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], "second");
    assert!(read(&client, LESSON, json!({ "hash": sha256(&first) })).await.expect_ok()["content"] == first);
    let overlay = read(&client, LESSON, json!({ "user_id": "eve" })).await.expect_ok();
    assert!(overlay["content"] == large("hers"));
    all_chains_are_whole(&client).await;
    for writer in 2..6 {
        are_of_one_moment(&client, writer).await;
    }
    let repaired = run(&then, "reconcile --repair --json");
    assert!(repaired.status.success(), "{repaired:?}");
    server.all_published().await;
    let mut count = 0;
    for (path, bytes) in then.published() {
        let Some(path) = path.strip_prefix(&format!("{BOOK}/content/")) else { continue };
        let found = read(&client, &format!("content/{path}"), json!({})).await.expect_ok();
        assert!(found["content"].as_str().unwrap().as_bytes() == bytes, "{path}");
        count += 1;
    }
    let books = client.call("list_books", json!({ "book_id": BOOK })).await.expect_ok();
    assert_eq!(books["books"][0]["files"], count, "the tree has the files of the journal and no others");
    assert!(then.storage_root().join(".panaversity/lost+found").exists(), "later files are set aside");
    let clean = run(&then, "reconcile");
    assert!(clean.status.success(), "{clean:?}");
    created(&client, "content/index.md", "new", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_as_private_as_the_store_and_commands_run_in_its_folder() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    created(&server.client(), LESSON, &large("one"), json!({})).await;
    let output = env.folder().join("backups/today");
    let refused = backup(&env, &output);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    fs::create_dir_all(&output).unwrap();
    fs::set_permissions(env.folder().join("journal.db"), fs::Permissions::from_mode(0o640)).unwrap();
    let hash = sha256(large("one"));
    fs::set_permissions(object(&env.storage_root(), &hash), fs::Permissions::from_mode(0o600)).unwrap();
    let said = backed_up(&env, &output);
    assert_eq!((&said["objects"], &said["object_bytes"]), (&json!(1), &json!(large("one").len())), "{said}");
    server.stop().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let storage = output.join(BACKUP_STORAGE);
    assert_eq!([mode(&output), mode(&output.join(BACKUP_DATABASE)), mode(&storage)], [0o700, 0o640, 0o700]);
    assert_eq!(mode(&object(&storage, &hash)), 0o600);
    assert_eq!(fs::read_dir(output.parent().unwrap()).unwrap().count(), 1, "nothing else is left");

    let mut there = env.command();
    there.current_dir(&output).env_remove("DATABASE_URL").env_remove("PANAVERSITY_STORAGE_ROOT");
    let looked = there.args(["reconcile", "--json"]).output().unwrap();
    let looked: Value = serde_json::from_slice(&looked.stdout).unwrap();
    assert_eq!(
        (&looked["objects"], &looked["found"]),
        (&json!(1), &json!(1)),
        "only the tree lacks: {looked}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backup_leaves_no_output_and_the_next_one_clears_it_away() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    let client = server.client();
    let files = (0..150).map(|number| (lesson(1, number), large(&format!("n{number}"))));
    create_all(&client, files).await;
    let output = env.folder().join("backup");
    let mut command = env.command();
    command.args(["backup", "--output", "backup"]).stderr(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let objects = temporary(&output).join(BACKUP_STORAGE).join(".panaversity/objects");
    while !objects.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ends before it copies objects");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9), "it was not done yet");
    assert!(!output.exists() && temporary(&output).exists());
    let said = backed_up(&env, &output);
    assert_eq!((&said["objects"], temporary(&output).exists()), (&json!(150), false), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_object_is_named_and_the_rest_is_backed_up() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    let client = server.client();
    let paths: Vec<_> = (0..3).map(|number| lesson(1, number)).collect();
    let mut hashes = Vec::new();
    for path in &paths {
        hashes.push(created(&client, path, &large(path), json!({})).await);
    }
    let file = |number: usize| object(&env.storage_root(), &hashes[number]);
    fs::write(file(0), large(&paths[0]).replace('P', "Q")).unwrap();
    fs::remove_file(file(1)).unwrap();
    let output = env.folder().join("backup");
    let done = run(&env, "backup --output backup");
    let (stdout, stderr) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(1), "{stdout}{stderr}");
    for line in [
        format!("corrupt object {}: {BOOK}/{}", hashes[0], paths[0]),
        format!("missing object {}: {BOOK}/{}", hashes[1], paths[1]),
    ] {
        assert!(stdout.lines().any(|said| said == line), "{line}: {stdout}");
    }
    assert!(stderr.contains("backup lacks 2 objects"), "{stderr}");
    let copied = |number: usize| object(&output.join(BACKUP_STORAGE), &hashes[number]);
    assert_eq!([copied(0).exists(), copied(1).exists()], [false, false]);
    assert!(fs::read(copied(2)).unwrap() == large(&paths[2]).as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_in_use_is_left_alone() {
    let env = TestEnv::new(Db::Sqlite);
    let unserved = run(&env, "backup --output backup");
    assert!(String::from_utf8_lossy(&unserved.stderr).contains("no server was started"), "{unserved:?}");
    let server = env.start().await;
    created(&server.client(), LESSON, "one", json!({})).await;
    fs::create_dir(env.folder().join("mine")).unwrap();
    fs::write(env.folder().join("mine/notes"), "mine").unwrap();
    fs::write(env.folder().join("file"), "mine").unwrap();
    for (name, why) in
        [("mine", "is not empty"), ("file", "cannot be the output"), ("none/x", "cannot be written to")]
    {
        let refused = run(&env, &format!("backup --output {name}"));
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!((refused.status.code(), stderr.contains(why)), (Some(1), true), "{stderr}");
    }
    assert_eq!(fs::read(env.folder().join("mine/notes")).unwrap(), b"mine");
    let hidden = fs::read_dir(env.folder()).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().ends_with("panaversity-backup")
    });
    assert_eq!(hidden.count(), 0);
}

#[test]
fn another_kind_of_store_is_told_what_backs_it_up() {
    for (backend, said) in [
        (TestBackend::new(Db::Postgres, Storage::Fs), ["pg_dump --format=custom", "cp -a "]),
        (
            TestBackend::new(Db::Postgres, Storage::S3),
            ["pg_dump --format=custom", "put-bucket-versioning --bucket "],
        ),
        (TestBackend::new(Db::Sqlite, Storage::S3), ["sqlite3 ", "put-bucket-versioning --bucket "]),
    ] {
        let env = TestEnv::new(backend);
        let refused = run(&env, "backup --output backup");
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{stderr}");
        assert!(said.iter().all(|said| stderr.contains(said)), "{stderr}");
    }
}
