//! Round trips: every byte arrives, and unchanged files are not transferred a second time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::{REAL_BOOK, Tree, hydrate, ingest, odd_book, plant, tree};
use crate::fixtures::{BOOK, entries};
use crate::harness::{Db, TestClient, TestEnv};

const DOCUSAURUS: [&str; 2] = ["--schema", "docusaurus"];

#[tokio::test(flavor = "multi_thread")]
async fn an_odd_book_goes_in_and_comes_out_byte_for_byte_and_only_once() {
    for db in Db::both() {
        let env = TestEnv::new(db);
        let source = plant(&env.folder().join("source"), &odd_book());
        round_trip(&env, &source).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_book_goes_in_and_comes_out_byte_for_byte_and_only_once() {
    // Without one only the generated book is used.
    let Some(book) = std::env::var_os(REAL_BOOK) else { return };
    for db in Db::both() {
        let env = TestEnv::new(db);
        let pages = |name: &String| !name.split('/').any(|segment| segment.starts_with('.'));
        let book: Tree = tree(Path::new(&book)).into_iter().filter(|(name, _)| pages(name)).collect();
        assert!(book.len() > 100, "{REAL_BOOK} names a folder with {} files", book.len());
        let source = plant(&env.folder().join("source"), &book);
        round_trip(&env, &source).await;
    }
}

async fn round_trip(env: &TestEnv, source: &Path) {
    let server = env.start().await;
    let (client, output) = (server.client(), env.folder().join("output"));
    let book = tree(source);

    let report = ingest(env, &server, source, &DOCUSAURUS).expect_ok();
    assert_eq!(report["created"].as_array().unwrap().len(), book.len());
    let report = hydrate(env, &server, &output, &[]).expect_ok();
    assert_eq!(report["added"].as_array().unwrap().len(), book.len());
    assert!(tree(&output) == book, "the output differs from the source");

    let (writes, reads) = (count(&client, "WRITE").await, count(&client, "READ").await);
    let report = ingest(env, &server, source, &[]).expect_ok();
    let nothing = json!([]);
    assert_eq!(
        (&report["created"], &report["updated"], &report["unchanged"]),
        (&nothing, &nothing, &json!(book.len()))
    );
    let times = times(&output, &book);
    let report = hydrate(env, &server, &output, &[]).expect_ok();
    assert_eq!((&report["transferred"], &report["unchanged"]), (&json!(0), &json!(book.len())));
    assert_eq!(
        (count(&client, "WRITE").await, count(&client, "READ").await),
        (writes, reads),
        "by the server's log"
    );
    assert_eq!(times, self::times(&output, &book), "no file was touched");

    some_changes(env, &server, source, &output, (writes, reads)).await;
    server.all_published().await;
    let below = |(name, bytes): (&String, &Vec<u8>)| (format!("{BOOK}/content/{name}"), bytes.clone());
    assert!(env.published() == tree(source).iter().map(below).collect(), "the tree differs from the source");
}

/// Three changed files, a deleted one and a new one are transferred, and nothing else.
async fn some_changes(
    env: &TestEnv,
    server: &TestClient,
    source: &Path,
    output: &Path,
    before: (usize, usize),
) {
    let mut names: Vec<String> = tree(source).into_keys().collect();
    let gone = names.remove(names.len() / 2);
    let changed: Vec<String> = names.iter().step_by(names.len() / 3).take(3).cloned().collect();
    for name in &changed {
        let bytes = fs::read(source.join(name)).unwrap();
        fs::write(source.join(name), [b"changed ".as_slice(), &bytes].concat()).unwrap();
    }
    fs::remove_file(source.join(&gone)).unwrap();
    fs::create_dir_all(source.join("new")).unwrap();
    fs::write(source.join("new/new.md"), "new").unwrap();

    let in_book =
        |names: &[String]| -> Value { names.iter().map(|name| format!("content/{name}")).collect() };
    let report = ingest(env, server, source, &["--delete"]).expect_ok();
    assert_eq!(report["updated"], in_book(&changed));
    assert_eq!(report["created"], in_book(&["new/new.md".to_owned()]));
    assert_eq!(report["deleted"], in_book(std::slice::from_ref(&gone)));
    let report = hydrate(env, server, output, &[]).expect_ok();
    assert_eq!(report["modified"], json!(changed));
    assert_eq!((&report["added"], &report["deleted"]), (&json!(["new/new.md"]), &json!([gone])));
    assert_eq!(report["transferred"], 4);
    assert!(tree(output) == tree(source), "the output differs from the source");
    let (client, (writes, reads)) = (server.client(), before);
    let moved = (count(&client, "WRITE").await - writes, count(&client, "READ").await - reads);
    assert_eq!(moved, (4, 4), "by the server's log");
}

/// Number of calls of this operation on the server.
async fn count(client: &TestClient, operation: &str) -> usize {
    entries(client, json!({ "book_id": BOOK, "operation": operation, "limit": 1000 })).await.len()
}

fn times(folder: &Path, files: &Tree) -> Vec<SystemTime> {
    files.keys().map(|name| fs::metadata(folder.join(name)).unwrap().modified().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_strict_refuses_odd_names_by_name_and_takes_the_rest() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    let source = plant(&env.folder().join("source"), &odd_book());
    let report = ingest(&env, &server, &source, &[]).expect_failed();
    let refused = report["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 11, "{refused:#?}");
    for problem in refused {
        let reason = problem["reason"].as_str().unwrap();
        assert!(reason.starts_with("Path must match content/{NN-Name}"), "{problem}");
    }
    let quiz = json!("content/05-Python/32-gil/07_chapter_30_quiz.md");
    let quiz = refused.iter().find(|problem| problem["path"] == quiz).unwrap();
    assert_eq!(quiz["suggestion"], "content/05-Python/32-gil/07-chapter_30_quiz.md");
    assert_eq!(report["created"].as_array().unwrap().len(), 49);
    let listed = server.call("list_books", json!({ "book_id": BOOK })).await.expect_ok();
    assert_eq!((&listed["books"][0]["files"], &listed["books"][0]["schema"]), (&json!(49), &json!("strict")));
    // The text report names every file.
    let mut run = env.command();
    run.args(["ingest", "--url", server.url(), "--book-id", BOOK, "--source-dir"]).arg(&source);
    let output = run.output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), lines.matches("refused content/").count()), (Some(1), 11), "{lines}");
    assert!(lines.ends_with("ingest ai-python: 0 written, 0 deleted, 49 unchanged, 11 refused\n"), "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_book_is_strict_and_goes_in_whole() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    let sample = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/sample-book");
    let report = ingest(&env, &server, &sample, &["--schema", "strict"]).expect_ok();
    assert_eq!((&report["refused"], &report["skipped"]), (&json!([]), &json!([])));
    let output = env.folder().join("output");
    hydrate(&env, &server, &output, &[]).expect_ok();
    assert!(
        tree(&output) == tree(&sample) && !tree(&sample).is_empty(),
        "the output differs from the sample"
    );
}
