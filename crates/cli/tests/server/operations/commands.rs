//! Properties of all commands: one that refuses or only reads creates nothing, and a result that
//! cannot be written is a failure.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Output, Stdio};

use panaversity_testkit::postgres::shared;
use serde_json::json;

use crate::fixtures::{LESSON, created};
use crate::harness::{Db, TestEnv};

fn run(env: &TestEnv, line: &str) -> Output {
    env.command().args(line.split(' ')).output().unwrap()
}

/// Names of all files and folders below a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        names.push(entry.path().display().to_string());
        if entry.file_type().unwrap().is_dir() {
            names.extend(self::names(&entry.path()));
        }
    }
    names.sort();
    names
}

#[test]
fn a_command_that_only_looks_creates_neither_a_database_nor_a_storage() {
    let env = TestEnv::unmigrated(Db::Sqlite);
    let before = names(env.folder());
    for (line, code, said) in [
        ("reconcile", 1, "there is no database sqlite:"),
        ("reconcile --adopt --agent-id ada --storage-root ./none", 1, "there is no database sqlite:"),
        ("gc --database-url sqlite:./none/x.db", 1, "there is no database sqlite:"),
        ("validate", 1, "there is no database sqlite:"),
        ("gc --dry-run", 1, "there is no database sqlite:"),
        ("audit query", 1, "there is no database sqlite:"),
        ("audit export --output ./export.jsonl", 1, "there is no database sqlite:"),
        ("migrate current --database-url sqlite:./typo.db", 0, ""),
        ("migrate downgrade -1 --database-url sqlite:./typo.db", 1, "there is no database sqlite:"),
        ("migrate downgrade 0 --destroy-audit", 1, "there is no database sqlite:"),
        ("config check --storage-root ./none/deep", 0, ""),
    ] {
        let output = run(&env, line);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.contains(said)), (Some(code), true), "{line}: {stderr}");
        assert_eq!(names(env.folder()), before, "{line}");
    }
    let current = run(&env, "migrate current --database-url sqlite:./typo.db");
    let said = String::from_utf8(current.stdout).unwrap();
    assert!(said.starts_with("current: none, there is no database sqlite:"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_refuses_a_storage_does_not_create_it() {
    for db in Db::both() {
        let env = TestEnv::unmigrated(db);
        let never_served = run(&env, "migrate upgrade");
        assert!(never_served.status.success());
        for command in ["reconcile", "gc", "validate"] {
            let output = run(&env, &format!("{command} --storage-root ./none"));
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(
                (output.status.code(), stderr.contains("start the server once")),
                (Some(1), true),
                "{stderr}"
            );
        }
        let server = env.start().await;
        created(&server.client(), LESSON, "one", json!({})).await;
        server.stop().await;
        let foreign = env.folder().join("foreign");
        fs::create_dir(&foreign).unwrap();
        let before = names(env.folder());
        for root in ["./none", "./none/deep", "./foreign"] {
            for command in
                ["reconcile", "reconcile --repair", "gc", "validate", "serve --server-port 0", "mcp"]
            {
                let output = run(&env, &format!("{command} --storage-root {root}"));
                let stderr = String::from_utf8(output.stderr).unwrap();
                assert_eq!(output.status.code(), Some(1), "{command}: {stderr}");
                assert!(
                    stderr.contains("is not the storage that this database is kept with"),
                    "{command}: {stderr}"
                );
                let now: Vec<_> =
                    names(env.folder()).into_iter().filter(|name| !name.contains("journal.db-")).collect();
                let before: Vec<_> =
                    before.iter().filter(|name| !name.contains("journal.db-")).cloned().collect();
                assert_eq!(now, before, "{command} {root}");
            }
        }
    }
}

#[test]
fn asking_where_the_schema_is_leaves_an_empty_database_empty() {
    let env = TestEnv::unmigrated(Db::Postgres);
    for line in ["migrate current", "config check", "gc", "reconcile", "validate", "audit verify"] {
        run(&env, line);
        let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace";
        assert_eq!(shared().query(env.database_url(), tables).trim(), "0", "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_cannot_be_written_is_a_failure_and_a_reader_that_left_is_none() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    created(&server.client(), LESSON, "one", json!({})).await;
    server.all_published().await;
    fs::write(env.storage_root().join("books/stranger"), "x").unwrap();
    for line in [
        "migrate history",
        "migrate history --json",
        "migrate current",
        "migrate upgrade",
        "config check",
        "config check --json",
        "gc --dry-run",
        "gc --json",
        "audit query",
        "audit verify",
        "audit verify --json",
        "reconcile",
        "reconcile --json",
        "validate",
        "validate --json",
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = env.command().args(line.split(' ')).stdout(full).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}: {stderr}");
        assert_eq!(
            stderr, "panaversity-fs: cannot write the result: No space left on device (os error 28)\n",
            "{line}"
        );

        let mut command = env.command();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.args(line.split(' ')).stdout(Stdio::from(writer)).output().unwrap();
        let found = i32::from(line.starts_with("reconcile"));
        assert_eq!((output.status.code(), output.stderr.len()), (Some(found), 0), "{line}");
    }
}
