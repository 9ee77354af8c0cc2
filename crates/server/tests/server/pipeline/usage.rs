//! Wrong usage exits with 2, what went wrong with 1, and both say what to do.

use std::process::Output;

use serde_json::json;

use super::{Ended, hydrate, ingest, lessons, plant};
use crate::harness::{Db, World};
use crate::lessons::BOOK;

/// Runs a command line; `{source}` is a folder with a book.
fn run(world: &World, line: &str) -> Output {
    let source = world.folder().join("source").display().to_string();
    let arguments = line.split(' ').map(|word| word.replace("{source}", &source));
    world.command().args(arguments).output().unwrap()
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_wrong() {
    let world = World::new(Db::Sqlite);
    plant(&world.folder().join("source"), &lessons(1));
    for (line, said) in [
        ("ingest", "--book-id"),
        ("ingest --book-id ai-python", "--source-dir"),
        ("hydrate --book-id ai-python", "--output-dir"),
        ("ingest --book-id AI --source-dir {source}", "book_id"),
        ("ingest --book-id ai-python --source-dir {source} --schema hugo", "docusaurus"),
        ("ingest --book-id ai-python --source-dir {source}/nowhere", "no such folder"),
        ("ingest --book-id ai-python --source-dir {source} --url nonsense", "--url nonsense"),
        ("ingest --book-id ai-python --source-dir {source} --url ftp://x", "http"),
        ("ingest --book-id ai-python --source-dir {source} --frobnicate", "--frobnicate"),
        ("hydrate --book-id ai-python --output-dir /", "root folder"),
        ("hydrate --book-id ai-python --output-dir {source}/01-Part/00-Chapter/00-lesson.md", "not a folder"),
        ("frobnicate", "frobnicate"),
        ("serve --server-port eighty", "--server-port"),
        ("migrate upgrade latest", "latest"),
        ("migrate downgrade", "REV"),
    ] {
        let output = run(&world, line);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{line}: {stderr}");
        assert!(stderr.contains(said), "{line}: {stderr}");
    }
}

#[test]
fn a_server_that_is_not_there_exits_with_1_and_a_hint() {
    let world = World::new(Db::Sqlite);
    plant(&world.folder().join("source"), &lessons(1));
    // Nobody listens on a port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = run(
        &world,
        &format!("ingest --json --book-id ai-python --source-dir {{source}} --url http://{free}"),
    );
    let ended = Ended::of(&output);
    assert!(ended.stderr.contains("--url"), "{ended:?}");
    ended.expect_failed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_that_is_not_there_is_no_empty_book() {
    let world = World::new(Db::Sqlite);
    let server = world.start().await;
    let output = world.folder().join("output");
    let report = hydrate(&world, &server, &output, &[]).expect_failed();
    assert!(report["error"].as_str().unwrap().contains("BOOK_NOT_FOUND"), "{report}");
    assert!(!output.exists());
    let empty = world.folder().join("empty");
    std::fs::create_dir(&empty).unwrap();
    ingest(&world, &server, &empty, &[]).expect_ok();
    let report = hydrate(&world, &server, &output, &[]).expect_ok();
    assert_eq!((&report["book_id"], &report["transferred"]), (&json!(BOOK), &json!(0)), "an empty one is");
}
