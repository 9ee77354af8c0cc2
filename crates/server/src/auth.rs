//! Authentication: who a request comes from, by its bearer token. Keeps R7: an authenticated agent is
//! never mixed with one that a caller merely claims to be.
//!
//! A token is a JWT (`jwt.rs`) or an API key (`api_keys.rs`). Callers must have one as soon as a way to issue
//! tokens is configured or the store has an API key; until then everybody may do everything. Browsers give
//! a token once, and the cookie of a session from then on (`web_sessions.rs`).

mod api_keys;
pub(crate) mod code_flow;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod issuer_client;
mod jwks;
mod jwt;
mod ring_provider;
#[cfg(test)]
mod tests;
mod web_sessions;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use panaversity_model::Timestamp;
use panaversity_model::api_key::{API_KEY_PREFIX, ApiKeyHash};
use panaversity_model::permission::{Permission, Principal, Scope};
use panaversity_model::ports::WebSessions;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::host::PublicUrl;
pub use api_keys::ApiKeySet;
use code_flow::CodeFlow;
pub use code_flow::WebClient;
pub use jwks::{JwksOptions, LEAST_INTERVAL};
use jwt::TokenChecks;
pub use jwt::{SecretAlgorithm, TokenOptions};
pub(crate) use web_sessions::{SESSION_COOKIES, SignIn, WEB_SESSION_LASTS, cookie, has_token};

/// Most bytes of a token: more than any authorization server issues, and no more than a header may have.
const MOST_TOKEN_BYTES: usize = 16 << 10;
/// Path of the metadata of this resource (RFC 9728, section 3).
pub(crate) const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// Options of an [`Authenticator`].
pub struct AuthOptions {
    /// Accepted tokens; they need `resource`.
    pub tokens: Option<TokenOptions>,
    /// URL of this resource, as tokens and its metadata name it.
    pub resource: Option<PublicUrl>,
    /// Client as which readers sign in at the authorization server.
    pub web_client: Option<WebClient>,
    /// True if the public URL is under HTTPS.
    pub is_https: bool,
}

/// Authenticates requests. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator {
    inner: Arc<AuthMethods>,
}

struct AuthMethods {
    tokens: Option<TokenChecks>,
    keys: ApiKeySet,
    sessions: Arc<dyn WebSessions>,
    /// Bounds how many sessions are looked up at once.
    lookups: Semaphore,
    /// True if browsers come by HTTPS.
    is_https: bool,
    resource: Option<PublicUrl>,
    authorization_server: Option<PublicUrl>,
    code_flow: Option<CodeFlow>,
}

/// What a valid token says.
struct Credential {
    principal: Principal,
    /// Hash of the API key that it is.
    api_key: Option<ApiKeyHash>,
    /// End of its validity, if that is known beforehand.
    expires_at: Option<Timestamp>,
}

