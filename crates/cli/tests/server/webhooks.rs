//! Webhooks: made and deleted by the command, sent to by running servers, against receivers that fail, hang and
//! lie.

mod receiver;
mod servers;
mod shown;
mod troubles;

use std::collections::BTreeSet;
use std::time::Duration;

use panaversity_fs::RuntimeLimits;
use panaversity_server::WebhookLimits;
use serde_json::{Value, json};

use self::receiver::{Reaction, Receiver};
use crate::fixtures::{BOOK, created, field, fresh, fresh_process, sha256, text, write};
use crate::harness::{Db, TestClient, TestEnv, log_watch, until};

const README: &str = "content/README.md";

/// A webhook as its receiver knows it.
struct CreatedHook {
    id: String,
    secret: String,
}

/// Runs `hooks`; returns what it prints as JSON.
fn hooks(env: &TestEnv, arguments: &[&str]) -> Value {
    let output = env.command().arg("hooks").args(arguments).arg("--json").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Creates a webhook of [`BOOK`].
fn create_hook(env: &TestEnv, url: &str) -> CreatedHook {
    let created = hooks(env, &["create", "--book-id", BOOK, "--url", url]);
    let (id, secret) = (text(&created["id"]), text(&created["secret"]));
    log_watch::secret(&secret);
    CreatedHook { id, secret }
}

/// The webhook with this id, as `hooks list` shows it.
fn listed(env: &TestEnv, id: &str) -> Value {
    let list = hooks(env, &["list"]);
    let mut webhooks = list["webhooks"].as_array().unwrap().iter();
    webhooks.find(|webhook| webhook["id"] == id).unwrap_or_else(|| panic!("{id} is not in {list}")).clone()
}

/// Short pauses, and few attempts.
fn quick() -> WebhookLimits {
    WebhookLimits {
        poll: Duration::from_millis(50),
        attempt_timeout: Duration::from_millis(500),
        first_retry: Duration::from_millis(10),
        longest_retry: Duration::from_millis(40),
        ..WebhookLimits::default()
    }
}

/// An environment whose servers have these limits.
fn environment(db: Db, webhooks: WebhookLimits) -> TestEnv {
    TestEnv::new(db).within(RuntimeLimits { webhooks: Box::new(webhooks), ..RuntimeLimits::default() })
}

/// Writes the first content of a page, and then the numbers from 1 on.
async fn numbered(client: &TestClient, numbers: std::ops::RangeInclusive<usize>) {
    for n in numbers {
        let more = if n == 0 { json!({}) } else { json!({ "expected_hash": sha256((n - 1).to_string()) }) };
        write(client, README, &n.to_string(), more).await.expect_ok();
    }
}

/// The hashes that [`numbered`] writes.
fn hashes(numbers: std::ops::RangeInclusive<usize>) -> Vec<String> {
    numbers.map(|n| sha256(n.to_string())).collect()
}

/// The hash that each of these change sets gave the page.
fn hashes_of(bodies: &[Value]) -> Vec<String> {
    bodies.iter().map(|body| text(&body["files"][0]["new_hash"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_set_is_sent_in_order_signed_and_as_the_feed_tells_it() {
    for db in Db::both() {
        let (env, server, client) = fresh_process(db).await;
        let client = client.of_agent("writer-7");
        numbered(&client, 0..=0).await;
        let receiver = Receiver::start().await;
        let hook = create_hook(&env, &receiver.url("/in?token=s3cret-word"));
        numbered(&client, 1..=5).await;
        created(&client, README, "mine", json!({ "user_id": "eve" })).await;
        let changes = json!([{ "op": "write", "path": "content/index.md", "content": "index" },
            { "op": "delete", "path": README, "expected_hash": sha256("5") }]);
        let set = json!({ "book_id": BOOK, "changes": changes, "message": "one page is enough" });
        client.call("apply_changes", set).await.expect_ok();
        until("all are sent", async || receiver.accepted().len() >= 6).await;

        let page = client.get(&format!("/books/{BOOK}/changes")).await.json();
        let told: Vec<_> = page["changes"].as_array().unwrap()[1..].to_vec();
        let deliveries = receiver.deliveries();
        let mut bodies: Vec<_> = deliveries.iter().map(|one| one.body.clone()).collect();
        for body in &mut bodies {
            assert_eq!(body.as_object_mut().unwrap().remove("book_id"), Some(json!(BOOK)));
        }
        assert_eq!(bodies, told, "the same as the feed tells, in its order, and no overlay");
        for delivery in &deliveries {
            assert_eq!(delivery.path, "/in?token=s3cret-word");
            delivery.require_signature(&hook.secret);
            assert_eq!(delivery.id, format!("{}_{}", hook.id, text(&delivery.body["change_id"])));
        }
        let ids: BTreeSet<_> = deliveries.iter().map(|delivery| &delivery.id).collect();
        assert_eq!(ids.len(), 6);
        let shown = listed(&env, &hook.id);
        assert_eq!((&shown["status"], &shown["dead_letters"]), (&json!("active"), &json!([])));
        until("the last delivery is recorded", async || {
            listed(&env, &hook.id)["cursor"] == told.last().unwrap()["cursor"]
        })
        .await;
        assert!(server.terminate().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_made_for_a_book_and_a_plain_url_and_its_secret_is_shown_once() {
    let (env, _server, client) = fresh(Db::Sqlite).await;
    let run = |arguments: &[&str]| {
        let output = env.command().arg("hooks").args(arguments).output().unwrap();
        let said = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), said(&output.stdout), said(&output.stderr))
    };
    assert!(run(&["list"]).1.contains("there are no webhooks"));
    let url = "https://build.example.com/in?token=s3cret-word";
    let (code, _, said) = run(&["create", "--book-id", BOOK, "--url", url]);
    assert!(code == Some(1) && said.contains("there is no book ai-python"), "{said}");
    numbered(&client, 0..=0).await;
    for (wrong, why) in [
        ("build.example.com", "--url: it must be a URL"),
        ("ftp://build.example.com/", "https://"),
        ("https://ada:s3cret-w0rd@build.example.com/", "user or password"),
        ("http://169.254.169.254/latest", "link-local"),
    ] {
        let (code, _, said) = run(&["create", "--book-id", BOOK, "--url", wrong]);
        assert!(code == Some(2) && said.contains(why) && !said.contains("s3cret-w0rd"), "{wrong}: {said}");
    }
    let (code, printed, _) = run(&["create", "--book-id", BOOK, "--url", url]);
    let secret = printed.lines().next().unwrap();
    log_watch::secret(secret);
    assert!(code == Some(0) && secret.starts_with("whsec_") && secret.len() == 50, "{printed}");
    assert!(printed.contains("https://build.example.com/in?***"), "{printed}");
    let (_, list, _) = run(&["list"]);
    let id = list.split_whitespace().next().unwrap();
    assert!(list.contains(BOOK) && list.contains("https://build.example.com/in?***"), "{list}");
    assert_eq!(run(&["delete", "0123456789ab"]).0, Some(1));
    assert_eq!(run(&["delete", "all"]).0, Some(2));
    assert!(run(&["delete", id]).1.contains(id));
    assert!(run(&["list"]).1.contains("there are no webhooks"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_webhook_is_sent_nothing_any_more() {
    for db in Db::both() {
        let env = environment(db, quick());
        let server = env.start().await;
        numbered(&server, 0..=0).await;
        let (kept, deleted) = (Receiver::start().await, Receiver::start().await);
        create_hook(&env, &kept.url("/"));
        let hook = create_hook(&env, &deleted.url("/"));
        numbered(&server, 1..=1).await;
        until("both get it", async || kept.accepted().len() == 1 && deleted.accepted().len() == 1).await;
        until("it is recorded", async || listed(&env, &hook.id)["delivered_at"].is_string()).await;
        assert_eq!(hooks(&env, &["delete", &hook.id])["status"], "deleted");
        numbered(&server, 2..=4).await;
        until("the other gets all", async || kept.accepted().len() == 4).await;
        assert_eq!(deleted.deliveries().len(), 1);
        let said = field(hooks(&env, &["list"])["webhooks"].as_array().unwrap(), "book_id");
        assert_eq!(said, [BOOK]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_goes_on_where_it_was_when_the_server_starts_again() {
    for db in Db::both() {
        let (env, server, client) = fresh_process(db).await;
        numbered(&client, 0..=0).await;
        let receiver = Receiver::start().await;
        let hook = create_hook(&env, &receiver.url("/"));
        numbered(&client, 1..=1).await;
        until("the first is sent", async || receiver.accepted().len() == 1).await;
        // One that hangs does not hold up the stop.
        receiver.react([Reaction::Hang]);
        numbered(&client, 2..=3).await;
        until("it hangs", async || receiver.deliveries().len() == 2).await;
        assert!(server.terminate().await.success());
        assert_eq!(listed(&env, &hook.id)["status"], "waiting", "the lease is released");
        let _server = env.start_process().await;
        until("the others are sent", async || receiver.accepted().len() == 3).await;
        assert_eq!(hashes_of(&receiver.accepted()), hashes(1..=3));
        let ids: Vec<_> = receiver.deliveries().into_iter().map(|delivery| delivery.id).collect();
        assert_eq!(ids[1], ids[2], "the one that hung is sent again under its id");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_may_begin_behind_any_cursor_of_the_feed() {
    let (env, _server, client) = fresh(Db::Sqlite).await;
    numbered(&client, 0..=4).await;
    let page = client.get(&format!("/books/{BOOK}/changes?limit=2")).await.json();
    let receiver = Receiver::start().await;
    let url = receiver.url("/");
    let created = hooks(&env, &["create", "--book-id", BOOK, "--url", &url, "--since", &text(&page["next"])]);
    log_watch::secret(&text(&created["secret"]));
    until("the rest is sent", async || receiver.accepted().len() >= 3).await;
    assert_eq!(hashes_of(&receiver.accepted()), hashes(2..=4));
    let wrong = ["hooks", "create", "--book-id", BOOK, "--url", &url, "--since", "yesterday"];
    assert_eq!(env.command().args(wrong).output().unwrap().status.code(), Some(2));
}
