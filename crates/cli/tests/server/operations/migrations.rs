//! `migrate`: upgrade, downgrade, show and stamp, on both databases. The audit log is never dropped
//! by accident.

use serde_json::{Value, json};

use crate::fixtures::{LESSON, created, read};
use crate::harness::{Db, TestEnv};

/// Runs `migrate`; returns the exit code, the JSON it printed and stderr.
fn migrate(env: &TestEnv, line: &str) -> (Option<i32>, Value, String) {
    let output = env.command().arg("migrate").args(line.split(' ')).arg("--json").output().unwrap();
    let stdout = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[track_caller]
fn done(env: &TestEnv, line: &str) -> Value {
    let (code, stdout, stderr) = migrate(env, line);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{line}");
    stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_goes_up_and_down_and_up_again() {
    for db in Db::both() {
        let env = TestEnv::unmigrated(db);
        let revisions = done(&env, "history")["revisions"].as_array().unwrap().clone();
        let newest = revisions.last().unwrap()["number"].clone();
        assert_eq!(done(&env, "current"), json!({ "current": null }));
        assert_eq!(done(&env, "upgrade"), json!({ "revisions": revisions, "current": newest }));
        assert_eq!(done(&env, "upgrade head"), json!({ "revisions": [], "current": newest }));
        assert_eq!(done(&env, "current"), json!({ "current": newest }));
        assert_eq!(done(&env, "downgrade 0 --destroy-audit")["current"], Value::Null);
        assert_eq!(done(&env, "upgrade 1")["current"], 1);
        done(&env, "upgrade");
        let server = env.start().await;
        created(&server.client(), LESSON, "one", json!({})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downgrade_that_would_drop_the_audit_log_needs_to_be_told_so() {
    for db in Db::both() {
        let env = TestEnv::unmigrated(db);
        let server = env.start().await;
        created(&server.client(), LESSON, "one", json!({})).await;
        server.stop().await;
        assert_eq!(done(&env, "downgrade 1")["current"], 1, "what keeps the log needs no word");
        for line in ["downgrade 0", "downgrade -1"] {
            let (code, _, stderr) = migrate(&env, line);
            assert_eq!(code, Some(1), "{line}");
            assert!(stderr.contains("--destroy-audit") && stderr.lines().count() == 1, "{stderr}");
        }
        let server = env.start().await;
        assert_eq!(read(&server.client(), LESSON, json!({})).await.expect_ok()["content"], "one");
        server.stop().await;
        assert_eq!(done(&env, "downgrade 0 --destroy-audit")["current"], Value::Null);
        let (code, _, stderr) = migrate(&env, "downgrade -1 --destroy-audit");
        assert_eq!((code, stderr.contains("cannot go down")), (Some(1), true), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stamp_changes_the_number_and_nothing_else() {
    for db in Db::both() {
        let env = TestEnv::unmigrated(db);
        let server = env.start().await;
        created(&server.client(), LESSON, "one", json!({})).await;
        server.stop().await;
        assert_eq!(done(&env, "stamp 0"), json!({ "current": 0 }));
        assert_eq!(done(&env, "current"), json!({ "current": null }));
        assert_eq!(done(&env, "stamp head"), done(&env, "current"));
        let (code, _, stderr) = migrate(&env, "stamp 999");
        assert_eq!((code, stderr.contains("no revision 999")), (Some(1), true), "{stderr}");
        let server = env.start().await;
        assert_eq!(read(&server.client(), LESSON, json!({})).await.expect_ok()["content"], "one");
    }
}

#[test]
fn what_is_printed_for_people_says_where_the_schema_is() {
    let env = TestEnv::unmigrated(Db::Sqlite);
    let said = |arguments: &[&str]| {
        let output = env.command().arg("migrate").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let none = said(&["current"]);
    assert!(
        none.starts_with("current: none, there is no database sqlite:") && none.lines().count() == 1,
        "{none}"
    );
    let all = [
        "0001 initial",
        "0002 changes_by_time",
        "0003 garbage",
        "0004 uploads",
        "0005 api_keys",
        "0006 signing_keys",
        "0007 change_messages",
        "0008 steady_plans",
        "0009 web_sessions",
        "0010 hooks",
    ];
    let (lines, newest) =
        (all.map(|revision| format!("upgraded to {revision}\n")).concat(), all[all.len() - 1]);
    assert_eq!(said(&["upgrade"]), format!("{lines}current: {newest}\n"));
    assert_eq!(said(&["upgrade"]), format!("nothing to do\ncurrent: {newest}\n"));
    assert_eq!(
        said(&["downgrade", "0", "--destroy-audit"]).lines().last(),
        Some("current: none, the database is empty")
    );
    assert_eq!(said(&["history"]), all.map(|revision| format!("{revision}\n")).concat());
}
