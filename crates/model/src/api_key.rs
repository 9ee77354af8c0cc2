//! API keys: secrets that an operator gives to agents which get no tokens from an authorization server.
//!
//! # Form
//! `pfs_`, 48 hex digits of strong randomness, and 8 hex digits of the CRC-32 of all before them. So scanners
//! of repositories and logs recognise a key, and one that was mistyped is told from one that is unknown.
//!
//! # What is stored
//! Only the SHA-256 of a key. 192 random bits can't be guessed, so a slow hash would protect nothing more.
//! Revoked keys are kept: a server that ever had a key goes on to authenticate its callers.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::agent::AgentId;
use crate::hash::ContentHash;
use crate::permission::{Principal, Scope};
use crate::refusal::Refusal;
use crate::timestamp::Timestamp;

/// Begin of every key.
pub const API_KEY_PREFIX: &str = "pfs_";
/// Random bytes of a key.
pub const API_KEY_RANDOM_BYTES: usize = 24;
/// Hex digits of the checksum.
const CHECKSUM_DIGITS: usize = 8;
/// Hex digits of an id.
const ID_DIGITS: usize = 12;

/// A key as its holder has it; debug output does not show it.
#[derive(Debug, Clone)]
pub struct ApiKeySecret(SecretString);

/// SHA-256 of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ApiKeyHash(ContentHash);

/// Name of a key in lists and commands: the first hex digits of its hash. It is no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyId(String);

/// What a new key permits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// Hash of the key.
    pub hash: ApiKeyHash,
    /// The agent that acts with it.
    pub agent: AgentId,
    /// Its scopes.
    pub scopes: Vec<Scope>,
    /// Moment from which on it is refused.
    pub expires_at: Option<Timestamp>,
}

/// A stored key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// What it permits.
    pub granted: NewApiKey,
    /// Time of its creation.
    pub created_at: Timestamp,
    /// Time of its revocation.
    pub revoked_at: Option<Timestamp>,
}

/// All keys of a store, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyList {
    /// The database's time at that moment.
    pub now: Timestamp,
    /// The keys, oldest first.
    pub keys: Vec<ApiKey>,
}

/// Whether a key is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiKeyStatus {
    /// It is.
    Active,
    /// Its time is over.
    Expired,
    /// An operator revoked it.
    Revoked,
}

impl ApiKeySecret {
    /// The key made of these random bytes.
    pub fn from_random(random: [u8; API_KEY_RANDOM_BYTES]) -> Self {
        let random = format!("{API_KEY_PREFIX}{}", hex::encode(random));
        Self(format!("{random}{:08x}", crc32fast::hash(random.as_bytes())).into())
    }

    /// Parses a key; `None` if its form or checksum is wrong.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(API_KEY_PREFIX)?;
        let is_hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits.len() != 2 * API_KEY_RANDOM_BYTES + CHECKSUM_DIGITS || !is_hex {
            return None;
        }
        let (random, checksum) = text.split_at(text.len() - CHECKSUM_DIGITS);
        (format!("{:08x}", crc32fast::hash(random.as_bytes())) == checksum).then(|| Self(text.into()))
    }

    /// The hash under which it is stored.
    pub fn hash(&self) -> ApiKeyHash {
        ApiKeyHash(ContentHash::of(self.0.expose_secret().as_bytes()))
    }

    /// The text, to be shown to its holder once.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl ApiKeyHash {
    /// Parses the stored form.
    pub fn from_stored(text: &str) -> Option<Self> {
        ContentHash::from_hex(text).map(Self)
    }

    /// Name of the key in lists and commands.
    pub fn id(&self) -> ApiKeyId {
        let mut digits = self.0.to_string();
        digits.truncate(ID_DIGITS);
        ApiKeyId(digits)
    }
}

impl fmt::Display for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ApiKeyId {
    /// Parses an id as `keys list` shows it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let is_id = text.len() == ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let allowed = "it must be the 12 hexadecimal digits that `keys list` shows";
        is_id.then(|| Self(text.to_ascii_lowercase())).ok_or_else(|| Refusal::argument("id", allowed))
    }

    /// The 12 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ApiKey {
    /// Whether it is accepted at a moment.
    pub fn status(&self, now: Timestamp) -> ApiKeyStatus {
        if self.revoked_at.is_some() {
            ApiKeyStatus::Revoked
        } else if self.granted.expires_at.is_some_and(|end| end <= now) {
            ApiKeyStatus::Expired
        } else {
            ApiKeyStatus::Active
        }
    }

    /// The caller that holds it.
    pub fn principal(&self) -> Principal {
        Principal::limited(self.granted.agent.clone(), self.granted.scopes.clone(), None)
    }
}

impl ApiKeyStatus {
    /// Its name in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_has_a_prefix_and_a_checksum_and_debug_output_hides_it() {
        let key = ApiKeySecret::from_random([0xab; API_KEY_RANDOM_BYTES]);
        assert_eq!(key.expose(), format!("pfs_{}8edb89e6", "ab".repeat(24)));
        assert!(!format!("{key:?}").contains("abab"));
        assert_eq!(key.hash().id().as_str().len(), 12);
        assert_eq!(ApiKeyId::parse(key.hash().id().as_str()), Ok(key.hash().id()));
        for wrong in ["", "abc", "0123456789ag", "0123456789abc", "../3456789ab"] {
            assert!(ApiKeyId::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_refused_from_its_end_on_and_once_it_is_revoked() {
        let hash = ApiKeySecret::from_random([1; API_KEY_RANDOM_BYTES]).hash();
        let agent = AgentId::parse("writer-7").unwrap();
        let at = Timestamp::from_micros;
        let granted = NewApiKey { hash, agent, scopes: Vec::new(), expires_at: Some(at(10)) };
        let key = ApiKey { granted, created_at: at(0), revoked_at: None };
        assert_eq!(key.status(at(9)), ApiKeyStatus::Active);
        assert_eq!(key.status(at(10)), ApiKeyStatus::Expired);
        assert_eq!(ApiKey { revoked_at: Some(at(5)), ..key }.status(at(9)), ApiKeyStatus::Revoked);
    }

    proptest! {
        #[test]
        fn a_key_is_parsed_and_any_other_text_of_its_length_is_not(
            random: [u8; API_KEY_RANDOM_BYTES], place in 0_usize..60, other in "[ -~]"
        ) {
            let key = ApiKeySecret::from_random(random);
            prop_assert_eq!(ApiKeySecret::parse(key.expose()).unwrap().hash(), key.hash());
            let mut changed = key.expose().to_owned();
            changed.replace_range(place..=place, &other);
            prop_assert_eq!(ApiKeySecret::parse(&changed).is_some(), changed == key.expose());
        }

        #[test]
        fn no_text_at_all_is_a_key_by_chance(text in "(pfs_)?\\PC{0,80}") {
            prop_assert!(ApiKeySecret::parse(&text).is_none());
        }
    }
}
