//! Conflicts that help, and `on_conflict: merge`.

use panaversity_testkit::contract::run_concurrently;
use serde_json::{Value, json};

use crate::fixtures::{LESSON, NO_HASH, about, created, delete, fresh, read, sha256, with, write};
use crate::harness::TestBackend;

on_every_backend!(
    a_conflict_says_who_changed_the_file_and_how,
    a_merge_takes_in_the_changes_of_others_and_records_both_parents,
    changes_of_the_same_lines_are_a_conflict_with_the_regions_marked,
    a_merged_write_of_an_overlay_takes_in_the_changes_of_its_base,
    i8_twenty_agents_merge_into_one_file_and_no_line_is_lost,
);

fn numbered(change: &[(usize, &str)]) -> String {
    let line = |n: usize| {
        let changed = change.iter().find(|(at, _)| *at == n).map(|(_, text)| (*text).to_owned());
        changed.unwrap_or_else(|| format!("line {n}")) + "\n"
    };
    (1..=20).map(line).collect()
}

async fn a_conflict_says_who_changed_the_file_and_how(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let base = created(&client, LESSON, &numbered(&[]), json!({})).await;
    let bob = client.client().of_agent("bob");
    write(&bob, LESSON, &numbered(&[(3, "three")]), json!({ "expected_hash": base })).await.expect_ok();
    let diff = "@@ -1,6 +1,6 @@\n line 1\n line 2\n-line 3\n+three\n line 4\n line 5\n line 6\n";
    let late = write(&client, LESSON, &numbered(&[(9, "nine")]), json!({ "expected_hash": base })).await;
    let error = &late.value["error"];
    assert_eq!(
        (late.code(), &error["current_hash"]),
        ("CONFLICT", &json!(sha256(numbered(&[(3, "three")]))))
    );
    assert_eq!((&error["changed_by"]["agent_id"], &error["diff"]), (&json!("bob"), &json!(diff)));
    let gone = delete(&client, LESSON, json!({ "expected_hash": base })).await;
    assert_eq!((gone.code(), &gone.value["error"]["diff"]), ("CONFLICT", &json!(diff)));

    // A hash of another file, or of another layer, is no version of this one.
    let other = "content/01-Part/01-Chapter/02-lesson.md";
    let foreign = created(&client, other, "other\n", json!({})).await;
    let of_overlay = created(&client, LESSON, "mine\n", json!({ "user_id": "eve" })).await;
    for hash in [foreign, of_overlay, NO_HASH.to_owned()] {
        let refused = write(&client, LESSON, "x", json!({ "expected_hash": hash })).await;
        assert_eq!((refused.code(), refused.value["error"].get("diff")), ("CONFLICT", None));
        let merged = json!({ "expected_hash": hash, "on_conflict": "merge" });
        assert_eq!(write(&client, LESSON, "x", merged).await.code(), "CONFLICT");
    }
}

async fn a_merge_takes_in_the_changes_of_others_and_records_both_parents(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let merge = |hash: &str| json!({ "expected_hash": hash, "on_conflict": "merge" });
    let new = write(&client, LESSON, &numbered(&[]), json!({ "on_conflict": "merge" })).await.expect_ok();
    assert_eq!(new["mode"], "created");
    let base = new["file_hash"].as_str().unwrap().to_owned();
    let bobs = numbered(&[(3, "three")]);
    write(&client.client().of_agent("bob"), LESSON, &bobs, json!({ "expected_hash": base }))
        .await
        .expect_ok();
    let merged = write(&client, LESSON, &numbered(&[(9, "nine")]), merge(&base)).await.expect_ok();
    let both = numbered(&[(3, "three"), (9, "nine")]);
    assert_eq!((&merged["mode"], &merged["file_hash"]), (&json!("merged"), &json!(sha256(&both))));
    assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], both);
    let log =
        client.call("query_audit_log", about(LESSON, json!({ "operation": "WRITE" }))).await.expect_ok();
    let entry = &log["entries"][0];
    assert_eq!(
        (&entry["old_content_hash"], &entry["new_content_hash"]),
        (&json!(sha256(&bobs)), &json!(sha256(&both)))
    );
    assert_eq!(entry["error_message"], format!("merged {base} and {}", sha256(&bobs)));

    let again = write(&client, LESSON, &both, merge(&base)).await.expect_ok();
    assert_eq!(again["mode"], "unchanged");
    let plain = write(&client, LESSON, "all new\n", merge(&sha256(&both))).await.expect_ok();
    assert_eq!(plain["mode"], "updated");
    assert_eq!(write(&client, LESSON, "x", json!({ "on_conflict": "merge" })).await.code(), "HASH_REQUIRED");
    let elsewhere = write(&client, "content/README.md", "x", merge(&base)).await;
    assert_eq!(elsewhere.code(), "NOT_FOUND");
    assert_eq!(
        write(&client, LESSON, "x", json!({ "on_conflict": "theirs" })).await.code(),
        "INVALID_ARGUMENT"
    );
}

