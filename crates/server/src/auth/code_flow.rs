//! Sign-in at the authorization server: the code flow with PKCE (RFC 6749, section 4.1; RFC 7636; RFC 9700).
//!
//! 1. The metadata of the authorization server (RFC 8414, else the Discovery of `OpenID Connect`) names its endpoints.
//!    It must offer PKCE with S256. It is kept for ten minutes.
//! 2. The browser is sent to the authorization endpoint with a state and the hash of a verifier; it keeps both
//!    in a signed cookie, so that any server can go on.
//! 3. It comes back with a code and the state. An `iss` that it brings must be the authorization server's (RFC
//!    9207).
//! 4. The code and the verifier are exchanged for an access token for this resource (RFC 8707), which is
//!    checked like any other.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use panaversity_model::permission::Permission;
use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use super::{issuer_client, random};
use crate::host::{PublicUrl, is_loopback};

/// Time for which the metadata is kept.
const METADATA_KEPT: Duration = Duration::from_mins(10);
/// Time after which metadata that could not be read is asked for again.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Most codes that are exchanged at once.
const EXCHANGES: usize = 8;

/// The client of the authorization server as which readers sign in.
#[derive(Debug, Clone)]
pub struct WebClient {
    /// Its id.
    pub id: String,
    /// Its secret; none if it is a public client.
    pub secret: Option<SecretString>,
}

/// The code flow of one authorization server.
pub(crate) struct CodeFlow {
    web_client: WebClient,
    server: PublicUrl,
    resource: String,
    client: Client,
    /// Read last, or why it could not be; read under this lock, so that readers who come at once cause one
    /// reading.
    metadata: Mutex<Option<MetadataReading>>,
    /// Bounds how many codes are exchanged at once: anybody may bring some.
    exchanges: Semaphore,
}

/// What was read last, and when.
struct MetadataReading {
    at: Instant,
    read: Result<Arc<ServerMetadata>, String>,
}

/// Metadata of an authorization server (RFC 8414, section 2).
#[derive(Deserialize)]
struct ServerMetadata {
    issuer: String,
    #[serde(deserialize_with = "url")]
    authorization_endpoint: Url,
    #[serde(deserialize_with = "url")]
    token_endpoint: Url,
    #[serde(default)]
    code_challenge_methods_supported: Vec<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    token_type: String,
}

/// State and verifier of one sign-in.
pub(crate) struct FlowSecrets {
    pub(crate) state: String,
    pub(crate) verifier: String,
}

impl FlowSecrets {
    /// New ones, of strong randomness; `None` if the operating system has none.
    pub(crate) fn generate() -> Option<Self> {
        let text = || Some(BASE64_URL_SAFE_NO_PAD.encode(random::<32>()?));
        Some(Self { state: text()?, verifier: text()? })
    }

    fn challenge(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.as_bytes()))
    }
}

impl CodeFlow {
    pub(super) fn new(web_client: WebClient, server: PublicUrl, resource: String) -> Result<Self, String> {
        let client = issuer_client::new()?;
        Ok(Self {
            web_client,
            server,
            resource,
            client,
            metadata: Mutex::default(),
            exchanges: Semaphore::new(EXCHANGES),
        })
    }

