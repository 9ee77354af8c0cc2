//! What every door is given: the acts, the links to them, and the place where they are counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use panaversity_service::Service;

use crate::memory_budget::{MemoryBudget, MemoryPermit};
use crate::metrics::Metrics;
use crate::signed_url::SignedUrls;

/// The program behind its doors. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
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

impl AppState {
    /// Tells the address that the server listens on, for links where nothing better is known.
    pub fn listens_on(&self, address: SocketAddr) {
        self.links.bound_to(&address.to_string());
    }

    /// The state of a server over this service. `archive_timeout` bounds one download of an archive.
    pub fn new(
        service: Service,
        metrics: Arc<Metrics>,
        links: SignedUrls,
        archive_timeout: Duration,
    ) -> Self {
        // Enough for two of the largest assets inside calls as they come, or for one as it goes.
        let budget = MemoryBudget::of(service.limits().direct_bytes.saturating_mul(6));
        Self { hold: MemoryPermit::new(budget.clone()), service, metrics, links, budget, archive_timeout }
    }
}
