//! Progress of commands on stderr: a bar if stderr is a terminal, otherwise periodic lines of those that talk
//! to a server. Invariant: nothing is written to stdout, which carries results only.

use std::io::{IsTerminal, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use panaversity_client::progress::{PhaseObserver, ProgressObserver, Unit};

use crate::report::say;

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(5);
const MB: u64 = 1_000_000;

/// Progress on stderr.
#[derive(Debug)]
pub(crate) struct TerminalProgress;

impl ProgressObserver for TerminalProgress {
    fn begin(&self, phase: String, total: u64, unit: Unit) -> Box<dyn PhaseObserver> {
        if total > 0 && stderr().is_terminal() {
            return Box::new(Bar::new(phase, total, unit));
        }
        if total > 0 && unit == Unit::Files {
            say(&format!("{phase} {total} {}", if total == 1 { "file" } else { "files" }));
        }
        Box::new(Lines { phase, total, unit, said_at: Mutex::new(Instant::now()) })
    }
}

/// A progress bar, cleared when the phase ends.
struct Bar(ProgressBar);

impl Bar {
    fn new(phase: String, total: u64, unit: Unit) -> Self {
        let bar = ProgressBar::new(total);
        let template = match unit {
            Unit::Files => "{msg} [{bar:40}] {pos}/{len} {eta}",
            Unit::Bytes => "{msg} [{bar:40}] {bytes}/{total_bytes} {eta}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(phase);
        Self(bar)
    }
}

impl PhaseObserver for Bar {
    fn done(&self, units: u64) {
        self.0.set_position(units);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Progress of a command that works on the store itself: a bar where the end is known, else a count. Nothing if
/// stderr is no terminal, or a program reads the result.
pub(crate) struct MaintenanceProgress(ProgressBar);

impl MaintenanceProgress {
    pub(crate) fn new(hidden: bool) -> Self {
        let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Self(ProgressBar::with_draw_target(None, target))
    }

    /// True if somebody sees it.
    pub(crate) fn is_shown(&self) -> bool {
        !self.0.is_hidden()
    }

    /// Shows how many are done, and of how many if that is known.
    pub(crate) fn at(&self, phase: &'static str, done: u64, total: Option<u64>) {
        let (total, template) = match total {
            Some(total) => (total, "{msg} [{bar:40}] {pos}/{len} {eta}"),
            None => (0, "{msg} {pos}"),
        };
        if self.0.message() != phase {
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.0.set_style(style.progress_chars("=> "));
            }
            self.0.set_message(phase);
        }
        self.0.update(|state| {
            state.set_len(total.max(done));
            state.set_pos(done);
        });
    }

    /// Prints something without the bar in its line.
    pub(crate) fn beside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }
}

impl Drop for MaintenanceProgress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A line every [`INTERVAL`] until the phase is done.
struct Lines {
    phase: String,
    total: u64,
    unit: Unit,
    said_at: Mutex<Instant>,
}

impl PhaseObserver for Lines {
    fn done(&self, units: u64) {
        let Ok(mut said_at) = self.said_at.lock() else { return };
        if said_at.elapsed() < INTERVAL || units >= self.total {
            return;
        }
        *said_at = Instant::now();
        say(&match self.unit {
            Unit::Files => format!("{}: {units} of {}", self.phase, self.total),
            Unit::Bytes => format!("{}: {} of {} MB", self.phase, units / MB, self.total.div_ceil(MB)),
        });
    }
}