    /// Step 2: URL that a browser is sent to. `callback` is the URL that it comes back to. The error is a text
    /// for the log.
    pub(crate) async fn authorization_url(
        &self,
        callback: &str,
        secrets: &FlowSecrets,
    ) -> Result<Url, String> {
        let metadata = self.metadata().await?;
        let mut url = metadata.authorization_endpoint.clone();
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &self.web_client.id),
            ("redirect_uri", callback),
            ("scope", &metadata.scopes()),
            ("state", &secrets.state),
            ("code_challenge", &secrets.challenge()),
            ("code_challenge_method", "S256"),
            ("resource", &self.resource),
        ]);
        Ok(url)
    }

    /// Step 3: whether an answer that names this issuer comes from the authorization server.
    pub(crate) fn is_issuer(&self, iss: &str) -> bool {
        iss.trim_end_matches('/') == self.server.text
    }

    /// Step 4: the access token for a code. The error is a text for the log.
    pub(crate) async fn redeem(&self, code: &str, callback: &str, verifier: &str) -> Result<String, String> {
        let _turn = self.exchanges.acquire().await;
        let metadata = self.metadata().await?;
        let WebClient { id, secret } = &self.web_client;
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", callback),
                ("client_id", id),
                ("code_verifier", verifier),
                ("resource", &self.resource),
            ])
            .finish();
        let mut request = self.client.post(metadata.token_endpoint.clone());
        if let Some(secret) = secret {
            request = request.basic_auth(encoded(id), Some(encoded(secret.expose_secret())));
        }
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let answer = request.send().await.map_err(issuer_client::in_words)?;
        let answer: TokenAnswer = issuer_client::json(answer).await?;
        if !answer.token_type.eq_ignore_ascii_case("bearer") {
            return Err("the token is no bearer token".to_owned());
        }
        Ok(answer.access_token)
    }

    /// Step 1.
    async fn metadata(&self) -> Result<Arc<ServerMetadata>, String> {
        let mut last = self.metadata.lock().await;
        if let Some(MetadataReading { at, read }) = &*last {
            let kept = if read.is_ok() { METADATA_KEPT } else { TRIED_AGAIN_AFTER };
            if at.elapsed() < kept {
                return read.clone();
            }
        }
        let read = self.read_metadata().await.map(Arc::new);
        *last = Some(MetadataReading { at: Instant::now(), read: read.clone() });
        read
    }

    async fn read_metadata(&self) -> Result<ServerMetadata, String> {
        let (origin, path, url) = (self.server.origin(), self.server.path(), &self.server.text);
        let oauth = self.fetch(&format!("{origin}/.well-known/oauth-authorization-server{path}")).await;
        let Err(why) = oauth else { return oauth };
        let discovered = self.fetch(&format!("{url}/.well-known/openid-configuration")).await;
        discovered.map_err(|again| format!("its metadata can't be read: {why}; by OpenID Connect: {again}"))
    }

    async fn fetch(&self, url: &str) -> Result<ServerMetadata, String> {
        let answer = self.client.get(url).send().await.map_err(issuer_client::in_words)?;
        let metadata: ServerMetadata = issuer_client::json(answer).await?;
        if !self.is_issuer(&metadata.issuer) {
            return Err("it is the metadata of another issuer".to_owned());
        }
        if ![&metadata.authorization_endpoint, &metadata.token_endpoint].into_iter().all(is_private) {
            return Err("its endpoints are not under HTTPS".to_owned());
        }
        if !metadata.code_challenge_methods_supported.iter().any(|method| method == "S256") {
            return Err("it does not offer PKCE with S256".to_owned());
        }
        Ok(metadata)
    }
}

impl ServerMetadata {
    /// The scopes to ask for: those of this server that the authorization server knows, or says nothing about.
    fn scopes(&self) -> String {
        let ours = Permission::ALL.into_iter().map(Permission::as_str).chain(["overlay:any"]);
        let is_known = |scope: &&str| self.scopes_supported.iter().any(|known| known == scope);
        let known: Vec<_> = ours.filter(is_known).collect();
        if known.is_empty() { "read write".to_owned() } else { known.join(" ") }
    }
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    Url::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// True if nobody else can read or change what is sent there.
fn is_private(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && url.host_str().is_some_and(is_loopback))
}

/// Id or secret of a client as RFC 6749, section 2.3.1 puts them into the header.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_example_of_the_standard() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        let secrets = FlowSecrets { state: String::new(), verifier };
        assert_eq!(secrets.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn only_scopes_that_the_authorization_server_knows_are_asked_for() {
        let metadata = |scopes: &[&str]| ServerMetadata {
            issuer: String::new(),
            authorization_endpoint: Url::parse("https://login.example.com/authorize").unwrap(),
            token_endpoint: Url::parse("https://login.example.com/token").unwrap(),
            code_challenge_methods_supported: Vec::new(),
            scopes_supported: scopes.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(metadata(&["openid", "write", "admin"]).scopes(), "write admin");
        assert_eq!(metadata(&[]).scopes(), "read write");
    }
}
