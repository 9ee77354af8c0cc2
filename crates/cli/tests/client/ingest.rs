//! `ingest`: what is written, what is refused, and what a fault leaves.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use panaversity_client::Client;
use panaversity_client::ingest::{IngestOptions, IngestReport};
use panaversity_client::progress::NoProgress;
use panaversity_client::report::Report;
use panaversity_model::{BookId, Schema};
use tempfile::TempDir;

use crate::faulty_proxy::Twist;
use crate::test_server::{BOOK, TestServer};

mod assets;

const A: &str = "01-Part/01-Chapter/01-a.md";
const B: &str = "01-Part/01-Chapter/02-b.md";
const C: &str = "01-Part/01-Chapter/03-c.md";

fn page(path: &str) -> String {
    format!("content/{path}")
}

fn put(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let file = folder.join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, bytes).unwrap();
}

fn args(source: &Path) -> IngestOptions {
    IngestOptions {
        book_id: BookId::parse(BOOK).unwrap(),
        source_dir: source.to_owned(),
        static_dir: None,
        schema: None,
        delete: false,
        force: false,
        dry_run: false,
        progress: Arc::new(NoProgress),
    }
}

async fn setup() -> (TestServer, TempDir, IngestOptions) {
    let server = TestServer::start().await;
    let source = TempDir::new().unwrap();
    for (name, text) in [(A, "a"), (B, "b"), (C, "c")] {
        put(source.path(), name, text);
    }
    let args = args(source.path());
    (server, source, args)
}

fn summary(report: &IngestReport) -> String {
    report.lines().pop().unwrap()
}

#[tokio::test]
async fn the_second_run_writes_nothing_and_the_third_only_what_changed() {
    let (server, source, args) = setup().await;
    server.proxy.page_size(2);
    let first = server.ingest(&args).await.unwrap();
    assert_eq!(summary(&first), "ingest ai-python: 3 written, 0 deleted, 0 unchanged, 0 refused");
    assert!(first.is_success());
    assert_eq!(server.author.files(BOOK).await.len(), 3);
    server.proxy.calls();

    let second = server.ingest(&args).await.unwrap();
    assert_eq!(summary(&second), "ingest ai-python: 0 written, 0 deleted, 3 unchanged, 0 refused");
    assert_eq!(server.proxy.calls(), ["list_books", "plan_build", "plan_build"]);

    put(source.path(), A, "A");
    put(source.path(), "README.md", "\u{feff}hello\r\n\0");
    let third = server.ingest(&args).await.unwrap();
    assert_eq!((third.created, third.updated), (vec!["content/README.md".to_owned()], vec![page(A)]));
    assert_eq!(server.author.files(BOOK).await["content/README.md"], "\u{feff}hello\r\n\0");
}

#[tokio::test]
async fn a_book_of_more_files_than_a_page_lists_is_compared_as_a_whole() {
    let (server, source, args) = setup().await;
    for n in 0..1_000 {
        put(source.path(), &format!("01-Part/{:02}-Chapter/{:02}-x.md", 10 + n / 50, n % 50), format!("{n}"));
    }
    assert_eq!(server.ingest(&args).await.unwrap().created.len(), 1_003);
    server.proxy.calls();
    let report = server.ingest(&args).await.unwrap();
    assert_eq!((report.unchanged, report.created.len() + report.updated.len()), (1_003, 0));
    assert_eq!(server.proxy.calls(), ["list_books", "plan_build", "plan_build"], "1000 files on a page");
}

