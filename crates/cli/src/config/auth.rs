//! Settings of authentication. It is on as soon as a shared secret or an authorization server is set, or the
//! database has an API key.

use std::time::Duration;

use panaversity_server::PublicUrl;
use panaversity_server::auth::{
    AuthOptions, JwksOptions, LEAST_INTERVAL, SecretAlgorithm, TokenOptions, WebClient,
};
use secrecy::SecretString;

use super::parsed::public_url;
use super::values::{bad, optional, parse_u32, required};
use super::{ConfigError, Key, Sources};

/// Most secrets at once: the current one, and another while it is rotated.
const MOST_SECRETS: usize = 2;
/// Texts that documentation and examples use as secrets.
const KNOWN_SECRETS: [&str; 4] = ["secret", "changeme", "change-me", "your-secret"];

/// Parses the settings of authentication. API keys are in the database.
pub(crate) fn read(sources: &Sources) -> Result<AuthOptions, ConfigError> {
    let algorithm = required(sources, Key::JwtAlgorithm, "HS256, HS384 or HS512", secret_algorithm)?;
    let secrets = secrets(sources, algorithm)?;
    let server = server_url(sources)?;
    let public = public_url(sources)?;
    let is_https = public.as_ref().is_some_and(|url| url.text.starts_with("https:"));
    if secrets.is_empty() && server.is_none() {
        none_is_meant(sources)?;
        return Ok(AuthOptions {
            tokens: None,
            resource: public_resource(sources)?,
            web_client: None,
            is_https,
        });
    }
    let issuer = optional(sources, Key::AuthIssuer, "the issuer of tokens", plain_text)?;
    let audience = optional(sources, Key::AuthAudience, "the audience of tokens", plain_text)?;
    let jwks = match &server {
        Some(server) => Some(JwksOptions {
            url: jwks_url(sources, server)?,
            time_to_live: time_to_live(sources)?,
            least_interval: LEAST_INTERVAL,
        }),
        None => None,
    };
    let web_client = web_client(sources, server.is_some(), public.is_some())?;
    let tokens = TokenOptions {
        secrets,
        secret_algorithm: algorithm,
        jwks,
        issuer,
        audiences: audience.into_iter().collect(),
        authorization_server: server,
    };
    Ok(AuthOptions { tokens: Some(tokens), resource: Some(resource(sources)?), web_client, is_https })
}

/// Refuses settings of an authentication that is not on: somebody meant it to be.
fn none_is_meant(sources: &Sources) -> Result<(), ConfigError> {
    for key in [
        Key::AuthIssuer,
        Key::AuthAudience,
        Key::AuthJwksPath,
        Key::ResourceServerUrl,
        Key::JwtAlgorithm,
        Key::WebClientId,
    ] {
        if let Some(given) = sources.given(key)? {
            return Err(ConfigError(format!(
                "{} is set, but nobody would be authenticated: set PANAVERSITY_JWT_SECRET or \
                 PANAVERSITY_AUTH_SERVER_URL, or remove it",
                given.name
            )));
        }
    }
    Ok(())
}

/// Least length of a secret, in bytes: that of its signature (RFC 7518, section 3.2).
fn shortest_secret(algorithm: SecretAlgorithm) -> usize {
    match algorithm {
        SecretAlgorithm::Hs256 => 32,
        SecretAlgorithm::Hs384 => 48,
        SecretAlgorithm::Hs512 => 64,
    }
}

fn secrets(sources: &Sources, algorithm: SecretAlgorithm) -> Result<Vec<SecretString>, ConfigError> {
    let Some(given) = sources.text(Key::JwtSecret)? else { return Ok(Vec::new()) };
    let secrets: Vec<_> = given.text.split_whitespace().collect();
    if secrets.is_empty() || secrets.len() > MOST_SECRETS {
        return Err(ConfigError(format!(
            "{} holds {} secrets; allowed are one or two",
            given.name,
            secrets.len()
        )));
    }
    let shortest = shortest_secret(algorithm);
    for secret in &secrets {
        let known = secret.to_ascii_lowercase();
        if secret.len() < shortest || KNOWN_SECRETS.iter().any(|word| known.starts_with(word)) {
            return Err(ConfigError(format!(
                "{} can be guessed: take at least {shortest} characters from a random generator, such as \
                 `openssl rand -hex 32`",
                given.name
            )));
        }
    }
    Ok(secrets.into_iter().map(SecretString::from).collect())
}

