//! State of the background verifier.

use std::collections::BTreeMap;
use std::time::Duration;

use panaversity_model::Timestamp;
use panaversity_model::audit::ChainKey;
use panaversity_model::chain::ChainError;

/// State of the background verifier.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// End of its last round.
    pub checked_at: Option<Timestamp>,
    /// End of the last full pass, by the monotonic clock.
    pub full_pass_at: Option<Duration>,
    /// Known breaks, by chain.
    pub breaks: BTreeMap<ChainKey, ChainError>,
}