#[tokio::test]
async fn every_file_that_is_not_written_is_named_with_the_reason() {
    let (server, source, args) = setup().await;
    put(source.path(), "01-Part/01-Chapter/07_quiz.md", "q");
    put(source.path(), "01-Part/01-Chapter/04-latin.md", b"caf\xe9");
    put(source.path(), "01-Part/01-Chapter/05-big.md", "x".repeat(500_001));
    put(source.path(), "01-Part/01-Chapter/01-A.md", "differs by case");
    put(source.path(), ".git/config", "hidden");
    put(source.path(), ".hidden.md", "hidden");
    std::os::unix::fs::symlink("README.md", source.path().join("index.md")).unwrap();
    let report = server.ingest(&args).await.unwrap();
    assert!(!report.is_success());
    let lines = report.lines().join("\n");
    for part in [
        "refused content/01-Part/01-Chapter/07_quiz.md: Path must match",
        "; suggested name: content/01-Part/01-Chapter/07-quiz.md",
        "refused content/01-Part/01-Chapter/04-latin.md: not UTF-8 at byte 3",
        "created content/01-Part/01-Chapter/05-big.md",
        "refused content/01-Part/01-Chapter/01-a.md: it differs only by case from content/01-Part/01-Chapter/01-A.md",
        "skipped content/.git: hidden",
        "skipped content/.hidden.md: hidden",
        "skipped content/index.md: a link",
        "ingest ai-python: 4 written, 0 deleted, 0 unchanged, 3 refused",
    ] {
        assert!(lines.contains(part), "{part}\n{lines}");
    }
}

#[tokio::test]
async fn the_book_s_own_schema_holds_and_another_is_refused() {
    let (server, source, mut args) = setup().await;
    put(source.path(), "thesis.md", "t");
    args.schema = Some(Schema::Docusaurus);
    assert!(server.ingest(&args).await.unwrap().is_success());
    args.schema = None;
    put(source.path(), "more.md", "m");
    assert_eq!(server.ingest(&args).await.unwrap().created, ["content/more.md"]);
    args.schema = Some(Schema::Strict);
    assert!(server.ingest(&args).await.unwrap_err().message.contains("CONFLICT"));
    assert_eq!(server.author.files(BOOK).await.len(), 5);
}

#[tokio::test]
async fn delete_removes_what_is_gone_but_never_much_without_force() {
    let (server, source, mut args) = setup().await;
    server.ingest(&args).await.unwrap();
    server.author.put(BOOK, &[("static/img/x.png", "asset")]).await;
    args.delete = true;

    fs::remove_file(source.path().join(C)).unwrap();
    let report = server.ingest(&args).await.unwrap();
    assert_eq!(report.deleted, [page(C)]);
    assert!(server.author.files(BOOK).await.contains_key("static/img/x.png"));

    // A rename in case is not two pages.
    fs::rename(source.path().join(B), source.path().join("01-Part/01-Chapter/02-B.md")).unwrap();
    let report = server.ingest(&args).await.unwrap();
    assert_eq!((report.deleted.len(), report.created.len(), report.refused.len()), (1, 1, 0));

    // More than half, or an empty folder: nothing happens at all, not even the write.
    for (name, text) in [(B, "b"), (C, "c")] {
        put(source.path(), name, text);
    }
    fs::remove_file(source.path().join("01-Part/01-Chapter/02-B.md")).unwrap();
    server.ingest(&args).await.unwrap();
    fs::remove_file(source.path().join(B)).unwrap();
    fs::remove_file(source.path().join(C)).unwrap();
    put(source.path(), "README.md", "new");
    let before = server.author.files(BOOK).await;
    let failure = server.ingest(&args).await.unwrap_err();
    assert!(failure.message.contains("2 of the book's 3 files below content/"), "{}", failure.message);
    let empty = TempDir::new().unwrap();
    let other = IngestOptions { source_dir: empty.path().to_owned(), ..args.clone() };
    assert!(server.ingest(&other).await.unwrap_err().message.contains("empty the book"));
    assert_eq!(server.author.files(BOOK).await, before);
    args.force = true;
    assert_eq!(server.ingest(&args).await.unwrap().deleted.len(), 2);
}

