//! Property test of R5: whatever random callers ask for, no answer, no metric and no line of the log shows
//! a word of what they may not see.
//!
//! 1. An administrator seeds books and overlays in which each secret contains a marker ([`library`]).
//! 2. Random callers send random requests, to every tool, method and route ([`requests`]), and to every page,
//!    by their token or signed in ([`pages`]).
//! 3. A marker in an answer belongs to what the caller may see by the model ([`visibility`]), or the caller
//!    has sent it in the same request, or it is published, or a signed link opens it to its holder.
//!
//! An entry of the audit log repeats what its agent once sent, so each is checked by itself.

mod answers;
mod arguments;
mod dice;
mod library;
mod pages;
mod requests;
mod visibility;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use panaversity_testkit::authorization_server::SigningKey;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use self::answers::{Context, follow, shown, shown_json};
use self::dice::Dice;
use self::library::{Library, MarkerKind};
use self::pages::PAGES;
use self::requests::{ROUTES, Request};
use self::visibility::{Caller, Identity};
use super::{claims, secured, token};
use crate::fixtures::text;
use crate::harness::{Db, Reply, TestClient, logged};
use crate::surface::eras::modern;
use crate::web::signing_in::{sent_back, submit};

/// Random callers of a test run; each sends up to [`MOST_REQUESTS`].
const CALLERS: u32 = 200;
/// Of a long one.
const MANY_CALLERS: u32 = 4_000;
const MOST_REQUESTS: usize = 24;
/// Random numbers for a caller or a request.
const NUMBERS: usize = 40;

/// A server with seeded books, and what callers have sent to it.
struct Audience {
    server: TestClient,
    library: Library,
    callers: AtomicUsize,
    /// All that each agent has sent.
    sent: Mutex<BTreeMap<String, String>>,
    /// Tokens and the cookies of sessions, which nothing ever shows.
    tokens: Mutex<Vec<String>>,
}

impl Audience {
    async fn new(server: &TestClient) -> Self {
        let library = Library::seeded(server).await;
        let (callers, sent, tokens) = (AtomicUsize::default(), Mutex::default(), Mutex::default());
        Self { server: server.client(), library, callers, sent, tokens }
    }

    /// Lets random callers send requests; panics with the smallest history that shows a leak.
    fn observe(&self, callers: u32) {
        let config =
            Config { cases: callers, max_shrink_iters: 400, failure_persistence: None, ..Config::default() };
        let numbers = || prop::collection::vec(any::<u16>(), NUMBERS);
        let history = (numbers(), prop::collection::vec(numbers(), 1..=MOST_REQUESTS));
        let runtime = Handle::current();
        let run = |(caller, requests): (Vec<u16>, Vec<Vec<u16>>)| {
            let agent = format!("caller-{}", self.number());
            let caller = Caller::random(&self.library, &mut Dice::new(&caller), agent);
            let request = |numbers: &Vec<u16>| Request::random(&self.library, &mut Dice::new(numbers));
            runtime.block_on(self.serve(&caller, requests.iter().map(request)))
        };
        tokio::task::block_in_place(|| TestRunner::new(config).run(&history, run)).unwrap();
    }

    /// Lets callers of each kind ask for everything once.
    async fn try_everything(&self) {
        let (books, users) = (&self.library.books, &self.library.users);
        let kinds = [
            ("openid".to_owned(), None),
            (format!("read:{}", books[0]), Some(&users[1])),
            (format!("write:{}", books[1]), None),
            (format!("read:{} admin:{}", books[0], books[1]), Some(&users[2])),
        ];
        for (n, (scopes, user)) in (0..).zip(kinds) {
            let scopes = scopes.split(' ').map(str::to_owned).collect();
            let (user, agent) = (user.cloned(), format!("visitor-{}", self.number()));
            let caller = Caller { agent, scopes, user, identity: Identity::Token };
            self.serve(&caller, Request::to_everything(&self.library, n * 11)).await.unwrap();
        }
        // The seeder has read each book as each user, those without an overlay in it included.
        let scopes = vec![format!("admin:{}", books[3])];
        let agent = format!("visitor-{}", self.number());
        let caller = Caller { agent, scopes, user: None, identity: Identity::Token };
        let arguments = json!({ "book_id": books[3], "user_id": users[0] });
        let request = Request::Tool { name: "query_audit_log".to_owned(), arguments };
        self.serve(&caller, [request]).await.unwrap();
    }

    async fn serve(
        &self,
        caller: &Caller,
        requests: impl IntoIterator<Item = Request>,
    ) -> Result<(), TestCaseError> {
        let client = self.client_of(caller);
        for request in requests {
            let sent = request.sent();
            *self.sent.lock().unwrap().entry(caller.agent.clone()).or_default() += &sent;
            for (url, reply) in self.send(&client, &request).await {
                self.check(caller, &request, &sent, &url, &reply)?;
            }
        }
        Ok(())
    }

