//! Contents of archives: their files, read by this crate and by other programs; states, scopes,
//! damage.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{ask, download, fill, http, linked, noise, path_of, unzipped};
use crate::fixtures::{BOOK, created, delete, fresh, sha256, text, write};
use crate::harness::{Db, TestBackend, TestEnv, logged, until};

on_every_backend!(
    r5_an_archive_is_the_book_s_base_byte_for_byte,
    a_link_to_an_old_state_gives_that_state_while_agents_write,
    every_link_and_download_is_in_the_log,
);

async fn r5_an_archive_is_the_book_s_base_byte_for_byte(on: TestBackend) {
    let (env, server, client) = fresh(on).await;
    let files = fill(&client, 3).await;
    let link = linked(&client, json!({})).await;
    let bytes = download(&server, &path_of(&link)).await;
    assert!(unzipped(&bytes) == files, "exactly the base");
    let plan = client.call("plan_build", json!({ "book_id": BOOK })).await.expect_ok();
    let content: usize = files.values().map(Vec::len).sum();
    let expected = json!({
        "status": "success", "file_count": files.len(), "total_size_bytes": content,
        "archive_size_bytes": bytes.len(), "manifest_hash": plan["manifest_hash"], "format": "zip",
        "scope": "all", "valid_for_seconds": 3600,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&link[name], value, "{name}");
    }
    assert_eq!(link.get("error_manifest"), None);
    let archive = env.folder().join("book.zip");
    fs::write(&archive, &bytes).unwrap();
    let folder = env.folder().join("unpacked");
    fs::create_dir(&folder).unwrap();
    read_with_others(&archive, &folder);
    for (path, bytes) in &files {
        assert!(&fs::read(folder.join(path)).unwrap() == bytes, "{path}");
    }
    let empty = linked(&client, json!({ "scope": "assets" })).await;
    assert!(unzipped(&download(&server, &path_of(&empty)).await).is_empty());
    let pages = linked(&client, json!({ "scope": "content" })).await;
    assert!(unzipped(&download(&server, &path_of(&pages)).await) == files);
}

