//! Detection of a server that stops answering, see [`super`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::database::error::{Sql, SqlError, is_lost_connection, is_read_only};

/// Tracks if the server answers.
pub(in crate::database) struct ConnectionMonitor {
    /// Longest time to wait for an answer.
    pub(super) patience: Duration,
    began: Instant,
    is_silent: AtomicBool,
    /// Time when a connection was last lost, in milliseconds since `began`; 0: never.
    lost_at: AtomicU64,
}

impl ConnectionMonitor {
    pub(super) fn new(patience: Duration) -> Self {
        let (is_silent, lost_at) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { patience, began: Instant::now(), is_silent, lost_at }
    }

    /// Waits for an answer of the server, within the limit.
    pub(super) async fn within<T>(&self, answer: impl Future<Output = Sql<T>>) -> Sql<T> {
        let Ok(result) = tokio::time::timeout(self.patience, answer).await else {
            self.set_silent();
            self.lost();
            return Err(SqlError::NoAnswer);
        };
        match &result {
            Err(error) if is_lost_connection(error) || is_read_only(error) => self.lost(),
            _ if self.is_silent() => self.is_silent.store(false, Ordering::Release),
            _ => {}
        }
        result
    }

    /// True if the server has not answered lately.
    pub(super) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Acquire)
    }

    pub(super) fn set_silent(&self) {
        self.is_silent.store(true, Ordering::Release);
    }

    /// Records that a connection was lost.
    pub(in crate::database) fn lost(&self) {
        self.lost_at.store(self.now(), Ordering::Release);
    }

    /// True if a connection made at this time was made after the last one was lost.
    pub(super) fn trusts(&self, made_at: Instant) -> bool {
        let lost_at = self.lost_at();
        lost_at == 0 || self.clock(made_at) > lost_at
    }

    /// Time when a connection was last lost; 0: never.
    pub(in crate::database) fn lost_at(&self) -> u64 {
        self.lost_at.load(Ordering::Acquire)
    }

    pub(in crate::database) fn now(&self) -> u64 {
        self.clock(Instant::now())
    }

    fn clock(&self, at: Instant) -> u64 {
        // At least 1: 0 means never.
        let elapsed = at.saturating_duration_since(self.began).as_millis();
        u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(1)
    }
}
