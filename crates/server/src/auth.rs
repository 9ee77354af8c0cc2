//! Authentication: who a request comes from, by its bearer token. Keeps R7: an authenticated agent is
//! never mixed with one that a caller merely claims to be.
//!
//! # Tokens
//! JWTs (RFC 7519, 8725): signed by a shared secret (HS256, HS384 or HS512), or by a key of the
//! authorization server's set (RS256, ES256, `EdDSA`). The kind of key decides which
//! algorithms it may be used with, so no header can confuse them, and `none` is no algorithm.
//!
//! | Claim | Meaning |
//! |---|---|
//! | `sub` | the agent, as the audit log names it; required |
//! | `exp`, `nbf` | checked with 30 seconds of leeway; `exp` is required |
//! | `aud` | must name this server (RFC 8707); required |
//! | `iss` | must be the configured issuer, if there is one |
//! | `scope` or `scp` | the scopes, as text or as a list (see `permission` of the model) |
//! | `user_id` | ties the token to one user's overlay |

mod jwks;
mod ring_provider;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use panaversity_model::permission::{Permission, Principal, Scope};
use panaversity_model::{AgentId, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::host::PublicUrl;
use jwks::{JwkSet, KeyLookup};
pub use jwks::{JwksOptions, LEAST_INTERVAL};

/// Leeway for clocks that differ.
const LEEWAY_SECONDS: u64 = 30;
/// Most bytes of a token: more than any authorization server issues, and no more than a header may have.
const MOST_TOKEN_BYTES: usize = 16 << 10;
/// Path of the metadata of this resource (RFC 9728, section 3).
pub(crate) const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// Options of an [`Authenticator`]. At least one of `secrets` and `jwks` is given.
pub struct AuthOptions {
    /// Shared secrets; a token signed by any of them is accepted, so that they can be rotated.
    pub secrets: Vec<Vec<u8>>,
    /// Algorithm of tokens signed by a secret.
    pub secret_algorithm: SecretAlgorithm,
    /// Key set of the authorization server.
    pub jwks: Option<JwksOptions>,
    /// Required issuer of all tokens. Those signed by a key of the authorization server's set come from it,
    /// if no other issuer is given.
    pub issuer: Option<String>,
    /// Accepted audiences; the URL of this resource if none are given.
    pub audiences: Vec<String>,
    /// URL of this resource, as tokens and its metadata name it.
    pub resource: PublicUrl,
    /// Authorization server that issues tokens for this resource.
    pub authorization_server: Option<PublicUrl>,
}

/// Algorithm of tokens that a shared secret signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

/// Authenticates requests. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator {
    inner: Arc<TokenChecks>,
}

struct TokenChecks {
    secrets: Vec<DecodingKey>,
    secret_validation: Validation,
    jwks: Option<JwkSet>,
    /// For keys of the set; the algorithm is each key's own.
    jwks_validation: Validation,
    resource: PublicUrl,
    authorization_server: Option<PublicUrl>,
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
    /// The keys that the token must be checked with can't be fetched now.
    Unavailable,
}

/// The claims that are read; those checked by the library are not repeated.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    scope: Option<Scopes>,
    #[serde(default)]
    scp: Option<Scopes>,
    #[serde(default)]
    user_id: Option<String>,
}

/// Scopes of a token: text (RFC 8693), or a list as some authorization servers write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scopes {
    Text(String),
    List(Vec<String>),
}

impl SecretAlgorithm {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Hs384 => Algorithm::HS384,
            Self::Hs512 => Algorithm::HS512,
        }
    }
}

impl Authenticator {
    /// An authenticator with these options.
    ///
    /// # Errors
    /// A text for the operator: a secret is empty, or the client for the key set can't be made.
    pub fn new(options: AuthOptions) -> Result<Self, String> {
        ring_provider::install();
        let secrets = options.secrets.iter().map(|secret| DecodingKey::from_secret(secret));
        let secrets = secrets.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        let audiences = match options.audiences.as_slice() {
            [] => vec![options.resource.text.clone()],
            given => given.to_vec(),
        };
        // Some servers name themselves with a slash at the end.
        let server =
            options.authorization_server.as_ref().map(|url| [url.text.clone(), format!("{}/", url.text)]);
        let of_secrets = options.issuer.map(|issuer| vec![issuer]);
        let of_keys = of_secrets.clone().or(server.map(Vec::from));
        let validation = |algorithm, issuers: Option<Vec<String>>| {
            let mut validation = Validation::new(algorithm);
            validation.leeway = LEEWAY_SECONDS;
            validation.validate_nbf = true;
            validation.set_audience(&audiences);
            let mut required = vec!["exp", "sub", "aud"];
            if let Some(issuers) = issuers {
                validation.set_issuer(&issuers);
                required.push("iss");
            }
            validation.set_required_spec_claims(&required);
            validation
        };
        Ok(Self {
            inner: Arc::new(TokenChecks {
                secrets,
                secret_validation: validation(options.secret_algorithm.algorithm(), of_secrets),
                jwks_validation: validation(Algorithm::RS256, of_keys),
                jwks: options.jwks.map(JwkSet::new).transpose()?,
                resource: options.resource,
                authorization_server: options.authorization_server,
            }),
        })
    }

