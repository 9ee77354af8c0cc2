//! Bearer tokens: JWTs (RFC 7519, 8725), signed by a shared secret (HS256, HS384 or HS512), or by a key of
//! the authorization server's set (RS256, ES256, `EdDSA`). The kind of key decides which algorithms it may
//! be used with, so no header can confuse them, and `none` is no algorithm.
//!
//! | Claim | Meaning |
//! |---|---|
//! | `sub` | the agent, as the audit log names it; required |
//! | `exp`, `nbf` | checked with 30 seconds of leeway; `exp` is required |
//! | `aud` | must name this server (RFC 8707); required |
//! | `iss` | must be the configured issuer, if there is one |
//! | `scope` or `scp` | the scopes, as text or as a list (see `permission` of the model) |
//! | `user_id` | ties the token to one user's overlay |

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use panaversity_model::permission::{Principal, Scope};
use panaversity_model::{AgentId, Timestamp, UserId};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::jwks::{JwkSet, JwksOptions, KeyLookup};
use super::{AuthError, Credential, ring_provider};
use crate::host::PublicUrl;

/// Leeway for clocks that differ.
pub(super) const LEEWAY_SECONDS: u64 = 30;

/// Options of the tokens that are accepted. At least one of `secrets` and `jwks` is given.
pub struct TokenOptions {
    /// Shared secrets; a token signed by any of them is accepted, so that they can be rotated.
    pub secrets: Vec<SecretString>,
    /// Algorithm of tokens signed by a secret.
    pub secret_algorithm: SecretAlgorithm,
    /// Key set of the authorization server.
    pub jwks: Option<JwksOptions>,
    /// Required issuer of all tokens. Those signed by a key of the authorization server's set come from it,
    /// if no other issuer is given.
    pub issuer: Option<String>,
    /// Accepted audiences; none are those of the resource.
    pub audiences: Vec<String>,
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

/// Checks tokens.
pub(super) struct TokenChecks {
    secrets: Vec<DecodingKey>,
    secret_validation: Validation,
    jwks: Option<JwkSet>,
    /// For keys of the set; the algorithm is each key's own.
    jwks_validation: Validation,
}

/// The claims that are read; those checked by the library are not repeated.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// Unix seconds.
    exp: f64,
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

impl TokenChecks {
    /// Checks with these options, for tokens that name `resource`.
    pub(super) fn new(options: TokenOptions, resource: &PublicUrl) -> Result<Self, String> {
        ring_provider::install();
        let secrets =
            options.secrets.iter().map(|secret| DecodingKey::from_secret(secret.expose_secret().as_bytes()));
        let secrets = secrets.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        let audiences = match options.audiences.as_slice() {
            [] => vec![resource.text.clone()],
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
            secrets,
            secret_validation: validation(options.secret_algorithm.algorithm(), of_secrets),
            jwks_validation: validation(Algorithm::RS256, of_keys),
            jwks: options.jwks.map(JwkSet::new).transpose()?,
        })
    }

    /// The holder of a token, until it expires.
    pub(super) async fn check(&self, token: &str) -> Result<Credential, AuthError> {
        let header =
            decode_header(token).map_err(|_| AuthError::Invalid("it is neither a JWT nor an API key"))?;
        let is_by_secret = matches!(header.alg, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
        if is_by_secret {
            return self.by_secret(token);
        }
        let set = self.jwks.as_ref().ok_or(AuthError::Invalid("its algorithm is not accepted"))?;
        let key = match set.find(header.kid.as_deref(), header.alg).await {
            KeyLookup::Found(key) => key,
            KeyLookup::Unknown => return Err(AuthError::Invalid("its key is not known")),
            KeyLookup::Unavailable => return Err(AuthError::Unavailable),
        };
        let validation = Validation { algorithms: vec![header.alg], ..self.jwks_validation.clone() };
        credential(decode::<Claims>(token, &key, &validation))
    }

    fn by_secret(&self, token: &str) -> Result<Credential, AuthError> {
        let mut refused = AuthError::Invalid("its algorithm is not accepted");
        for secret in &self.secrets {
            match credential(decode::<Claims>(token, secret, &self.secret_validation)) {
                Ok(credential) => return Ok(credential),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// Ways to authenticate, for `/health`.
    pub(super) fn methods(&self) -> impl Iterator<Item = &'static str> {
        let secret = (!self.secrets.is_empty()).then_some("jwt-secret");
        secret.into_iter().chain(self.jwks.as_ref().map(|_| "jwks"))
    }
}

/// The holder of a decoded token.
fn credential(
    decoded: Result<jsonwebtoken::TokenData<Claims>, jsonwebtoken::errors::Error>,
) -> Result<Credential, AuthError> {
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
    // Beyond the years that a time can have, it is clamped.
    #[allow(clippy::cast_possible_truncation)]
    let expires_at = Timestamp::from_micros((claims.exp * 1_000_000.0) as i64);
    let principal = Principal::limited(agent, scopes, user);
    Ok(Credential { principal, api_key: None, expires_at: Some(expires_at) })
}
