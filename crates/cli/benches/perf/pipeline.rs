//! Benchmarks of whole books: ingest and hydrate, the first time, unchanged, and after three
//! changes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::server::{BINARY, BenchServer, folder};
use crate::table::Table;

const FILES: usize = 724;

pub(crate) async fn ingest_and_hydrate(table: &mut Table) {
    let work = folder();
    let source = work.join("source");
    match std::env::var_os("PANAVERSITY_REAL_BOOK") {
        Some(book) => copy(Path::new(&book), &source),
        None => generate(&source),
    }
    let files = files_below(&source);
    let output = work.join("output");
    let server = BenchServer::on_sqlite().await;
    let began = Instant::now();
    copy(&source, &work.join("copied"));
    let (rate, _) = crate::server::sqlite_commits(1.0);
    let commits = files.len().div_ceil(32) as f64 / rate * 1e3;
    let yardstick = format!(
        "cp -r: {:.0} ms, {} commits: {commits:.0} ms",
        began.elapsed().as_secs_f64() * 1e3 - 1e3,
        files.len().div_ceil(32)
    );

    let change = |round: usize| {
        for path in files.iter().take(3) {
            std::fs::write(path, format!("# Changed {round}\n")).expect("a write");
        }
    };
    table.at_most("ingest 724 files, first", ingest(&server, &source), yardstick, 2_000.0);
    table.at_most("ingest, unchanged", ingest(&server, &source), String::new(), 300.0);
    table.at_most("hydrate, first", hydrate(&server, &output), String::new(), 1_000.0);
    table.at_most("hydrate, unchanged", hydrate(&server, &output), String::new(), 100.0);
    change(1);
    table.at_most("ingest, 3 changed", ingest(&server, &source), String::new(), 400.0);
    table.at_most("hydrate, 3 changed", hydrate(&server, &output), String::new(), 150.0);
    let same = Command::new("diff").args(["-rq"]).arg(&source).arg(&output).status().expect("diff");
    table.add(
        "out equals in",
        format!("{} files", files.len()),
        "diff -r".into(),
        "identical".into(),
        same.success(),
    );
}

/// Milliseconds that `ingest` of a folder takes.
pub(crate) fn ingest(server: &BenchServer, source: &Path) -> f64 {
    timed(server, &["ingest", "--schema", "docusaurus", "--source-dir"], source)
}

/// Milliseconds that `hydrate` of the same book takes.
pub(crate) fn hydrate(server: &BenchServer, output: &Path) -> f64 {
    timed(server, &["hydrate", "--output-dir"], output)
}

/// Milliseconds that a command with a folder as its last argument takes; it must succeed.
fn timed(server: &BenchServer, arguments: &[&str], folder: &Path) -> f64 {
    let (mut command, began) = (Command::new(BINARY), Instant::now());
    command.args(arguments).arg(folder).args(["--url", &server.url(), "--book-id", "bench-book"]);
    let output = command.output().expect("the command runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    began.elapsed().as_secs_f64() * 1e3
}

pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status().expect("cp");
    assert!(copied.success());
    let writable = Command::new("chmod").args(["-R", "u+w"]).arg(to).status().expect("chmod");
    assert!(writable.success());
}

/// A book as large as a real one: 724 files, 15 KB each on average.
pub(crate) fn generate(folder: &Path) {
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
