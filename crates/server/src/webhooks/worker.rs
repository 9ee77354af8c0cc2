//! Worker of one leased webhook. Invariant: a change set is sent only by a worker that has extended the lease just
//! before, and the next one only when what became of it is recorded.
//!
//! # Protocol
//! 1. Follow the feed from the cursor, woken by the signals of changes. While there is nothing to send, extend
//!    the lease every third of its time.
//! 2. Before a set is sent, its time must have come, if it was refused before; then the lease is extended. If it
//!    is lost, or the webhook deleted, the worker ends. So nothing is sent to a webhook after it was deleted, but
//!    for a delivery that runs.
//! 3. Record what became of the set; while the database does not answer, again and again. If the lease is lost
//!    meanwhile, another server sends the set again.
//! 4. When the server stops, a delivery that runs has
//!    [`stop_grace`](crate::limits::WebhookLimits::stop_grace) to end; then the lease is released.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

use panaversity_model::Fault;
use panaversity_model::feed::{FeedItem, FeedPosition};
use panaversity_model::ids::LeaseId;
use panaversity_model::webhook::{DeliveryRecord, LeasedWebhook};
use panaversity_service::feed::FeedFollower;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::WebhookDispatcher;
use super::body;
use super::sender::SendOutcome;

/// Change sets that are read at once.
const READ_CHANGES: usize = 4;
/// Pause after a fault of the database, at first and at most. The lease may be lost meanwhile.
const AFTER_FAULT: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Reason why a worker ends.
enum WorkerEnd {
    /// The server stops.
    Stopping,
    /// The lease is lost, the webhook is deleted, or the receiver wants no more.
    NotOurs,
}

/// Result of a step: go on, or end.
type WorkerStep = Result<ControlFlow<WorkerEnd>, Fault>;

pub(super) struct WebhookWorker {
    dispatcher: WebhookDispatcher,
    webhook: LeasedWebhook,
    lease: LeaseId,
    follower: FeedFollower,
    /// Sets that were read and not dealt with.
    waiting: VecDeque<FeedItem>,
    /// Time at which the lease was extended last.
    extended_at: Instant,
    /// Time before which nothing is sent.
    not_before: Instant,
}

/// The lease of a worker.
struct HeldLease<'a> {
    dispatcher: &'a WebhookDispatcher,
    webhook: &'a LeasedWebhook,
    lease: LeaseId,
    extended_at: &'a mut Instant,
}

impl WebhookWorker {
    pub(super) fn new(dispatcher: WebhookDispatcher, webhook: LeasedWebhook, lease: LeaseId) -> Self {
        let follower = dispatcher.service.follow_base(&webhook.book, webhook.cursor, READ_CHANGES);
        let now = Instant::now();
        let not_before = now + webhook.wait;
        Self { dispatcher, webhook, lease, follower, waiting: VecDeque::new(), extended_at: now, not_before }
    }

    /// Works until the server stops or the lease is lost.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut pause = AFTER_FAULT;
        loop {
            match self.step(&stop).await {
                Ok(ControlFlow::Continue(())) => pause = AFTER_FAULT,
                Ok(ControlFlow::Break(WorkerEnd::NotOurs)) => return,
                Ok(ControlFlow::Break(WorkerEnd::Stopping)) => break,
                Err(fault) => {
                    tracing::warn!(
                        target: "panaversity_fs.webhooks",
                        webhook = %self.webhook.id,
                        error = %fault,
                        "the changes for a webhook can't be read"
                    );
                    if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                        break;
                    }
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
        }
        if let Err(fault) = self.dispatcher.webhooks.release_webhook(&self.webhook.id, self.lease).await {
            tracing::debug!(target: "panaversity_fs.webhooks", error = %fault, "a lease could not be released");
        }
    }

