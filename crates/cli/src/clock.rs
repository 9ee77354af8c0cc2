//! System clock and id generator: time and randomness, which `model` and `service` receive as
//! dependencies.

use std::time::{Duration, Instant};

use panaversity_model::ports::{Clock, IdGenerator};
use uuid::Uuid;

/// Monotonic clock of this machine, starting at zero.
#[derive(Debug)]
pub(crate) struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock that starts at zero now.
    pub(crate) fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Generator of `UUIDv7` ids.
#[derive(Debug)]
pub(crate) struct UuidGenerator;

impl IdGenerator for UuidGenerator {
    fn new_id(&self) -> Uuid {
        Uuid::now_v7()
    }
}
