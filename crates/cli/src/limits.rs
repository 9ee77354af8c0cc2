//! Limits and times of a runtime that no setting sets. `config check` shows them.

use std::time::Duration;

use panaversity_server::{KeyTimes, WebhookLimits};
use panaversity_service::limits::TaskTimes;
use panaversity_store::limits::BucketLimits;

/// Limits and times of a runtime that no setting sets. Tests shorten those that they wait for.
#[derive(Debug, Clone, Default)]
pub struct RuntimeLimits {
    /// Limits of the bucket, if the storage is one.
    pub bucket: BucketLimits,
    /// Times of the background tasks.
    pub tasks: TaskTimes,
    /// Times of reading the store's keys.
    pub keys: KeyTimes,
    /// Limits and times of the webhooks.
    pub webhooks: Box<WebhookLimits>,
    /// Pauses of the start, while an engine is not up yet.
    pub start_pauses: StartPauses,
}

/// Pauses between the tries of a start: the first, and the longest that they double to.
#[derive(Debug, Clone, Copy)]
pub struct StartPauses {
    /// First pause.
    pub shortest: Duration,
    /// Longest pause.
    pub longest: Duration,
}

impl Default for StartPauses {
    fn default() -> Self {
        Self { shortest: Duration::from_millis(500), longest: Duration::from_secs(5) }
    }
}

impl StartPauses {
    /// Name and value of each pause, as an operator reads them.
    pub(crate) fn shown(self) -> Vec<(&'static str, String)> {
        let milliseconds = |pause: Duration| format!("{} ms", pause.as_millis());
        vec![
            ("first pause of a start that waits", milliseconds(self.shortest)),
            ("longest pause of a start that waits", milliseconds(self.longest)),
        ]
    }
}
