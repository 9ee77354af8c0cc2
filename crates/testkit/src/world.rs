//! A world for tests: real ids and a real clock, without the server around them.

use std::time::{Duration, Instant};

use panaversity_model::ports::World;
use uuid::Uuid;

/// Draws ascending ids that no other process draws, so that tests may share a database.
#[derive(Debug, Clone, Copy)]
pub struct TestWorld {
    start: Instant,
}

impl Default for TestWorld {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl TestWorld {
    /// A world that begins now.
    pub fn new() -> Self {
        Self::default()
    }
}

impl World for TestWorld {
    fn fresh_id(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}
