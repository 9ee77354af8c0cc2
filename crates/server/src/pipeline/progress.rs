//! How far a run is: a bar when stderr is a terminal, otherwise a line now and then. Invariant:
//! never anything on stdout, which carries results only.

use std::io::{IsTerminal, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::files;
use super::report::say;

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(5);
const MB: u64 = 1_000_000;

/// The progress of one phase.
pub(crate) struct Progress {
    doing: String,
    total: u64,
    bar: Option<ProgressBar>,
    unit: Unit,
    /// How much is done, and when that was last said.
    done: Mutex<(u64, Instant)>,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Files,
    Bytes,
}

impl Progress {
    /// Begins a phase of `total` files: `hydrate ai-python: fetching`.
    pub(crate) fn start(doing: String, total: usize) -> Self {
        let progress = Self::new(doing, total as u64, Unit::Files);
        if progress.bar.is_none() && total > 0 {
            say(&format!("{} {}", progress.doing, files(total)));
        }
        progress
    }

    /// Begins a phase of `total` bytes.
    pub(crate) fn of_bytes(doing: String, total: u64) -> Self {
        Self::new(doing, total, Unit::Bytes)
    }

    fn new(doing: String, total: u64, unit: Unit) -> Self {
        let bar = (total > 0 && stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(total);
            let template = match unit {
                Unit::Files => "{msg} [{bar:40}] {pos}/{len} {eta}",
                Unit::Bytes => "{msg} [{bar:40}] {bytes}/{total_bytes} {eta}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(doing.clone());
            bar
        });
        Self { doing, total, bar, unit, done: Mutex::new((0, Instant::now())) }
    }

    /// One more file is done.
    pub(crate) fn step(&self) {
        self.go(|done| done + 1);
    }

    /// So many bytes are done.
    pub(crate) fn at(&self, bytes: u64) {
        self.go(|_| bytes);
    }

    fn go(&self, on: impl FnOnce(u64) -> u64) {
        let Ok(mut done) = self.done.lock() else { return };
        done.0 = on(done.0);
        if let Some(bar) = &self.bar {
            bar.set_position(done.0);
        } else if done.1.elapsed() >= INTERVAL && done.0 < self.total {
            done.1 = Instant::now();
            say(&match self.unit {
                Unit::Files => format!("{}: {} of {}", self.doing, done.0, self.total),
                Unit::Bytes => format!("{}: {} of {} MB", self.doing, done.0 / MB, self.total.div_ceil(MB)),
            });
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
