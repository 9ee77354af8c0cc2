//! `ingest` against the fake server: what is written, what is refused, and what a fault leaves.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::super::fake::{Fake, Twist};
use super::*;

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

fn args(fake: &Fake, source: &Path) -> IngestArgs {
    IngestArgs {
        book_id: BookId::parse("ai-python").unwrap(),
        source_dir: source.to_owned(),
        static_dir: None,
        schema: None,
        delete: false,
        force: false,
        dry_run: false,
        server: ServerArgs { url: Some(fake.url.clone()) },
        json: false,
    }
}

async fn setup() -> (Fake, TempDir, IngestArgs) {
    let fake = Fake::start().await;
    let source = TempDir::new().unwrap();
    for (name, text) in [(A, "a"), (B, "b"), (C, "c")] {
        put(source.path(), name, text);
    }
    let args = args(&fake, source.path());
    (fake, source, args)
}

fn summary(report: &IngestReport) -> String {
    report.lines().pop().unwrap()
}

#[tokio::test]
async fn the_second_run_writes_nothing_and_the_third_only_what_changed() {
    let (fake, source, args) = setup().await;
    fake.page_size(2);
    let first = ingest(&args).await.unwrap();
    assert_eq!(summary(&first), "ingest ai-python: 3 written, 0 deleted, 0 unchanged, 0 refused");
    assert!(first.is_success());
    assert_eq!(fake.files("ai-python").len(), 3);
    fake.calls();

    let second = ingest(&args).await.unwrap();
    assert_eq!(summary(&second), "ingest ai-python: 0 written, 0 deleted, 3 unchanged, 0 refused");
    assert_eq!(fake.calls(), ["list_books", "plan_build", "plan_build"]);

    put(source.path(), A, "A");
    put(source.path(), "README.md", "\u{feff}hello\r\n\0");
    let third = ingest(&args).await.unwrap();
    assert_eq!((third.created, third.updated), (vec!["content/README.md".to_owned()], vec![page(A)]));
    assert_eq!(fake.files("ai-python")["content/README.md"], "\u{feff}hello\r\n\0");
}

#[tokio::test]
async fn every_file_that_is_not_written_is_named_with_the_reason() {
    let (_fake, source, args) = setup().await;
    put(source.path(), "01-Part/01-Chapter/07_quiz.md", "q");
    put(source.path(), "01-Part/01-Chapter/04-latin.md", b"caf\xe9");
    put(source.path(), "01-Part/01-Chapter/05-big.md", "x".repeat(500_001));
    put(source.path(), "01-Part/01-Chapter/01-A.md", "differs by case");
    put(source.path(), ".git/config", "hidden");
    put(source.path(), ".hidden.md", "hidden");
    std::os::unix::fs::symlink("README.md", source.path().join("index.md")).unwrap();
    let report = ingest(&args).await.unwrap();
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
    let (fake, source, mut args) = setup().await;
    put(source.path(), "thesis.md", "t");
    args.schema = Some(Schema::Docusaurus);
    assert!(ingest(&args).await.unwrap().is_success());
    args.schema = None;
    put(source.path(), "more.md", "m");
    assert_eq!(ingest(&args).await.unwrap().created, ["content/more.md"]);
    args.schema = Some(Schema::Strict);
    assert!(ingest(&args).await.unwrap_err().message.contains("CONFLICT"));
    assert_eq!(fake.files("ai-python").len(), 5);
}

#[tokio::test]
async fn delete_removes_what_is_gone_but_never_much_without_force() {
    let (fake, source, mut args) = setup().await;
    ingest(&args).await.unwrap();
    fake.put("ai-python", &[("static/img/x.png", "asset")]);
    args.delete = true;

    fs::remove_file(source.path().join(C)).unwrap();
    let report = ingest(&args).await.unwrap();
    assert_eq!(report.deleted, [page(C)]);
    assert!(fake.files("ai-python").contains_key("static/img/x.png"));

    // A rename in case is not two pages.
    fs::rename(source.path().join(B), source.path().join("01-Part/01-Chapter/02-B.md")).unwrap();
    let report = ingest(&args).await.unwrap();
    assert_eq!((report.deleted.len(), report.created.len(), report.refused.len()), (1, 1, 0));

    // More than half, or an empty folder: nothing happens at all, not even the write.
    for (name, text) in [(B, "b"), (C, "c")] {
        put(source.path(), name, text);
    }
    fs::remove_file(source.path().join("01-Part/01-Chapter/02-B.md")).unwrap();
    ingest(&args).await.unwrap();
    fs::remove_file(source.path().join(B)).unwrap();
    fs::remove_file(source.path().join(C)).unwrap();
    put(source.path(), "README.md", "new");
    let before = fake.files("ai-python");
    let failure = ingest(&args).await.unwrap_err();
    assert!(failure.message.contains("2 of the book's 3 files below content/"), "{}", failure.message);
    let empty = TempDir::new().unwrap();
    let other = IngestArgs { source_dir: empty.path().to_owned(), ..args.clone() };
    assert!(ingest(&other).await.unwrap_err().message.contains("empty the book"));
    assert_eq!(fake.files("ai-python"), before);
    args.force = true;
    assert_eq!(ingest(&args).await.unwrap().deleted.len(), 2);
}

