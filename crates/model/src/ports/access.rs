//! Ports of who may call, and how often.

use std::time::Duration;

use async_trait::async_trait;

use crate::agent::AgentId;
use crate::api_key::{ApiKey, ApiKeyId, ApiKeyList, NewApiKey};
use crate::fault::Fault;
use crate::link_key::LinkKeyList;
use crate::web_session::{WebSession, WebSessionHash};

/// API keys; see [`api_key`](crate::api_key).
#[async_trait]
pub trait ApiKeys: Send + Sync {
    /// Stores a new key, durably.
    async fn create_api_key(&self, key: &NewApiKey) -> Result<ApiKey, Fault>;
    /// All keys, revoked and expired ones included.
    async fn api_keys(&self) -> Result<ApiKeyList, Fault>;
    /// Revokes a key, durably; one that is revoked stays as it is. `None`: there is no such key.
    async fn revoke_api_key(&self, id: &ApiKeyId) -> Result<Option<ApiKey>, Fault>;
}

/// Sign-ins of browsers; see [`web_session`](crate::web_session).
#[async_trait]
pub trait WebSessions: Send + Sync {
    /// Stores a new session, and deletes those that have expired, and the first ones of its agent beyond
    /// [`MOST_WEB_SESSIONS`](crate::web_session::MOST_WEB_SESSIONS).
    async fn begin_web_session(&self, session: &WebSession) -> Result<(), Fault>;
    /// The session with this hash, if it has not ended.
    async fn web_session(&self, hash: WebSessionHash) -> Result<Option<WebSession>, Fault>;
    /// Ends a session, durably.
    async fn end_web_session(&self, hash: WebSessionHash) -> Result<(), Fault>;
    /// Ends the sessions of an agent, or all, durably; returns their number.
    async fn end_web_sessions(&self, agent: Option<&AgentId>) -> Result<u64, Fault>;
}

/// Rates of callers that all servers of a store count together.
#[async_trait]
pub trait SharedRates: Send + Sync {
    /// Takes one from a caller's bucket, which holds `burst` and fills by `per_second`; or tells when there
    /// is one. `None`: the shared state is away, and each server counts for itself.
    async fn take(&self, caller: &str, per_second: u32, burst: u32) -> Option<Result<(), Duration>>;
    /// True if the shared state answered last.
    fn is_up(&self) -> bool;
}

/// Signing keys of links; see [`link_key`](crate::link_key).
#[async_trait]
pub trait LinkKeys: Send + Sync {
    /// The keys, newest first; the first is generated if there is none.
    async fn link_keys(&self) -> Result<LinkKeyList, Fault>;
    /// Adds a key, durably, and deletes those that no valid link can have; or, `at_once`, all others: then
    /// their links are refused as soon as servers have read the keys again.
    async fn rotate_link_key(&self, at_once: bool) -> Result<(), Fault>;
}
