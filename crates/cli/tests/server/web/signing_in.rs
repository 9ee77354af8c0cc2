//! Signing in: a token is given once, and a cookie opens the pages from then on, and nothing else.

use panaversity_testkit::authorization_server::{AuthorizationServer, SigningKey};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{PAGE, checked, filled, header};
use crate::auth::api_keys::{create_key, keys};
use crate::auth::{claims, holder, secured, token};
use crate::fixtures::BOOK;
use crate::harness::{Db, Reply, Storage, TestBackend, TestClient, TestEnv, log_watch, until};

on_both_stacks! { a_cookie_opens_the_pages_and_the_feed_until_the_reader_signs_out }

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const RESOURCE: &str = "https://books.example.com/mcp";

/// Posts the form of the sign-in.
pub(crate) async fn submit(client: &TestClient, token: &str, next: &str, headers: &[(&str, &str)]) -> Reply {
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("token", token), ("next", next)])
        .finish();
    let headers: Vec<_> = headers.iter().copied().chain([FORM]).collect();
    client.clone().following_no_redirects().send("POST", "/ui/sign-in", &headers, form).await
}

/// The cookies that an answer sets, each with its attributes.
fn cookies(reply: &Reply) -> Vec<String> {
    let all = reply.headers.get_all("set-cookie").iter();
    all.map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// The pair that a browser sends back for the first cookie of an answer.
pub(crate) fn sent_back(reply: &Reply) -> String {
    let cookie = cookies(reply).swap_remove(0);
    let pair = cookie.split(';').next().unwrap().to_owned();
    log_watch::secret(pair.split_once('=').unwrap().1);
    pair
}

async fn with_cookie(client: &TestClient, path: &str, cookie: &str) -> Reply {
    client.send("GET", path, &[("cookie", cookie)], "").await
}

async fn a_cookie_opens_the_pages_and_the_feed_until_the_reader_signs_out(backend: TestBackend) {
    let env = secured(backend);
    let (server, second) = (env.start().await, env.start().await);
    filled(&holder(&server, "admin", json!({}))).await;

    let refused = server.get(&format!("/ui/books/{BOOK}?user=ann")).await;
    let html = checked("refused", &refused, 401);
    assert!(html.contains("action=\"/ui/sign-in\"") && html.contains("?user=ann"), "{html}");

    let next = format!("/ui/books/{BOOK}");
    let reply = submit(&server, &token("read", json!({})), &next, &[]).await;
    assert_eq!((reply.status, header(&reply, "location")), (303, next.as_str()), "{}", reply.text());
    let set = cookies(&reply).swap_remove(0);
    for part in ["panaversity_session=", "; Path=/", "; HttpOnly", "; SameSite=Strict", "; Max-Age="] {
        assert!(set.contains(part), "{part}: {set}");
    }
    let cookie = sent_back(&reply);
    for client in [&server.client(), &second.client()] {
        let html = checked(&next, &with_cookie(client, &next, &cookie).await, 200);
        assert!(html.contains("Signed in as") && html.contains("writer-7"), "{html}");
        let version = format!("/ui/books/{BOOK}/files/{PAGE}");
        assert!(!checked(&version, &with_cookie(client, &version, &cookie).await, 200).contains("Restore"));
        assert_eq!(with_cookie(client, &format!("/books/{BOOK}/changes"), &cookie).await.status, 200);
        let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} });
        let by_cookie = client.post("/mcp", list.to_string(), &[("cookie", &cookie)]).await;
        assert_eq!(by_cookie.status, 401, "a cookie calls no tool");
    }

    let elsewhere = [("cookie", cookie.as_str()), ("sec-fetch-site", "cross-site")];
    let out = server.client().following_no_redirects();
    checked("elsewhere", &out.send("POST", "/ui/sign-out", &elsewhere, "").await, 400);
    checked(&next, &with_cookie(&second, &next, &cookie).await, 200);
    let reply = out.send("POST", "/ui/sign-out", &[("cookie", &cookie)], "").await;
    assert_eq!(reply.status, 303);
    assert!(cookies(&reply).iter().all(|cookie| cookie.contains("Max-Age=0")), "{:?}", cookies(&reply));
    for client in [&server.client(), &second.client()] {
        let html = checked(&next, &with_cookie(client, &next, &cookie).await, 401);
        assert!(html.contains("action=\"/ui/sign-in\""), "{html}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_valid_token_signs_nobody_in() {
    let env = secured(Db::Sqlite);
    let server = env.start().await;
    let expired =
        SigningKey::secret("another secret that signs nothing here").token("1", &claims("admin", json!({})));
    let huge = "a".repeat(64 << 10);
    for wrong in ["", "pfs_0123", "no token", &expired, &huge] {
        let reply = submit(&server, wrong, "/", &[]).await;
        let html = reply.text();
        assert!(matches!(reply.status, 400 | 401) && cookies(&reply).is_empty(), "{wrong}: {html}");
        assert!(wrong.len() < 9 || !html.contains(wrong), "a token is not shown again");
    }
    for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        let reply = submit(&server, &token("read", json!({})), "/", &[(name, value)]).await;
        assert!(matches!(reply.status, 400 | 403) && cookies(&reply).is_empty(), "{name}");
    }
    for cookie in [
        "panaversity_session=",
        "panaversity_session=abc",
        &format!("panaversity_session={}", "0".repeat(64)),
    ] {
        checked(cookie, &with_cookie(&server, "/", cookie).await, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_no_longer_than_its_token_and_leads_to_no_other_site() {
    let env = secured(Db::Sqlite).with("PANAVERSITY_PUBLIC_URL", "https://books.example.com");
    let server = env.start().await;
    let soon = crate::auth::now() + 90;
    let reply = submit(&server, &token("read", json!({ "exp": soon })), "//evil.example/ui/", &[]).await;
    assert_eq!(header(&reply, "location"), "/");
    let set = cookies(&reply).swap_remove(0);
    let age: u64 = set.split("Max-Age=").nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
    assert!((1..=90).contains(&age), "{set}");
    assert!(set.starts_with("__Host-panaversity_session=") && set.ends_with("; Secure"), "{set}");
    let cookie = sent_back(&reply);
    checked("/", &with_cookie(&server, "/", &cookie).await, 200);
    // A sibling host could set the cookie without the prefix.
    let tossed = cookie.replace("__Host-", "");
    checked("/", &with_cookie(&server, "/", &tossed).await, 401);
    // A proxy may ask for a password of its own, and others may have cookies of any bytes.
    let headers = [("authorization", "Basic YTpi"), ("cookie", cookie.as_str())];
    checked("/", &server.send("GET", "/", &headers, "").await, 200);
    // Signing in anew ends the former session.
    let headers = [("cookie", cookie.as_str()), ("origin", "https://books.example.com")];
    let reply = submit(&server, &token("read", json!({})), "/", &headers).await;
    checked("/", &with_cookie(&server, "/", &sent_back(&reply)).await, 200);
    checked("/", &with_cookie(&server, "/", &cookie).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_a_key_ends_with_it_and_the_operator_can_end_all() {
    let env = TestEnv::new(Db::Sqlite);
    let (key, id) = create_key(&env, "editor", &["--scope", "write"]);
    let (other, _) = create_key(&env, "reader", &["--scope", "read"]);
    let server = env.start().await;
    let first = sent_back(&submit(&server, &key, "/", &[]).await);
    let second = sent_back(&submit(&server, &other, "/", &[]).await);
    for cookie in [&first, &second] {
        checked("/", &with_cookie(&server, "/", cookie).await, 200);
    }
    keys(&env, &["revoke", &id]);
    until("the session of the revoked key has ended", async || {
        with_cookie(&server, "/", &first).await.status == 401
    })
    .await;
    checked("/", &with_cookie(&server, "/", &second).await, 200);
    assert_eq!(keys(&env, &["end-sessions", "--agent", "nobody"])["ended"], 0);
    assert_eq!(keys(&env, &["end-sessions", "--agent", "reader"])["ended"], 1);
    checked("/", &with_cookie(&server, "/", &second).await, 401);
    assert_eq!(keys(&env, &["end-sessions"])["ended"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_signs_in_at_the_authorization_server_by_the_code_flow() {
    let key = SigningKey::ec_p256();
    let issuer = AuthorizationServer::start(vec![key.jwk("e")]).await;
    let env = TestEnv::new(TestBackend::new(Db::Postgres, Storage::S3))
        .with("PANAVERSITY_AUTH_SERVER_URL", issuer.url())
        .with("PANAVERSITY_WEB_CLIENT_ID", "books pages")
        .with("PANAVERSITY_RESOURCE_SERVER_URL", RESOURCE);
    let (first, second) = (env.start().await, env.start().await);
    let start = "/ui/sign-in/start?next=%2Fui%2Fstate";
    let browser = first.client().following_no_redirects();
    let html = checked("not offered", &browser.get(start).await, 502);
    assert!(html.contains("authorization server failed"), "{html}");

    let token = key.token("e", &claims("read write", json!({ "iss": issuer.url() })));
    log_watch::secret(&token);
    issuer.offer_code_flow("books pages", RESOURCE, &token);
    assert!(checked("/", &browser.get("/").await, 401).contains("/ui/sign-in/start?next=%2F"));
    until("the metadata is read again", async || browser.get(start).await.status == 303).await;
    let begun = browser.get(start).await;
    assert!(cookies(&begun)[0].contains("; HttpOnly; SameSite=Lax"), "{:?}", cookies(&begun));
    let flow = sent_back(&begun);
    let approved = browser.send("GET", header(&begun, "location"), &[], "").await;
    assert_eq!(approved.status, 302, "{}", approved.text());
    let callback = header(&approved, "location").to_owned();
    assert!(callback.starts_with(&format!("{}/ui/sign-in/callback?", first.url())), "{callback}");

    // Another browser, another state, or another issuer: nobody signs in. Any server ends the flow.
    let query = callback.split_once('?').unwrap().1;
    let back = second.client().following_no_redirects();
    // The second server is reached as the first one was, by the name that the flow began with.
    let host = first.url().strip_prefix("http://").unwrap().to_owned();
    let ends = async |query: &str, cookie: &str| {
        let headers = [("cookie", cookie), ("host", host.as_str())];
        back.send("GET", &format!("/ui/sign-in/callback?{query}"), &headers, "").await
    };
    for (query, cookie) in [
        (query.to_owned(), ""),
        (query.to_owned(), "panaversity_flow=state=a"),
        (query.replace("state=", "state=x"), flow.as_str()),
        (query.replace("iss=http", "iss=https"), flow.as_str()),
        (query.replace("code=", "kode="), flow.as_str()),
    ] {
        let reply = ends(&query, cookie).await;
        assert!(matches!(reply.status, 400 | 502), "{query}: {}", reply.text());
        assert!(!cookies(&reply).iter().any(|set| set.contains("session=")), "{query}");
    }
    let signed_in = ends(query, &flow).await;
    let html = checked("callback", &signed_in, 200);
    assert!(html.contains("content=\"0;url=/ui/state\""), "{html}");
    let cookie = sent_back(&signed_in);
    assert!(cookie.starts_with("panaversity_session="), "{cookie}");
    let html = checked("/ui/state", &with_cookie(&second, "/ui/state", &cookie).await, 200);
    assert!(html.contains("writer-7"), "{html}");
    assert_eq!(ends(query, &flow).await.status, 502, "a code is good for once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_does_not_arrive_is_answered_soon() {
    let env = secured(Db::Sqlite);
    let server = env.start().await;
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    for path in ["/ui/sign-in", "/ui/sign-out"] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 100\r\n\r\ntoken=");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert!(status.starts_with(b"HTTP/1.1 4"), "{path}: {}", String::from_utf8_lossy(&status));
    }
}
