//! State that servers share in Redis: rates of callers, and content that is read often. It is no truth:
//! everything works without it.
//!
//! 1. A command gets [`COMMAND_TIMEOUT`]. One that fails or takes longer counts as "Redis is away".
//! 2. While it is away no command is sent, so that no request waits for it; a task tries every
//!    [`RETRY_EVERY`] whether it is back.
//!    Each try has a connection of its own: an old one may be dead without anybody knowing it.
//! 3. All keys begin with the id of the store, so that several may share a Redis.
//!
//! Who can read the Redis can read cached content, that of overlays too; who can write to it can delay
//! callers. It is as much a part of the servers as their database.

mod object_cache;
mod rates;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{RedisError, RedisResult};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

pub use object_cache::CachedObjects;

/// Longest time of a command.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_millis(200);
/// Longest time of a new connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time between two tries while Redis is away.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Address of a Redis: `redis://user:password@host:6379/0`, or `rediss://` with TLS.
#[derive(Debug, Clone)]
pub struct RedisUrl(SecretString);

/// A Redis that the servers of a store share. Cheap to clone.
#[derive(Clone)]
pub struct SharedRedis {
    connection: Arc<RwLock<ConnectionManager>>,
    prefix: Arc<str>,
    is_up: Arc<AtomicBool>,
    _watch: Arc<AbortOnDropHandle<()>>,
}

impl RedisUrl {
    /// Parses an address; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        redis::Client::open(text).ok().map(|_| Self(text.into()))
    }

    /// Tries whether a Redis answers there.
    ///
    /// # Errors
    /// A text for the operator, without the address.
    pub async fn ping(&self) -> Result<(), String> {
        let client = redis::Client::open(self.0.expose_secret()).map_err(|error| error.to_string())?;
        let ping = async {
            let mut connection = client.get_multiplexed_async_connection().await?;
            redis::cmd("PING").query_async::<String>(&mut connection).await
        };
        match timeout(CONNECT_TIMEOUT, ping).await {
            Ok(answer) => answer.map(drop).map_err(|error| error.to_string()),
            Err(_) => Err("it does not answer".to_owned()),
        }
    }
}

impl SharedRedis {
    /// The state of the store with this id. Does not wait for a connection.
    ///
    /// # Errors
    /// A text for the operator, without the address.
    pub fn open(RedisUrl(url): &RedisUrl, store_id: &str) -> Result<Self, String> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(COMMAND_TIMEOUT))
            .set_number_of_retries(0);
        let client = redis::Client::open(url.expose_secret()).map_err(|error| error.to_string())?;
        let open = move || client.get_connection_manager_lazy(config.clone());
        let connection = Arc::new(RwLock::new(open().map_err(|error| error.to_string())?));
        let is_up = Arc::new(AtomicBool::new(false));
        let watch = tokio::spawn(watch(open, connection.clone(), is_up.clone()));
        Ok(Self {
            connection,
            prefix: format!("panaversity:{store_id}:").into(),
            is_up,
            _watch: Arc::new(AbortOnDropHandle::new(watch)),
        })
    }

    /// True if it answered last.
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    fn connection(&self) -> ConnectionManager {
        self.connection.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The answer to a command; `None`: Redis is away.
    async fn ask<T>(&self, command: impl Future<Output = RedisResult<T>>) -> Option<T> {
        if !self.is_up() {
            return None;
        }
        match timeout(COMMAND_TIMEOUT, command).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) if is_connection_error(&error) => self.is_away(&error.to_string()),
            Ok(Err(error)) => {
                // It answers, but refuses this: it is full, or of another version.
                tracing::debug!(target: "panaversity_fs.redis", %error, "Redis refused a command");
                None
            }
            Err(_) => self.is_away("no answer in time"),
        }
    }

    fn is_away<T>(&self, why: &str) -> Option<T> {
        if self.is_up.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                target: "panaversity_fs.redis",
                reason = why,
                "Redis is away: each server counts rates for itself, and content comes from the storage"
            );
        }
        None
    }
}

fn is_connection_error(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_connection_dropped()
}

/// Tries whether Redis is back, while it is away.
async fn watch(
    open: impl Fn() -> RedisResult<ConnectionManager>,
    connection: Arc<RwLock<ConnectionManager>>,
    is_up: Arc<AtomicBool>,
) {
    loop {
        if !is_up.load(Ordering::Relaxed)
            && let Ok(mut fresh) = open()
        {
            let ping = redis::cmd("PING");
            let answer = timeout(CONNECT_TIMEOUT, ping.query_async::<String>(&mut fresh)).await;
            if matches!(answer, Ok(Ok(_))) {
                *connection.write().unwrap_or_else(PoisonError::into_inner) = fresh;
                is_up.store(true, Ordering::Relaxed);
                tracing::info!(target: "panaversity_fs.redis", "Redis answers");
            }
        }
        tokio::time::sleep(RETRY_EVERY).await;
    }
}
