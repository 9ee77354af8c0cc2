//! Guards against operator mistakes: foreign files are not overwritten, and no book is emptied by a
//! wrong folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{hydrate, ingest, lessons, plant, tree};
use crate::fixtures::{LESSON, manifest};
use crate::harness::{Db, Server, TestEnv};

/// A server with a book of ten lessons from `source`.
async fn ten_lessons() -> (TestEnv, Server, PathBuf) {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    let source = plant(&env.folder().join("source"), &lessons(10));
    ingest(&env, &server, &source, &[]).expect_ok();
    (env, server, source)
}

#[track_caller]
fn says(report: &Value, what: &str) {
    assert!(report["error"].as_str().unwrap_or_default().contains(what), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_needs_force_to_empty_a_book_or_to_take_more_than_half() {
    let (env, server, source) = ten_lessons().await;
    let before = manifest(&server.client()).await;
    let empty = env.folder().join("empty");
    fs::create_dir_all(empty.join(".git")).unwrap();
    says(&ingest(&env, &server, &empty, &["--delete"]).expect_failed(), "--delete would empty the book");
    for name in lessons(10).keys().take(6) {
        fs::remove_file(source.join(name)).unwrap();
    }
    let refused = ingest(&env, &server, &source, &["--delete"]).expect_failed();
    says(&refused, "--delete would delete 6 of the book's 10 files below content/");
    ingest(&env, &server, &source, &[]).expect_ok();
    ingest(&env, &server, &source, &["--delete", "--force", "--dry-run"]).expect_ok();
    assert_eq!(manifest(&server.client()).await, before, "nothing was deleted");
    let report = ingest(&env, &server, &source, &["--delete", "--force"]).expect_ok();
    assert_eq!(report["deleted"].as_array().unwrap().len(), 6);
    let report = ingest(&env, &server, &empty, &["--delete", "--force"]).expect_ok();
    assert_eq!(report["deleted"].as_array().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    let source = plant(&env.folder().join("source"), &lessons(10));
    let report = ingest(&env, &server, &source, &["--dry-run"]).expect_ok();
    assert_eq!(report["created"].as_array().unwrap().len(), 10);
    assert_eq!(server.call("list_books", json!({})).await.expect_ok(), json!({ "books": [] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_refuses_what_the_run_refuses() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    let docusaurus = ["--schema", "docusaurus"];
    let held = [("guide/03-a.md", "a"), ("data", "a file"), ("dir/x.md", "x"), ("gone/y.md", "y")];
    let tree_of = |files: &[(&str, &str)]| -> super::Tree {
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    };
    let source = plant(&env.folder().join("source"), &tree_of(&held));
    ingest(&env, &server, &source, &docusaurus).expect_ok();
    let other = env.folder().join("other");
    plant(
        &other,
        &tree_of(&[
            ("guide/03-A.md", "twin"),
            ("data/a.csv", "below a file"),
            ("dir/x.md", "x"),
            ("GONE", "above a file"),
            ("new/a", "first"),
            ("NEW/A/b.md", "below the first"),
            ("fine.md", "fine"),
        ]),
    );
    let dry = ingest(&env, &server, &other, &["--dry-run"]).expect_failed();
    let run = ingest(&env, &server, &other, &[]).expect_failed();
    let paths = |report: &Value, list: &str| -> Vec<String> {
        let entries = report[list].as_array().unwrap().iter();
        entries.map(|one| one.get("path").unwrap_or(one).as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        paths(&run, "refused"),
        ["content/GONE", "content/data/a.csv", "content/guide/03-A.md", "content/new/a"]
    );
    assert_eq!(paths(&run, "created"), ["content/NEW/A/b.md", "content/fine.md"]);
    for list in ["created", "updated", "deleted", "refused", "unchanged", "skipped", "failed"] {
        assert_eq!(dry[list], run[list], "{list}");
    }
    // Files that the run itself deletes first do not conflict.
    let swept = ["--delete", "--force"];
    let dry = ingest(&env, &server, &other, &[&swept[..], &["--dry-run"]].concat());
    let run = ingest(&env, &server, &other, &swept);
    for list in ["created", "deleted", "refused"] {
        assert_eq!(dry.report[list], run.report[list], "{list}");
    }
    assert_eq!(
        paths(&run.report, "created"),
        ["content/GONE", "content/data/a.csv", "content/guide/03-A.md"]
    );
    assert_eq!(paths(&run.report, "refused"), ["content/new/a"], "two of the folder's own");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_go_in_is_named_and_the_rest_goes_in() {
    let (env, server, source) = ten_lessons().await;
    let chapter = source.join("01-Part/00-Chapter");
    fs::write(chapter.join("20-latin.md"), b"caf\xe9").unwrap();
    fs::write(chapter.join("21-large.md"), "x".repeat(500_001)).unwrap();
    fs::write(chapter.join("22-line\nbreak.md"), "x").unwrap();
    fs::write(chapter.join("23-Twin.md"), "x").unwrap();
    fs::write(chapter.join("23-twin.md"), "x").unwrap();
    fs::write(chapter.join("24-image.png"), b"\x89PNG").unwrap();
    fs::write(chapter.join("25-new.md"), "new").unwrap();
    fs::create_dir(chapter.join(".hidden")).unwrap();
    fs::write(chapter.join(".hidden/26-x.md"), "x").unwrap();
    fs::write(source.join(".DS_Store"), "x").unwrap();
    fs::write(env.folder().join("secret.md"), "not of the book").unwrap();
    symlink(env.folder().join("secret.md"), chapter.join("27-link.md")).unwrap();
    symlink(env.folder(), source.join("02-Link")).unwrap();
    let report = ingest(&env, &server, &source, &[]).expect_failed();
    let names = |list: &str| -> Vec<String> {
        let all = report[list].as_array().unwrap();
        all.iter().map(|one| one["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
    };
    let refused = ["20-latin.md", "22-line\nbreak.md", "23-twin.md", "24-image.png"];
    assert_eq!(names("refused"), refused);
    assert_eq!(names("skipped"), [".DS_Store", ".hidden", "27-link.md", "02-Link"]);
    let created =
        ["21-large.md", "23-Twin.md", "25-new.md"].map(|name| format!("content/01-Part/00-Chapter/{name}"));
    assert_eq!(report["created"], json!(created));
    assert_eq!(report["unchanged"], 10);
    let mut run = env.command();
    run.args(["ingest", "--url", server.url(), "--book-id", "ai-python", "--source-dir"]).arg(&source);
    let lines = String::from_utf8(run.output().unwrap().stdout).unwrap();
    let in_one = lines.lines().find(|line| line.contains("22-line\\nbreak.md: The path is refused"));
    assert!(in_one.is_some(), "a line stays a line: {lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn skipped_files_alone_are_no_failure() {
    let (env, server, source) = ten_lessons().await;
    fs::write(source.join(".DS_Store"), "x").unwrap();
    let report = ingest(&env, &server, &source, &[]).expect_ok();
    assert_eq!(report["skipped"][0]["reason"], "hidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_file_in_the_way_stops_hydrate_before_anything_changes() {
    let (env, server, _) = ten_lessons().await;
    let output = env.folder().join("output");
    let in_the_way = output.join("01-Part/00-Chapter/03-lesson.md");
    plant(
        &output,
        &[
            ("01-Part/00-Chapter/03-lesson.md".to_owned(), b"mine".to_vec()),
            ("mine.md".to_owned(), b"mine too".to_vec()),
        ]
        .into(),
    );
    let report = hydrate(&env, &server, &output, &[]).expect_failed();
    says(&report, "nothing was changed");
    assert_eq!(report["files"][0]["path"], "01-Part/00-Chapter/03-lesson.md");
    assert_eq!(tree(&output).len(), 2);

    hydrate(&env, &server, &output, &["--full-rebuild"]).expect_ok();
    assert_eq!(fs::read(&in_the_way).unwrap(), lessons(10)["01-Part/00-Chapter/03-lesson.md"]);
    assert_eq!(fs::read(output.join("mine.md")).unwrap(), b"mine too", "what is not in the way stays");
    assert_eq!(tree(&output).len(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_changed_by_hand_is_not_overwritten() {
    let (env, server, source) = ten_lessons().await;
    let output = env.folder().join("output");
    hydrate(&env, &server, &output, &[]).expect_ok();
    let name = "01-Part/00-Chapter/03-lesson.md";
    fs::write(output.join(name), "my own notes").unwrap();
    for (n, change) in ["changed", "changed again"].into_iter().enumerate() {
        fs::write(source.join(if n == 0 { name } else { "01-Part/00-Chapter/04-lesson.md" }), change)
            .unwrap();
        ingest(&env, &server, &source, &[]).expect_ok();
        let report = hydrate(&env, &server, &output, &[]).expect_failed();
        assert_eq!(report["files"][0]["path"], name);
        assert_eq!(fs::read(output.join(name)).unwrap(), b"my own notes");
    }
    hydrate(&env, &server, &output, &["--full-rebuild"]).expect_ok();
    assert!(tree(&output) == tree(&source), "the output differs from the source");
}

#[tokio::test(flavor = "multi_thread")]
async fn hydrate_never_writes_through_a_link() {
    let (env, server, _) = ten_lessons().await;
    let (output, elsewhere) = (env.folder().join("output"), env.folder().join("elsewhere"));
    fs::create_dir_all(&elsewhere).unwrap();
    fs::create_dir_all(&output).unwrap();
    symlink(&elsewhere, output.join("01-Part")).unwrap();
    for more in [[].as_slice(), &["--full-rebuild"]] {
        says(&hydrate(&env, &server, &output, more).expect_failed(), "nothing was changed");
    }
    assert!(tree(&elsewhere).is_empty());
    // The output folder itself may be a link.
    let link = env.folder().join("link");
    symlink(env.folder().join("real"), &link).unwrap();
    says(&hydrate(&env, &server, &link, &[]).expect_failed(), "leads nowhere");
    fs::create_dir(env.folder().join("real")).unwrap();
    hydrate(&env, &server, &link, &[]).expect_ok();
    assert_eq!(tree(&env.folder().join("real")).len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_belongs_to_one_book_and_one_run() {
    let (env, server, source) = ten_lessons().await;
    let output = env.folder().join("output");
    hydrate(&env, &server, &output, &[]).expect_ok();
    let before = tree(&output);
    let other = json!({ "book_id": "other-book", "path": LESSON, "content": "other" });
    server.call("write_content", other).await.expect_ok();
    let mut run = env.command();
    run.args(["hydrate", "--json", "--url", server.url(), "--book-id", "other-book", "--output-dir"])
        .arg(&output);
    says(&super::Ended::of(&run.output().unwrap()).expect_failed(), "holds the book ai-python");

    let lock = env.folder().join(".output.panaversity/lock");
    let held = fs::File::open(lock).unwrap();
    held.lock().unwrap();
    says(&hydrate(&env, &server, &output, &[]).expect_failed(), "another hydrate");
    drop(held);
    assert!(tree(&output) == before && before == tree(&source), "the output has changed");
    hydrate(&env, &server, Path::new(&output), &[]).expect_ok();
}