/// Reason why a request is not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthError {
    /// It has no token.
    Missing,
    /// Its token, or the way it is given, is malformed (RFC 6750, section 3.1: `invalid_request`).
    Malformed(&'static str),
    /// Its token is not valid (`invalid_token`).
    Invalid(&'static str),
    /// The session that its cookie names has ended.
    SignedOut,
    /// What the token or cookie must be checked with can't be read now.
    Unavailable,
}

impl Authenticator {
    /// An authenticator with these options and keys.
    ///
    /// # Errors
    /// A text for the operator: a secret is empty, tokens have no resource, or the client for the key set
    /// can't be made.
    pub fn new(
        options: AuthOptions,
        keys: ApiKeySet,
        sessions: Arc<dyn WebSessions>,
    ) -> Result<Self, String> {
        let AuthOptions { tokens, resource, web_client, is_https } = options;
        let lookups = Semaphore::new(web_sessions::LOOKUPS);
        let authorization_server = tokens.as_ref().and_then(|tokens| tokens.authorization_server.clone());
        let code_flow = match (web_client, &authorization_server, &resource) {
            (Some(client), Some(server), Some(resource)) => {
                Some(CodeFlow::new(client, server.clone(), resource.text.clone())?)
            }
            _ => None,
        };
        let tokens = match (tokens, &resource) {
            (None, _) => None,
            (Some(tokens), Some(resource)) => Some(TokenChecks::new(tokens, resource)?),
            (Some(_), None) => return Err("tokens need the URL of the resource that they are for".to_owned()),
        };
        Ok(Self {
            inner: Arc::new(AuthMethods {
                tokens,
                keys,
                sessions,
                lookups,
                is_https,
                resource,
                authorization_server,
                code_flow,
            }),
        })
    }

    /// True if callers must authenticate.
    pub fn is_required(&self) -> bool {
        self.inner.tokens.is_some() || self.inner.keys.is_used()
    }

    /// Authenticates a request by the token in its headers; `None`: callers need not authenticate.
    pub(crate) async fn authenticate(&self, headers: &HeaderMap) -> Result<Option<Principal>, AuthError> {
        if !self.is_required() {
            return Ok(None);
        }
        self.check(bearer_token(headers)?).await.map(|credential| Some(credential.principal))
    }

    /// The holder of a token.
    async fn check(&self, token: &str) -> Result<Credential, AuthError> {
        if token.len() > MOST_TOKEN_BYTES {
            return Err(AuthError::Invalid("it is too long"));
        }
        if token.starts_with(API_KEY_PREFIX) {
            return self.inner.keys.find(token);
        }
        match &self.inner.tokens {
            Some(tokens) => tokens.check(token).await,
            None => Err(AuthError::Invalid("it is no API key, and this server takes nothing else")),
        }
    }

    /// Value of `WWW-Authenticate` for a request that is not authenticated (RFC 6750, 9728).
    pub(crate) fn challenge(&self, error: AuthError) -> HeaderValue {
        let scope = format!("scope=\"{}\"", Scope::Books(Permission::Read, None));
        match error {
            AuthError::Missing | AuthError::SignedOut | AuthError::Unavailable => self.header(&scope),
            AuthError::Malformed(_) => self.header("error=\"invalid_request\""),
            AuthError::Invalid(_) => self.header(&format!("error=\"invalid_token\", {scope}")),
        }
    }

    /// Value of `WWW-Authenticate` for a call that needs a scope which its token lacks.
    pub(crate) fn step_up(&self, scope: &Scope) -> HeaderValue {
        self.header(&format!("error=\"insufficient_scope\", scope=\"{scope}\""))
    }

    fn header(&self, parameters: &str) -> HeaderValue {
        let metadata = self.inner.resource.as_ref().map_or_else(String::new, |resource| {
            format!(", resource_metadata=\"{}{METADATA_PATH}{}\"", resource.origin(), resource.path())
        });
        // Host names, paths and scopes are ASCII without control characters.
        let text = format!("Bearer {parameters}{metadata}");
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"))
    }

    /// Metadata of this resource (RFC 9728, section 2); none if its URL is not known, or callers need not
    /// authenticate.
    pub(crate) fn metadata(&self) -> Option<Value> {
        let resource = self.inner.resource.as_ref().filter(|_| self.is_required())?;
        let servers: Vec<_> = self.inner.authorization_server.iter().map(|url| url.text.as_str()).collect();
        let scopes: Vec<_> = Permission::ALL.into_iter().map(Permission::as_str).collect();
        let mut metadata = json!({
            "resource": resource.text,
            "resource_name": "PanaversityFS",
            "scopes_supported": scopes,
            "bearer_methods_supported": ["header"],
        });
        // Empty lists are left out (RFC 9728, section 2).
        if !servers.is_empty() {
            metadata["authorization_servers"] = json!(servers);
        }
        Some(metadata)
    }

    /// The sign-in at the authorization server, if this server is a client of it.
    pub(crate) fn code_flow(&self) -> Option<&CodeFlow> {
        self.inner.code_flow.as_ref()
    }

    /// Path of this resource's URL.
    pub(crate) fn resource_path(&self) -> &str {
        self.inner.resource.as_ref().map_or("", PublicUrl::path)
    }

    /// Ways to authenticate, for `/health`; none if callers need not.
    pub(crate) fn methods(&self) -> Vec<&'static str> {
        let tokens = self.inner.tokens.iter().flat_map(TokenChecks::methods);
        tokens.chain(self.inner.keys.is_used().then_some("api-key")).collect()
    }
}

impl AuthError {
    /// Text for the caller and the log; it never quotes a token.
    pub(crate) fn message(self) -> String {
        match self {
            Self::Missing => "This server needs a token: send Authorization: Bearer TOKEN".to_owned(),
            Self::Malformed(why) | Self::Invalid(why) => format!("The token is refused: {why}"),
            Self::SignedOut => "You are signed out: the session has ended".to_owned(),
            Self::Unavailable => "The token can't be checked now".to_owned(),
        }
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authenticator({:?})", self.methods())
    }
}

/// The token of the header `Authorization: Bearer` or `x-api-key`, if it is given once.
fn bearer_token(headers: &HeaderMap) -> Result<&str, AuthError> {
    let authorization = headers.get_all(AUTHORIZATION).iter().map(|value| (value, true));
    let api_keys = headers.get_all("x-api-key").iter().map(|value| (value, false));
    let mut given = authorization.chain(api_keys);
    let (Some((value, has_scheme)), None) = (given.next(), given.next()) else {
        return Err(if headers.contains_key(AUTHORIZATION) || headers.contains_key("x-api-key") {
            AuthError::Malformed("it is given more than once")
        } else {
            AuthError::Missing
        });
    };
    let text = value.to_str().map_err(|_| AuthError::Malformed("it is not ASCII"))?;
    let token = if has_scheme {
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(AuthError::Invalid("the scheme must be Bearer"));
        }
        token.trim()
    } else {
        text.trim()
    };
    if token.is_empty() { Err(AuthError::Missing) } else { Ok(token) }
}

/// Strong random bytes; `None` if the operating system has none.
fn random<const BYTES: usize>() -> Option<[u8; BYTES]> {
    let mut random = [0; BYTES];
    SystemRandom::new().fill(&mut random).ok()?;
    Some(random)
}

/// Name and value of each limit of authentication, as an operator reads them.
pub fn shown_limits() -> Vec<(&'static str, String)> {
    let seconds = |limit: Duration| format!("{} s", limit.as_secs());
    vec![
        ("leeway of a token's times", format!("{} s", jwt::LEEWAY_SECONDS)),
        ("session of a browser", seconds(WEB_SESSION_LASTS)),
        ("fetch of the key set", seconds(issuer_client::REQUEST_TIMEOUT)),
        ("between two fetches of the key set", seconds(LEAST_INTERVAL)),
    ]
}
