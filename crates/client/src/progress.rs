//! Progress of a run, reported to an observer such as a terminal or a log.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

/// Unit in which a phase counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Files.
    Files,
    /// Bytes.
    Bytes,
}

/// Observer of a run's phases. It is called from many tasks and must not block for long.
pub trait ProgressObserver: Debug + Send + Sync {
    /// Begins a phase of `total` units, such as `hydrate ai-python: fetching`. The phase ends when
    /// the returned value is dropped.
    fn begin(&self, phase: String, total: u64, unit: Unit) -> Box<dyn PhaseObserver>;
}

/// Observer of one phase.
pub trait PhaseObserver: Send + Sync {
    /// Reports the total number of units done so far.
    fn done(&self, units: u64);
}

/// Observer that shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl ProgressObserver for NoProgress {
    fn begin(&self, _: String, _: u64, _: Unit) -> Box<dyn PhaseObserver> {
        Box::new(Self)
    }
}

impl PhaseObserver for NoProgress {
    fn done(&self, _: u64) {}
}

/// A phase in progress, counted for its observer.
pub(crate) struct Progress {
    observer: Box<dyn PhaseObserver>,
    done: AtomicU64,
}

impl Progress {
    /// Begins a phase of `total` files.
    pub(crate) fn of_files(observer: &dyn ProgressObserver, phase: String, total: usize) -> Self {
        Self::new(observer.begin(phase, total as u64, Unit::Files))
    }

    /// Begins a phase of `total` bytes.
    pub(crate) fn of_bytes(observer: &dyn ProgressObserver, phase: String, total: u64) -> Self {
        Self::new(observer.begin(phase, total, Unit::Bytes))
    }

    fn new(observer: Box<dyn PhaseObserver>) -> Self {
        Self { observer, done: AtomicU64::new(0) }
    }

    /// Reports one more file as done.
    pub(crate) fn step(&self) {
        self.observer.done(self.done.fetch_add(1, Ordering::Relaxed) + 1);
    }

    /// Reports the total number of bytes done so far.
    pub(crate) fn at(&self, bytes: u64) {
        self.observer.done(bytes);
    }
}
