//! Web sessions: sign-ins of browsers, which send a cookie in place of a token.
//!
//! # Form
//! The value of the cookie is 64 hex digits of strong randomness. Only its SHA-256 is stored: 256 random bits
//! can't be guessed, so a slow hash would protect nothing more.
//!
//! # End
//! A session ends at its time, which is not after that of the token it was begun with; when its reader signs
//! out; when an operator ends it; or with the API key it was begun with.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::api_key::ApiKeyHash;
use crate::hash::ContentHash;
use crate::permission::Principal;
use crate::timestamp::Timestamp;

/// Random bytes of a session's secret.
pub const WEB_SESSION_RANDOM_BYTES: usize = 32;
/// Most sessions of one agent; the one that began first ends for another.
pub const MOST_WEB_SESSIONS: u32 = 32;

/// A session's secret as the browser has it; debug output does not show it.
#[derive(Debug, Clone)]
pub struct WebSessionSecret(SecretString);

/// SHA-256 of a session's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WebSessionHash(ContentHash);

/// A sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSession {
    /// Hash of its secret.
    pub hash: WebSessionHash,
    /// Who signed in, with the permissions of the token.
    pub principal: Principal,
    /// The API key that was given; its permissions count as long as it is active.
    pub api_key: Option<ApiKeyHash>,
    /// Moment from which on it is refused.
    pub expires_at: Timestamp,
}

impl WebSessionSecret {
    /// The secret made of these random bytes.
    pub fn from_random(random: [u8; WEB_SESSION_RANDOM_BYTES]) -> Self {
        Self(hex::encode(random).into())
    }

    /// Parses a secret; `None` if its form is wrong.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (text.len() == 2 * WEB_SESSION_RANDOM_BYTES && is_hex).then(|| Self(text.into()))
    }

    /// The hash under which the session is stored.
    pub fn hash(&self) -> WebSessionHash {
        WebSessionHash(ContentHash::of(self.0.expose_secret().as_bytes()))
    }

    /// The text, for the cookie alone.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl WebSessionHash {
    /// Parses the stored form.
    pub fn from_stored(text: &str) -> Option<Self> {
        ContentHash::from_hex(text).map(Self)
    }
}

impl fmt::Display for WebSessionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_parsed_whole_and_debug_output_hides_it() {
        let secret = WebSessionSecret::from_random([0xab; WEB_SESSION_RANDOM_BYTES]);
        assert!(!format!("{secret:?}").contains("abab"));
        assert_eq!(WebSessionSecret::parse(secret.expose()).unwrap().hash(), secret.hash());
        assert_ne!(secret.hash().to_string(), secret.expose());
        for wrong in ["", "ab", &secret.expose()[1..], &secret.expose().to_uppercase(), &"g".repeat(64)] {
            assert!(WebSessionSecret::parse(wrong).is_none(), "{wrong}");
        }
    }
}