fn secret_algorithm(text: &str) -> Option<SecretAlgorithm> {
    match text {
        "HS256" => Some(SecretAlgorithm::Hs256),
        "HS384" => Some(SecretAlgorithm::Hs384),
        "HS512" => Some(SecretAlgorithm::Hs512),
        _ => None,
    }
}

/// The authorization server. Its keys decide who gets in, so they come encrypted, or from this machine.
fn server_url(sources: &Sources) -> Result<Option<PublicUrl>, ConfigError> {
    let Some(given) = sources.text(Key::AuthServerUrl)? else { return Ok(None) };
    let url = PublicUrl::parse(given.text.trim()).filter(PublicUrl::is_private);
    let allowed = "a URL like https://login.example.com; http only for localhost";
    url.map(Some).ok_or_else(|| bad(&given, allowed))
}

fn jwks_url(sources: &Sources, server: &PublicUrl) -> Result<String, ConfigError> {
    let path = required(sources, Key::AuthJwksPath, "a path like /.well-known/jwks.json", |text| {
        (text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
    })?;
    Ok(format!("{}{path}", server.text))
}

/// The client as which readers sign in; it is one of the authorization server.
fn web_client(
    sources: &Sources,
    has_server: bool,
    has_public_url: bool,
) -> Result<Option<WebClient>, ConfigError> {
    let id = optional(sources, Key::WebClientId, "the id of a client", plain_text)?;
    let secret = optional(sources, Key::WebClientSecret, "the secret of a client", plain_text)?;
    let host = sources.text(Key::Host)?.map(|host| host.text);
    let is_local = host.is_none_or(|host| matches!(host.trim(), "127.0.0.1" | "::1" | "localhost"));
    match id {
        Some(_) if has_server && !has_public_url && !is_local => Err(ConfigError(
            "PANAVERSITY_WEB_CLIENT_ID needs the URL that browsers come back to: set PANAVERSITY_PUBLIC_URL"
                .to_owned(),
        )),
        Some(id) if has_server => Ok(Some(WebClient { id, secret: secret.map(SecretString::from) })),
        Some(_) => Err(ConfigError(
            "PANAVERSITY_WEB_CLIENT_ID is a client of an authorization server: set PANAVERSITY_AUTH_SERVER_URL"
                .to_owned(),
        )),
        None if secret.is_some() => Err(ConfigError(
            "PANAVERSITY_WEB_CLIENT_SECRET is of no use without PANAVERSITY_WEB_CLIENT_ID".to_owned(),
        )),
        None => Ok(None),
    }
}

fn time_to_live(sources: &Sources) -> Result<Duration, ConfigError> {
    Ok(Duration::from_secs(u64::from(parse_u32(sources, Key::JwksCacheTtl, 10, 7 * 24 * 3600)?)))
}

/// The URL of this resource, which tokens must name as their audience.
fn resource(sources: &Sources) -> Result<PublicUrl, ConfigError> {
    let allowed = "a URL like https://books.example.com/mcp, its path of letters, digits and -._~/";
    let parsed = |text: &str| PublicUrl::parse(text).filter(has_plain_path);
    if let Some(url) = optional(sources, Key::ResourceServerUrl, allowed, parsed)? {
        return Ok(url);
    }
    public_resource(sources)?.ok_or_else(|| {
        ConfigError(
            "authentication needs the URL that tokens name: set PANAVERSITY_PUBLIC_URL, or \
             PANAVERSITY_RESOURCE_SERVER_URL"
                .to_owned(),
        )
    })
}

/// The URL of this resource where only the public URL is set.
fn public_resource(sources: &Sources) -> Result<Option<PublicUrl>, ConfigError> {
    let url = public_url(sources)?.and_then(|url| PublicUrl::parse(&format!("{}/mcp", url.text)));
    Ok(url.filter(has_plain_path))
}

/// True if the path has only unreserved characters (RFC 3986, section 2.3): it becomes part of a route.
fn has_plain_path(url: &PublicUrl) -> bool {
    url.path().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte))
}

fn plain_text(text: &str) -> Option<String> {
    (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned())
}
