//! What is recorded of an operation: who asked what of which file, what came of it, and when it
//! was asked and answered. Invariant: no two changes ever write the same content, so a content
//! tells which change made it.

use std::time::Duration;

/// A content; its text is its own in every history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Content(pub(super) u32);

impl Content {
    /// The bytes that are written.
    pub(super) fn text(self) -> String {
        format!("content {}\n", self.0)
    }

    /// The content with this text.
    pub(super) fn of(text: &str) -> Option<Self> {
        text.strip_prefix("content ")?.trim_end().parse().ok().map(Self)
    }
}

/// What a file holds, or nothing.
pub(super) type Held = Option<Content>;

/// What is asked of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Read,
    /// Of nothing into something it is a creation, of something into nothing a deletion.
    Change {
        from: Held,
        to: Held,
    },
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A read, or a change that was refused: the file held this, and stayed as it was.
    Found(Held),
    /// The change was acknowledged.
    Changed,
    /// No answer: a change may happen at any later moment, or never.
    Unknown,
}

/// One operation on one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    pub(super) client: usize,
    pub(super) file: usize,
    pub(super) act: Act,
    pub(super) outcome: Outcome,
    /// Since the history began.
    pub(super) asked: Duration,
    /// When the outcome was there; of an unknown one, when it was given up.
    pub(super) answered: Duration,
}

impl Operation {
    /// The change that was acknowledged.
    pub(super) fn acknowledged(&self) -> Option<(Held, Held)> {
        match (self.act, self.outcome) {
            (Act::Change { from, to }, Outcome::Changed) => Some((from, to)),
            _ => None,
        }
    }

    /// The change that may have happened.
    pub(super) fn in_doubt(&self) -> Option<(Held, Held)> {
        match (self.act, self.outcome) {
            (Act::Change { from, to }, Outcome::Unknown) => Some((from, to)),
            _ => None,
        }
    }
}