/// Tests the archive with Info-ZIP, libarchive and Python, and unpacks it with libarchive.
fn read_with_others(archive: &Path, folder: &Path) {
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).env("LC_ALL", "C.UTF-8").env("PYTHONUTF8", "1");
        let output =
            command.output().unwrap_or_else(|why| panic!("{program} (see install-test-tools): {why}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{program}: {said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let (file, into) = (archive.to_str().unwrap(), folder.to_str().unwrap());
    let tested = run("unzip", &["-t", file]);
    assert!(tested.contains("No errors detected"), "{tested}");
    let listed = run("bsdtar", &["-tf", file]);
    assert!(listed.contains("content/part/\u{65e5}\u{672c}\u{8a9e}.md\n"), "{listed}");
    run("bsdtar", &["-xf", file, "-C", into]);
    let script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n\
                  print(*sorted(z.namelist()), sep='\\n')\n\
                  assert all(i.date_time == (1980, 1, 1, 0, 0, 0) for i in z.infolist())\n\
                  assert all(i.external_attr >> 16 == 0o100644 for i in z.infolist())";
    let (mut named, mut listed): (Vec<_>, Vec<_>) = (
        run("python3", &["-c", script, file]).lines().map(str::to_owned).collect(),
        listed.lines().collect(),
    );
    named.sort();
    listed.sort_unstable();
    assert_eq!(named, listed);
}

async fn a_link_to_an_old_state_gives_that_state_while_agents_write(on: TestBackend) {
    let (env, server, client) = fresh(on).await;
    let files = fill(&client, 1).await;
    let old = linked(&client, json!({})).await;
    let writing = async {
        for (n, (path, bytes)) in files.iter().enumerate() {
            let more = json!({ "expected_hash": sha256(bytes) });
            if n % 3 == 0 {
                delete(&client, path, more).await.expect_ok();
            } else {
                write(&client, path, &noise(n as u64, 3_000), more).await.expect_ok();
            }
        }
        created(&client, "content/new.md", "new", json!({})).await;
    };
    let path = path_of(&old);
    let (during, ()) = tokio::join!(download(&server, &path), writing);
    assert!(unzipped(&during) == files);
    let gone = env.command().args(["gc"]).env("PANAVERSITY_RETENTION_DAYS", "0").output().unwrap();
    assert!(gone.status.success(), "{gone:?}");
    assert!(download(&server, &path).await == during);
    let again = linked(&client, json!({ "manifest_hash": old["manifest_hash"] })).await;
    assert!(download(&server, &path_of(&again)).await == during);
    let now = linked(&client, json!({})).await;
    assert_ne!(now["manifest_hash"], old["manifest_hash"]);
    let now = unzipped(&download(&server, &path_of(&now)).await);
    assert!(now != files && now.contains_key("content/new.md"));
    let unknown = json!({ "book_id": BOOK, "manifest_hash": sha256("no state") });
    let refused = client.call("get_book_archive", unknown).await;
    assert_eq!(refused.code(), "NOT_FOUND", "{}", refused.value);
    assert!(text(&refused.value["error"]["hint"]).contains("without manifest_hash"));
}

async fn every_link_and_download_is_in_the_log(on: TestBackend) {
    let (_env, server, client) = fresh(on).await;
    created(&client, "content/README.md", "a page", json!({})).await;
    let link = linked(&client.clone().of_agent("builder-9"), json!({})).await;
    download(&server, &path_of(&link)).await;
    let filter = json!({ "book_id": BOOK, "operation": "ARCHIVE" });
    let log = client.call("query_audit_log", filter).await.expect_ok();
    let entries = log["entries"].as_array().unwrap();
    let told: Vec<_> = entries.iter().map(|e| (text(&e["agent_id"]), text(&e["status"]))).collect();
    assert_eq!(told, vec![("builder-9".to_owned(), "success".to_owned()); 2], "the link, and the download");
    let verified = client.call("verify_audit_chain", json!({ "book_id": BOOK })).await.expect_ok();
    assert_eq!(verified["valid"], true);
}

#[test]
fn a_download_is_a_line_of_the_log_without_its_signed_url() {
    logged("INFO", async |log| {
        let (_env, server, client) = fresh(Db::Sqlite).await;
        created(&client, "content/README.md", "a page", json!({})).await;
        download(&server, &path_of(&linked(&client, json!({})).await)).await;
        until("it is logged", async || log.count("GET archive.zip") == 1).await;
        assert_eq!(log.count("signature"), 0);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_what_is_damaged_is_left_out_and_what_turns_out_damaged_ends_the_download() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    let client = server.client();
    let mut files = fill(&client, 6).await;
    let whole = linked(&client, json!({})).await;
    let object = |hash: &str| env.storage_root().join(".panaversity/objects").join(&hash[..2]).join(hash);
    let bad = "content/large/04.md";
    let hash = sha256(&files[bad]);
    fs::write(object(&hash), noise(7, files[bad].len())).unwrap();
    // The answer starts with 200 and then breaks off.
    let mut answer = ask(&http(), &server, &path_of(&whole), &[]).await;
    assert_eq!(answer.status(), 200);
    let mut got = 0;
    let cut = loop {
        match answer.chunk().await {
            Ok(Some(bytes)) => got += bytes.len(),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(cut && got > 0 && got < usize::try_from(whole["archive_size_bytes"].as_u64().unwrap()).unwrap());
    let gone = ask(&http(), &server, &path_of(&whole), &[]).await;
    assert_eq!(gone.status(), 410, "never other bytes under that name");
    let gone: Value = gone.json().await.unwrap();
    assert_eq!(gone["error"]["code"], "NOT_FOUND");

    let missing = "content/large/05.md";
    fs::remove_file(object(&sha256(&files[missing]))).unwrap();
    let partial = linked(&client, json!({})).await;
    assert_eq!(partial["status"], "partial");
    let errors = partial["error_manifest"].as_array().unwrap();
    let told: Vec<_> = errors.iter().map(|error| text(&error["path"])).collect();
    assert_eq!(told, [bad, missing]);
    files.remove(bad);
    files.remove(missing);
    assert!(unzipped(&download(&server, &path_of(&partial)).await) == files);
    let metrics = server.get("/metrics").await.text();
    for (status, count) in [("corrupt", 1), ("partial", 1), ("success", 0)] {
        let series = format!(
            r#"panaversityfs_archive_total{{book_id="{BOOK}",scope="all",status="{status}"}} {count}"#
        );
        assert_eq!(metrics.contains(&series), count > 0, "{series} in\n{metrics}");
    }
    assert!(metrics.contains(r#"panaversityfs_archive_duration_seconds_count{scope="all"} 2"#));
}
