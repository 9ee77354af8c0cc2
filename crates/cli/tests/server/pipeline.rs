//! `ingest` and `hydrate` as a build runs them: the real commands against a real server. Files come
//! out byte for byte as they went in, and nothing is reported that did not happen.

mod assets;
mod guards;
mod interrupted;
mod mounts;
mod outlines;
mod round_trip;
mod sites;
mod usage;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::fixtures::BOOK;
use crate::harness::{BinaryCommand, TestClient, TestEnv};

/// Environment variable with the folder of a real book to be used as well.
const REAL_BOOK: &str = "PANAVERSITY_REAL_BOOK";

/// The files of a folder, by their path in it.
type Tree = BTreeMap<String, Vec<u8>>;

/// A command that ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    /// Its output with `--json`.
    report: Value,
    stderr: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
        Self { code: output.status.code(), report, stderr }
    }

    /// The report of a run that must have succeeded.
    #[track_caller]
    fn expect_ok(self) -> Value {
        assert_eq!((self.code, &self.report["status"]), (Some(0), &"success".into()), "{self:?}");
        self.report
    }

    /// The report of a run that must have failed, although its usage was right.
    #[track_caller]
    fn expect_failed(self) -> Value {
        assert_eq!((self.code, &self.report["status"]), (Some(1), &"failed".into()), "{self:?}");
        self.report
    }
}

/// `ingest` or `hydrate` of [`BOOK`], with this folder.
fn command(env: &TestEnv, server: &TestClient, command: &str, folder: &Path, more: &[&str]) -> BinaryCommand {
    let flag = if command == "ingest" { "--source-dir" } else { "--output-dir" };
    let mut run = env.command();
    run.args([command, "--json", "--url", server.url(), "--book-id", BOOK, flag]).arg(folder).args(more);
    run.stdout(Stdio::piped()).stderr(Stdio::piped());
    run
}

fn ingest(env: &TestEnv, server: &TestClient, folder: &Path, more: &[&str]) -> Ended {
    Ended::of(&command(env, server, "ingest", folder, more).output().unwrap())
}

fn hydrate(env: &TestEnv, server: &TestClient, folder: &Path, more: &[&str]) -> Ended {
    Ended::of(&command(env, server, "hydrate", folder, more).output().unwrap())
}

/// Writes the files below the folder.
fn plant(folder: &Path, tree: &Tree) -> PathBuf {
    for (name, bytes) in tree {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
    folder.to_owned()
}

/// Every file below the folder; one that vanishes meanwhile is left out.
fn tree(folder: &Path) -> Tree {
    let (mut found, mut folders) = (Tree::new(), vec![folder.to_owned()]);
    while let Some(here) = folders.pop() {
        for entry in fs::read_dir(&here).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            } else if let Ok(bytes) = fs::read(entry.path()) {
                let name = entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, bytes);
            }
        }
    }
    found
}

/// A Docusaurus book with unusual files, as real ones have.
fn odd_book() -> Tree {
    let mut files = lessons(48);
    for (name, content) in [
        ("thesis.md", "# Thesis\r\nwith\r\nline ends of another system"),
        ("empty.md", ""),
        ("no-line-end.mdx", "import X from './x';\n\n<X/>"),
        ("05-Python/32-gil/07_chapter_30_quiz.md", "# Quiz"),
        ("05-Python/_category_.json", "{\"label\": \"Python\"}"),
        ("05-Python/_category_.yml", "label: Python"),
        ("05-Python/README.md", "\u{feff}a byte order mark, NUL \0, \u{1f469}\u{200d}\u{1f52c}"),
        ("guide/\u{fc}ber uns (v2).mdx", "Gr\u{fc}\u{df}e"),
        ("guide/c++, & 'co'.md", "safe, though odd"),
        ("a/b/c/d/e/f/g.md", "as deep as it goes"),
        ("_partial.mdx", "partial"),
    ] {
        files.insert(name.to_owned(), content.into());
    }
    files.insert("01-Part/large.md".to_owned(), "large\u{e9}\n".repeat(25_000).into_bytes());
    files
}

/// The given number of lessons, which every schema admits.
fn lessons(count: usize) -> Tree {
    let lesson = |n: usize| {
        let name = format!("{:02}-Part/{:02}-Chapter/{:02}-lesson.md", n / 100 + 1, n / 10 % 10, n % 10);
        (name, format!("# Lesson {n}\n").repeat(n % 7 + 1).into_bytes())
    };
    (0..count).map(lesson).collect()
}
