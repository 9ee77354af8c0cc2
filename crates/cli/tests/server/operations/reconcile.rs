//! `reconcile` through the binary, beside a running server: manual changes to the folder are
//! noticed at a start, reported, repaired or adopted; nothing else changes.

use std::fs;

use serde_json::{Value, json};

use crate::fixtures::{BOOK, LESSON, created, entries, field, manifest, read, sha256};
use crate::harness::{Db, Server, Storage, TestBackend, TestEnv, logged, until};

const OTHER: &str = "content/01-Part/01-Chapter/02-lesson.md";
const NEW: &str = "content/01-Part/01-Chapter/03-by-hand.md";

/// Runs `reconcile`; returns the exit code and the JSON.
fn reconcile(env: &TestEnv, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = env.command().arg("reconcile").args(arguments).arg("--json").output().unwrap();
    let said = serde_json::from_slice(&output.stdout);
    (output.status.code(), said.unwrap_or_else(|_| json!(String::from_utf8_lossy(&output.stderr))))
}

/// Kind and outcome of each finding, by location.
fn found(said: &Value) -> Vec<String> {
    let findings = said["findings"].as_array().unwrap_or_else(|| panic!("{said}"));
    let line = |f: &Value| format!("{} {} {}", f["location"].as_str().unwrap(), f["kind"], f["outcome"]);
    let mut lines: Vec<_> = findings.iter().map(|f| line(f).replace('"', "")).collect();
    lines.sort();
    lines
}

