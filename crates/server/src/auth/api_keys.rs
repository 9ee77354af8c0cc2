//! API keys of the store, in memory, by hash.
//!
//! 1. All keys are read before the server starts, then again and again ([`KeyTimes`]), in a task of its own. So a
//!    request waits for no query, and unknown keys cause none.
//! 2. A key that was created, was revoked or has expired counts after the next reading. A reading that is
//!    too old is not used: a revoked key is refused after 5 seconds, or nobody is let in.
//! 3. A server that has seen a key authenticates its callers until it ends, whatever becomes of the keys.
//! 4. Expiry is measured by the database's clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use panaversity_model::Fault;
use panaversity_model::api_key::{ApiKeyHash, ApiKeyList, ApiKeySecret, ApiKeyStatus};
use panaversity_model::permission::Principal;
use panaversity_model::ports::ApiKeys;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{AuthError, Credential};
use crate::limits::KeyTimes;

/// Longest time of a reading.
const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// The API keys of a store, kept up to date until this is dropped.
pub struct ApiKeySet {
    reading: watch::Receiver<KeyReading>,
    /// Longest time that a reading is used.
    used_for: Duration,
    _reader: AbortOnDropHandle<()>,
}

struct KeyReading {
    began: Instant,
    /// True if there is, or ever was, any key, revoked and expired ones included.
    is_any: bool,
    active: HashMap<ApiKeyHash, Principal>,
}

impl KeyReading {
    fn new(began: Instant, list: &ApiKeyList) -> Self {
        let active = list.keys.iter().filter(|key| key.status(list.now) == ApiKeyStatus::Active);
        let active = active.map(|key| (key.granted.hash, key.principal())).collect();
        Self { began, is_any: !list.keys.is_empty(), active }
    }
}

impl ApiKeySet {
    /// Reads the keys, and goes on to read them.
    pub async fn open(keys: Arc<dyn ApiKeys>, times: KeyTimes) -> Result<Self, Fault> {
        let (began, used_for) = (Instant::now(), times.api_keys_used_for);
        let (sender, reading) = watch::channel(KeyReading::new(began, &keys.api_keys().await?));
        let reader = tokio::spawn(async move {
            let mut told = false;
            loop {
                tokio::time::sleep(times.api_keys_read_every).await;
                let began = Instant::now();
                let read = timeout(READ_TIMEOUT, keys.api_keys()).await;
                match read.unwrap_or_else(|_| Err(Fault::database("the API keys were not read in time"))) {
                    Ok(list) => {
                        told = false;
                        sender.send_modify(|before| {
                            // A table that was emptied, as by a restore, must not let everybody in.
                            let was_any = before.is_any;
                            *before = KeyReading::new(began, &list);
                            before.is_any |= was_any;
                        });
                    }
                    Err(fault) if !told && sender.borrow().began.elapsed() > used_for => {
                        told = true;
                        tracing::warn!(target: "panaversity_fs.auth", error = %fault, "the API keys can't be read: holders of keys get 503");
                    }
                    Err(_) => {}
                }
            }
        });
        Ok(Self { reading, used_for, _reader: AbortOnDropHandle::new(reader) })
    }

    /// True if the store has a key, revoked and expired ones included.
    pub(super) fn is_used(&self) -> bool {
        self.reading.borrow().is_any
    }

    /// The holder of a key.
    pub(super) fn find(&self, text: &str) -> Result<Credential, AuthError> {
        let key = ApiKeySecret::parse(text).ok_or(AuthError::Invalid("it is no whole API key"))?.hash();
        let principal = self.holder(key)?;
        Ok(Credential { principal, api_key: Some(key), expires_at: None })
    }

    /// The holder of the key with this hash.
    pub(super) fn holder(&self, key: ApiKeyHash) -> Result<Principal, AuthError> {
        let reading = self.reading.borrow();
        if reading.began.elapsed() > self.used_for {
            return Err(AuthError::Unavailable);
        }
        let found = reading.active.get(&key).cloned();
        found.ok_or(AuthError::Invalid("this API key is unknown, expired or revoked"))
    }
}