#[tokio::test]
async fn a_refused_or_skipped_name_is_not_gone() {
    let (server, source, mut args) = setup().await;
    server.ingest(&args).await.unwrap();
    args.delete = true;
    put(source.path(), A, "x".repeat(500_001));
    fs::create_dir(source.path().join("elsewhere")).unwrap();
    fs::rename(source.path().join(B), source.path().join("elsewhere/README.md")).unwrap();
    std::os::unix::fs::symlink("/nowhere", source.path().join(B)).unwrap();
    let report = server.ingest(&args).await.unwrap();
    assert_eq!(report.deleted, Vec::<String>::new());
    assert_eq!(server.author.files(BOOK).await.len(), 3);
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let (server, source, mut args) = setup().await;
    args.dry_run = true;
    put(source.path(), "01-Part/01-Chapter/04-latin.md", b"caf\xe9");
    let report = server.ingest(&args).await.unwrap();
    assert!(report.lines().contains(&format!("would be created content/{A}")));
    assert_eq!((report.created.len(), report.refused.len()), (3, 1));
    assert_eq!(server.proxy.calls(), ["list_books"]);
}

#[tokio::test]
async fn a_page_changed_by_somebody_else_meanwhile_is_not_overwritten() {
    let (server, source, args) = setup().await;
    server.ingest(&args).await.unwrap();
    put(source.path(), A, "mine");
    server.proxy.on_call(|call| match call.tool.as_str() {
        "write_content" => Twist::Overtaken("content/01-Part/01-Chapter/01-a.md", "theirs"),
        _ => Twist::Honest,
    });
    let report = server.ingest(&args).await.unwrap();
    assert!(report.refused[0].reason.contains("CONFLICT"), "{report:?}");
    assert_eq!(server.author.files(BOOK).await[&page(A)], "theirs");
}

#[tokio::test]
async fn faults_of_the_moment_are_ridden_out_and_lost_answers_count_as_written() {
    let (server, _source, args) = setup().await;
    server.proxy.on_call(|call| match call.number {
        1 | 5 => Twist::Fault,
        4 => Twist::LostAnswer,
        _ => Twist::Honest,
    });
    let report = server.ingest(&args).await.unwrap();
    assert!(report.is_success());
    assert_eq!((report.created.len(), report.unchanged), (3, 0));
}

#[tokio::test]
async fn a_server_that_stays_down_is_a_failure_and_the_next_run_completes_the_job() {
    let (server, source, args) = setup().await;
    for n in 10..60 {
        put(source.path(), &format!("01-Part/01-Chapter/{n}-x.md"), format!("{n}"));
    }
    server.proxy.on_call(|call| if call.number > 20 { Twist::Fault } else { Twist::Honest });
    let report = server.ingest(&args).await.unwrap();
    assert!(!report.is_success());
    assert!(!report.failed.is_empty() && report.not_tried > 0, "{report:?}");
    assert!(summary(&report).contains("not tried: run again"));
    server.proxy.honest();
    let report = server.ingest(&args).await.unwrap();
    assert!(report.is_success() && report.unchanged > 0);
    assert_eq!(server.author.files(BOOK).await.len(), 53);
}

#[tokio::test]
async fn a_killed_run_is_completed_by_the_next() {
    let (server, _source, args) = setup().await;
    // Once all calls that are in flight hang, nothing more happens.
    for (kill_at, hanging) in [(1, 1), (2, 1), (3, 3), (4, 2)] {
        server.proxy.calls();
        server.proxy.on_call(move |call| if call.number >= kill_at { Twist::Hang } else { Twist::Honest });
        tokio::select! {
            ended = server.ingest(&args) => panic!("it was not killed: {ended:?}"),
            () = server.proxy.hung(hanging) => {}
        }
    }
    server.proxy.honest();
    assert!(server.ingest(&args).await.unwrap().is_success());
    assert_eq!(server.author.files(BOOK).await.len(), 3);
}

#[tokio::test]
async fn no_server_and_no_source_are_failures() {
    let (server, source, mut args) = setup().await;
    args.source_dir = source.path().join("nowhere");
    assert!(server.ingest(&args).await.unwrap_err().is_usage);
    args.source_dir = source.path().to_owned();
    let nowhere = Client::new("http://127.0.0.1:9", "test").unwrap();
    let failure = panaversity_client::ingest::ingest(&nowhere, &args).await.unwrap_err();
    assert!(failure.message.contains("refused") && !failure.is_usage, "{}", failure.message);
}
