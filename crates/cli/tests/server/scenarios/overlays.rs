//! R5: only its owner sees an overlay, through every tool. Any other caller gets the answer that
//! they would get if the overlay did not exist.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::fixtures::{
    BOOK, LESSON, about, created, delete, entries, field, fresh, pages, read, sha256, text, with, write,
};
use crate::harness::{Answer, TestBackend, TestClient};

mod on_all {
    use super::{
        a_reader_of_an_overlay_is_told_that_the_base_has_changed,
        r5_an_overlay_is_published_beside_the_base_and_not_in_it,
    };

    on_every_backend!(
        a_reader_of_an_overlay_is_told_that_the_base_has_changed,
        r5_an_overlay_is_published_beside_the_base_and_not_in_it,
    );
}

on_both_databases!(
    r5_nothing_a_stranger_asks_shows_an_overlay,
    r5_the_owner_reads_the_overlay_above_the_base,
    r5_a_stranger_s_writes_meet_nothing_of_an_overlay,
    r5_the_log_shows_each_caller_the_own_layer,
    r5_without_its_overlay_the_base_shows_again,
);

const HERS_ALONE: &str = "content/01-Part/01-Chapter/02-hidden-plans.md";
/// Texts that no answer to another caller may contain.
const SECRETS: [&str; 4] = ["words of eve", "hidden-plans", "eve-agent", "eve\""];

/// A book of the base with eve's overlay above it.
async fn with_overlay(client: &TestClient) {
    created(client, LESSON, "the base", json!({})).await;
    created(client, "content/README.md", "readme", json!({})).await;
    overlay(client).await;
}

async fn overlay(client: &TestClient) {
    let eve = client.clone().of_agent("eve-agent");
    let hers = json!({ "user_id": "eve" });
    created(&eve, LESSON, "words of eve", hers.clone()).await;
    created(&eve, HERS_ALONE, "more words of eve", hers.clone()).await;
    created(&eve, "content/README.md", "and more words of eve", hers.clone()).await;
    let wrong = write(&eve, HERS_ALONE, "even more words of eve", hers.clone()).await;
    assert_eq!(wrong.code(), "HASH_REQUIRED");
    read(&eve, HERS_ALONE, hers.clone()).await.expect_ok();
    delete(&eve, "content/README.md", hers).await.expect_ok();
}

/// Calls that might reveal the overlay to another caller.
fn questions() -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    for path in [LESSON, HERS_ALONE, "content/01-Part/01-Chapter/02-hidden-plan.md", "content/README.md"] {
        all.push(("read_content", about(path, json!({}))));
        for secret in ["words of eve", "more words of eve", "and more words of eve"] {
            all.push(("read_content", about(path, json!({ "hash": sha256(secret) }))));
            all.push(("read_content", about(path, json!({ "if_none_match": sha256(secret) }))));
        }
        for scope in ["chapter", "part", "book"] {
            let folder = about("content/01-Part/01-Chapter/01-lesson.md", json!({ "scope": scope }));
            all.push(("read_content", folder));
        }
    }
    for structure in ["none", "content", "assets", "all"] {
        all.push(("list_books", json!({ "include_structure": structure })));
    }
    all.push(("plan_build", json!({ "book_id": BOOK })));
    all.push(("plan_build", json!({ "book_id": BOOK, "target_manifest_hash": sha256("words of eve") })));
    all.push(("validate_book", json!({ "book_id": BOOK })));
    for pattern in ["**", "content/01-Part/01-Chapter/*", "**/*hidden*", HERS_ALONE] {
        all.push(("glob_search", json!({ "book_id": BOOK, "pattern": pattern })));
        all.push(("glob_search", json!({ "all_books": true, "pattern": pattern })));
    }
    for pattern in [".", "words", "eve", "^more"] {
        all.push(("grep_search", json!({ "book_id": BOOK, "pattern": pattern, "context_lines": 2 })));
        all.push(("grep_search", json!({ "all_books": true, "pattern": pattern, "ignore_case": true })));
    }
    for include_content in [false, true] {
        let since = "2026-01-01T00:00:00Z";
        let delta = json!({ "book_id": BOOK, "since": since, "include_content": include_content });
        all.push(("delta_build", delta));
    }
    for filter in [
        json!({}),
        json!({ "book_id": BOOK }),
        json!({ "agent_id": "eve-agent" }),
        json!({ "path": "**/*hidden*" }),
        json!({ "path": "**" }),
        json!({ "operation": "WRITE", "status": "refused" }),
    ] {
        all.push(("query_audit_log", filter));
    }
    all.push(("verify_audit_chain", json!({ "book_id": BOOK, "path": HERS_ALONE })));
    all.push(("verify_audit_chain", json!({ "book_id": BOOK })));
    all
}

