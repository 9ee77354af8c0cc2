//! `edit_content`: exact edits, in the base and in an overlay, alone and beside other agents.

use panaversity_testkit::contract::run_concurrently;
use serde_json::{Value, json};

use crate::fixtures::{LESSON, NO_HASH, about, created, fresh, read, sha256, with};
use crate::harness::{Answer, TestBackend, TestClient};

on_every_backend!(
    an_edit_replaces_the_one_place_and_gives_the_diff,
    an_edit_that_fits_no_place_or_several_changes_nothing_and_says_why,
    an_edit_with_a_precondition_is_refused_after_a_change,
    an_edit_of_an_overlay_begins_with_the_text_of_the_base,
    the_bytes_outside_an_edit_never_change,
    i8_twenty_agents_edit_one_file_and_no_edit_is_lost,
);

async fn edit(client: &TestClient, edits: Value, more: Value) -> Answer {
    client.call("edit_content", with(about(LESSON, json!({ "edits": edits })), more)).await
}

fn one(old: &str, new: &str) -> Value {
    json!([{ "old_text": old, "new_text": new }])
}

async fn content(client: &TestClient, more: Value) -> Value {
    read(client, LESSON, more).await.expect_ok()["content"].clone()
}

async fn an_edit_replaces_the_one_place_and_gives_the_diff(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let text = "# One\n\nThe first.\n\nThe second.\n";
    let hash = created(&client, LESSON, text, json!({})).await;
    let diff = "@@ -2,4 +2,4 @@\n \n The first.\n \n-The second.\n+The 2nd.\n";

    let dry = edit(&client, one("second", "2nd"), json!({ "dry_run": true })).await.expect_ok();
    assert_eq!(dry, json!({ "diff": diff }));
    assert_eq!(content(&client, json!({})).await, text);

    let edited = edit(&client, one("second", "2nd"), json!({})).await.expect_ok();
    let after = text.replace("second", "2nd");
    let expected = json!({
        "status": "success", "mode": "updated", "path": LESSON, "file_size": after.len(),
        "file_hash": sha256(&after), "namespace": "base",
        "diff": "@@ -4,2 +4,2 @@\n \n-The second.\n+The 2nd.\n",
    });
    assert_eq!(edited, expected);
    assert_eq!(content(&client, json!({})).await, after);

    // A list as its text, and several edits, the second of what the first has made.
    let edits =
        json!([{ "old_text": "2nd", "new_text": "third" }, { "old_text": "third", "new_text": "3rd" }]);
    let edited = edit(&client, edits.to_string().into(), json!({})).await.expect_ok();
    assert_eq!(edited["file_hash"], sha256(text.replace("second", "3rd")));
    let same = edit(&client, one("first", "first"), json!({})).await.expect_ok();
    assert_eq!((&same["mode"], &same["diff"]), (&json!("unchanged"), &json!("")));

    let query = about(LESSON, json!({ "operation": "EDIT" }));
    let entries = client.call("query_audit_log", query).await.expect_ok();
    let olds: Vec<_> =
        entries["entries"].as_array().unwrap().iter().map(|e| &e["old_content_hash"]).collect();
    assert!(olds.contains(&&json!(hash)), "{entries}");
}

async fn an_edit_that_fits_no_place_or_several_changes_nothing_and_says_why(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let text = "# One\n\nThe cat sat on the mat.\nThe cat sat there.\n";
    created(&client, LESSON, text, json!({})).await;
    let twice = edit(&client, one("The cat sat", "It sat"), json!({})).await;
    let error = &twice.value["error"];
    assert_eq!((twice.code(), &error["count"]), ("EDIT_NOT_UNIQUE", &json!(2)));
    assert_eq!((&error["lines"], &error["edit"]), (&json!([3, 4]), &json!(0)));

    let edits = json!([
        { "old_text": "# One", "new_text": "# Two" },
        { "old_text": "The cat sits on the mat.", "new_text": "" },
    ]);
    let never = edit(&client, edits, json!({})).await;
    let error = &never.value["error"];
    assert_eq!((never.code(), &error["count"], &error["edit"]), ("EDIT_NOT_UNIQUE", &json!(0), &json!(1)));
    assert_eq!(error["nearest"][0], json!({ "line": 3, "text": "The cat sat on the mat." }));
    assert_eq!(content(&client, json!({})).await, text, "the first edit was not made either");

    for (edits, argument) in [
        (json!([]), "edits"),
        (json!({ "old_text": "a" }), "edits"),
        (json!(["a"]), "edits[0]"),
        (json!([{ "old_text": "", "new_text": "a" }]), "edits[0].old_text"),
        (json!([{ "old_text": "a" }]), "edits[0].new_text"),
        (json!([{ "old_text": "a", "new_text": "b", "all": true }]), "edits[0].all"),
    ] {
        let refused = edit(&client, edits, json!({})).await;
        assert_eq!(
            (refused.code(), &refused.value["error"]["argument"]),
            ("INVALID_ARGUMENT", &json!(argument))
        );
    }
    let missing = client.call(
        "edit_content",
        about("content/01-Part/01-Chapter/02-none.md", json!({ "edits": one("a", "b") })),
    );
    let missing = missing.await;
    assert_eq!((missing.code(), &missing.value["error"]["suggestions"]), ("NOT_FOUND", &json!([LESSON])));
}