    /// Steps 1 to 3 once: reads, or sends a set.
    async fn step(&mut self, stop: &CancellationToken) -> WorkerStep {
        if self.waiting.is_empty() {
            return self.read(stop).await;
        }
        let extend_at = self.extended_at + self.dispatcher.limits.lease / 3;
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(ControlFlow::Break(WorkerEnd::Stopping)),
            () = sleep_until(extend_at) => return self.lease().extend().await,
            () = sleep_until(self.not_before) => {}
        }
        if let ControlFlow::Break(end) = self.lease().extend().await? {
            return Ok(ControlFlow::Break(end));
        }
        let Some(item) = self.waiting.front() else { return Ok(ControlFlow::Continue(())) };
        let position = item.position;
        let Some(outcome) = self.dispatcher.attempt(&self.webhook, item, stop).await else {
            return Ok(ControlFlow::Break(WorkerEnd::Stopping));
        };
        Ok(self.settle(position, outcome, stop).await)
    }

    /// Waits for sets, and extends the lease meanwhile. A reading that takes long is not begun anew.
    async fn read(&mut self, stop: &CancellationToken) -> WorkerStep {
        let Self { dispatcher, webhook, lease, follower, waiting, extended_at, .. } = self;
        let mut held = HeldLease { dispatcher, webhook, lease: *lease, extended_at };
        let mut next = std::pin::pin!(follower.next());
        loop {
            let extend_at = *held.extended_at + held.dispatcher.limits.lease / 3;
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(ControlFlow::Break(WorkerEnd::Stopping)),
                () = sleep_until(extend_at) => {
                    if let ControlFlow::Break(end) = held.extend().await? {
                        return Ok(ControlFlow::Break(end));
                    }
                }
                read = &mut next => {
                    waiting.extend(read?.items);
                    return Ok(ControlFlow::Continue(()));
                }
            }
        }
    }

    fn lease(&mut self) -> HeldLease<'_> {
        let Self { dispatcher, webhook, lease, extended_at, .. } = self;
        HeldLease { dispatcher, webhook, lease: *lease, extended_at }
    }

    /// Records what became of the set at a position.
    async fn settle(
        &mut self,
        position: FeedPosition,
        outcome: SendOutcome,
        stop: &CancellationToken,
    ) -> ControlFlow<WorkerEnd> {
        let record = self.record_of(position, outcome);
        self.note(position, &record);
        let (webhooks, limits) = (self.dispatcher.webhooks.clone(), self.dispatcher.limits);
        loop {
            let asked = Instant::now();
            match webhooks.record_delivery(&self.webhook.id, self.lease, &record, limits.lease).await {
                Ok(true) => self.extended_at = asked,
                Ok(false) => return ControlFlow::Break(WorkerEnd::NotOurs),
                Err(fault) => {
                    tracing::warn!(
                        target: "panaversity_fs.webhooks",
                        webhook = %self.webhook.id,
                        error = %fault,
                        "what became of a delivery can't be recorded"
                    );
                    if stop.run_until_cancelled(sleep(AFTER_FAULT)).await.is_none() {
                        return ControlFlow::Break(WorkerEnd::Stopping);
                    }
                    continue;
                }
            }
            break;
        }
        match record {
            DeliveryRecord::Delivered(position) | DeliveryRecord::Dead { position, .. } => {
                self.waiting.pop_front();
                (self.webhook.cursor, self.webhook.attempts) = (position, 0);
            }
            DeliveryRecord::Failed { retry_in, .. } => {
                self.webhook.attempts += 1;
                self.not_before = Instant::now() + retry_in;
            }
            DeliveryRecord::Gone { .. } => return ControlFlow::Break(WorkerEnd::NotOurs),
        }
        ControlFlow::Continue(())
    }

    fn record_of(&self, position: FeedPosition, outcome: SendOutcome) -> DeliveryRecord {
        let (limits, attempts) = (&self.dispatcher.limits, self.webhook.attempts.saturating_add(1));
        match outcome {
            SendOutcome::Accepted => DeliveryRecord::Delivered(position),
            SendOutcome::Gone(error) => DeliveryRecord::Gone { error },
            SendOutcome::Refused(error) if attempts >= limits.attempts => {
                DeliveryRecord::Dead { position, attempts, error, kept: limits.dead_letters }
            }
            SendOutcome::Refused(error) => {
                DeliveryRecord::Failed { error, retry_in: limits.retry_after(attempts) }
            }
        }
    }

    /// Counts and logs a delivery.
    fn note(&self, position: FeedPosition, record: &DeliveryRecord) {
        let (status, problem) = match record {
            DeliveryRecord::Delivered(_) => ("success", None),
            DeliveryRecord::Failed { error, .. } => ("failed", Some((error, "it is sent again"))),
            DeliveryRecord::Dead { error, .. } => {
                ("dead", Some((error, "it was refused too often and is a dead letter now")))
            }
            DeliveryRecord::Gone { error } => ("gone", Some((error, "nothing is sent there any more"))),
        };
        self.dispatcher.metrics.webhook_sent(status);
        let Some((error, what)) = problem else { return };
        tracing::warn!(
            target: "panaversity_fs.webhooks",
            webhook = %self.webhook.id,
            book_id = self.webhook.book.as_str(),
            change_id = %position.change,
            host = self.webhook.url.host(),
            attempt = self.webhook.attempts.saturating_add(1),
            error,
            "a change set was not accepted by a webhook: {what}"
        );
    }
}

impl HeldLease<'_> {
    /// Extends the lease.
    async fn extend(&mut self) -> WorkerStep {
        let (asked, limits) = (Instant::now(), &self.dispatcher.limits);
        let webhooks = &self.dispatcher.webhooks;
        if !webhooks.extend_webhook_lease(&self.webhook.id, self.lease, limits.lease).await? {
            return Ok(ControlFlow::Break(WorkerEnd::NotOurs));
        }
        *self.extended_at = asked;
        Ok(ControlFlow::Continue(()))
    }
}

impl WebhookDispatcher {
    /// Sends a set; `None`: the server stops, and did not wait longer.
    async fn attempt(
        &self,
        webhook: &LeasedWebhook,
        item: &FeedItem,
        stop: &CancellationToken,
    ) -> Option<SendOutcome> {
        let limits = &self.limits;
        let body = body::of(&webhook.book, webhook.cursor, item, limits.files);
        let id = webhook.id.delivery(item.position.change);
        let stopped = async {
            stop.cancelled().await;
            sleep(limits.stop_grace).await;
        };
        tokio::select! {
            biased;
            outcome = self.sender.send(webhook, &id, body) => Some(outcome),
            () = stopped => None,
        }
    }
}
