//! `watch`: follows a book although its connection breaks, and runs commands.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use panaversity_testkit::proxy::Proxy;
use serde_json::{Value, json};

use crate::fixtures::{BOOK, created, fresh, sha256, text, write};
use crate::harness::{BinaryCommand, Db, Server, TestEnv, until};

const README: &str = "content/README.md";

fn watch(env: &TestEnv, url: &str, more: &[&str]) -> BinaryCommand {
    let mut command = env.command();
    command.args(["watch", "--book-id", BOOK, "--url", url]).args(more);
    command
}

/// Writes the next number into the page.
async fn next(server: &Server, n: usize) {
    let expected = json!({ "expected_hash": sha256((n - 1).to_string()) });
    write(server, README, &n.to_string(), expected).await.expect_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_prints_every_change_once_although_its_connection_breaks() {
    let (env, server, _) = fresh(Db::Sqlite).await;
    created(&server, README, "0", json!({})).await;
    let address = server.url().strip_prefix("http://").unwrap().parse().unwrap();
    let proxy = Proxy::to(address).await;
    let url = format!("http://{}", proxy.address());
    let mut command = watch(&env, &url, &["--since", "start", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed = |n: usize| {
        let line = tokio::task::block_in_place(|| lines.next().unwrap().unwrap());
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(text(&line["files"][0]["new_hash"]), sha256(n.to_string()));
    };
    printed(0);
    next(&server, 1).await;
    printed(1);
    proxy.refuse();
    proxy.reset();
    next(&server, 2).await;
    proxy.heal();
    printed(2);
    proxy.cut();
    next(&server, 3).await;
    printed(3);
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("trying again"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_gets_each_change_set_and_one_that_fails_ends_watch_with_the_cursor_to_go_on_from() {
    let (env, server, _) = fresh(Db::Sqlite).await;
    created(&server, README, "0", json!({})).await;
    for n in 1..3 {
        next(&server, n).await;
    }
    let seen = env.folder().join("seen");
    let failing = format!(
        "cat >> {0}; echo $PANAVERSITY_BOOK_ID $PANAVERSITY_CHANGE_ID $PANAVERSITY_CURSOR >> {0}.env; test $(wc -l < {0}) -lt 2",
        seen.display()
    );
    let output = watch(&env, server.url(), &["--since", "start", "--exec", &failing]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(&seen).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let changes = lines();
    assert_eq!(changes.len(), 2, "the second one failed");
    let environment = fs::read_to_string(env.folder().join("seen.env")).unwrap();
    for (change, line) in changes.iter().zip(environment.lines()) {
        assert_eq!(line, format!("{BOOK} {} {}", text(&change["change_id"]), text(&change["cursor"])));
    }
    let said = String::from_utf8(output.stderr).unwrap();
    let cursor = text(&changes[0]["cursor"]);
    assert!(said.contains(&format!("--since {cursor}")) && said.contains("exit status: 1"), "{said}");

    // From there it gets the one that failed, and the third.
    let on = format!("cat >> {}; test $PANAVERSITY_CURSOR = {cursor} || true", seen.display());
    let mut command = watch(&env, server.url(), &["--since", &cursor, "--exec", &on]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    until("the rest is told", async || lines().len() == 4).await;
    child.kill().unwrap();
    child.wait_with_output().unwrap();
    assert_eq!(lines()[2], changes[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_ends_with_what_the_server_refuses() {
    let (env, server, _) = fresh(Db::Sqlite).await;
    let output = watch(&env, server.url(), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("BOOK_NOT_FOUND"));
    created(&server, README, "0", json!({})).await;
    let output = watch(&env, server.url(), &["--since", "yesterday"]).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("INVALID_ARGUMENT"));
}
