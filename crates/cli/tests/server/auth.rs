//! Authentication and authorization: who gets in, and what they may reach (R5, R7).

pub(crate) mod api_keys;
mod feed;
mod permissions;
mod random_callers;
mod tokens;

use std::time::{SystemTime, UNIX_EPOCH};

use panaversity_testkit::authorization_server::SigningKey;
use serde_json::{Value, json};

use crate::fixtures::with;
use crate::harness::{Server, TestBackend, TestClient, TestEnv, log_watch};

/// Shared secret of the servers in these tests.
const SECRET: &str = "kQ3vX7pL9sT2wZ5yB8nC1mD4fG6hJ0rE";
/// URL of this resource in tokens.
const RESOURCE: &str = "https://books.example.com/mcp";

/// An environment whose servers accept tokens signed by [`SECRET`].
pub(crate) fn secured(on: impl Into<TestBackend>) -> TestEnv {
    TestEnv::new(on).with("PANAVERSITY_JWT_SECRET", SECRET).with("PANAVERSITY_RESOURCE_SERVER_URL", RESOURCE)
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Claims of a good token for an hour; `more` adds to them or replaces some.
pub(crate) fn claims(scope: &str, more: Value) -> Value {
    with(json!({ "sub": "writer-7", "aud": RESOURCE, "exp": now() + 3_600, "scope": scope }), more)
}

/// A good token with these scopes.
pub(crate) fn token(scope: &str, more: Value) -> String {
    let token = SigningKey::secret(SECRET).token("1", &claims(scope, more));
    log_watch::secret(&token);
    token
}

/// A client with such a token.
pub(crate) fn holder(server: &Server, scope: &str, more: Value) -> TestClient {
    server.client().with_token(&token(scope, more))
}

/// Status, code and challenge of a request with these headers.
async fn knock(server: &TestClient, headers: &[(&str, &str)]) -> (u16, String, String) {
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} });
    let reply = server.post("/mcp", list.to_string(), headers).await;
    let challenge = reply.headers.get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    let code = reply.json()["error"]["data"]["code"].as_str().unwrap_or_default().to_owned();
    (reply.status, code, challenge.unwrap_or_default())
}