    /// Signs a caller in; returns its cookie, empty if it is refused.
    async fn cookie_of(&self, client: &TestClient) -> String {
        let Some(token) = client.token() else { return String::new() };
        let reply = submit(client, token, "/", &[]).await;
        if reply.status != 303 {
            return String::new();
        }
        let cookie = sent_back(&reply);
        let (_, secret) = cookie.split_once('=').expect("a pair");
        self.tokens.lock().unwrap().push(secret.to_owned());
        cookie
    }

    fn number(&self) -> usize {
        self.callers.fetch_add(1, Ordering::Relaxed)
    }

    fn client_of(&self, caller: &Caller) -> TestClient {
        let user = caller.user.as_ref().map_or(json!({}), |user| json!({ "user_id": user }));
        let more = crate::fixtures::with(json!({ "sub": caller.agent }), user);
        let scopes = caller.scopes.join(" ");
        let token = match caller.identity {
            Identity::Nothing => return self.server.client(),
            Identity::Token => token(&scopes, more),
            Identity::Forged => SigningKey::secret("another").token("1", &claims(&scopes, more)),
        };
        self.tokens.lock().unwrap().push(token.clone());
        self.server.client().with_token(&token)
    }

    /// Sends a request and opens the links in its answer; an upload is completed. Returns all answers, with
    /// the path of each.
    async fn send(&self, client: &TestClient, request: &Request) -> Vec<(String, Reply)> {
        let message = |method: &str, params: &Value| {
            json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
        };
        match request {
            Request::Feed { path } => {
                vec![(path.clone(), client.try_get(path).await.expect("the server answers"))]
            }
            Request::Page { method, path, signs_in } => {
                let reply = if *signs_in {
                    let cookie = self.cookie_of(client).await;
                    let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
                    client.send(method, path, &headers, "token=x").await
                } else {
                    client.send_as_caller(method, path, "token=x").await
                };
                vec![(path.clone(), reply)]
            }
            Request::Http { method, path, header, .. } => {
                let headers: Vec<_> = header.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let book = path.split('/').nth(2).unwrap_or_default();
                let body = if *method == "PUT" { self.library.scratch_asset(book) } else { Vec::new() };
                vec![(path.clone(), client.send(method, path, &headers, body).await)]
            }
            Request::Method { method, params, is_modern: true } => {
                vec![("/mcp".to_owned(), modern(client, method, params.clone(), &[]).await)]
            }
            Request::Method { method, params, .. } => {
                vec![("/mcp".to_owned(), client.post("/mcp", message(method, params), &[]).await)]
            }
            Request::Tool { name, arguments } => {
                let call = message("tools/call", &json!({ "name": name, "arguments": arguments }));
                let reply = client.post("/mcp", call, &[]).await;
                let answer = reply.json()["result"]["structuredContent"].clone();
                let book = arguments["book_id"].as_str().unwrap_or_default();
                let body = self.library.scratch_asset(book);
                let mut replies = vec![("/mcp".to_owned(), reply)];
                replies.extend(follow(client, &answer, Some(body)).await);
                if answer["upload_id"].is_string() {
                    let upload = json!({ "book_id": book, "upload_id": answer["upload_id"] });
                    let call =
                        message("tools/call", &json!({ "name": "complete_upload", "arguments": upload }));
                    replies.push(("/mcp".to_owned(), client.post("/mcp", call, &[]).await));
                }
                replies
            }
        }
    }

    fn check(
        &self,
        caller: &Caller,
        request: &Request,
        sent: &str,
        url: &str,
        reply: &Reply,
    ) -> Result<(), TestCaseError> {
        let link_of = match request {
            Request::Http { link_of, .. } => link_of.as_deref(),
            _ => None,
        };
        // Routes other than MCP, the feed and the pages know no caller.
        let caller = if matches!(request, Request::Http { .. }) { &Caller::nobody() } else { caller };
        let sent = &self.sent_by_agents_of(url, reply, sent);
        let context = Context { caller, sent, url, link_of };
        let mut all = shown(reply);
        if matches!(request, Request::Tool { name, .. } if name == "query_audit_log") && reply.status == 200 {
            let mut answer = reply.json()["result"].clone();
            let text: Value = serde_json::from_str(&text(&answer["content"][0]["text"])).unwrap();
            prop_assert_eq!(&text, &answer["structuredContent"]);
            let entries = answer["structuredContent"]["entries"].take();
            for entry in entries.as_array().into_iter().flatten() {
                self.check_entry(caller, sent, entry)?;
            }
            all = format!("{:?} {}", reply.headers, shown_json(&answer["structuredContent"]));
        }
        if url.starts_with("/ui/audit/export") && reply.status == 200 {
            for line in reply.text().lines() {
                self.check_entry(caller, sent, &serde_json::from_str(line).unwrap())?;
            }
            all = format!("{:?}", reply.headers);
        }
        let leak = context.leak(&self.library, &all);
        prop_assert!(leak.is_none(), "{leak:?} is shown to {caller:?}\nby {request:?}\nat {url}:\n{all}");
        let token = self.tokens.lock().unwrap().iter().any(|token| all.contains(token));
        prop_assert!(!token, "a token is shown by {request:?}:\n{all}");
        Ok(())
    }