fn listed<'a>(answer: &'a mut Answer, list: &str) -> impl Iterator<Item = &'a mut Value> {
    answer.value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
}

/// An answer without the parts that differ from server to server and from call to call.
fn settled(mut answer: Answer) -> Answer {
    for entry in listed(&mut answer, "entries") {
        let columns = entry.as_object_mut().unwrap();
        columns.retain(|name, _| {
            ["agent_id", "operation", "path", "user_id", "status"].contains(&name.as_str())
        });
    }
    for list in ["books", "files", "changed_files"] {
        for entry in listed(&mut answer, list) {
            let fields = entry.as_object_mut().unwrap();
            fields.retain(|name, _| !["updated_at", "last_modified"].contains(&name.as_str()));
        }
    }
    if let Some(fields) = answer.value.as_object_mut() {
        fields.retain(|name, _| !["last_modified", "next_cursor", "next_since"].contains(&name.as_str()));
    }
    answer
}

/// Makes the same calls on a book with an overlay and on one without: every answer is the same.
async fn r5_nothing_a_stranger_asks_shows_an_overlay(on: TestBackend) {
    let (_one, _server, with_eve) = fresh(on).await;
    let (_other, _its_server, without) = fresh(on).await;
    with_overlay(&with_eve).await;
    created(&without, LESSON, "the base", json!({})).await;
    created(&without, "content/README.md", "readme", json!({})).await;
    for who in [json!({}), json!({ "user_id": "bob" })] {
        for (tool, arguments) in questions() {
            let has_user = !matches!(tool, "list_books" | "plan_build" | "validate_book");
            let arguments = if has_user { with(arguments, who.clone()) } else { arguments };
            let answer = settled(with_eve.call(tool, arguments.clone()).await);
            // A name that the caller sent, here or in a call that the log has, reveals nothing.
            let asked =
                |secret: &&&str| tool == "query_audit_log" || arguments.to_string().contains(**secret);
            for secret in SECRETS.iter().filter(|secret| !asked(secret)) {
                assert!(!answer.value.to_string().contains(secret), "{tool} {arguments}: {}", answer.value);
            }
            let expected = settled(without.call(tool, arguments.clone()).await);
            assert_eq!(answer, expected, "{tool} {arguments}");
        }
    }
}

async fn r5_the_owner_reads_the_overlay_above_the_base(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    with_overlay(&client).await;
    let hers = |more| with(json!({ "user_id": "eve" }), more);
    let read_hers = async |path| read(&client, path, hers(json!({}))).await.expect_ok();
    for (path, content, source) in [
        (LESSON, "words of eve", "overlay"),
        (HERS_ALONE, "more words of eve", "overlay"),
        ("content/README.md", "readme", "base"),
    ] {
        let file = read_hers(path).await;
        assert_eq!((&file["content"], &file["source"]), (&json!(content), &json!(source)));
        assert_eq!(file["file_hash_sha256"], json!(sha256(content)));
    }
    let whole = hers(json!({ "book_id": BOOK, "scope": "book" }));
    let (files, _) = pages(&client, "read_content", whole, "files").await;
    assert_eq!(field(&files, "path"), [LESSON, HERS_ALONE, "content/README.md"]);
    assert_eq!(field(&files, "source"), ["overlay", "overlay", "base"]);
    let near = read(&client, "content/01-Part/01-Chapter/02-hidden-plan.md", hers(json!({}))).await;
    assert_eq!(near.value["error"]["suggestions"][0], HERS_ALONE, "her own paths are suggested to her");
    let mine = hers(json!({ "hash": sha256("more words of eve") }));
    assert_eq!(read(&client, HERS_ALONE, mine).await.expect_ok()["content"], "more words of eve");
}

