//! The feed of changes of those who authenticate: by scope and user (R5), and no longer than their token or
//! key.

use std::time::{Duration, Instant};

use serde_json::json;

use super::api_keys::{create_key, keys};
use super::{holder, now, secured, token};
use crate::fixtures::{BOOK, LESSON, created};
use crate::harness::{Db, Events, TestEnv};

/// Longest time for which a stream goes on after its caller may not read any more.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

fn changes(query: &str) -> String {
    format!("/books/{BOOK}/changes?{query}")
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_the_feed_is_for_those_who_may_read_the_book_and_an_overlay_for_its_owner() {
    for db in Db::both() {
        let env = secured(db);
        let server = env.start().await;
        let admin = holder(&server, "admin", json!({}));
        created(&admin, LESSON, "text", json!({})).await;
        created(&admin, LESSON, "mine", json!({ "user_id": "eve" })).await;
        let read = format!("read:{BOOK}");
        let anonymous = server.client();
        for accept in ["application/json", "text/event-stream"] {
            for (scope, user, query, status) in [
                (read.as_str(), None, "", 200),
                ("read", None, "", 200),
                ("write:other-book", None, "", 403),
                ("openid", None, "", 403),
                (read.as_str(), Some("eve"), "user_id=eve", 200),
                (read.as_str(), Some("bob"), "user_id=eve", 403),
                (read.as_str(), None, "user_id=eve", 403),
                ("admin", None, "user_id=eve", 200),
            ] {
                let user = user.map_or(json!({}), |user| json!({ "user_id": user }));
                let client = holder(&server, scope, user);
                let reply = client.open("GET", &changes(query), &[("accept", accept)]).await.unwrap();
                assert_eq!(reply.status(), status, "{scope} {query} {accept}");
                let has_challenge = reply.headers().contains_key("www-authenticate");
                assert_eq!(has_challenge, status == 403 && !(query.contains("eve")), "{scope} {query}");
            }
            let reply = anonymous.open("GET", &changes(""), &[("accept", accept)]).await.unwrap();
            assert_eq!(reply.status(), 401);
            assert!(reply.headers().contains_key("www-authenticate"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_within_5_seconds_after_its_key_was_revoked_or_its_token_has_expired() {
    let env = secured(Db::Sqlite);
    let server = env.start().await;
    created(&holder(&server, "admin", json!({})), LESSON, "text", json!({})).await;
    // The leeway for clocks that differ is 30 seconds.
    let expiring = server.client().with_token(&token("read", json!({ "exp": now() - 28 })));
    let expiring = Events::open(&expiring, &changes(""), &[]).await;
    let lasting = holder(&server, "read", json!({}));
    let mut lasting = Events::open(&lasting, &changes(""), &[]).await;
    let began = Instant::now();
    expiring.ended().await;
    assert!(began.elapsed() < ENDS_WITHIN + Duration::from_secs(3), "{:?}", began.elapsed());

    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    created(&server, LESSON, "text", json!({})).await;
    let open = Events::open(&server, &changes(""), &[]).await;
    let (key, id) = create_key(&env, "reader-7", &["--scope", "read"]);
    // From the first key on nobody reads without one.
    open.ended().await;
    let stream = Events::open(&server.client().with_token(&key), &changes(""), &[]).await;
    keys(&env, &["revoke", &id]);
    let began = Instant::now();
    stream.ended().await;
    assert!(began.elapsed() < ENDS_WITHIN, "{:?}", began.elapsed());
    assert!(lasting.next().await.is_some(), "others go on");
}
