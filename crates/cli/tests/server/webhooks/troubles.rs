//! Receivers that fail, hang, lie, redirect, are away or gone: nothing is missed, the order stays, and nobody else
//! waits.

use panaversity_server::WebhookLimits;
use panaversity_testkit::proxy::Proxy;
use serde_json::json;

use super::{Reaction, Receiver, create_hook, environment, hashes, hashes_of, listed, numbered, quick};
use crate::fixtures::text;
use crate::harness::{Db, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_sent_the_same_delivery_again_until_it_accepts() {
    for db in Db::both() {
        let env = environment(db, quick());
        let server = env.start().await;
        numbered(&server, 0..=0).await;
        let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
        let hook = create_hook(&env, &receiver.url("/"));
        receiver.react([
            Reaction::Status(500),
            Reaction::Close,
            Reaction::Status(200),
            Reaction::Status(404),
            Reaction::Redirect(elsewhere.url("/")),
            Reaction::Status(503),
        ]);
        numbered(&server, 1..=3).await;
        until("all are accepted", async || receiver.accepted().len() == 3).await;
        assert_eq!(hashes_of(&receiver.accepted()), hashes(1..=3));
        let deliveries = receiver.deliveries();
        let sent: Vec<_> = deliveries.iter().map(|one| text(&one.body["files"][0]["new_hash"])).collect();
        let (one, two, three) = (hashes(1..=1), hashes(2..=2), hashes(3..=3));
        let expected = [&one, &one, &one, &two, &two, &two, &two, &three].map(|hash| hash[0].clone());
        assert_eq!(sent, expected, "none is sent before those that precede it are accepted");
        for pair in deliveries.windows(2).filter(|pair| pair[0].body == pair[1].body) {
            assert_eq!(pair[0].id, pair[1].id, "the same id each time");
        }
        for delivery in &deliveries {
            delivery.require_signature(&hook.secret);
        }
        assert!(elsewhere.deliveries().is_empty(), "redirects are not followed");
        let metrics = server.get("/metrics").await.text();
        for series in ["status=\"success\"} 3", "status=\"failed\"} 5", "status=\"dead\"} 0"] {
            let series = format!("panaversityfs_webhook_deliveries_total{{{series}");
            assert!(metrics.contains(&series), "{series}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_holds_up_nobody_else_and_misses_nothing() {
    let env = environment(Db::Sqlite, quick());
    let server = env.start().await;
    numbered(&server, 0..=0).await;
    let (hanging, quick) = (Receiver::start().await, Receiver::start().await);
    let hook = create_hook(&env, &hanging.url("/"));
    create_hook(&env, &quick.url("/"));
    hanging.react(std::iter::repeat_n(Reaction::Hang, 3));
    numbered(&server, 1..=1).await;
    until("it hangs", async || !hanging.deliveries().is_empty()).await;
    numbered(&server, 2..=5).await;
    until("the other has all", async || quick.accepted().len() == 5).await;
    assert!(hanging.accepted().is_empty(), "meanwhile");
    assert_eq!(hashes_of(&quick.accepted()), hashes(1..=5));
    until("it is told why", async || {
        listed(&env, &hook.id)["failing"]["error"]
            .as_str()
            .is_some_and(|why| why.contains("no answer within"))
    })
    .await;
    until("it has all, too", async || hanging.accepted().len() == 5).await;
    assert_eq!(hashes_of(&hanging.accepted()), hashes(1..=5));
    assert_eq!(hanging.deliveries().len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_its_status_whatever_follows_it() {
    let env = environment(Db::Sqlite, quick());
    let server = env.start().await;
    numbered(&server, 0..=0).await;
    let receiver = Receiver::start().await;
    create_hook(&env, &receiver.url("/"));
    receiver.react([Reaction::EndlessBody, Reaction::CutBody, Reaction::Status(204), Reaction::EndlessBody]);
    numbered(&server, 1..=5).await;
    until("all are accepted", async || receiver.accepted().len() == 5).await;
    assert_eq!(hashes_of(&receiver.accepted()), hashes(1..=5));
    assert_eq!(receiver.deliveries().len(), 5, "none is sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_was_away_gets_what_it_has_missed() {
    for db in Db::both() {
        let env = environment(db, quick());
        let server = env.start().await;
        numbered(&server, 0..=0).await;
        let receiver = Receiver::start().await;
        let proxy = Proxy::to(receiver.address()).await;
        proxy.refuse();
        let hook = create_hook(&env, &format!("http://{}/", proxy.address()));
        numbered(&server, 1..=4).await;
        until("it is tried again", async || listed(&env, &hook.id)["status"] == "retrying").await;
        let failing = listed(&env, &hook.id)["failing"].clone();
        assert!(failing["attempts"].as_u64() > Some(0) && failing["since"].is_string(), "{failing}");
        proxy.heal();
        until("all are accepted", async || receiver.accepted().len() == 4).await;
        assert_eq!(hashes_of(&receiver.accepted()), hashes(1..=4));
        until("nothing fails any more", async || listed(&env, &hook.id)["status"] == "active").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_is_refused_too_often_is_a_dead_letter_and_the_next_is_sent() {
    for db in Db::both() {
        let env = environment(db, WebhookLimits { attempts: 3, dead_letters: 2, ..quick() });
        let server = env.start().await;
        numbered(&server, 0..=0).await;
        let receiver = Receiver::start().await;
        let hook = create_hook(&env, &receiver.url("/"));
        receiver.react(std::iter::repeat_n(Reaction::Status(500), 9));
        numbered(&server, 1..=5).await;
        until("the others are accepted", async || receiver.accepted().len() == 2).await;
        assert_eq!(hashes_of(&receiver.accepted()), hashes(4..=5));
        assert_eq!(receiver.deliveries().len(), 11);
        until("it is recorded", async || listed(&env, &hook.id)["delivered_at"].is_string()).await;
        let shown = listed(&env, &hook.id);
        let letters = shown["dead_letters"].as_array().unwrap();
        assert_eq!(letters.len(), 2, "the newest are kept: {letters:?}");
        for letter in letters {
            assert_eq!((&letter["attempts"], &letter["error"]), (&json!(3), &json!("the answer was 500")));
            let since = text(&letter["since"]);
            let page = format!("/books/{}/changes?limit=1&since={since}", crate::fixtures::BOOK);
            let page = server.get(&page).await.json();
            assert_eq!(page["changes"][0]["change_id"], letter["change_id"], "the feed tells it still");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_answers_410_is_sent_nothing_any_more() {
    let env = environment(Db::Sqlite, quick());
    let server = env.start().await;
    numbered(&server, 0..=0).await;
    let (gone, other) = (Receiver::start().await, Receiver::start().await);
    let hook = create_hook(&env, &gone.url("/"));
    create_hook(&env, &other.url("/"));
    gone.react([Reaction::Status(410)]);
    numbered(&server, 1..=1).await;
    until("it is gone", async || listed(&env, &hook.id)["status"] == "gone").await;
    numbered(&server, 2..=4).await;
    until("the other has all", async || other.accepted().len() == 4).await;
    assert_eq!(gone.deliveries().len(), 1);
    assert!(listed(&env, &hook.id)["gone_at"].is_string());
}
