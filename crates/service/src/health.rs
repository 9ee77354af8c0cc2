//! Health checks: reachability of the database and the storage, and integrity of their content.

use std::time::Duration;

use panaversity_model::Fault;

use crate::service::Service;
use crate::verify::Verified;

/// Timeout of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Result of probing one engine.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Kind of the engine, such as `sqlite`, `postgresql`, `fs`.
    pub backend: &'static str,
    /// True if it answered without a fault.
    pub up: bool,
    /// Time that the probe took.
    pub latency: Duration,
}

/// State of all parts of the service.
#[derive(Debug, Clone)]
pub struct Health {
    /// The database.
    pub database: Probe,
    /// The storage.
    pub storage: Probe,
    /// Number of pending publications; `None`: unknown.
    pub pending_publications: Option<i64>,
    /// Number of blobs of some file that are missing or corrupt; `None`: unknown.
    pub damaged_blobs: Option<i64>,
    /// State of the background verifier.
    pub verified: Verified,
    /// Time since its last full pass ended.
    pub full_pass_age: Option<Duration>,
}

impl Service {
    /// Probes the engines only, to decide if traffic may be sent to this server.
    pub async fn readiness(&self) -> (Probe, Probe) {
        let (journal, tree) = (&self.inner.journal, &self.inner.tree);
        tokio::join!(self.probe(journal.backend(), journal.ping()), self.probe(tree.backend(), tree.ping()))
    }

    /// Probes the engines and reads all counts.
    pub async fn health(&self) -> Health {
        let (database, storage) = self.readiness().await;
        let (mut pending_publications, mut damaged_blobs) = (None, None);
        if database.up {
            let counts = async { tokio::join!(self.inner.journal.pending(), self.inner.journal.damaged()) };
            if let Ok((pending, damaged)) = tokio::time::timeout(PROBE_TIMEOUT, counts).await {
                (pending_publications, damaged_blobs) = (pending.ok(), damaged.ok());
            }
        }
        Health {
            database,
            storage,
            pending_publications,
            damaged_blobs,
            verified: self.verified(),
            full_pass_age: self.full_pass_age(),
        }
    }

    async fn probe(
        &self,
        backend: &'static str,
        ping: impl Future<Output = Result<(), Fault>> + Send,
    ) -> Probe {
        let began = self.inner.clock.monotonic();
        let answer = tokio::time::timeout(PROBE_TIMEOUT, ping).await;
        if let Ok(Err(fault)) = &answer {
            tracing::warn!(backend, error = %fault, "a health probe failed");
        }
        let latency = self.inner.clock.monotonic().saturating_sub(began);
        Probe { backend, up: matches!(answer, Ok(Ok(()))), latency }
    }
}
