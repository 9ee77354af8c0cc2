//! Clock and id generator for services that tests start without a server around them.

use std::time::{Duration, Instant};

use panaversity_model::ports::{Clock, IdGenerator};
use uuid::Uuid;

/// Monotonic clock that starts at zero.
#[derive(Debug, Clone, Copy)]
pub struct TestClock {
    start: Instant,
}

impl Default for TestClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl TestClock {
    /// A clock at zero.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Clock for TestClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Generator of ascending ids that no other process generates, so that tests may share a database.
#[derive(Debug, Clone, Copy)]
pub struct TestIds;

impl IdGenerator for TestIds {
    fn new_id(&self) -> Uuid {
        Uuid::now_v7()
    }
}