/// A server with a large and a small file, and a folder that was changed by hand afterwards.
async fn meddled(db: Db) -> (TestEnv, Server, String) {
    let (env, large) = (TestEnv::new(db), "large\n".repeat(30_000));
    let server = env.start().await;
    created(&server.client(), LESSON, "one", json!({})).await;
    created(&server.client(), OTHER, &large, json!({})).await;
    created(&server.client(), LESSON, "hers", json!({ "user_id": "eve" })).await;
    server.all_published().await;
    let book = env.storage_root().join("books").join(BOOK);
    fs::write(book.join(LESSON), "edited by hand").unwrap();
    fs::remove_file(book.join(OTHER)).unwrap();
    fs::write(book.join(NEW), "new by hand").unwrap();
    fs::write(book.join("content/notes.txt"), "notes").unwrap();
    (env, server, large)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_names_what_differs_and_the_api_says_what_it_said() {
    for db in Db::both() {
        let (env, server, large) = meddled(db).await;
        let client = server.client();
        let (before, log) = (manifest(&client).await, entries(&client, json!({})).await.len());
        let (code, said) = reconcile(&env, &[]);
        assert_eq!((code, &said["status"], &said["left"]), (Some(1), &json!("drift"), &json!(4)));
        let due = [
            format!("{BOOK}/{LESSON} different left"),
            format!("{BOOK}/{OTHER} missing left"),
            format!("{BOOK}/{NEW} stranger left"),
            format!("{BOOK}/content/notes.txt stranger left"),
        ];
        assert_eq!(found(&said), due);
        assert_eq!(manifest(&client).await, before);
        assert_eq!(entries(&client, json!({})).await.len(), log + 2, "only our own two questions");
        assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], "one");
        assert!(read(&client, OTHER, json!({})).await.expect_ok()["content"] == json!(large));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_a_repair_restores_the_folder_and_keeps_what_it_moved() {
    for db in Db::both() {
        let (env, server, large) = meddled(db).await;
        let (code, said) = reconcile(&env, &["--repair"]);
        assert_eq!((code, &said["status"], &said["found"]), (Some(0), &json!("mended"), &json!(4)), "{said}");
        server.all_published().await;
        let held = env.published();
        assert_eq!(held[&format!("{BOOK}/{LESSON}")], b"one");
        assert!(held[&format!("{BOOK}/{OTHER}")] == large.as_bytes());
        assert_eq!(held.len(), 3, "{:?}", held.keys());
        let lost = env.storage_root().join(".panaversity/lost+found");
        let then = fs::read_dir(lost).unwrap().next().unwrap().unwrap().path().join(BOOK);
        assert_eq!(fs::read(then.join(LESSON)).unwrap(), b"edited by hand");
        assert_eq!(fs::read(then.join(NEW)).unwrap(), b"new by hand");
        let (code, said) = reconcile(&env, &[]);
        assert_eq!((code, &said["status"], &said["files"]), (Some(0), &json!("clean"), &json!(3)), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r7_adopting_takes_in_what_was_written_by_hand_in_the_name_of_who_did_it() {
    for db in Db::both() {
        let (env, server, _) = meddled(db).await;
        let client = server.client();
        let (code, said) = reconcile(&env, &["--adopt", "--agent-id", "ada"]);
        let due = [
            format!("{BOOK}/{LESSON} different adopted"),
            format!("{BOOK}/{OTHER} missing left"),
            format!("{BOOK}/{NEW} stranger adopted"),
            format!("{BOOK}/content/notes.txt stranger refused"),
        ];
        assert_eq!((code, found(&said)), (Some(1), due.into()));
        let refused =
            said["findings"].as_array().unwrap().iter().find(|f| f["outcome"] == "refused").unwrap();
        assert!(refused["detail"].as_str().unwrap().contains("Path must match"), "{refused}");
        assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], "edited by hand");
        assert_eq!(read(&client, NEW, json!({})).await.expect_ok()["content"], "new by hand");
        let old = read(&client, LESSON, json!({ "hash": sha256("one") })).await.expect_ok();
        assert_eq!(old["content"], "one", "what was there is a version like any other");
        let log = entries(&client, json!({ "agent_id": "ada" })).await;
        let changes: Vec<Value> = log.into_iter().filter(|entry| entry["status"] == "success").collect();
        assert_eq!(field(&changes, "operation"), ["WRITE", "WRITE"]);
        let edit = changes.iter().find(|entry| entry["path"] == LESSON).unwrap();
        assert_eq!(
            (&edit["old_content_hash"], &edit["new_content_hash"]),
            (&json!(sha256("one")), &json!(sha256("edited by hand")))
        );
        assert_eq!(
            client.call("verify_audit_chain", json!({ "book_id": BOOK })).await.expect_ok()["valid"],
            true
        );
    }
}

#[test]
fn a_folder_of_markdown_is_noticed_at_a_start_and_adopted_by_the_command_the_log_names() {
    for db in Db::both() {
        logged("INFO", async |log| {
            let env = TestEnv::new(db);
            env.start().await.stop().await;
            let book = env.storage_root().join("books/by-hand");
            fs::create_dir_all(book.join("content/01-Part/01-Chapter")).unwrap();
            fs::write(book.join(LESSON), "# One\n").unwrap();
            fs::write(book.join("content/README.md"), "# A book\n").unwrap();
            let server = env.start().await;
            let noticed = |line: &String| line.contains("panaversity-fs reconcile --adopt");
            until("it is noticed", async || log.lines().iter().any(noticed)).await;
            let line: Value = serde_json::from_str(&log.lines().into_iter().find(noticed).unwrap()).unwrap();
            assert_eq!((&line["level"], &line["strangers"]), (&json!("WARNING"), &json!(2)), "{line}");
            assert_eq!(server.client().call("list_books", json!({})).await.expect_ok()["books"], json!([]));

            let (code, said) = reconcile(&env, &["--adopt"]);
            assert_eq!((code, &said["status"]), (Some(0), &json!("mended")), "{said}");
            let asked = json!({ "book_id": "by-hand", "path": LESSON });
            assert_eq!(server.call("read_content", asked).await.expect_ok()["content"], "# One\n");
            let user = std::process::Command::new("id").arg("-un").output().unwrap();
            let writes = json!({ "book_id": "by-hand", "operation": "WRITE" });
            let writes = entries(&server.client(), writes).await;
            assert_eq!(writes[0]["agent_id"], String::from_utf8(user.stdout).unwrap().trim());
            server.all_published().await;
            server.stop().await;
            let server = env.start().await;
            until("it is ready", async || server.get("/health/ready").await.status == 200).await;
            server.all_published().await;
            assert_eq!(reconcile(&env, &[]).0, Some(0));
            assert_eq!(log.count("reconcile --adopt"), 1, "it is not noticed again");
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_object_is_restored_from_the_published_copy() {
    let (env, large) = (TestEnv::new(Db::Sqlite), "large\n".repeat(30_000));
    let server = env.start().await;
    created(&server.client(), LESSON, &large, json!({})).await;
    server.all_published().await;
    let hash = sha256(&large);
    let object = env.storage_root().join(".panaversity/objects").join(&hash[..2]).join(&hash);
    fs::write(&object, "damaged").unwrap();
    let (code, said) = reconcile(&env, &[]);
    assert_eq!((code, found(&said)), (Some(1), vec![format!("{hash} object_wrong_size left")]));
    assert_eq!(server.get("/health").await.json()["damaged_blobs"], 1);
    let (code, said) = reconcile(&env, &["--repair"]);
    assert_eq!((code, found(&said)), (Some(0), vec![format!("{hash} object_wrong_size restored")]));
    assert!(read(&server.client(), LESSON, json!({})).await.expect_ok()["content"] == json!(large));
    assert_eq!(server.get("/health").await.json()["damaged_blobs"], 0);
}

#[test]
fn wrong_usage_exits_with_2_and_an_empty_database_with_1() {
    let env = TestEnv::unmigrated(Db::Sqlite);
    for (arguments, said) in [
        (&["--repair", "--adopt"][..], "cannot be used with"),
        (&["--agent-id", "ada"], "--adopt"),
        (&["--adopt", "--agent-id", "system"], "--agent-id"),
        (&["--adopt", "--agent-id", ""], "--agent-id"),
        (&["--book-id", "No Book"], "book_id"),
    ] {
        let output = env.command().arg("reconcile").args(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.contains(said)), (Some(2), true), "{arguments:?}: {stderr}");
    }
    for command in ["reconcile", "gc"] {
        let output = env.command().arg(command).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.contains("migrate upgrade")), (Some(1), true), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_book_is_looked_at_alone_and_people_read_a_line_each() {
    let (env, _server, _) = meddled(Db::Sqlite).await;
    fs::create_dir_all(env.storage_root().join("books/other-book")).unwrap();
    fs::write(env.storage_root().join("books/other-book/x"), "x").unwrap();
    assert_eq!(reconcile(&env, &[]).1["found"], 5);
    let (code, said) = reconcile(&env, &["--book-id", BOOK]);
    assert_eq!((code, &said["found"], &said["objects"]), (Some(1), &json!(4), &json!(0)));
    let (code, said) = reconcile(&env, &["--book-id", "no-such-book"]);
    assert_eq!((code, said.to_string().contains("there is no book")), (Some(1), true), "{said}");
    let output = env.command().arg("reconcile").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 6, "{text}");
    assert!(
        text.lines()
            .any(|line| line.starts_with(&format!("different {BOOK}/{LESSON}: left (reconcile --adopt")))
    );
    assert!(
        text.ends_with("drift: 3 files and 1 objects looked at, 0 on their way, 5 found, 5 left\n"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_reconciled_like_a_folder() {
    for db in Db::both() {
        let (env, large) = (TestEnv::new(TestBackend::new(db, Storage::S3)), "large\n".repeat(30_000));
        let server = env.start().await;
        created(&server.client(), LESSON, "one", json!({})).await;
        created(&server.client(), OTHER, &large, json!({})).await;
        server.all_published().await;
        let (bucket, at) = (env.bucket(), |path: &str| format!("books/{BOOK}/{path}"));
        bucket.put(&at(LESSON), b"edited by hand");
        bucket.put(&at(NEW), b"new by hand");
        bucket.put("books/\u{e9}t\u{e9}/x", b"strange");
        let hash = sha256(&large);
        bucket.remove(&format!(".panaversity/objects/{}/{hash}", &hash[..2]));
        let (code, said) = reconcile(&env, &[]);
        let mut due = vec![
            format!("{hash} object_missing left"),
            format!("{BOOK}/{LESSON} different left"),
            format!("{BOOK}/{NEW} stranger left"),
            "\u{e9}t\u{e9}/x stranger left".to_owned(),
        ];
        due.sort();
        assert_eq!((code, found(&said)), (Some(1), due));
        let (_, said) = reconcile(&env, &["--adopt", "--agent-id", "ada"]);
        assert_eq!(said["left"], 2, "{said}");
        assert_eq!(read(&server.client(), LESSON, json!({})).await.expect_ok()["content"], "edited by hand");
        let (code, said) = reconcile(&env, &["--repair"]);
        assert_eq!((code, &said["status"]), (Some(0), &json!("mended")), "{said}");
        assert!(read(&server.client(), OTHER, json!({})).await.expect_ok()["content"] == json!(large));
        server.all_published().await;
        assert_eq!(env.published().len(), 3);
        let aside = bucket.contents().into_keys().filter(|key| key.contains("lost+found")).count();
        assert_eq!((aside, reconcile(&env, &[]).0), (1, Some(0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_advises_only_what_works() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    created(&server.client(), LESSON, "one", json!({})).await;
    let cover =
        json!({ "book_id": BOOK, "asset_type": "img", "filename": "Cover.png", "binary_data": "eA==" });
    server.call("upload_asset", cover).await.expect_ok();
    server.all_published().await;
    let books = env.storage_root().join("books");
    let book = books.join(BOOK);
    for (place, why) in [
        ("beside.md", "beside the books"),
        ("UPPER/content/README.md", "book_id"),
        ("ai-python/content/notes.txt", "Path must match"),
        ("ai-python/users/not a user/content/README.md", "user_id"),
        ("ai-python/static/img/COVER.png", "only by case"),
        ("ai-python/static/img/cover.png/deep.png", "lie under a file"),
        ("ai-python/link.md", "no file but a link"),
        ("ai-python/content/pipe", "no file but a link"),
        (NEW, ""),
    ] {
        let place = if place == NEW { format!("{BOOK}/{NEW}") } else { place.to_owned() };
        let file = books.join(&place);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        match why {
            "no file but a link" if place.ends_with("pipe") => {
                assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
            }
            "no file but a link" => std::os::unix::fs::symlink("/etc/hostname", &file).unwrap(),
            _ => fs::write(&file, "by hand").unwrap(),
        }
        let (code, said) = reconcile(&env, &[]);
        let findings = said["findings"].as_array().unwrap();
        let detail = findings[0]["detail"].as_str().unwrap();
        assert_eq!((code, findings.len()), (Some(1), 1), "{place}: {said}");
        let (_, adopted) = reconcile(&env, &["--adopt", "--agent-id", "ada"]);
        let outcome = &adopted["findings"][0]["outcome"];
        assert_eq!(detail.contains("--adopt"), outcome == "adopted", "{place}: {detail}; then {adopted}");
        assert!(
            detail.contains("--repair moves it to lost+found") && detail.contains(why),
            "{place}: {detail}"
        );
        if outcome != "adopted" {
            assert_eq!(outcome, "refused", "{place}: {adopted}");
            let (code, repaired) = reconcile(&env, &["--repair"]);
            assert_eq!(
                (code, &repaired["findings"][0]["outcome"]),
                (Some(0), &json!("set_aside")),
                "{place}: {repaired}"
            );
        }
        server.all_published().await;
        assert_eq!(reconcile(&env, &[]).0, Some(0), "{place}");
    }
    assert!(!book.join("content/pipe").exists());
}
