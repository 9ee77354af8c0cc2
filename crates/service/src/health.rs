//! Health: are the database and the storage there, and is what they hold whole?

use std::time::Duration;

use panaversity_model::Fault;

use crate::service::Service;
use crate::verify::Verified;

/// A probe that takes longer counts as failed.
const PATIENCE: Duration = Duration::from_secs(3);

/// How one engine is.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Which engine: `sqlite`, `postgresql`, `fs`.
    pub backend: &'static str,
    /// Did it answer?
    pub up: bool,
    /// How long it took.
    pub latency: Duration,
}

/// How everything is.
#[derive(Debug, Clone)]
pub struct Health {
    /// The database.
    pub database: Probe,
    /// The storage.
    pub storage: Probe,
    /// Paths that are not published yet; `None`: not known.
    pub pending_publications: Option<i64>,
    /// Blobs of some file that are missing or corrupt; `None`: not known.
    pub damaged_blobs: Option<i64>,
    /// What the background verifier knows.
    pub verified: Verified,
    /// How long ago its last full pass ended.
    pub full_pass_age: Option<Duration>,
}

impl Service {
    /// Probes the engines only: may traffic be sent here?
    pub async fn readiness(&self) -> (Probe, Probe) {
        let (journal, tree) = (&self.inner.journal, &self.inner.tree);
        tokio::join!(self.probe(journal.backend(), journal.ping()), self.probe(tree.backend(), tree.ping()))
    }

    /// Probes and asks everything.
    pub async fn health(&self) -> Health {
        let (database, storage) = self.readiness().await;
        let (mut pending_publications, mut damaged_blobs) = (None, None);
        if database.up {
            let counts = async { tokio::join!(self.inner.journal.pending(), self.inner.journal.damaged()) };
            if let Ok((pending, damaged)) = tokio::time::timeout(PATIENCE, counts).await {
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
        let answer = tokio::time::timeout(PATIENCE, ping).await;
        if let Ok(Err(fault)) = &answer {
            tracing::warn!(backend, error = %fault, "a health probe failed");
        }
        let latency = self.inner.clock.monotonic().saturating_sub(began);
        Probe { backend, up: matches!(answer, Ok(Ok(()))), latency }
    }
}