    /// Authenticates a request by its headers.
    pub(crate) async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, AuthError> {
        let token = bearer_token(headers)?;
        let header = decode_header(token).map_err(|_| AuthError::Invalid("it is no JWT"))?;
        let is_by_secret = matches!(header.alg, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
        if is_by_secret {
            return self.by_secret(token);
        }
        let set = self.inner.jwks.as_ref().ok_or(AuthError::Invalid("its algorithm is not accepted"))?;
        let key = match set.find(header.kid.as_deref(), header.alg).await {
            KeyLookup::Found(key) => key,
            KeyLookup::Unknown => return Err(AuthError::Invalid("its key is not known")),
            KeyLookup::Unavailable => return Err(AuthError::Unavailable),
        };
        let validation = Validation { algorithms: vec![header.alg], ..self.inner.jwks_validation.clone() };
        principal(decode::<Claims>(token, &key, &validation))
    }

    fn by_secret(&self, token: &str) -> Result<Principal, AuthError> {
        let mut refused = AuthError::Invalid("its algorithm is not accepted");
        for secret in &self.inner.secrets {
            match principal(decode::<Claims>(token, secret, &self.inner.secret_validation)) {
                Ok(principal) => return Ok(principal),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// Value of `WWW-Authenticate` for a request that is not authenticated (RFC 6750, 9728).
    pub(crate) fn challenge(&self, error: AuthError) -> HeaderValue {
        let scope = format!("scope=\"{}\"", Scope::Books(Permission::Read, None));
        match error {
            AuthError::Missing | AuthError::Unavailable => self.header(&scope),
            AuthError::Malformed(_) => self.header("error=\"invalid_request\""),
            AuthError::Invalid(_) => self.header(&format!("error=\"invalid_token\", {scope}")),
        }
    }

    /// Value of `WWW-Authenticate` for a call that needs a scope which its token lacks.
    pub(crate) fn step_up(&self, scope: &Scope) -> HeaderValue {
        self.header(&format!("error=\"insufficient_scope\", scope=\"{scope}\""))
    }

    fn header(&self, parameters: &str) -> HeaderValue {
        let resource = &self.inner.resource;
        let text = format!(
            "Bearer {parameters}, resource_metadata=\"{}{METADATA_PATH}{}\"",
            resource.origin(),
            resource.path()
        );
        // Host names, paths and scopes are ASCII without control characters.
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"))
    }

    /// Metadata of this resource (RFC 9728, section 2).
    pub(crate) fn metadata(&self) -> Value {
        let servers: Vec<_> = self.inner.authorization_server.iter().map(|url| url.text.as_str()).collect();
        let scopes: Vec<_> = Permission::ALL.into_iter().map(Permission::as_str).collect();
        let mut metadata = json!({
            "resource": self.inner.resource.text,
            "resource_name": "PanaversityFS",
            "scopes_supported": scopes,
            "bearer_methods_supported": ["header"],
        });
        // Empty lists are left out (RFC 9728, section 2).
        if !servers.is_empty() {
            metadata["authorization_servers"] = json!(servers);
        }
        metadata
    }

    /// Path of this resource's URL.
    pub(crate) fn resource_path(&self) -> &str {
        self.inner.resource.path()
    }

    /// Ways to authenticate, for `/health`.
    pub(crate) fn methods(&self) -> Vec<&'static str> {
        let secret = (!self.inner.secrets.is_empty()).then_some("jwt-secret");
        secret.into_iter().chain(self.inner.jwks.as_ref().map(|_| "jwks")).collect()
    }
}

impl AuthError {
    /// Text for the caller and the log; it never quotes a token.
    pub(crate) fn message(self) -> String {
        match self {
            Self::Missing => "This server needs a token: send Authorization: Bearer TOKEN".to_owned(),
            Self::Malformed(why) | Self::Invalid(why) => format!("The token is refused: {why}"),
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
    match token.len() {
        0 => Err(AuthError::Missing),
        length if length > MOST_TOKEN_BYTES => Err(AuthError::Invalid("it is too long")),
        _ => Ok(token),
    }
}

/// The principal of a decoded token.
fn principal(
    decoded: Result<jsonwebtoken::TokenData<Claims>, jsonwebtoken::errors::Error>,
) -> Result<Principal, AuthError> {
    use jsonwebtoken::errors::ErrorKind;
    let claims = decoded.map(|token| token.claims).map_err(|error| {
        AuthError::Invalid(match error.kind() {
            ErrorKind::ExpiredSignature => "it has expired",
            ErrorKind::ImmatureSignature => "it is not valid yet",
            ErrorKind::InvalidAudience => "it is meant for another server (aud)",
            ErrorKind::InvalidIssuer => "it comes from another issuer (iss)",
            ErrorKind::InvalidAlgorithm => "its algorithm is not accepted",
            ErrorKind::MissingRequiredClaim(_) => "it lacks one of exp, sub, aud and iss",
            ErrorKind::InvalidSignature => "its signature is wrong",
            _ => "it can't be read",
        })
    })?;
    let agent = AgentId::parse(&claims.sub).map_err(|_| AuthError::Invalid("sub is no name of an agent"))?;
    let user = claims.user_id.as_deref().map(UserId::parse).transpose();
    let user = user.map_err(|_| AuthError::Invalid("user_id is no user's"))?;
    let texts = [claims.scope, claims.scp].into_iter().flatten().map(|scopes| match scopes {
        Scopes::Text(text) => text,
        Scopes::List(list) => list.join(" "),
    });
    let scopes = texts.flat_map(|text| Scope::parse_list(&text)).collect();
    Ok(Principal::limited(agent, scopes, user))
}

/// Name and value of each limit of authentication, as an operator reads them.
pub fn shown_limits() -> Vec<(&'static str, String)> {
    let seconds = |limit: Duration| format!("{} s", limit.as_secs());
    vec![
        ("leeway of a token's times", format!("{LEEWAY_SECONDS} s")),
        ("fetch of the key set", seconds(jwks::FETCH_TIMEOUT)),
        ("between two fetches of the key set", seconds(LEAST_INTERVAL)),
    ]
}
