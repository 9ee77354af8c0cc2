//! In-memory stores, with injected faults and without, which the checker must distinguish.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::clients::{CLIENTS, FILES, Store};
use super::random_below;
use super::record::{Action, Held, Outcome};

/// Lifetime of an entry in the read cache.
const CACHED_FOR: Duration = Duration::from_millis(20);
/// As many as real servers.
const SERVERS: usize = 3;

/// Injected fault of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Nothing,
    /// The precondition is checked before the lock is taken.
    ChecksOutsideTheLock,
    /// Each server answers reads from a short-lived cache.
    CachesReads,
    /// Some answers are lost, whether or not the change was applied.
    LosesAnswers,
}

/// A store in memory.
pub(super) struct Planted {
    fault: Fault,
    files: Mutex<[Held; FILES]>,
    caches: Mutex<HashMap<(usize, usize), (Instant, Held)>>,
}

impl Planted {
    pub(super) fn with(fault: Fault) -> Self {
        Self { fault, files: Mutex::default(), caches: Mutex::default() }
    }

    fn read(&self, file: usize) -> Held {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)[file]
    }

    fn read_through_cache(&self, server: usize, file: usize) -> Held {
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (Instant::now(), self.read(file));
        let kept = caches.entry((server, file)).or_insert(now);
        if kept.0.elapsed() > CACHED_FOR {
            *kept = now;
        }
        kept.1
    }

    /// Checks and changes atomically.
    fn change(&self, file: usize, from: Held, to: Held) -> Outcome {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if files[file] != from {
            return Outcome::Found(files[file]);
        }
        files[file] = to;
        Outcome::Changed
    }
}

/// Simulates the latency of a network.
async fn travel() {
    tokio::time::sleep(Duration::from_micros(100 * u64::try_from(random_below(10)).unwrap())).await;
}

impl Store for Planted {
    async fn perform(&self, client: usize, file: usize, act: Action) -> Outcome {
        travel().await;
        let outcome = match act {
            Action::Read if self.fault == Fault::CachesReads => {
                Outcome::Found(self.read_through_cache(random_below(SERVERS), file))
            }
            Action::Read => Outcome::Found(self.read(file)),
            Action::Change { from, to } if self.fault == Fault::ChecksOutsideTheLock => {
                let found = self.read(file);
                if found == from {
                    travel().await;
                    self.files.lock().unwrap_or_else(PoisonError::into_inner)[file] = to;
                    Outcome::Changed
                } else {
                    Outcome::Found(found)
                }
            }
            Action::Change { from, to }
                if self.fault == Fault::LosesAnswers && random_below(CLIENTS) == 0 =>
            {
                if client.is_multiple_of(2) {
                    self.change(file, from, to);
                }
                Outcome::Unknown
            }
            Action::Change { from, to } => self.change(file, from, to),
        };
        travel().await;
        outcome
    }
}
