//! Troubles of a bucket, and which requests they affect.

use std::time::Duration;

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The request is refused with 503 `SlowDown`; nothing was done.
    Busy,
    /// The answer is delayed.
    Slow(Duration),
    /// The answer breaks off in the middle of its body, if it has one.
    Cut,
    /// The request is applied, and the answer is 500.
    AppliedThenError,
    /// The connection ends without an answer; nothing was done.
    Gone,
    /// No answer is ever sent; nothing was done.
    Silent,
    /// Listings show the content at the start of the trouble.
    Stale,
}

/// Selection of the affected requests.
#[derive(Default)]
pub(super) struct OutagePlan {
    trouble: Option<Trouble>,
    every: u32,
    completing_only: bool,
    seen: u32,
    troubled: u32,
}

impl OutagePlan {
    pub(super) fn new(trouble: Trouble, every: u32) -> Self {
        Self { trouble: Some(trouble), every: every.max(1), ..Self::default() }
    }

    pub(super) fn completing(trouble: Trouble) -> Self {
        Self { completing_only: true, ..Self::new(trouble, 1) }
    }

    /// Counts a request and returns its trouble, if it has one. `completes` is true for one that
    /// completes a multipart upload.
    pub(super) fn next(&mut self, completes: bool) -> Option<Trouble> {
        let trouble = self.trouble.filter(|_| completes || !self.completing_only)?;
        self.seen += 1;
        let hit = self.seen.is_multiple_of(self.every);
        self.troubled += u32::from(hit);
        hit.then_some(trouble)
    }

    pub(super) fn troubled(&self) -> u32 {
        self.troubled
    }
}
