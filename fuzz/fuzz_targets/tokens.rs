//! Bearer tokens and API keys: lines with the headers `Authorization` and `x-api-key`, with claims, and with
//! a header of a token. Laws: a token is accepted only with the signature of the secret, the algorithm, the
//! audience and an end in the future; its agent is the one it names; a key is its own text, and no other text
//! with one digit changed is a key.

#![no_main]

use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use panaversity_model::api_key::{API_KEY_RANDOM_BYTES, ApiKeySecret};
use panaversity_model::permission::Principal;
use panaversity_server::fuzzing::TokenParser;
use serde_json::{Value, json};
use sha2::Sha256;

const SECRET: &str = "kQ3vX7pL9sT2wZ5yB8nC1mD4fG6hJ0rE";
const RESOURCE: &str = "https://books.example.com/mcp";
/// Leeway for clocks that differ, in seconds, as documented.
const LEEWAY: f64 = 30.0;

static PARSER: LazyLock<TokenParser> =
    LazyLock::new(|| TokenParser::new(SECRET, RESOURCE).expect("a parser"));

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(4, |byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in [header::AUTHORIZATION, HeaderName::from_static("x-api-key")] {
        let line = lines.next().unwrap_or_default();
        if let Ok(value) = HeaderValue::from_bytes(line)
            && !line.is_empty()
        {
            headers.append(name, value);
        }
    }
    if let Some(token) = TokenParser::token(&headers) {
        assert!(headers.len() == 1 && !token.is_empty() && token.trim() == token);
        check_key(token);
        check_token(token);
    }
    check_key_of(data);

    let claims = claims(lines.next().unwrap_or_default());
    let head = lines.next().filter(|head| !head.is_empty()).unwrap_or(br#"{"alg":"HS256"}"#);
    let message = format!(
        "{}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(head),
        BASE64_URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    check_token(&format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature(&message))));
});

/// The claims of a good token, with those of the data in their place.
fn claims(data: &[u8]) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let mut claims = json!({ "sub": "writer-7", "aud": RESOURCE, "exp": now + 3_600, "scope": "read" });
    if let (Some(claims), Ok(Value::Object(more))) = (claims.as_object_mut(), serde_json::from_slice(data)) {
        claims.extend(more);
    }
    claims
}

fn signature(message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key of any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn holder(token: &str) -> Option<Principal> {
    let mut checked = pin!(PARSER.holder(token));
    match checked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(holder) => holder,
        Poll::Pending => panic!("tokens of a secret are checked without waiting"),
    }
}

fn check_token(token: &str) {
    let Some(holder) = holder(token) else { return };
    let (message, signed) = token.rsplit_once('.').expect("a signature");
    assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(signed).as_deref(), Ok(&signature(message)[..]));
    let (head, body) = message.split_once('.').expect("a header and claims");
    let decoded = |part: &str| -> Value {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON")
    };
    let (head, claims) = (decoded(head), decoded(body));
    assert_eq!(head["alg"], "HS256");
    assert_eq!(claims["sub"].as_str().map(str::trim), Some(holder.agent.as_str()));
    let audience = &claims["aud"];
    assert!(
        audience == RESOURCE || audience.as_array().is_some_and(|all| all.iter().any(|one| one == RESOURCE))
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64();
    assert!(claims["exp"].as_f64().is_some_and(|end| end + LEEWAY + 1.0 >= now), "{claims}");
    assert!(claims["nbf"].as_f64().is_none_or(|start| start <= now + LEEWAY + 1.0), "{claims}");
}

/// Checks a text that may be a key.
fn check_key(text: &str) {
    if let Some(key) = ApiKeySecret::parse(text) {
        assert_eq!(key.expose(), text);
        assert!(text.starts_with("pfs_") && text[4..].bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}

/// Checks the key of these random bytes, and texts with one of its digits changed.
fn check_key_of(data: &[u8]) {
    let Some((random, rest)) =
        data.split_last_chunk::<API_KEY_RANDOM_BYTES>().map(|(rest, random)| (random, rest))
    else {
        return;
    };
    let key = ApiKeySecret::from_random(*random);
    check_key(key.expose());
    assert_eq!(ApiKeySecret::parse(key.expose()).map(|key| key.hash()), Some(key.hash()));
    let at = usize::from(rest.first().copied().unwrap_or(0)) % key.expose().len();
    let mut changed = key.expose().to_owned();
    let other = if changed.as_bytes()[at] == b'0' { "1" } else { "0" };
    changed.replace_range(at..=at, other);
    assert!(ApiKeySecret::parse(&changed).is_none());
}
