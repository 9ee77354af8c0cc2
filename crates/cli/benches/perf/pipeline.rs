//! Benchmarks of whole books: ingest and hydrate, the first time, unchanged, and after three
//! changes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::json;

use crate::server::{BINARY, BenchServer, folder};
use crate::table::Table;
use panaversity_testkit::load::Connection;

const FILES: usize = 724;
const SEARCHES: usize = 15;

pub(crate) async fn ingest_and_hydrate(table: &mut Table) {
    let work = folder();
    let source = work.path().join("source");
    match std::env::var_os("PANAVERSITY_REAL_BOOK") {
        Some(book) => copy(Path::new(&book), &source),
        None => generate(&source),
    }
    let files = files_below(&source);
    let output = work.path().join("output");
    let server = BenchServer::on_sqlite().await;
    let began = Instant::now();
    copy(&source, &work.path().join("copied"));
    let (rate, _) = crate::server::sqlite_commits(1.0);
    let commits = files.len().div_ceil(32) as f64 / rate * 1e3;
    let yardstick = format!(
        "cp -r: {:.0} ms, {} commits: {commits:.0} ms",
        began.elapsed().as_secs_f64() * 1e3 - 1e3,
        files.len().div_ceil(32)
    );

    let ingest = |name: &str| {
        let source = source.to_str().expect("a path");
        timed(
            name,
            &[
                "ingest",
                "--url",
                &server.url(),
                "--book-id",
                "bench-book",
                "--schema",
                "docusaurus",
                "--source-dir",
                source,
            ],
        )
    };
    let hydrate = |name: &str| {
        let output = output.to_str().expect("a path");
        timed(name, &["hydrate", "--url", &server.url(), "--book-id", "bench-book", "--output-dir", output])
    };
    let change = |round: usize| {
        for path in files.iter().take(3) {
            std::fs::write(path, format!("# Changed {round}\n")).expect("a write");
        }
    };
    table.at_most("ingest 724 files, first", ingest("first"), yardstick, 2_000.0);
    table.at_most("ingest, unchanged", ingest("unchanged"), String::new(), 300.0);
    table.at_most("hydrate, first", hydrate("first"), String::new(), 1_000.0);
    table.at_most("hydrate, unchanged", hydrate("unchanged"), String::new(), 100.0);
    glob_search(table, &server, &source).await;
    change(1);
    table.at_most("ingest, 3 changed", ingest("changed"), String::new(), 400.0);
    table.at_most("hydrate, 3 changed", hydrate("changed"), String::new(), 150.0);
    let same = Command::new("diff").args(["-rq"]).arg(&source).arg(&output).status().expect("diff");
    table.add(
        "out equals in",
        format!("{} files", files.len()),
        "diff -r".into(),
        "identical".into(),
        same.success(),
    );
}

/// Measures `glob_search` for the book's pages, against `fd` on the folder they came from, if that
/// is installed.
async fn glob_search(table: &mut Table, server: &BenchServer, source: &Path) {
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let mut connection = Connection::open(&server.address).await;
    let mut ours = Vec::new();
    for _ in 0..SEARCHES {
        let began = Instant::now();
        let arguments = json!({ "book_id": "bench-book", "pattern": "content/**/*.md" });
        connection.call("glob_search", arguments).await;
        ours.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let fd = |name: &str| {
        let timed = (0..SEARCHES).map(|_| {
            let began = Instant::now();
            let found = Command::new(name).args(["-g", "*.md", "."]).current_dir(source).output().ok()?;
            found.status.success().then(|| began.elapsed().as_secs_f64() * 1e3)
        });
        timed.collect::<Option<Vec<_>>>().map(median)
    };
    let ours = median(ours);
    match fd("fd").or_else(|| fd("fdfind")) {
        Some(fd) => {
            table.at_most("glob_search, 724 files, median", ours, format!("fd: {fd:.1} ms"), fd / 2.0);
        }
        None => {
            table.at_most(
                "glob_search, 724 files, median",
                ours,
                "fd is not installed".into(),
                f64::INFINITY,
            );
        }
    }
}

/// Milliseconds that a command takes; it must succeed.
fn timed(name: &str, arguments: &[&str]) -> f64 {
    let began = Instant::now();
    let output = Command::new(BINARY).args(arguments).output().expect("the command runs");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    began.elapsed().as_secs_f64() * 1e3
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status().expect("cp");
    assert!(copied.success());
    let writable = Command::new("chmod").args(["-R", "u+w"]).arg(to).status().expect("chmod");
    assert!(writable.success());
}

/// A book as large as a real one: 724 files, 15 KB each on average.
fn generate(folder: &Path) {
    let words = "Every chapter begins with what the reader already knows and ends where the next begins. ";
    for n in 0..FILES {
        let chapter = folder.join(format!("{:02}-Part", n / 100)).join(format!("{:02}-chapter", n / 12 % 9));
        std::fs::create_dir_all(&chapter).expect("a folder");
        let text = format!("# Lesson {n}\n\n{}", words.repeat(20 + n * 37 % 300));
        std::fs::write(chapter.join(format!("{:02}-lesson-{n}.md", n % 100)), text).expect("a write");
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}
