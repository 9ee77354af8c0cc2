//! Time and ids, the two things the acts need that only the outside has.

use std::time::{Duration, Instant};

use panaversity_model::ports::World;
use uuid::Uuid;

/// The clock and the randomness of this machine.
#[derive(Debug)]
pub(crate) struct RealWorld {
    began: Instant,
}

impl RealWorld {
    /// A world whose time begins now.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now() }
    }
}

impl World for RealWorld {
    fn fresh_id(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }
}
