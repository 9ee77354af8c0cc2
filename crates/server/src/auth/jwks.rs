//! Key set of an authorization server (RFC 7517), fetched and cached.
//!
//! 1. Keys are fetched when the first token needs one, and again when they are older than their time to
//!    live, or when a token names a key that is not among them.
//! 2. Between two fetches at least [`JwksOptions::least_interval`] passes, whatever tokens name, so that forged ones
//!    cause no load on the authorization server. One request fetches; of the others only those wait whose
//!    key is not known.
//! 3. While the authorization server is away, the keys fetched last are used, for a day at most.
//!
//! Only keys for signatures with RS256, ES256 and `EdDSA` are kept.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{self, AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::issuer_client;

/// Least time between two fetches, unless a test asks for another.
pub const LEAST_INTERVAL: Duration = Duration::from_secs(10);
/// Longest time that keys are used beyond their time to live while they can't be fetched: a key that was
/// withdrawn must not be accepted for ever.
const LONGEST_USE: Duration = Duration::from_hours(24);

/// Options of a key set.
#[derive(Debug, Clone)]
pub struct JwksOptions {
    /// URL of the set.
    pub url: String,
    /// Time after which the keys are fetched again.
    pub time_to_live: Duration,
    /// Least time between two fetches.
    pub least_interval: Duration,
}

/// A cached key set. Cheap to clone.
#[derive(Clone)]
pub(super) struct JwkSet {
    options: Arc<JwksOptions>,
    client: reqwest::Client,
    cache: Arc<RwLock<KeyCache>>,
    /// Time of the last fetch, made under this lock.
    fetching: Arc<Mutex<Option<Instant>>>,
}

#[derive(Default)]
struct KeyCache {
    keys: Vec<CachedKey>,
    fetched_at: Option<Instant>,
}

struct CachedKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Result of looking for a key.
pub(super) enum KeyLookup {
    /// The key.
    Found(DecodingKey),
    /// The set has no such key.
    Unknown,
    /// The set could not be fetched, now or before.
    Unavailable,
}

impl JwkSet {
    pub(super) fn new(options: JwksOptions) -> Result<Self, String> {
        let client = issuer_client::new()?;
        Ok(Self { options: Arc::new(options), client, cache: Arc::default(), fetching: Arc::default() })
    }

    /// The key with this id for this algorithm. A token without an id gets the only key that there is for
    /// its algorithm.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> KeyLookup {
        let (known, is_fresh) = self.known(id, algorithm);
        if let (Some(key), true) = (&known, is_fresh) {
            return KeyLookup::Found(key.clone());
        }
        if let Some(key) = known {
            if let Ok(tried_at) = self.fetching.clone().try_lock_owned() {
                drop(self.refresh(tried_at));
            }
            return KeyLookup::Found(key);
        }
        // A task that broke has fetched nothing.
        let _ = self.refresh(self.fetching.clone().lock_owned().await).await;
        match self.known(id, algorithm) {
            (Some(key), _) => KeyLookup::Found(key),
            (None, true) => KeyLookup::Unknown,
            (None, false) => KeyLookup::Unavailable,
        }
    }

    /// Fetches the keys if a fetch is due, in a task of its own: a caller that goes away must not end it.
    fn refresh(&self, mut tried_at: OwnedMutexGuard<Option<Instant>>) -> JoinHandle<()> {
        let set = self.clone();
        tokio::spawn(async move {
            if tried_at.is_some_and(|at| at.elapsed() < set.options.least_interval) {
                return;
            }
            *tried_at = Some(Instant::now());
            match set.fetch().await {
                Ok(keys) => {
                    let mut cache = set.cache.write().unwrap_or_else(PoisonError::into_inner);
                    *cache = KeyCache { keys, fetched_at: Some(Instant::now()) };
                }
                Err(why) => tracing::warn!(
                    target: "panaversity_fs.auth",
                    error = why,
                    "the key set of the authorization server could not be fetched (see PANAVERSITY_AUTH_SERVER_URL)"
                ),
            }
        })
    }

    /// A cached key that may still be used, and whether the cache is fresh.
    fn known(&self, id: Option<&str>, algorithm: Algorithm) -> (Option<DecodingKey>, bool) {
        let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        let age = cache.fetched_at.map_or(Duration::MAX, |at| at.elapsed());
        let is_usable = age < self.options.time_to_live.saturating_add(LONGEST_USE);
        let key = cache.find(id, algorithm).filter(|_| is_usable);
        (key, age < self.options.time_to_live)
    }

    async fn fetch(&self) -> Result<Vec<CachedKey>, String> {
        let answer = self.client.get(&self.options.url).send().await.map_err(issuer_client::in_words)?;
        let set: jwk::JwkSet = issuer_client::json(answer).await?;
        Ok(set.keys.iter().filter_map(CachedKey::of).collect())
    }
}

impl KeyCache {
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
        let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm);
        match id {
            Some(_) if self.keys.iter().any(|key| key.id.is_some()) => {
                fitting.find(|key| key.id.as_deref() == id).map(|key| key.key.clone())
            }
            // A set without ids can only mean its one key.
            Some(_) => fitting.next().filter(|_| fitting.next().is_none()).map(|key| key.key.clone()),
            None => fitting.next().filter(|_| fitting.next().is_none()).map(|key| key.key.clone()),
        }
    }
}

impl CachedKey {
    /// The key, if it is for signatures with an algorithm that is accepted.
    fn of(jwk: &Jwk) -> Option<Self> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
                Algorithm::ES256
            }
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                Algorithm::EdDSA
            }
            _ => return None,
        };
        let named = jwk.common.key_algorithm.map(|named| named.to_string());
        let is_for_it = named.is_none_or(|named| named == format!("{algorithm:?}"));
        let is_for_signatures = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
        if !is_for_it || !is_for_signatures {
            return None;
        }
        Some(Self { id: jwk.common.key_id.clone(), algorithm, key: DecodingKey::from_jwk(jwk).ok()? })
    }
}
