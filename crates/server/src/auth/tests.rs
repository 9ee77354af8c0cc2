//! Property tests of authentication: of random headers and tokens none is let in, and of a good token no
//! other spelling than its own.

use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use axum::http::HeaderName;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use futures::FutureExt;
use panaversity_model::api_key::{
    API_KEY_RANDOM_BYTES, ApiKey, ApiKeyId, ApiKeyList, ApiKeySecret, NewApiKey,
};
use panaversity_model::ports::ApiKeys;
use panaversity_model::web_session::{WebSession, WebSessionHash};
use panaversity_model::{AgentId, Fault, Timestamp};
use proptest::prelude::*;
use proptest::sample::Index;
use ring::hmac;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::limits::KeyTimes;

const SECRET: &str = "kQ3vX7pL9sT2wZ5yB8nC1mD4fG6hJ0rE";
const RESOURCE: &str = "https://books.example.com/mcp";
const HEAD: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Decodes base64url whatever its unused bits and its padding are.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A store with one API key.
struct OneKey;

#[async_trait]
impl ApiKeys for OneKey {
    async fn create_api_key(&self, _: &NewApiKey) -> Result<ApiKey, Fault> {
        Err(Fault::internal("keys are only read here"))
    }

    async fn api_keys(&self) -> Result<ApiKeyList, Fault> {
        let now = Timestamp::from_micros(1_000_000);
        let granted = NewApiKey {
            hash: key().hash(),
            agent: agent("key-holder"),
            scopes: Vec::new(),
            expires_at: None,
        };
        Ok(ApiKeyList { now, keys: vec![ApiKey { granted, created_at: now, revoked_at: None }] })
    }

    async fn revoke_api_key(&self, _: &ApiKeyId) -> Result<Option<ApiKey>, Fault> {
        Err(Fault::internal("keys are only read here"))
    }
}

struct NoSessions;

#[async_trait]
impl WebSessions for NoSessions {
    async fn begin_web_session(&self, _: &WebSession) -> Result<(), Fault> {
        Err(Fault::internal("sessions are only read here"))
    }

    async fn web_session(&self, _: WebSessionHash) -> Result<Option<WebSession>, Fault> {
        Ok(None)
    }

    async fn end_web_session(&self, _: WebSessionHash) -> Result<(), Fault> {
        Ok(())
    }

    async fn end_web_sessions(&self, _: Option<&AgentId>) -> Result<u64, Fault> {
        Ok(0)
    }
}

fn key() -> ApiKeySecret {
    ApiKeySecret::from_random([7; API_KEY_RANDOM_BYTES])
}

fn agent(name: &str) -> AgentId {
    AgentId::parse(name).unwrap()
}

/// An authenticator that takes tokens of the secret, by HS256, and the key, with the runtime that reads the key
/// again and again.
static AUTHENTICATOR: LazyLock<(Authenticator, Runtime)> = LazyLock::new(|| {
    let tokens = TokenOptions {
        secrets: vec![SECRET.into()],
        secret_algorithm: SecretAlgorithm::Hs256,
        jwks: None,
        issuer: None,
        audiences: Vec::new(),
        authorization_server: None,
    };
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let keys = runtime.block_on(ApiKeySet::open(Arc::new(OneKey), KeyTimes::default())).unwrap();
    let options = AuthOptions {
        tokens: Some(tokens),
        resource: PublicUrl::parse(RESOURCE),
        web_client: None,
        is_https: false,
    };
    (Authenticator::new(options, keys, Arc::new(NoSessions)).unwrap(), runtime)
});

/// Name of the agent that a request with these headers is let in as.
fn let_in(headers: &[(HeaderName, &[u8])]) -> Result<String, AuthError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    let principal = AUTHENTICATOR.0.authenticate(&map).now_or_never().expect("no key set is fetched")?;
    Ok(principal.expect("authentication is required").agent.as_str().to_owned())
}

fn bearer(token: &str) -> Result<String, AuthError> {
    let_in(&[(AUTHORIZATION, format!("Bearer {token}").as_bytes())])
}

fn in_an_hour() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3_600
}

/// Claims of a good token.
fn claims() -> Value {
    json!({ "sub": "writer-7", "aud": RESOURCE, "exp": in_an_hour(), "scope": "read" })
}

/// A token with this header, signed by this key.
fn signed(head: &str, key: &hmac::Key) -> String {
    let encode = |part: &str| BASE64_URL_SAFE_NO_PAD.encode(part);
    let message = format!("{}.{}", encode(head), encode(&claims().to_string()));
    let signature = hmac::sign(key, message.as_bytes());
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

fn good_token() -> String {
    signed(HEAD, &hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()))
}

/// Bytes that a header's value may have.
fn header_value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => b' '..=b'~', 1 => Just(b'\t'), 1 => 128..=255_u8];
    prop_oneof![
        prop::collection::vec(byte, 0..60),
        "(?i:bearer|basic|)[ \t]{0,2}(eyJ|pfs_)?[A-Za-z0-9_.=-]{0,60}".prop_map(String::into_bytes),
        "(Bearer )?[A-Za-z0-9_-]{0,30}(\\.[A-Za-z0-9_-]{0,30}){0,4}".prop_map(String::into_bytes),
    ]
}