    /// What the caller has sent; and of a page that lists entries of the audit log, what their agents have.
    fn sent_by_agents_of(&self, url: &str, reply: &Reply, sent: &str) -> String {
        let mut sent = sent.to_owned();
        if url.starts_with("/ui/audit?") || url.starts_with("/ui/agents/") {
            let (html, all) = (reply.text(), self.sent.lock().unwrap());
            sent.extend(
                all.iter().filter(|(agent, _)| html.contains(agent.as_str())).map(|(_, sent)| sent.as_str()),
            );
        }
        sent
    }

    /// Checks an entry of the audit log: it is the caller's own, or about a book that the caller administers.
    fn check_entry(&self, caller: &Caller, sent: &str, entry: &Value) -> Result<(), TestCaseError> {
        let (agent, book) = (text(&entry["agent_id"]), text(&entry["book_id"]));
        let is_admin = caller.is_admin_of_all() || caller.may("admin", &book);
        prop_assert!(agent == caller.agent || is_admin, "{caller:?} is shown {entry}");
        // What the entry's agent once sent, and what this caller sent to find it.
        let mut sent = sent.to_owned();
        sent.extend(self.sent.lock().unwrap().get(&agent).cloned());
        let context = Context { caller, sent: &sent, url: "/mcp", link_of: None };
        let leak = context.leak(&self.library, &shown_json(entry));
        prop_assert!(leak.is_none(), "{leak:?} is shown to {caller:?} in {entry}");
        Ok(())
    }

    /// Asserts that the administrator who seeded the books was shown every marker: none is overlooked.
    fn is_seen_by_its_seeder(&self) {
        let seeded = self.library.markers.iter().filter(|marker| !marker.is_scratch);
        let unseen = seeded.filter(|marker| !self.library.seeders_view.contains(&marker.text));
        assert_eq!(unseen.map(|marker| format!("{marker:?}")).collect::<Vec<_>>(), Vec::<String>::new());
    }
}

async fn random_callers_see_what_is_theirs(db: Db, callers: u32) {
    let env = secured(db);
    let server = env.start().await;
    let audience = Audience::new(&server).await;
    audience.is_seen_by_its_seeder();
    audience.try_everything().await;
    audience.observe(callers);
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_random_callers_see_what_is_theirs_and_nothing_else_on_sqlite() {
    random_callers_see_what_is_theirs(Db::Sqlite, CALLERS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_random_callers_see_what_is_theirs_and_nothing_else_on_postgres() {
    random_callers_see_what_is_theirs(Db::Postgres, CALLERS).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make torture"]
async fn r5_many_random_callers_see_what_is_theirs_and_nothing_else() {
    for db in Db::both() {
        random_callers_see_what_is_theirs(db, MANY_CALLERS).await;
    }
}

#[test]
fn r5_the_log_shows_no_content_and_no_token_of_random_callers() {
    logged("DEBUG", async |log| {
        let env = secured(Db::Sqlite);
        let server = env.start().await;
        let audience = Audience::new(&server).await;
        audience.observe(CALLERS / 4);
        let log = log.lines().join("\n");
        assert!(log.lines().count() > 100, "{log}");
        let contents = audience.library.markers.iter().filter(|marker| marker.kind == MarkerKind::Content);
        for marker in contents {
            assert!(!log.contains(&marker.text), "{marker:?} is in the log:\n{log}");
        }
        for token in audience.tokens.lock().unwrap().iter() {
            assert!(!log.contains(token), "a token is in the log:\n{log}");
        }
        for (_, link) in &audience.library.links {
            let signature = link.split_once("signature=").unwrap().1;
            assert!(!log.contains(signature), "a link is in the log:\n{log}");
        }
    });
}

#[test]
fn every_route_of_the_server_is_tried() {
    let declared_in = |file: &str| {
        let source = format!("{}/../server/src/{file}", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(source).unwrap();
        let routes = source.split(".route(").skip(1).map(|rest| rest.split(',').next().unwrap().to_owned());
        // The metadata by which clients find the authorization server are the same for everybody.
        let routes = routes.filter(|route| route != "path");
        routes.map(|route| route.replace("sign_in::PATH", "/ui/sign-in").replace('"', "")).collect::<Vec<_>>()
    };
    assert_eq!(declared_in("http.rs"), ROUTES);
    assert_eq!(declared_in("web.rs"), PAGES.map(|(route, _)| route));
}
