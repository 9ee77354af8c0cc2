//! Dispatcher of webhooks: one in every HTTP server. The model's `webhook` has the protocol of a delivery.
//!
//! # Protocol
//! 1. Every [`poll`](crate::limits::WebhookLimits::poll) it acquires the leases of webhooks that nobody sends
//!    for: new ones, and those of servers that ended. Each acquisition has an id of its own, so that a
//!    [worker](worker) which lost its lease is not taken for the one that has it now.
//! 2. Each leased webhook has a worker, a task that follows the feed of its book. A receiver that hangs holds up
//!    nobody else's; a store has few webhooks, which bounds tasks and memory.
//! 3. When the server is about to stop, no delivery begins any more. Those that run have a short time to end;
//!    then all leases are released, so that another server goes on at once.

mod body;
mod resolver;
mod sender;
mod signature;
mod worker;

use std::sync::Arc;

use panaversity_model::ids::LeaseId;
use panaversity_model::ports::Webhooks;
use panaversity_service::Service;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::sender::WebhookSender;
use self::worker::WebhookWorker;
use crate::AppState;
use crate::limits::WebhookLimits;
use crate::metrics::Metrics;

/// Dispatcher of a server. Cheap to clone.
#[derive(Clone)]
pub struct WebhookDispatcher {
    webhooks: Arc<dyn Webhooks>,
    service: Service,
    sender: WebhookSender,
    metrics: Arc<Metrics>,
    limits: WebhookLimits,
}

impl WebhookDispatcher {
    /// The dispatcher of a server with this state.
    ///
    /// # Errors
    /// The HTTP client can't be made, as when the system has no certificates.
    pub fn new(state: &AppState, webhooks: Arc<dyn Webhooks>, limits: WebhookLimits) -> Result<Self, String> {
        let (service, metrics) = (state.service.clone(), state.metrics.clone());
        Ok(Self { webhooks, service, sender: WebhookSender::new(limits.attempt_timeout)?, metrics, limits })
    }

    /// Sends changes until `stop` is cancelled, then releases all leases.
    pub async fn run(self, stop: CancellationToken) {
        let (mut workers, mut was_told) = (JoinSet::new(), false);
        loop {
            let lease = LeaseId::new(Uuid::now_v7());
            match self.webhooks.lease_webhooks(lease, self.limits.lease).await {
                Ok(leased) => {
                    was_told = false;
                    for webhook in leased {
                        workers.spawn(WebhookWorker::new(self.clone(), webhook, lease).run(stop.clone()));
                    }
                }
                Err(fault) => {
                    if !std::mem::replace(&mut was_told, true) {
                        tracing::warn!(target: "panaversity_fs.webhooks", error = %fault, "the webhooks can't be read");
                    }
                }
            }
            while workers.try_join_next().is_some() {}
            if stop.run_until_cancelled(tokio::time::sleep(self.limits.poll)).await.is_none() {
                break;
            }
        }
        while workers.join_next().await.is_some() {}
    }
}
