//! Port of the webhooks; see [`webhook`](crate::webhook) for the protocol.

use std::time::Duration;

use async_trait::async_trait;

use crate::fault::Fault;
use crate::ids::LeaseId;
use crate::webhook::{DeliveryRecord, LeasedWebhook, NewWebhook, WebhookCreation, WebhookId, WebhookList};

/// Webhooks, their cursors and leases.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Stores a new webhook, durably, if there are fewer than `most`.
    async fn create_webhook(&self, new: &NewWebhook, most: usize) -> Result<WebhookCreation, Fault>;
    /// All webhooks, with up to `letters` dead letters.
    async fn webhooks(&self, letters: usize) -> Result<WebhookList, Fault>;
    /// Deletes a webhook with its dead letters, durably; false: there is none.
    async fn delete_webhook(&self, id: &WebhookId) -> Result<bool, Fault>;
    /// Acquires the lease, for `time` from now, of all webhooks whose lease has expired or was released.
    async fn lease_webhooks(&self, lease: LeaseId, time: Duration) -> Result<Vec<LeasedWebhook>, Fault>;
    /// Extends the lease to `time` from now; false: it is lost, or the webhook is deleted.
    async fn extend_webhook_lease(
        &self,
        id: &WebhookId,
        lease: LeaseId,
        time: Duration,
    ) -> Result<bool, Fault>;
    /// Records what became of the set after the cursor, and extends the lease to `time` from now; false: it is
    /// lost, and nothing was recorded. If the cursor moves, durably.
    async fn record_delivery(
        &self,
        id: &WebhookId,
        lease: LeaseId,
        record: &DeliveryRecord,
        time: Duration,
    ) -> Result<bool, Fault>;
    /// Releases the lease, so that another server goes on at once.
    async fn release_webhook(&self, id: &WebhookId, lease: LeaseId) -> Result<(), Fault>;
}