#[tokio::test]
async fn a_refused_or_skipped_name_is_not_gone() {
    let (fake, source, mut args) = setup().await;
    ingest(&args).await.unwrap();
    args.delete = true;
    put(source.path(), A, "x".repeat(500_001));
    fs::create_dir(source.path().join("elsewhere")).unwrap();
    fs::rename(source.path().join(B), source.path().join("elsewhere/README.md")).unwrap();
    std::os::unix::fs::symlink("/nowhere", source.path().join(B)).unwrap();
    let report = ingest(&args).await.unwrap();
    assert_eq!(report.deleted, Vec::<String>::new());
    assert_eq!(fake.files("ai-python").len(), 3);
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let (fake, source, mut args) = setup().await;
    args.dry_run = true;
    put(source.path(), "01-Part/01-Chapter/04-latin.md", b"caf\xe9");
    let report = ingest(&args).await.unwrap();
    assert!(report.lines().contains(&format!("would be created content/{A}")));
    assert_eq!((report.created.len(), report.refused.len()), (3, 1));
    assert_eq!(fake.calls(), ["list_books"]);
}

#[tokio::test]
async fn a_page_changed_by_somebody_else_meanwhile_is_not_overwritten() {
    let (fake, source, args) = setup().await;
    ingest(&args).await.unwrap();
    put(source.path(), A, "mine");
    fake.on_call(|call| match call.tool.as_str() {
        "write_content" => Twist::Overtaken("content/01-Part/01-Chapter/01-a.md", "theirs"),
        _ => Twist::Honest,
    });
    let report = ingest(&args).await.unwrap();
    assert!(report.refused[0].reason.contains("CONFLICT"), "{report:?}");
    assert_eq!(fake.files("ai-python")[&page(A)], "theirs");
}

#[tokio::test]
async fn faults_of_the_moment_are_ridden_out_and_lost_answers_count_as_written() {
    let (fake, _source, args) = setup().await;
    fake.on_call(|call| match call.number {
        1 | 5 => Twist::Fault,
        4 => Twist::LostAnswer,
        _ => Twist::Honest,
    });
    let report = ingest(&args).await.unwrap();
    assert!(report.is_success());
    assert_eq!((report.created.len(), report.unchanged), (3, 0));
}

#[tokio::test]
async fn a_server_that_stays_down_is_a_failure_and_the_next_run_completes_the_job() {
    let (fake, source, args) = setup().await;
    for n in 10..60 {
        put(source.path(), &format!("01-Part/01-Chapter/{n}-x.md"), format!("{n}"));
    }
    fake.on_call(|call| if call.number > 20 { Twist::Fault } else { Twist::Honest });
    let report = ingest(&args).await.unwrap();
    assert!(!report.is_success());
    assert!(!report.failed.is_empty() && report.not_tried > 0, "{report:?}");
    assert!(summary(&report).contains("not tried: run again"));
    fake.honest();
    let report = ingest(&args).await.unwrap();
    assert!(report.is_success() && report.unchanged > 0);
    assert_eq!(fake.files("ai-python").len(), 53);
}

#[tokio::test]
async fn a_killed_run_is_completed_by_the_next() {
    let (fake, _source, args) = setup().await;
    for kill_at in 1..=4 {
        fake.calls();
        fake.on_call(move |call| if call.number >= kill_at { Twist::Hang } else { Twist::Honest });
        let killed = tokio::time::timeout(Duration::from_millis(200), ingest(&args)).await;
        assert!(killed.is_err(), "{kill_at}");
    }
    fake.honest();
    assert!(ingest(&args).await.unwrap().is_success());
    assert_eq!(fake.files("ai-python").len(), 3);
}

#[tokio::test]
async fn no_server_and_no_source_are_failures() {
    let (fake, source, mut args) = setup().await;
    args.source_dir = source.path().join("nowhere");
    assert!(ingest(&args).await.unwrap_err().is_usage);
    args.source_dir = source.path().to_owned();
    args.server.url = Some("http://127.0.0.1:9".to_owned());
    let failure = ingest(&args).await.unwrap_err();
    assert!(failure.message.contains("refused") && !failure.is_usage, "{}", failure.message);
    drop(fake);
}
