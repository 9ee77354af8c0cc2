//! The time of this server's machine, for what it signs and what browsers keep; the database's clock decides
//! everything that is stored.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use panaversity_model::Timestamp;

/// Now.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(0).after(since_epoch())
}

/// Now, in whole Unix seconds.
pub(crate) fn unix_now() -> u64 {
    since_epoch().as_secs()
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
