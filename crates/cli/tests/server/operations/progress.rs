//! Progress of `reconcile` and `gc`: a bar on a terminal, and nothing where a program reads.

use std::ffi::OsStr;
use std::process::Command;

use serde_json::json;

use crate::fixtures::{LESSON, created, write};
use crate::harness::{Db, TestEnv};

/// All that a command shows on a terminal of its own, which `script` gives it.
fn on_a_terminal(env: &TestEnv, line: &str) -> String {
    let program = env.command().into_unsearched();
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command"]);
    let words: Vec<_> = std::iter::once(program.get_program()).chain(program.get_args()).collect();
    command.arg(format!("{} {line}", words.join(OsStr::new(" ")).display())).arg("/dev/null");
    command.env_clear().env("TERM", "xterm").env("PATH", "/usr/bin:/bin");
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(program.get_current_dir().unwrap());
    let output = command.output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{line}: {shown}");
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn reconcile_and_gc_show_a_bar_on_a_terminal_and_nothing_elsewhere() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    let client = server.client();
    let mut hash = created(&client, LESSON, "0", json!({})).await;
    let mut revised = async |text: &str| {
        let written = write(&client, LESSON, text, json!({ "expected_hash": hash })).await.expect_ok();
        hash = serde_json::from_value(written["file_hash"].clone()).unwrap();
        client.all_published().await;
    };
    for (number, (command, bar, result)) in [
        ("reconcile", "reconcile: files [====", "clean: 1 files"),
        ("gc --retention-days 0", "gc: old versions and blobs [====", "deleted: "),
    ]
    .into_iter()
    .enumerate()
    {
        revised(&format!("{number}, on a terminal")).await;
        let shown = on_a_terminal(&env, command);
        assert!(shown.contains(bar) && shown.contains(result), "{shown:?}");

        revised(&format!("{number}, as JSON")).await;
        let shown = on_a_terminal(&env, &format!("{command} --json"));
        serde_json::from_str::<serde_json::Value>(&shown).unwrap_or_else(|_| panic!("{shown:?}"));

        revised(&format!("{number}, into a pipe")).await;
        let output = env.command().args(command.split(' ')).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{command}");
    }
}
