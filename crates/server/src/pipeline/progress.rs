//! How far a run is: a bar when stderr is a terminal, otherwise a line now and then. Invariant:
//! never anything on stdout, which carries results only.

use std::io::{IsTerminal, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::report::say;

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(5);

/// The progress of one phase.
pub(crate) struct Progress {
    doing: String,
    total: usize,
    bar: Option<ProgressBar>,
    /// Files done, and when that was last said.
    done: Mutex<(usize, Instant)>,
}

impl Progress {
    /// Begins a phase of `total` files: `hydrate ai-python: fetching`.
    pub(crate) fn start(doing: String, total: usize) -> Self {
        let bar = (total > 0 && stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(total as u64);
            if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len} {eta}") {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(doing.clone());
            bar
        });
        if bar.is_none() && total > 0 {
            say(&format!("{doing} {total} files"));
        }
        Self { doing, total, bar, done: Mutex::new((0, Instant::now())) }
    }

    /// One more file is done.
    pub(crate) fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
            return;
        }
        let Ok(mut done) = self.done.lock() else { return };
        done.0 += 1;
        if done.1.elapsed() >= INTERVAL && done.0 < self.total {
            done.1 = Instant::now();
            say(&format!("{}: {} of {}", self.doing, done.0, self.total));
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
