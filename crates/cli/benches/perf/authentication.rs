//! Benchmark of authentication: the same reads without it, with each kind of token, and with an API key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use panaversity_testkit::authorization_server::{AuthorizationServer, SigningKey};
use panaversity_testkit::load::{Connection, Endpoint, call_body, load};
use serde_json::{Value, json};

use crate::server::{BenchServer, BenchSettings};
use crate::table::Table;

const LASTING: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;
const CLIENTS: usize = 16;
const LESSON: &str = "content/01-Part/01-Chapter/01-lesson.md";
const SECRET: &str = "kQ3vX7pL9sT2wZ5yB8nC1mD4fG6hJ0rE";
const RESOURCE: &str = "https://books.example.com/mcp";
/// Share of the calls without authentication that must still be made with it.
const BAR: f64 = 0.8;

/// Claims of a token that permits everything.
pub(crate) fn claims(agent: &str, issuer: Option<&str>) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let mut claims = json!({ "sub": agent, "aud": RESOURCE, "exp": now + 3_600, "scope": "admin" });
    if let Some(issuer) = issuer {
        claims["iss"] = issuer.into();
    }
    claims
}

/// A token of [`secured`] servers.
pub(crate) fn token(agent: &str) -> String {
    SigningKey::secret(SECRET).token("1", &claims(agent, None))
}

/// Settings of a server that takes tokens.
pub(crate) fn secured() -> BenchSettings {
    vec![
        ("PANAVERSITY_JWT_SECRET", SECRET.to_owned()),
        ("PANAVERSITY_RESOURCE_SERVER_URL", RESOURCE.to_owned()),
    ]
}

/// Calls per second with each way to authenticate, as a share of those without.
pub(crate) async fn cost(table: &mut Table) {
    let keys = [("1", SigningKey::rsa()), ("2", SigningKey::ec_p256()), ("3", SigningKey::ed25519())];
    let set: Vec<_> = keys.iter().map(|(id, key)| key.jwk(id)).collect();
    let issuer = AuthorizationServer::start(set).await;
    let open = BenchServer::on_sqlite().await;
    let settings = [secured(), vec![("PANAVERSITY_AUTH_SERVER_URL", issuer.url().to_owned())]].concat();
    let closed = BenchServer::with_settings(settings).await;
    let created = closed.command(&["keys", "create", "--agent", "bench", "--scope", "admin", "--json"]);
    let created: Value = serde_json::from_slice(&created).expect("JSON");
    let api_key = created["key"].as_str().expect("a key").to_owned();
    let mut ways = vec![("API key".to_owned(), api_key), ("JWT, HS256".to_owned(), token("bench"))];
    for ((id, key), name) in keys.iter().zip(["RS256", "ES256", "EdDSA"]) {
        ways.push((format!("JWT, {name}"), key.token(id, &claims("bench", Some(issuer.url())))));
    }
    let of = |server: &BenchServer, token: Option<&String>| Endpoint {
        address: server.address.clone(),
        token: token.cloned(),
    };
    for endpoint in [of(&open, None), of(&closed, Some(&ways[1].1))] {
        let mut connection = Connection::to(&endpoint).await;
        let lesson = json!({ "book_id": "bench-book", "path": LESSON, "content": "a lesson\n".repeat(200) });
        connection.call("write_content", lesson).await;
    }
    let rate = async |endpoint: Endpoint| {
        let read = |_, _| call_body("read_content", json!({ "book_id": "bench-book", "path": LESSON }));
        load(endpoint, CLIENTS, LASTING, read).await.rate
    };
    for (name, token) in &ways {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            without.push(rate(of(&open, None)).await);
            with.push(rate(of(&closed, Some(token))).await);
        }
        let work = format!("read, {CLIENTS} clients, {name}");
        table.at_least(&work, median(with), ("without authentication", median(without)), BAR);
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
