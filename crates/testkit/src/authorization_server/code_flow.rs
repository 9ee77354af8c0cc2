//! Code flow with PKCE of the authorization server of tests: it refuses what a strict one would.

use std::collections::HashMap;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Response, StatusCode, Uri};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use uuid::Uuid;

use super::base64url;

/// What is issued to whom.
pub(super) struct Granted {
    client: String,
    resource: String,
    token: String,
}

/// Codes that were given out, each with the query that asked for it.
#[derive(Default)]
pub(super) struct CodeFlow {
    offered: Option<Granted>,
    codes: HashMap<String, HashMap<String, String>>,
}

impl Granted {
    pub(super) fn new(client: &str, resource: &str, token: &str) -> Self {
        Self { client: client.to_owned(), resource: resource.to_owned(), token: token.to_owned() }
    }
}

impl CodeFlow {
    pub(super) fn offer(&mut self, granted: Granted) {
        self.offered = Some(granted);
    }

    /// The answer of an endpoint; `None` for paths that are none, and while the flow is not offered.
    pub(super) fn answer(&mut self, issuer: &str, uri: &Uri, body: &[u8]) -> Option<Response<Full<Bytes>>> {
        let granted = self.offered.as_ref()?;
        match uri.path() {
            "/.well-known/oauth-authorization-server" => Some(json_answer(&json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{issuer}/authorize?tenant=a"),
                "token_endpoint": format!("{issuer}/token"),
                "code_challenge_methods_supported": ["S256"],
                "scopes_supported": ["openid", "read", "write"],
            }))),
            "/authorize" => {
                let query = pairs(uri.query().unwrap_or_default().as_bytes());
                let wanted = [
                    ("tenant", "a"),
                    ("response_type", "code"),
                    ("client_id", &granted.client),
                    ("resource", &granted.resource),
                    ("scope", "read write"),
                    ("code_challenge_method", "S256"),
                ];
                if !wanted.iter().all(|(name, value)| query.get(*name).is_some_and(|given| given == value)) {
                    return Some(refused());
                }
                Some(self.with_code(issuer, query))
            }
            "/token" => {
                let token = json!({ "access_token": granted.token, "token_type": "bearer" });
                let form = pairs(body);
                Some(if self.redeems(&form) { json_answer(&token) } else { refused() })
            }
            _ => None,
        }
    }

    /// The redirect that brings a new code.
    fn with_code(&mut self, issuer: &str, query: HashMap<String, String>) -> Response<Full<Bytes>> {
        let code = Uuid::new_v4().to_string();
        let mut answer = form_urlencoded::Serializer::new(String::new());
        answer.extend_pairs([("code", code.as_str()), ("state", &query["state"]), ("iss", issuer)]);
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::FOUND;
        let location = format!("{}?{}", query["redirect_uri"], answer.finish());
        response.headers_mut().insert("location", location.parse().unwrap());
        self.codes.insert(code, query);
        response
    }

    /// True if a code is redeemed by whoever asked for it; it is good for once.
    fn redeems(&mut self, form: &HashMap<String, String>) -> bool {
        let Some(asked) = form.get("code").and_then(|code| self.codes.remove(code)) else { return false };
        let challenge = base64url(digest(&SHA256, form["code_verifier"].as_bytes()));
        ["redirect_uri", "client_id", "resource"].iter().all(|name| asked[*name] == form[*name])
            && asked["code_challenge"] == challenge
            && form["grant_type"] == "authorization_code"
    }
}

/// Pairs of a query or form.
fn pairs(text: &[u8]) -> HashMap<String, String> {
    form_urlencoded::parse(text).into_owned().collect()
}

fn refused() -> Response<Full<Bytes>> {
    let mut response = json_answer(&json!({ "error": "invalid_request" }));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

fn json_answer(value: &Value) -> Response<Full<Bytes>> {
    Response::new(Full::from(value.to_string()))
}
