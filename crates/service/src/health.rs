//! Health checks: reachability of the database and the storage, and integrity of their content.

use std::time::Duration;

use panaversity_model::Fault;

use crate::service::Service;
use crate::verify::Verified;

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
    /// Probes the engines only, to decide if traffic may be sent to this server. One that does not answer
    /// within `timeout` is down.
    pub async fn readiness(&self, timeout: Duration) -> (Probe, Probe) {
        let (journal, tree) = (&self.inner.journal, &self.inner.tree);
        tokio::join!(
            self.probe(journal.backend(), journal.ping(), timeout),
            self.probe(tree.backend(), tree.ping(), timeout)
        )
    }

    /// Probes the engines and reads all counts, within `timeout`; a count that is not read by then is
    /// unknown.
    pub async fn health(&self, timeout: Duration) -> Health {
        let ((database, storage), pending, damaged) = tokio::join!(
            self.readiness(timeout),
            tokio::time::timeout(timeout, self.inner.journal.pending()),
            tokio::time::timeout(timeout, self.inner.journal.damaged()),
        );
        Health {
            database,
            storage,
            pending_publications: pending.ok().and_then(Result::ok),
            damaged_blobs: damaged.ok().and_then(Result::ok),
            verified: self.verified(),
            full_pass_age: self.full_pass_age(),
        }
    }

    async fn probe(
        &self,
        backend: &'static str,
        ping: impl Future<Output = Result<(), Fault>> + Send,
        timeout: Duration,
    ) -> Probe {
        let began = self.inner.clock.monotonic();
        let answer = tokio::time::timeout(timeout, ping).await;
        if let Ok(Err(fault)) = &answer {
            tracing::warn!(backend, error = %fault, "a health probe failed");
        }
        let latency = self.inner.clock.monotonic().saturating_sub(began);
        Probe { backend, up: matches!(answer, Ok(Ok(()))), latency }
    }
}