/// Names of algorithms, also of none.
fn algorithm() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => "(?i:none|HS(256|384|512)|RS256|RS512|PS256|ES(256|384)|EdDSA|)".prop_map(Value::from),
        2 => "[A-Za-z0-9]{0,6}".prop_map(Value::from),
        1 => prop::sample::select(vec![Value::Null, json!(256), json!(["HS256"])]),
    ]
}

proptest! {
    #[test]
    fn random_headers_let_nobody_in(
        values in prop::collection::vec((prop::sample::select(vec![AUTHORIZATION, X_API_KEY]), header_value()), 0..4)
    ) {
        let headers: Vec<_> = values.iter().map(|(name, value)| (name.clone(), value.as_slice())).collect();
        prop_assert!(let_in(&headers).is_err());
    }

    #[test]
    fn a_good_token_lets_its_agent_in_by_one_header_and_by_no_two(
        scheme in "(?i:bearer)",
        spaces in " {1,3}",
        is_key: bool,
        other in prop::sample::select(vec![AUTHORIZATION, X_API_KEY]),
        second in header_value(),
    ) {
        let (token, holder) =
            if is_key { (key().expose().to_owned(), "key-holder") } else { (good_token(), "writer-7") };
        let authorization = format!("{scheme}{spaces}{token}{spaces}");
        for header in [(AUTHORIZATION, authorization.as_bytes()), (X_API_KEY, token.as_bytes())] {
            prop_assert_eq!(let_in(std::slice::from_ref(&header)), Ok(holder.to_owned()));
            for two in [[header.clone(), (other.clone(), &*second)], [(other.clone(), &*second), header]] {
                prop_assert_eq!(let_in(&two), Err(AuthError::Malformed("it is given more than once")));
            }
        }
    }

    #[test]
    fn a_token_with_one_changed_byte_is_refused_unless_it_means_the_same(
        at: Index,
        byte in prop_oneof![b'!'..=b'~', prop::sample::select(b"abcxyzABCXYZ0189-_.=".to_vec())],
        from_its_end in prop::option::of(0..6_usize),
    ) {
        let good = good_token();
        let mut changed = good.clone().into_bytes();
        let at = from_its_end.map_or_else(|| at.index(good.len()), |back| good.len() - 1 - back);
        changed[at] = byte;
        let changed = String::from_utf8(changed).unwrap();
        let (message, signature) = good.rsplit_once('.').unwrap();
        let of_same_meaning = changed.rsplit_once('.').is_some_and(|(same, other)| {
            same == message && LENIENT.decode(other).ok() == LENIENT.decode(signature).ok()
        });
        let answer = bearer(&changed);
        prop_assert!(changed != good || answer.is_ok());
        prop_assert!(of_same_meaning || matches!(answer, Err(AuthError::Invalid(_))), "{changed}: {answer:?}");
    }

    #[test]
    fn a_token_cut_or_lengthened_is_refused(at: Index, more in "[A-Za-z0-9_.=-]{1,9}", to: Index) {
        let good = good_token();
        let cut = &good[..at.index(good.len())];
        let mut longer = good.clone();
        longer.insert_str(to.index(good.len() + 1), &more);
        for changed in [cut, &longer] {
            prop_assert!(bearer(changed).is_err(), "{changed}");
        }
    }

    #[test]
    fn an_api_key_with_one_changed_byte_is_refused(at: Index, byte in b'!'..=b'~') {
        let good = key();
        let mut changed = good.expose().as_bytes().to_vec();
        changed[at.index(good.expose().len())] = byte;
        let changed = String::from_utf8(changed).unwrap();
        prop_assert_eq!(bearer(&changed).is_ok(), changed == good.expose(), "{}", changed);
    }

    #[test]
    fn a_token_of_another_algorithm_is_refused_however_it_is_signed(
        alg in algorithm(),
        more in prop::option::of(prop::sample::select(vec![
            ("kid", json!("../../dev/null")), ("jku", json!("https://evil.example.com/jwks")), ("typ", json!("none")),
            ("jwk", json!({ "kty": "oct", "k": "AAAA" })), ("x5c", json!(["AAAA"])), ("alg2", json!("HS256")),
        ])),
        own_key in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut head = json!({ "alg": alg });
        if let Some((name, value)) = more {
            head[name] = value;
        }
        let head = head.to_string();
        let algorithms = [hmac::HMAC_SHA256, hmac::HMAC_SHA384, hmac::HMAC_SHA512];
        let keys = algorithms.map(|algorithm| [SECRET.as_bytes(), &own_key].map(|key| hmac::Key::new(algorithm, key)));
        for (n, key) in keys.iter().flatten().enumerate() {
            let token = signed(&head, key);
            let unsigned = token.rsplit_once('.').unwrap().0;
            prop_assert!(bearer(&token).is_err() || (n == 0 && alg == "HS256"), "{head}");
            prop_assert!(bearer(&format!("{unsigned}.")).is_err() && bearer(unsigned).is_err(), "{head}");
        }
    }

    #[test]
    fn a_random_header_of_a_token_lets_nobody_in(head in "\\{(\"[a-z]{0,4}\":(\"[ -!#-~]{0,9}\"|[0-9]{1,3}|null|\\[\\]),?){0,4}\\}?") {
        prop_assume!(!head.contains("HS256"));
        let token = signed(&head, &hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()));
        prop_assert!(bearer(&token).is_err(), "{head}");
    }
}
