//! What every door is given: the acts, the links to them, and the place where they are counted.

use std::sync::Arc;
use std::time::Duration;

use panaversity_service::Service;

use crate::memory_budget::{MemoryBudget, MemoryPermit};
use crate::metrics::Metrics;
use crate::signed_url::SignedUrls;

/// The program behind its doors. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    /// The acts.
    pub(crate) service: Service,
    /// The counters.
    pub(crate) metrics: Arc<Metrics>,
    /// The links that leave this server.
    pub(crate) links: SignedUrls,
    /// Memory for what is large, which all calls share, and this call's part of it.
    pub(crate) budget: MemoryBudget,
    pub(crate) hold: MemoryPermit,
    /// How long one download of an archive may take.
    pub(crate) archive_timeout: Duration,
}
