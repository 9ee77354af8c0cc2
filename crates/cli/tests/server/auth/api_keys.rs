//! API keys: made and revoked by the command, accepted and refused by every running server.

use std::time::{Duration, Instant};

use panaversity_fs::RuntimeLimits;
use panaversity_model::Timestamp;
use panaversity_model::api_key::ApiKeySecret;
use panaversity_server::KeyTimes;
use panaversity_testkit::load::call_body;
use panaversity_testkit::postgres::{self, Postgres};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{holder, knock, now, secured};
use crate::fixtures::{BOOK, LESSON, created, entries, read, write};
use crate::harness::{Db, Server, TestEnv, log_watch, until};

/// Time within which all servers refuse a revoked key.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

/// Runs `keys`; returns what it prints as JSON.
pub(crate) fn keys(env: &TestEnv, arguments: &[&str]) -> Value {
    let output = env.command().arg("keys").args(arguments).arg("--json").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Creates a key; returns its text and its id.
pub(crate) fn create_key(env: &TestEnv, agent: &str, more: &[&str]) -> (String, String) {
    let created = keys(env, &[&["create", "--agent", agent], more].concat());
    let text = |name: &str| created[name].as_str().unwrap().to_owned();
    log_watch::secret(&text("key"));
    (text("key"), text("id"))
}

/// Environment whose servers read their keys often.
fn reading_often(db: Db) -> TestEnv {
    let keys = KeyTimes {
        api_keys_read_every: Duration::from_millis(100),
        api_keys_used_for: Duration::from_secs(1),
        link_keys_read_every: Duration::from_millis(100),
    };
    TestEnv::new(db).within(RuntimeLimits { keys, ..RuntimeLimits::default() })
}

/// The moment that many seconds from now.
fn in_seconds(seconds: u64) -> String {
    Timestamp::from_micros(i64::try_from((now() + seconds) * 1_000_000).unwrap()).to_string()
}

async fn status_of(server: &Server, key: &str) -> u16 {
    knock(server, &[("x-api-key", key)]).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_key_turns_authentication_on_and_a_revoked_one_is_refused_within_5_seconds_everywhere() {
    for db in Db::both() {
        let env = TestEnv::new(db);
        let mut servers = vec![env.start().await];
        if db == Db::Postgres {
            servers.push(env.start().await);
        }
        let open = servers[0].client().of_agent("somebody");
        created(&open, LESSON, "one", json!({})).await;
        let (key, id) = create_key(&env, "writer-7", &["--scope", "write"]);
        for server in &servers {
            until("nobody gets in without a key", async || knock(server, &[]).await.0 == 401).await;
            assert_eq!(server.get("/health").await.json()["auth"], "api-key");
            let (status, code, challenge) = knock(server, &[]).await;
            assert_eq!((status, code.as_str()), (401, "UNAUTHENTICATED"));
            assert_eq!(
                challenge, "Bearer scope=\"read\"",
                "a server that knows no URL of its own names none"
            );
            assert_eq!(status_of(server, &key).await, 200);
        }
        let client = servers[0].client().with_token(&key).of_agent("somebody-else");
        created(&client, "content/README.md", "two", json!({})).await;
        let refused = client.call("query_audit_log", json!({ "agent_id": "somebody" })).await;
        assert!(
            refused.expect_ok()["entries"].as_array().unwrap().is_empty(),
            "others' entries are for admin"
        );
        assert!(entries(&client, json!({})).await.iter().all(|entry| entry["agent_id"] == "writer-7"));

        let listed = keys(&env, &["list"]).to_string();
        assert!(listed.contains(&id) && !listed.contains(&key[4..]), "{listed}");
        let began = Instant::now();
        assert_eq!(keys(&env, &["revoke", &id])["status"], "revoked");
        for server in &servers {
            until("the key is refused", async || status_of(server, &key).await == 401).await;
            assert!(began.elapsed() < REVOKED_WITHIN, "{:?}", began.elapsed());
            assert_eq!(knock(server, &[]).await.0, 401, "authentication stays on");
        }
        assert_eq!(keys(&env, &["list"])["keys"][0]["status"], "revoked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_permits_what_its_scopes_name_beside_tokens() {
    let env = secured(Db::Sqlite);
    let (key, _) =
        create_key(&env, "writer-7", &["--scope", "write", "--book", "other-book", "--expires", "2d"]);
    let (reader, _) = create_key(&env, "reader-1", &["--scope", "read"]);
    let server = env.start().await;
    assert_eq!(server.get("/health").await.json()["auth"], "jwt-secret, api-key");
    created(&holder(&server, "admin", json!({})), LESSON, "one", json!({})).await;
    let (client, reader) = (server.client().with_token(&key), server.client().with_token(&reader));
    assert_eq!(read(&reader, LESSON, json!({})).await.expect_ok()["content"], "one");
    assert_eq!(write(&reader, LESSON, "two", json!({})).await.code(), "FORBIDDEN");
    assert_eq!(read(&client, LESSON, json!({})).await.code(), "FORBIDDEN");
    let elsewhere = json!({ "book_id": "other-book", "path": LESSON, "content": "two" });
    assert_eq!(client.call("write_content", elsewhere).await.expect_ok()["mode"], "created");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_good_is_refused() {
    let env = reading_often(Db::Sqlite).with("PANAVERSITY_PUBLIC_URL", "http://localhost:8000");
    let (key, _) = create_key(&env, "writer-7", &["--scope", "admin"]);
    let not_before = Instant::now() + Duration::from_secs(1);
    let (ending, _) = create_key(&env, "writer-7", &["--scope", "admin", "--expires", &in_seconds(2)]);
    let server = env.start().await;
    assert_eq!(status_of(&server, &key).await, 200);
    let metadata = server.get("/.well-known/oauth-protected-resource/mcp").await.json();
    assert_eq!(metadata["resource"], "http://localhost:8000/mcp");
    assert!(metadata.get("authorization_servers").is_none(), "{metadata}");
    let random = &key[4..52];
    for (what, text) in [
        ("cut short", key[..key.len() - 1].to_owned()),
        ("longer", format!("{key}0")),
        ("in capitals", key.to_uppercase()),
        ("with another last digit", format!("{}{}", &key[..59], if key.ends_with('0') { '1' } else { '0' })),
        ("whole but unknown", ApiKeySecret::from_random([7; 24]).expose().to_owned()),
        ("without its prefix", key[4..].to_owned()),
        ("twice in one header", format!("{key}, {key}")),
        ("of an SQL injection", format!("pfs_{random}' OR '1'")),
        ("a JWT", super::token("admin", json!({}))),
    ] {
        let (status, code, challenge) = knock(&server, &[("authorization", &format!("Bearer {text}"))]).await;
        assert_eq!((status, code.as_str()), (401, "UNAUTHENTICATED"), "{what}");
        assert!(challenge.contains("error=\"invalid_token\""), "{what}: {challenge}");
    }
    let both = [("x-api-key", key.as_str()), ("authorization", &format!("Bearer {key}"))];
    assert_eq!(knock(&server, &both).await.0, 400, "one is enough");
    let in_query = server.client().post(&format!("/mcp?api_key={key}"), "{}", &[]).await;
    assert_eq!(in_query.status, 400);
    until("the key that ends is refused", async || status_of(&server, &ending).await == 401).await;
    assert!(Instant::now() >= not_before, "not before its end");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_read_again_let_nobody_in() {
    let postgres = Postgres::start();
    let env = reading_often(Db::Sqlite).with("DATABASE_URL", &postgres.create_database());
    let migrated = env.command().args(["migrate", "upgrade"]).output().unwrap();
    assert!(migrated.status.success(), "{migrated:?}");
    let (key, _) = create_key(&env, "writer-7", &["--scope", "admin"]);
    let server = env.start().await;
    assert_eq!(status_of(&server, &key).await, 200);
    drop(postgres);
    until("a revocation might have been missed", async || status_of(&server, &key).await == 503).await;
    assert_eq!(knock(&server, &[]).await.0, 401, "without a key nothing changes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_production_server_starts_with_a_key_alone() {
    let env = reading_often(Db::Postgres).with("PANAVERSITY_ENV", "production");
    let check = |env: &TestEnv| {
        let output = env.command().args(["config", "check"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let told = check(&env);
    assert!(told.contains("FAILED authentication") && told.contains("keys create"), "{told}");
    let refused = env.command().arg("serve").output().unwrap();
    let log = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && log.contains("there is no authentication"), "{log}");
    create_key(&env, "operator", &["--scope", "admin"]);
    assert!(check(&env).contains("authentication: by API keys"), "{}", check(&env));
    let server = env.start().await;
    assert_eq!(knock(&server, &[]).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_while_a_body_arrives_does_not_write() {
    let call = call_body("write_content", json!({ "book_id": BOOK, "path": LESSON, "content": "stolen" }));
    let form = format!("/ui/books/{BOOK}/restore/{LESSON}");
    for (path, kind, body) in [
        ("/mcp", "application/json", call.as_str()),
        (&form, "application/x-www-form-urlencoded", "token=stolen"),
    ] {
        let env = reading_often(Db::Sqlite);
        let (key, id) = create_key(&env, "thief", &["--scope", "write"]);
        let server = env.start().await;
        let (first, last) = body.split_at(body.len() - 1);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{first}",
            body.len()
        );
        let address = server.url().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        keys(&env, &["revoke", &id]);
        until("the key is refused", async || status_of(&server, &key).await == 401).await;
        // A caller is identified again if its body takes longer than a tenth of a second.
        let refused = Instant::now();
        until("the body has taken long", async || refused.elapsed() > Duration::from_millis(150)).await;
        stream.write_all(last.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(env.published().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_seen_a_key_stays_closed_whatever_becomes_of_the_table() {
    let env = reading_often(Db::Postgres);
    let (key, _) = create_key(&env, "writer-7", &["--scope", "read"]);
    let server = env.start().await;
    assert_eq!(status_of(&server, &key).await, 200);
    postgres::shared().query(env.database_url(), "TRUNCATE api_keys");
    until("the keys are gone", async || status_of(&server, &key).await == 401).await;
    assert_eq!(knock(&server, &[]).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_were_signed_before_a_rotation_work_after_it_on_every_server() {
    let env = reading_often(Db::Postgres);
    let first = env.start().await;
    created(&first.client(), LESSON, "one", json!({})).await;
    let link = async |server: &Server| {
        let archive = server.client().call("get_book_archive", json!({ "book_id": BOOK })).await.expect_ok();
        archive["archive_url"].as_str().unwrap().replace(server.url(), "")
    };
    let before = link(&first).await;
    assert_eq!(keys(&env, &["rotate-signing-key"])["status"], "success");
    let second = env.start().await;
    let at_once = [before.clone(), link(&first).await, link(&second).await];
    // As if that were a minute ago: the new key signs, and links of the old one still work.
    let age = "UPDATE signing_keys SET created_at = created_at - interval '1 minute'";
    postgres::shared().query(env.database_url(), age);
    let third = env.start().await;
    let later = link(&third).await;
    until("a running server has read the new key", async || first.get(&later).await.status == 200).await;
    for link in at_once.iter().chain([&later]) {
        for server in [&first, &second, &third] {
            until("it is accepted", async || server.get(link).await.status == 200).await;
        }
    }
    let forget = "DELETE FROM signing_keys WHERE created_at < (SELECT max(created_at) FROM signing_keys)";
    postgres::shared().query(env.database_url(), forget);
    let fourth = env.start().await;
    assert_eq!(fourth.get(&later).await.status, 200, "it was signed with the new key");
    assert_eq!(fourth.get(&before).await.status, 403, "and the others with the old one");
    keys(&env, &["rotate-signing-key", "--now"]);
    until("the old key is refused at once", async || fourth.get(&later).await.status == 403).await;
    assert_eq!(fourth.get(&link(&fourth).await).await.status, 200);
    let settings = [("signing-key-of-before", 200), ("another-signing-key", 403)];
    for (other, status) in settings {
        let old = reading_often(Db::Sqlite).with("PANAVERSITY_SIGNING_KEY", "signing-key-of-before");
        let server = old.start().await;
        created(&server.client(), LESSON, "one", json!({})).await;
        let link = link(&server).await;
        server.stop().await;
        let new = old.with("PANAVERSITY_SIGNING_KEY", &format!("the-new-signing-key {other}"));
        assert_eq!(new.start().await.get(&link).await.status, status, "{other}");
    }
}

#[test]
fn the_command_says_what_is_wrong() {
    let env = TestEnv::new(Db::Sqlite);
    for (arguments, code, told) in [
        (&["create", "--agent", "system", "--scope", "read"][..], 2, "--agent"),
        (&["create", "--agent", "a", "--scope", "root"], 2, "read, write, admin"),
        (&["create", "--agent", "a", "--scope", "read", "--book", "../x"], 2, "--book"),
        (&["create", "--agent", "a", "--scope", "read", "--expires", "2020-01-01"], 2, "over already"),
        (&["create", "--agent", "a"], 2, "--scope"),
        (&["revoke", "nonsense"], 2, "keys list"),
        (&["revoke", "0123456789ab"], 1, "there is no key 0123456789ab"),
    ] {
        let output = env.command().arg("keys").args(arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(told), "{arguments:?}: {error}");
    }
    let none = env.command().args(["keys", "list"]).output().unwrap();
    assert!(String::from_utf8(none.stdout).unwrap().contains("keys create"));
    let made = env.command().args(["keys", "create", "--agent", "a", "--scope", "read"]).output().unwrap();
    let made = String::from_utf8(made.stdout).unwrap();
    assert!(made.starts_with("pfs_") && made.contains("shown only once"), "{made}");
}