async fn r5_a_stranger_s_writes_meet_nothing_of_an_overlay(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    with_overlay(&client).await;
    for (who, namespace) in [(json!({}), "base"), (json!({ "user_id": "bob" }), "overlay")] {
        let named = with(who.clone(), json!({ "expected_hash": sha256("more words of eve") }));
        assert_eq!(write(&client, HERS_ALONE, "mine", named).await.code(), "NOT_FOUND");
        let gone = delete(&client, HERS_ALONE, who.clone()).await.expect_ok();
        assert_eq!(gone["existed"], false);
        let same = write(&client, HERS_ALONE, "more words of eve", who.clone()).await.expect_ok();
        assert_eq!((&same["mode"], &same["namespace"]), (&json!("created"), &json!(namespace)));
        delete(&client, HERS_ALONE, who.clone()).await.expect_ok();
        // A name that differs from hers only by case would be refused if her file were visible to
        // the caller.
        let twin = HERS_ALONE.replace("hidden", "HIDDEN");
        created(&client, &twin, "mine", who.clone()).await;
        delete(&client, &twin, who).await.expect_ok();
    }
    let hers = read(&client, HERS_ALONE, json!({ "user_id": "eve" })).await.expect_ok();
    assert_eq!(hers["content"], "more words of eve");
}

async fn r5_the_log_shows_each_caller_the_own_layer(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    with_overlay(&client).await;
    let hers = entries(&client, json!({ "user_id": "eve", "book_id": BOOK })).await;
    let acts: Vec<_> =
        hers.iter().rev().map(|entry| (text(&entry["operation"]), text(&entry["status"]))).collect();
    let expected = [
        ("WRITE", "success"),
        ("WRITE", "success"),
        ("WRITE", "success"),
        ("WRITE", "refused"),
        ("READ", "success"),
        ("DELETE", "success"),
    ];
    assert_eq!(acts, expected.map(|(act, status)| (act.to_owned(), status.to_owned())));
    assert!(field(&hers, "user_id").iter().all(|user| user == "eve"));
    let base = entries(&client, json!({ "book_id": BOOK })).await;
    assert_eq!(field(&base, "path"), ["content/README.md", LESSON]);
    assert!(entries(&client, json!({ "user_id": "bob" })).await.is_empty());
    // Each layer's own entries, the queries above among them.
    for (user, checked) in
        [(json!({}), 3), (json!({ "user_id": "eve" }), 7), (json!({ "user_id": "bob" }), 0)]
    {
        let verified =
            client.call("verify_audit_chain", with(user, json!({ "book_id": BOOK }))).await.expect_ok();
        assert_eq!(verified, json!({ "valid": true, "entries_checked": checked, "breaks": [] }));
    }
}

async fn r5_without_its_overlay_the_base_shows_again(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    with_overlay(&client).await;
    let hers = json!({ "user_id": "eve" });
    let gone = delete(&client, LESSON, hers.clone()).await.expect_ok();
    assert_eq!((&gone["existed"], &gone["namespace"]), (&json!(true), &json!("overlay")));
    let shown = read(&client, LESSON, hers.clone()).await.expect_ok();
    assert_eq!((&shown["content"], &shown["source"]), (&json!("the base"), &json!("base")));
    delete(&client, LESSON, json!({})).await.expect_ok();
    assert_eq!(read(&client, LESSON, hers.clone()).await.code(), "NOT_FOUND");
    assert_eq!(read(&client, HERS_ALONE, hers).await.expect_ok()["source"], "overlay");
}

