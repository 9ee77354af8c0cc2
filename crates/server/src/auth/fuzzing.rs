//! Bearer tokens, as the fuzz targets parse and check them.

use axum::http::HeaderMap;
use panaversity_model::permission::Principal;

use super::bearer_token;
use super::jwt::{SecretAlgorithm, TokenChecks, TokenOptions};
use crate::host::PublicUrl;

/// Parser and checks of tokens that one secret signs, by HS256.
pub struct TokenParser(TokenChecks);

impl TokenParser {
    /// For tokens that name `resource`; `None` if that is no URL.
    pub fn new(secret: &str, resource: &str) -> Option<Self> {
        let options = TokenOptions {
            secrets: vec![secret.into()],
            secret_algorithm: SecretAlgorithm::Hs256,
            jwks: None,
            issuer: None,
            audiences: Vec::new(),
            authorization_server: None,
        };
        TokenChecks::new(options, &PublicUrl::parse(resource)?).ok().map(Self)
    }

    /// The token in the headers.
    pub fn token(headers: &HeaderMap) -> Option<&str> {
        bearer_token(headers).ok()
    }

    /// The holder of a token.
    pub async fn holder(&self, token: &str) -> Option<Principal> {
        self.0.check(token).await.ok().map(|credential| credential.principal)
    }
}
