//! The webhooks on the page of the state: for administrators, and without what may be secret in a URL.

use std::time::Duration;

use panaversity_fs::RuntimeLimits;
use panaversity_server::WebhookLimits;
use serde_json::json;

use super::{Reaction, Receiver, create_hook, listed, numbered, quick};
use crate::auth::{holder, secured, token};
use crate::fixtures::BOOK;
use crate::harness::{Db, TestClient, until};

async fn state(server: &TestClient, scope: &str) -> String {
    let bearer = format!("Bearer {}", token(scope, json!({})));
    let reply = server.send("GET", "/ui/state", &[("authorization", &bearer)], "").await;
    assert_eq!(reply.status, 200);
    reply.text()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_sees_the_webhooks_and_why_they_fail_and_nobody_else_does() {
    let webhooks = WebhookLimits { attempts: 2, longest_retry: Duration::from_mins(1), ..quick() };
    let env = secured(Db::Sqlite)
        .within(RuntimeLimits { webhooks: Box::new(webhooks), ..RuntimeLimits::default() });
    let server = env.start().await;
    let admin = holder(&server, "admin", json!({}));
    numbered(&admin, 0..=0).await;
    let none = state(&server, "admin").await;
    assert!(!none.contains("Webhooks"), "{none}");
    let (good, bad) = (Receiver::start().await, Receiver::start().await);
    let (fine, failing) = (create_hook(&env, &good.url("/")), create_hook(&env, &bad.url("/in/of-secrets")));
    bad.react(std::iter::repeat_n(Reaction::Status(500), 2));
    numbered(&admin, 1..=1).await;
    until("it is a dead letter", async || {
        listed(&env, &failing.id)["dead_letters"].as_array().unwrap().len() == 1
    })
    .await;
    until("the other has it", async || listed(&env, &fine.id)["delivered_at"].is_string()).await;
    let html = state(&server, "admin").await;
    for shown in [&fine.id, &failing.id, BOOK, &bad.address().to_string(), "active", "the answer was 500"] {
        assert!(html.contains(shown), "{shown} is not in {html}");
    }
    assert!(html.contains("Latest dead letters") && !html.contains("of-secrets"), "{html}");
    for scope in ["read", "write", &format!("admin:{BOOK}")] {
        let html = state(&server, scope).await;
        assert!(html.contains("Success criteria") && !html.contains("Webhooks"), "{scope}: {html}");
    }
}