async fn r5_an_overlay_is_published_beside_the_base_and_not_in_it(on: TestBackend) {
    let (env, server, client) = fresh(on).await;
    with_overlay(&client).await;
    server.all_published().await;
    let expected = [
        (format!("{BOOK}/{LESSON}"), "the base"),
        (format!("{BOOK}/content/README.md"), "readme"),
        (format!("{BOOK}/users/eve/{LESSON}"), "words of eve"),
        (format!("{BOOK}/users/eve/{HERS_ALONE}"), "more words of eve"),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(path, text)| (path, text.as_bytes().to_vec())).into();
    assert_eq!(env.published(), expected);

    let private = crate::harness::TestEnv::new(on).with("PANAVERSITY_PUBLISH_OVERLAYS", "false");
    let server = private.start().await;
    with_overlay(&server.client()).await;
    server.all_published().await;
    let names: Vec<_> = private.published().into_keys().collect();
    assert_eq!(names, [format!("{BOOK}/{LESSON}"), format!("{BOOK}/content/README.md")]);
}

/// `base_changed`, and the base's hash then and now, of the answer to a read of eve's lesson.
async fn told(client: &TestClient, more: Value) -> (Option<Value>, Option<String>, Option<String>) {
    let answer = read(client, LESSON, with(json!({ "user_id": "eve" }), more)).await.expect_ok();
    let hash = |name| answer.get(name).map(text);
    (answer.get("base_changed").cloned(), hash("base_hash_then"), hash("base_hash_now"))
}

async fn a_reader_of_an_overlay_is_told_that_the_base_has_changed(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let untold = (None, None, None);
    let changed =
        |then: Option<&str>, now: Option<&str>| (Some(json!(true)), then.map(sha256), now.map(sha256));
    let put = async |content: &str, more: Value| {
        let now = read(&client, LESSON, more.clone()).await;
        let hash = now.ok.then(|| json!({ "expected_hash": now.value["file_hash_sha256"] }));
        write(&client, LESSON, content, with(more, hash.unwrap_or(json!({})))).await.expect_ok();
    };
    let hers = json!({ "user_id": "eve" });
    put("# One\n", json!({})).await;
    assert_eq!(told(&client, json!({})).await, untold, "the base itself");
    created(&client, LESSON, "# Hers\ntext\n", hers.clone()).await;
    assert_eq!(told(&client, json!({})).await, untold);
    let large = "# Two\n".repeat(30_000);
    put(&large, json!({})).await;
    let expected = changed(Some("# One\n"), Some(&large));
    let hash = sha256("# Hers\ntext\n");
    for more in [
        json!({}),
        json!({ "outline": true }),
        json!({ "section": "hers" }),
        json!({ "lines": 2 }),
        json!({ "if_none_match": hash }),
    ] {
        assert_eq!(told(&client, more.clone()).await, expected, "{more}");
    }
    let then = read(&client, LESSON, json!({ "hash": expected.1, "user_id": "eve" })).await.expect_ok();
    assert_eq!((&then["content"], then.get("base_changed")), (&json!("# One\n"), None));
    assert_eq!(told(&client, json!({ "hash": hash })).await, untold, "a version is compared with nothing");
    for stranger in [json!({}), json!({ "user_id": "bob" })] {
        let base = read(&client, LESSON, stranger).await.expect_ok();
        assert_eq!(base.get("base_changed"), None);
    }
    put("# Hers again\n", hers.clone()).await;
    assert_eq!(told(&client, json!({})).await, untold, "written above what the base holds now");
    delete(&client, LESSON, json!({})).await.expect_ok();
    assert_eq!(told(&client, json!({})).await, changed(Some(&large), None));
    put("# Hers alone\n", hers).await;
    put("# Back\n", json!({})).await;
    assert_eq!(told(&client, json!({})).await, changed(None, Some("# Back\n")));
}
