//! Exit codes: wrong usage exits with 2, a failure with 1, and both messages state the remedy.

use std::process::Output;

use serde_json::json;

use super::{Ended, hydrate, ingest, lessons, plant, tree};
use crate::fixtures::BOOK;
use crate::harness::{Db, TestEnv};

/// Runs a command line; `{source}` is a folder with a book.
fn run(env: &TestEnv, line: &str) -> Output {
    let source = env.folder().join("source").display().to_string();
    let arguments = line.split(' ').map(|word| word.replace("{source}", &source));
    env.command().args(arguments).output().unwrap()
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_wrong() {
    let env = TestEnv::new(Db::Sqlite);
    plant(&env.folder().join("source"), &lessons(1));
    for (line, said) in [
        ("ingest", "--book-id"),
        ("ingest --book-id ai-python", "--source-dir"),
        ("hydrate --book-id ai-python", "--output-dir"),
        ("ingest --book-id AI --source-dir {source}", "book_id"),
        ("ingest --book-id ai-python --source-dir {source} --schema hugo", "docusaurus"),
        ("ingest --book-id ai-python --source-dir {source}/nowhere", "no such folder"),
        ("ingest --book-id ai-python --source-dir {source} --url nonsense", "--url nonsense"),
        ("ingest --book-id ai-python --source-dir {source} --url ftp://x", "http"),
        (
            "ingest --book-id ai-python --source-dir {source} --url http://ada:s3cret-of-ada@127.0.0.1:9",
            "leave them out",
        ),
        (
            "hydrate --book-id ai-python --output-dir {source}/out --url http://ada:s3cret-of-ada@127.0.0.1:9",
            "leave them out",
        ),
        (
            "hydrate --book-id ai-python --output-dir {source}/out --url ada:s3cret-of-ada@127.0.0.1:9",
            "--url",
        ),
        ("ingest --book-id ai-python --source-dir {source} --frobnicate", "--frobnicate"),
        ("hydrate --book-id ai-python --output-dir /", "root folder"),
        ("hydrate --book-id ai-python --output-dir {source}/01-Part/00-Chapter/00-lesson.md", "not a folder"),
        ("frobnicate", "frobnicate"),
        ("serve --server-port eighty", "--server-port"),
        ("migrate upgrade latest", "latest"),
        ("migrate downgrade", "REV"),
    ] {
        let output = run(&env, line);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{line}: {stderr}");
        assert!(stderr.contains(said) && !stderr.contains("s3cret"), "{line}: {stderr}");
    }
}

#[test]
fn a_server_that_is_not_there_exits_with_1_and_a_hint() {
    let env = TestEnv::new(Db::Sqlite);
    plant(&env.folder().join("source"), &lessons(1));
    // Nothing listens on a port that was just found free.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output =
        run(&env, &format!("ingest --json --book-id ai-python --source-dir {{source}} --url http://{free}"));
    let ended = Ended::of(&output);
    assert!(ended.stderr.contains("--url"), "{ended:?}");
    ended.expect_failed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_that_is_not_there_is_no_empty_book() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    let output = env.folder().join("output");
    let report = hydrate(&env, &server, &output, &[]).expect_failed();
    assert!(report["error"].as_str().unwrap().contains("BOOK_NOT_FOUND"), "{report}");
    assert!(!output.exists());
    let empty = env.folder().join("empty");
    std::fs::create_dir(&empty).unwrap();
    ingest(&env, &server, &empty, &[]).expect_ok();
    let report = hydrate(&env, &server, &output, &[]).expect_ok();
    assert_eq!((&report["book_id"], &report["transferred"]), (&json!(BOOK), &json!(0)), "an empty one is");
    assert!(output.is_dir(), "its folder is there, and empty");
}

#[test]
fn a_secret_in_the_environment_s_url_is_in_no_message() {
    let env = TestEnv::new(Db::Sqlite);
    plant(&env.folder().join("source"), &lessons(1));
    for url in ["http://ada:s3cret-of-ada@127.0.0.1:9", "https://127.0.0.1:9/mcp?token=s3cret-of-ada"] {
        for line in [
            "ingest --json --book-id ai-python --source-dir source",
            "hydrate --json --book-id ai-python --output-dir out",
        ] {
            let output = env.command().env("PANAVERSITY_URL", url).args(line.split(' ')).output().unwrap();
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert_eq!((output.status.code(), said.contains("s3cret")), (Some(2), false), "{said}");
            assert!(said.contains("PANAVERSITY_URL") && said.contains("status"), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hydrate_that_was_refused_leaves_no_trace() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    let home = env.folder().join("site");
    let (deep, assets) = (home.join("deep/docs"), home.join("assets/static"));
    let with_assets = ["--static-dir", assets.to_str().unwrap()];
    hydrate(&env, &server, &deep, &with_assets).expect_failed();
    assert!(!home.exists(), "the book is unknown");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("mine"), "x").unwrap();
    hydrate(&env, &server, &home.join("docs"), &[]).expect_failed();
    assert_eq!(tree(&home).len(), 1);
    assert_eq!(std::fs::read_dir(&home).unwrap().count(), 1);

    let source = plant(&env.folder().join("source"), &lessons(3));
    ingest(&env, &server, &source, &[]).expect_ok();
    hydrate(&env, &server, &home.join("docs"), &[]).expect_ok();
    server.stop().await;
    let state = home.join(".docs.panaversity/state.json");
    assert!(state.is_file());
    let gone = ["hydrate", "--json", "--book-id", BOOK, "--url", "http://127.0.0.1:9", "--output-dir"];
    for (name, was_there) in [("docs", true), ("other", false)] {
        let output = env.command().args(gone).arg(home.join(name)).output().unwrap();
        Ended::of(&output).expect_failed();
        assert_eq!(
            home.join(format!(".{name}.panaversity")).exists(),
            was_there,
            "what an earlier run left stays"
        );
    }
    assert!(state.is_file() && tree(&home.join("docs")).len() == 3);
}
