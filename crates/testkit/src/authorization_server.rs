//! Authorization server of tests: issues JWTs signed by real keys, and serves the set of the public ones.
//!
//! The RSA key is a file beside this module, because ring makes none; it signs nothing but tests.

mod code_flow;

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use code_flow::{CodeFlow, Granted};
use http_body_util::{BodyExt, Collected, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

const RSA: &[u8] = include_bytes!("authorization_server/rsa-2048.der");

/// Key that signs tokens.
pub enum SigningKey {
    /// A shared secret, for HS256, HS384 or HS512.
    Secret(Vec<u8>, hmac::Algorithm),
    /// RS256.
    Rsa(Box<RsaKeyPair>),
    /// ES256.
    EcP256(EcdsaKeyPair),
    /// `EdDSA`.
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// A secret for HS256.
    pub fn secret(secret: &str) -> Self {
        Self::Secret(secret.as_bytes().to_vec(), hmac::HMAC_SHA256)
    }

    /// The RSA key of the tests.
    pub fn rsa() -> Self {
        Self::Rsa(Box::new(RsaKeyPair::from_der(RSA).unwrap()))
    }

    /// A new key on P-256.
    pub fn ec_p256() -> Self {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self::EcP256(
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random).unwrap(),
        )
    }

    /// A new Ed25519 key.
    pub fn ed25519() -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap())
    }

    /// Name of its algorithm in a token's header.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_, algorithm) if *algorithm == hmac::HMAC_SHA512 => "HS512",
            Self::Secret(_, algorithm) if *algorithm == hmac::HMAC_SHA384 => "HS384",
            Self::Secret(..) => "HS256",
            Self::Rsa(_) => "RS256",
            Self::EcP256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    /// A token with these claims, of this key's algorithm.
    pub fn token(&self, id: &str, claims: &Value) -> String {
        self.signed(&json!({ "alg": self.algorithm(), "typ": "JWT", "kid": id }), claims)
    }

    /// A token with this header, whatever it says.
    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        let bytes = message.as_bytes();
        let random = SystemRandom::new();
        let signature = match self {
            Self::Secret(secret, algorithm) => {
                hmac::sign(&hmac::Key::new(*algorithm, secret), bytes).as_ref().to_vec()
            }
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature).unwrap();
                signature
            }
            Self::EcP256(key) => key.sign(&random, bytes).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(bytes).as_ref().to_vec(),
        };
        format!("{message}.{}", base64url(signature))
    }

    /// The public key as a JWK; a secret has none.
    pub fn jwk(&self, id: &str) -> Value {
        let mut jwk = match self {
            Self::Secret(..) => panic!("a secret is not published"),
            Self::Rsa(key) => {
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({ "kty": "RSA", "n": base64url(n), "e": base64url(e) })
            }
            Self::EcP256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y) })
            }
            Self::Ed25519(key) => json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(key.public_key()) }),
        };
        jwk["kid"] = id.into();
        jwk["use"] = "sig".into();
        jwk["alg"] = self.algorithm().into();
        jwk
    }
}

/// A server whose key set may change and which may be away.
pub struct AuthorizationServer {
    url: String,
    state: Arc<ServerState>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct ServerState {
    /// `None`: it answers with 503.
    keys: Mutex<Option<Vec<Value>>>,
    fetches: AtomicUsize,
    /// Milliseconds before an answer.
    delay: AtomicU64,
    code_flow: Mutex<CodeFlow>,
}

impl AuthorizationServer {
    /// A server with these public keys.
    pub async fn start(keys: Vec<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(ServerState { keys: Mutex::new(Some(keys)), ..ServerState::default() });
        let serving = tokio::spawn(serve(listener, state.clone()));
        Self { url, state, _serving: AbortOnDropHandle::new(serving) }
    }

    /// Its URL, also the issuer of its tokens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Replaces the keys; `None`: it is away.
    pub fn publish(&self, keys: Option<Vec<Value>>) {
        *self.state.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Offers the code flow: whoever asks for this resource as this client gets this token.
    pub fn offer_code_flow(&self, client: &str, resource: &str, token: &str) {
        let granted = Granted::new(client, resource, token);
        self.state.code_flow.lock().unwrap_or_else(PoisonError::into_inner).offer(granted);
    }

    /// From now on every answer takes this long.
    pub fn answer_after(&self, delay: Duration) {
        self.state.delay.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// Number of times that its keys were asked for.
    pub fn fetches(&self) -> usize {
        self.state.fetches.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, state: Arc<ServerState>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let state = state.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                let state = state.clone();
                async move { Ok::<_, Infallible>(answered(&state, request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

async fn answered(state: &ServerState, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let delay = Duration::from_millis(state.delay.load(Ordering::Relaxed));
    tokio::time::sleep(delay).await;
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let issuer = format!("http://{}", parts.headers["host"].to_str().unwrap());
    let mut flow = state.code_flow.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(answer) = flow.answer(&issuer, &parts.uri, &body) {
        return answer;
    }
    drop(flow);
    state.fetches.fetch_add(1, Ordering::Relaxed);
    key_set(state.keys.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

fn key_set(keys: Option<Vec<Value>>) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    match keys {
        Some(keys) => *response.body_mut() = Full::from(json!({ "keys": keys }).to_string()),
        None => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
    }
    response
}

/// base64url without padding (RFC 7515, section 2).
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
