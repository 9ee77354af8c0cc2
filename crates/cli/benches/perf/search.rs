//! Benchmarks of searches: `grep_search` beside `rg`, and `glob_search` beside `fd`, on the folders from
//! which the books were ingested. Both sides must find the same.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use panaversity_testkit::load::Connection;
use serde_json::{Value, json};

use crate::pipeline::{copy, generate};
use crate::server::{BINARY, BenchServer, folder};
use crate::table::Table;

/// Times that each search is repeated; the median counts.
const ROUNDS: usize = 15;
/// Patterns with fewer than 1,000 matches in the book, real or generated: words, letters of either case,
/// a class, nothing at all.
const PATTERNS: [(&str, bool); 4] = [
    ("production-ready", false),
    (r"\bkubernetes\s+cluster\b", true),
    (r"[A-Z][a-z]+ [a-z]+ly, ", false),
    ("zebra crossing", false),
];
/// Packages of Debian and Ubuntu with the yardsticks.
const PACKAGES: [(&str, &[&str]); 2] = [("ripgrep", &["rg"]), ("fd-find", &["fd", "fdfind"])];

pub(crate) async fn beside_rg_and_fd(table: &mut Table) {
    let [rg, fd] = PACKAGES.map(|(package, names)| installed(package, names));
    for files in [724, 10_000, 100_000] {
        let work = folder();
        let source = work.join("source");
        match std::env::var_os("PANAVERSITY_REAL_BOOK") {
            Some(book) if files == 724 => copy(Path::new(&book), &source),
            _ if files == 724 => generate(&source),
            _ => generate_small(&source, files),
        }
        let server = BenchServer::on_sqlite().await;
        ingest(&server, &source);
        // A server that has read nothing yet.
        let server = server.restarted().await;
        let mut connection = Connection::open(&server.address).await;
        grep_rows(table, &mut connection, rg, &source, files).await;
        glob_rows(table, &mut connection, fd, &source, files).await;
        let (now, peak) = server.memory();
        table.add(
            &format!("memory after searches, {files} files"),
            format!("{now:.0} MB, peak {peak:.0} MB"),
            String::new(),
            "bounded".into(),
            true,
        );
    }
}

async fn grep_rows(
    table: &mut Table,
    connection: &mut Connection,
    rg: Option<&str>,
    source: &Path,
    files: usize,
) {
    let (pattern, ignore_case) = PATTERNS[0];
    let began = Instant::now();
    grep(connection, pattern, ignore_case).await;
    let cold = began.elapsed().as_secs_f64() * 1e3;
    table.at_most(
        &format!("grep_search, {files} files, first of a server"),
        cold,
        String::new(),
        f64::INFINITY,
    );
    for (pattern, ignore_case) in PATTERNS {
        let name = format!("grep_search `{pattern}`, {files} files, warm, median");
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let answer = grep(connection, pattern, ignore_case).await;
            ours.push(began.elapsed().as_secs_f64() * 1e3);
            assert_eq!(answer["truncated"], false, "{pattern}");
            let found = answer["matches"].as_array().expect("matches").len();
            let Some(rg) = rg else { continue };
            let mut command = Command::new(rg);
            command.args(["--no-ignore", "--hidden", "--line-number", "-e", pattern, "."]);
            let began = Instant::now();
            let output = command.args(ignore_case.then_some("-i")).current_dir(source).output().expect("rg");
            theirs.push(began.elapsed().as_secs_f64() * 1e3);
            assert_eq!(output.stdout.split_inclusive(|byte| *byte == b'\n').count(), found, "{pattern}");
        }
        beside(table, &name, ours, ("rg", theirs), 1.0);
    }
}

async fn grep(connection: &mut Connection, pattern: &str, ignore_case: bool) -> Value {
    let arguments = json!({
        "book_id": "bench-book", "pattern": pattern, "ignore_case": ignore_case, "max_results": 1_000 });
    connection.call("grep_search", arguments).await
}

async fn glob_rows(
    table: &mut Table,
    connection: &mut Connection,
    fd: Option<&str>,
    source: &Path,
    files: usize,
) {
    // A page has 1,000 matches at most.
    let pattern = if files == 724 { "*.md" } else { "*77.md" };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let arguments = json!({ "book_id": "bench-book", "pattern": format!("content/**/{pattern}") });
        let answer = connection.call("glob_search", arguments).await;
        ours.push(began.elapsed().as_secs_f64() * 1e3);
        let found = answer["matches"].as_array().expect("matches").len();
        let Some(fd) = fd else { continue };
        let began = Instant::now();
        let mut command = Command::new(fd);
        command.args(["--unrestricted", "--type", "f", "-g", pattern, "."]).current_dir(source);
        let output = command.output().expect("fd");
        theirs.push(began.elapsed().as_secs_f64() * 1e3);
        assert_eq!(output.stdout.split_inclusive(|byte| *byte == b'\n').count(), found);
    }
    beside(table, &format!("glob_search, {files} files, median"), ours, ("fd", theirs), 0.5);
}

/// Adds a row whose median must be at most `factor` times the yardstick's, if that is installed.
fn beside(table: &mut Table, name: &str, ours: Vec<f64>, yardstick: (&str, Vec<f64>), factor: f64) {
    let (ours, (program, theirs)) = (median(ours), yardstick);
    if theirs.is_empty() {
        table.at_most(name, ours, format!("{program} is not installed"), f64::INFINITY);
        return;
    }
    let theirs = median(theirs);
    table.add(
        name,
        format!("{ours:.1} ms"),
        format!("{program}: {theirs:.1} ms"),
        format!("{factor} x; reached {:.2} x", ours / theirs),
        ours <= factor * theirs,
    );
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The yardstick, under one of its names; its package is installed where that is possible.
fn installed(package: &str, names: &[&'static str]) -> Option<&'static str> {
    let is_there = |name: &&&str| Command::new(**name).arg("--version").output().is_ok();
    if let Some(name) = names.iter().find(is_there) {
        return Some(name);
    }
    crate::table::say(&format!("installing {package}"));
    let _ = Command::new("apt-get").args(["install", "-y", "-qq", package]).output();
    names.iter().find(is_there).copied()
}

fn ingest(server: &BenchServer, source: &Path) {
    let source = source.to_str().expect("a path");
    let book = ["--book-id", "bench-book", "--schema", "docusaurus", "--source-dir", source];
    let output = Command::new(BINARY).args(["ingest", "--url", &server.url()]).args(book).output();
    let output = output.expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Many short lessons, of about 400 bytes each.
fn generate_small(folder: &Path, files: usize) {
    let words = "Every chapter begins with what the reader already knows and ends where the next begins.\n";
    for n in 0..files {
        let chapter =
            folder.join(format!("{:03}-part", n / 1_000)).join(format!("{:02}-chapter", n / 100 % 10));
        std::fs::create_dir_all(&chapter).expect("a folder");
        let rare = if n % 500 == 0 {
            "A Kubernetes cluster is production-ready.\nNow suddenly, it is.\n"
        } else {
            ""
        };
        let text = format!("# Lesson {n}\n\n{rare}{}", words.repeat(4));
        std::fs::write(chapter.join(format!("{:02}-lesson-{n}.md", n % 100)), text).expect("a write");
    }
}
