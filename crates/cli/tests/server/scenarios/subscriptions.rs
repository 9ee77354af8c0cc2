//! `subscriptions/listen`: notifications of pages that change, for those who may read them.

use serde_json::{Value, json};

use crate::auth::{holder, secured};
use crate::fixtures::{BOOK, LESSON, created, entries, fresh, sha256, text, with, write};
use crate::harness::{Db, Events, TestBackend, TestClient};
use crate::surface::eras::modern;

on_both_databases!(subscribed_pages_are_told_when_they_change_and_no_others);

const README: &str = "content/README.md";

fn uri(path: &str) -> String {
    format!("book://{BOOK}/{path}")
}

/// Subscribes to these URIs; returns the stream, and what was acknowledged.
async fn subscribe(client: &TestClient, uris: &[&str]) -> (Events, Value) {
    let version = "2026-07-28";
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "_meta": meta, "notifications": {
        "resourceSubscriptions": uris, "toolsListChanged": true, "resourcesListChanged": true } });
    let message = json!({ "jsonrpc": "2.0", "id": 7, "method": "subscriptions/listen", "params": params });
    let headers = [
        ("mcp-protocol-version", version),
        ("mcp-method", "subscriptions/listen"),
        ("content-type", "application/json"),
    ];
    let response = client.open_with("POST", "/mcp", &headers, message.to_string()).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut events = Events::of(response);
    let first = events.data().await.expect("an acknowledgment");
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
    (events, first["params"]["notifications"].clone())
}

async fn subscribed_pages_are_told_when_they_change_and_no_others(backend: TestBackend) {
    let (_env, server, client) = fresh(backend).await;
    created(&client, README, "one", json!({})).await;
    let discovered = modern(&client, "server/discover", json!({}), &[]).await.json();
    assert_eq!(discovered["result"]["capabilities"]["resources"]["subscribe"], true, "{discovered}");
    let lesson = uri(LESSON);
    let asked =
        [lesson.as_str(), "book://x/content/a.md", "file:///etc/passwd", "book://ai-python/static/img/a.png"];
    let (mut events, accepted) = subscribe(&client, &asked).await;
    assert_eq!(accepted, json!({ "resourceSubscriptions": [lesson] }), "the rest is not offered");
    write(&client, README, "two", json!({ "expected_hash": sha256("one") })).await.expect_ok();
    created(&client, LESSON, "mine", json!({ "user_id": "eve" })).await;
    created(&client, LESSON, "ours", json!({})).await;
    let told = events.data().await.unwrap();
    assert_eq!(told["method"], "notifications/resources/updated");
    assert_eq!(told["params"]["uri"], lesson);
    // Once for the base, and not for the overlay.
    write(&client, LESSON, "again", json!({ "expected_hash": sha256("ours") })).await.expect_ok();
    assert_eq!(events.data().await.unwrap()["params"]["uri"], lesson);
    let recorded = entries(&client, json!({ "book_id": BOOK, "operation": "DELTA" })).await;
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    let ending = async {
        let mut last = Value::Null;
        while let Some(data) = events.data().await {
            last = data;
        }
        last
    };
    let (last, ()) = tokio::join!(ending, server.stop());
    assert!(last["result"].is_object(), "it ends with a result: {last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_a_subscription_to_a_book_that_may_not_be_read_tells_nothing() {
    let env = secured(Db::Sqlite);
    let server = env.start().await;
    let admin = holder(&server, "admin", json!({}));
    created(&admin, LESSON, "one", json!({})).await;
    let stranger = holder(&server, "read:other-book", json!({}));
    for page in [uri(LESSON), "book://no-such-book/content/a.md".to_owned()] {
        let (mut events, _) = subscribe(&stranger, &[&page]).await;
        let refused = events.data().await.unwrap();
        assert_eq!(text(&refused["error"]["data"]["code"]), "FORBIDDEN", "{refused}");
        assert_eq!(events.data().await, None);
    }
    let (mut events, _) = subscribe(&holder(&server, "read", json!({})), &[&uri(LESSON)]).await;
    let expected = with(json!({}), json!({ "expected_hash": sha256("one") }));
    write(&admin, LESSON, "two", expected).await.expect_ok();
    assert_eq!(events.data().await.unwrap()["params"]["uri"], uri(LESSON));
}