async fn an_edit_with_a_precondition_is_refused_after_a_change(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let hash = created(&client, LESSON, "one two\n", json!({})).await;
    edit(&client.clone().of_agent("someone"), one("one", "1"), json!({})).await.expect_ok();
    let late = edit(&client, one("two", "2"), json!({ "expected_hash": hash })).await;
    let error = &late.value["error"];
    assert_eq!((late.code(), &error["current_hash"]), ("CONFLICT", &json!(sha256("1 two\n"))));
    assert_eq!(error["changed_by"]["agent_id"], "someone");
    assert_eq!(error["diff"], "@@ -1 +1 @@\n-one two\n+1 two\n");
    let unknown = edit(&client, one("two", "2"), json!({ "expected_hash": NO_HASH })).await;
    assert_eq!((unknown.code(), unknown.value["error"].get("diff")), ("CONFLICT", None));
    edit(&client, one("two", "2"), json!({})).await.expect_ok();
    assert_eq!(content(&client, json!({})).await, "1 2\n");
}

async fn an_edit_of_an_overlay_begins_with_the_text_of_the_base(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let hash = created(&client, LESSON, "one two\n", json!({})).await;
    let eve = json!({ "user_id": "eve" });
    let first = edit(&client, one("two", "2"), with(eve.clone(), json!({ "expected_hash": hash })));
    let first = first.await.expect_ok();
    assert_eq!((&first["mode"], &first["namespace"]), (&json!("created"), &json!("overlay")));
    let second = edit(&client, one("one", "1"), eve.clone()).await.expect_ok();
    assert_eq!((&second["mode"], &second["file_hash"]), (&json!("updated"), &json!(sha256("1 2\n"))));
    assert_eq!(content(&client, eve).await, "1 2\n");
    assert_eq!(content(&client, json!({})).await, "one two\n");
    assert_eq!(content(&client, json!({ "user_id": "bob" })).await, "one two\n");
}

async fn the_bytes_outside_an_edit_never_change(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let text = "\u{feff}# Title\r\n\r\nOne line.\r\nAnother line.\r\nno end";
    created(&client, LESSON, text, json!({})).await;
    let edits = json!([
        { "old_text": "One line.\nAnother line.", "new_text": "A line.\nMore.\nThe last." },
        { "old_text": "no end", "new_text": "still no end" },
    ]);
    edit(&client, edits, json!({})).await.expect_ok();
    let expected = "\u{feff}# Title\r\n\r\nA line.\r\nMore.\r\nThe last.\r\nstill no end";
    assert_eq!(content(&client, json!({})).await, expected);
}

/// Each agent edits its own lines again and again, without a precondition.
async fn i8_twenty_agents_edit_one_file_and_no_edit_is_lost(on: TestBackend) {
    const AGENTS: usize = 20;
    const ROUNDS: usize = 3;
    let (_env, _server, client) = fresh(on).await;
    let line = |agent: usize, round: usize| format!("Line of agent {agent}: round {round}.\n");
    let all = |round: usize| (0..AGENTS).map(|agent| line(agent, round)).collect::<String>();
    created(&client, LESSON, &all(0), json!({})).await;
    run_concurrently(AGENTS, |agent| {
        let client = client.client().of_agent(&format!("agent-{agent}"));
        async move {
            for round in 0..ROUNDS {
                let edits = one(&line(agent, round), &line(agent, round + 1));
                edit(&client, edits, json!({})).await.expect_ok();
            }
        }
    })
    .await;
    assert_eq!(content(&client, json!({})).await, all(ROUNDS));
    let history = client.call("list_history", about(LESSON, json!({}))).await.expect_ok();
    assert_eq!(history["versions"].as_array().unwrap().len(), 1 + AGENTS * ROUNDS);
}
