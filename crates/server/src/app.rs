//! What every door is given: the acts, and the place where they are counted.

use std::sync::Arc;

use panaversity_service::Service;

use crate::metrics::Metrics;

/// The program behind its doors. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    /// The acts.
    pub(crate) service: Service,
    /// The counters.
    pub(crate) metrics: Arc<Metrics>,
}