async fn changes_of_the_same_lines_are_a_conflict_with_the_regions_marked(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let base = created(&client, LESSON, &numbered(&[]), json!({})).await;
    let theirs = numbered(&[(3, "three"), (15, "fifteen")]);
    write(&client, LESSON, &theirs, json!({ "expected_hash": base })).await.expect_ok();
    let more = json!({ "expected_hash": base, "on_conflict": "merge" });
    let refused = write(&client, LESSON, &numbered(&[(3, "drei"), (9, "neun")]), more).await;
    let error = &refused.value["error"];
    assert_eq!((refused.code(), &error["current_hash"]), ("CONFLICT", &json!(sha256(&theirs))));
    let text = "<<<<<<< current\nthree\n||||||| base\nline 3\n=======\ndrei\n>>>>>>> yours\n";
    assert_eq!(error["regions"], json!([{ "first_line": 3, "text": text }]));
    assert!(error["hint"].as_str().unwrap().contains("current_hash"));
    assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], theirs);
}

async fn a_merged_write_of_an_overlay_takes_in_the_changes_of_its_base(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let base = created(&client, LESSON, &numbered(&[]), json!({})).await;
    let eve = |more: Value| with(json!({ "user_id": "eve" }), more);
    let own = created(&client, LESSON, &numbered(&[(15, "eve's")]), eve(json!({}))).await;
    let of_base = write(&client, LESSON, &numbered(&[(3, "three")]), json!({ "expected_hash": base })).await;
    let of_base = of_base.expect_ok()["file_hash"].clone();
    assert_eq!(read(&client, LESSON, eve(json!({}))).await.expect_ok()["base_changed"], true);

    let text = numbered(&[(9, "nine"), (15, "eve's")]);
    let more = eve(json!({ "expected_hash": own, "on_conflict": "merge" }));
    let merged = write(&client, LESSON, &text, more).await.expect_ok();
    let all = numbered(&[(3, "three"), (9, "nine"), (15, "eve's")]);
    assert_eq!((&merged["mode"], &merged["file_hash"]), (&json!("merged"), &json!(sha256(&all))));
    let now = read(&client, LESSON, eve(json!({}))).await.expect_ok();
    assert_eq!((&now["content"], now.get("base_changed")), (&json!(all), None));
    let log =
        client.call("query_audit_log", about(LESSON, eve(json!({ "operation": "WRITE" })))).await.expect_ok();
    let note = format!("merged {} and {own}", of_base.as_str().unwrap());
    assert_eq!(log["entries"][0]["error_message"], note);

    // The base changes a line that the overlay has changed too.
    let theirs = numbered(&[(3, "three"), (15, "theirs")]);
    write(&client, LESSON, &theirs, json!({ "expected_hash": of_base })).await.expect_ok();
    let more = eve(json!({ "expected_hash": sha256(&all), "on_conflict": "merge" }));
    let refused = write(&client, LESSON, &all.replace("nine", "9"), more).await;
    let error = &refused.value["error"];
    assert_eq!((refused.code(), &error["current_hash"]), ("CONFLICT", &json!(sha256(&all))));
    assert!(error["regions"][0]["text"].as_str().unwrap().contains("theirs"), "{error}");
}

/// Each agent reads once and then writes its own line again and again, merged with what others have written.
async fn i8_twenty_agents_merge_into_one_file_and_no_line_is_lost(on: TestBackend) {
    const AGENTS: usize = 20;
    let (_env, _server, client) = fresh(on).await;
    let filler = "same\nsame\nsame\n";
    let text = |own: Option<usize>| -> String {
        let line = |agent: usize| {
            let tag = if own.is_none_or(|own| own == agent) { "changed" } else { "as it was" };
            let tag = if own.is_none() { "as it was" } else { tag };
            format!("agent {agent}: {tag}\n{filler}")
        };
        (0..AGENTS).map(line).collect()
    };
    let base = created(&client, LESSON, &text(None), json!({})).await;
    run_concurrently(AGENTS, |agent| {
        let client = client.client().of_agent(&format!("agent-{agent}"));
        let (mine, base) = (text(Some(agent)), base.clone());
        async move {
            let more = json!({ "expected_hash": base, "on_conflict": "merge" });
            write(&client, LESSON, &mine, more).await.expect_ok();
        }
    })
    .await;
    let expected =
        (0..AGENTS).map(|agent| format!("agent {agent}: changed\n{filler}")).collect::<Vec<_>>().concat();
    assert_eq!(read(&client, LESSON, json!({})).await.expect_ok()["content"], expected);
    let blamed = client.call("blame_content", with(about(LESSON, json!({})), json!({}))).await.expect_ok();
    let of_agents = |run: &&Value| run["agent_id"].as_str().unwrap().starts_with("agent-");
    assert_eq!(blamed["lines"].as_array().unwrap().iter().filter(of_agents).count(), AGENTS);
}
