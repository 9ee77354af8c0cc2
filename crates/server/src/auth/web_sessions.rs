//! Sign-ins of browsers.
//!
//! 1. A reader gives a token once. If it is valid, a session of strong randomness is stored by its hash, and
//!    the browser gets the secret as a cookie that scripts can't read and that it sends with no request which
//!    another site has caused (`HttpOnly`, `SameSite=Strict`).
//! 2. A request with that cookie has the principal of the token. One session is one row: a sign-out holds on
//!    all servers at once.
//! 3. A session lasts [`WEB_SESSION_LASTS`], and no longer than its token. That of an API key has the key's
//!    permissions as they are now, and none once the key is revoked.
//! 4. The cookie counts for pages and the feed alone, never for `/mcp`: see `http/middleware/auth.rs`.
//!
//! Where the page is under HTTPS the cookie has the prefix `__Host-`, so that no other host can set it.

use std::time::Duration;

use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use panaversity_model::Fault;
use panaversity_model::permission::Principal;
use panaversity_model::web_session::{WebSession, WebSessionSecret};

use super::{AuthError, Authenticator, random};
use crate::clock;

/// Longest time of a session.
pub(crate) const WEB_SESSION_LASTS: Duration = Duration::from_hours(12);
/// Least time of a session: a browser would drop a cookie of no time, without a word.
const SHORTEST: Duration = Duration::from_secs(5);
/// Most sessions that are looked up at once: forged cookies must not take the connections of the callers.
pub(super) const LOOKUPS: usize = 4;
/// Names of the cookie: under HTTPS, and without it.
pub(crate) const SESSION_COOKIES: [&str; 2] = ["__Host-panaversity_session", "panaversity_session"];

/// A session that has begun.
pub(crate) struct SignIn {
    /// Value of the cookie.
    pub(crate) secret: WebSessionSecret,
    /// Time until it ends.
    pub(crate) lasts: Duration,
}

impl Authenticator {
    /// Authenticates a request of a browser: by its token if it has one, else by its cookie. `None`: callers
    /// need not authenticate.
    pub(crate) async fn authenticate_browser(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<Principal>, AuthError> {
        match self.session_cookie(headers) {
            Some(secret) if !has_token(headers) && self.is_required() => self.session(secret).await.map(Some),
            _ => self.authenticate(headers).await,
        }
    }

    async fn session(&self, secret: &str) -> Result<Principal, AuthError> {
        let secret = WebSessionSecret::parse(secret).ok_or(AuthError::SignedOut)?;
        let found = {
            let _turn = self.inner.lookups.acquire().await;
            self.inner.sessions.web_session(secret.hash()).await
        };
        let found = found.map_err(|fault| unavailable(&fault))?;
        let WebSession { principal, api_key, .. } = found.ok_or(AuthError::SignedOut)?;
        let Some(key) = api_key else { return Ok(principal) };
        self.inner.keys.holder(key).map_err(|error| match error {
            AuthError::Unavailable => error,
            _ => AuthError::SignedOut,
        })
    }

    /// Begins a session for the holder of a token.
    pub(crate) async fn sign_in(&self, token: &str) -> Result<SignIn, AuthError> {
        let credential = self.check(token).await?;
        let now = clock::now();
        let longest = now.after(WEB_SESSION_LASTS);
        let expires_at = credential.expires_at.map_or(longest, |end| end.min(longest));
        let lasts =
            Duration::from_micros(u64::try_from(expires_at.micros() - now.micros()).unwrap_or_default());
        if lasts < SHORTEST {
            return Err(AuthError::Invalid("it has expired, or is about to"));
        }
        let secret = WebSessionSecret::from_random(random().ok_or(AuthError::Unavailable)?);
        let session = WebSession {
            hash: secret.hash(),
            principal: credential.principal,
            api_key: credential.api_key,
            expires_at,
        };
        self.inner.sessions.begin_web_session(&session).await.map_err(|fault| unavailable(&fault))?;
        let agent_id = session.principal.agent.as_str();
        tracing::info!(target: "panaversity_fs.auth", agent_id, "a browser has signed in");
        Ok(SignIn { secret, lasts })
    }

    /// Ends the session of a request, if it has one.
    pub(crate) async fn sign_out(&self, headers: &HeaderMap) -> Result<(), Fault> {
        match self.session_cookie(headers).and_then(WebSessionSecret::parse) {
            Some(secret) => self.inner.sessions.end_web_session(secret.hash()).await,
            None => Ok(()),
        }
    }

    /// Value of the cookie of a session. Under HTTPS another host, or who writes into plain HTTP, could set the
    /// cookie without the prefix.
    fn session_cookie<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let names = if self.inner.is_https { &SESSION_COOKIES[..1] } else { &SESSION_COOKIES };
        names.iter().find_map(|name| cookie(headers, name))
    }
}

fn unavailable(fault: &Fault) -> AuthError {
    tracing::error!(target: "panaversity_fs.auth", error = %fault, "the sessions of browsers can't be used");
    AuthError::Unavailable
}

/// True if a request has a token, right or wrong. Proxies may have asked for a password of their own.
pub(crate) fn has_token(headers: &HeaderMap) -> bool {
    let mut given = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    headers.contains_key("x-api-key")
        || given.any(|value| value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer")))
}

/// Value of a request's cookie (RFC 6265, section 4.2.1).
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    // Others may have cookies that are not ASCII.
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let mut pairs = pairs.filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('='));
    pairs.find(|(given, _)| *given == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        let others = HeaderValue::from_bytes(b"a=\xff; xname=2;name=3=4; b=\xc3\xb6").unwrap();
        headers.append(COOKIE, others);
        assert_eq!(cookie(&headers, "name"), Some("3=4"));
        assert_eq!(cookie(&headers, "b"), Some("\u{f6}"));
        assert_eq!(cookie(&headers, "c"), None);
    }

    #[test]
    fn a_password_that_a_proxy_asked_for_is_no_token() {
        let given = |value: &str| has_token(&HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]));
        assert!(given("Bearer x") && given("bearer") && !given("Basic YTpi") && !given(""));
    }
}
