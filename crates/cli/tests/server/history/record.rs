//! Records of operations: client, file, operation, outcome, and the times of request and answer.
//! Invariant: no two changes ever write the same content, so a content identifies the change that
//! wrote it.

use std::time::Duration;

/// A unique content, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Content(pub(super) u32);

impl Content {
    /// The bytes that are written.
    pub(super) fn text(self) -> String {
        format!("content {}\n", self.0)
    }

    /// Parses the content with this text.
    pub(super) fn of(text: &str) -> Option<Self> {
        text.strip_prefix("content ")?.trim_end().parse().ok().map(Self)
    }
}

/// Content of a file, or `None` if there is no file.
pub(super) type Held = Option<Content>;

/// An operation on a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Read,
    /// A change; from `None` it creates the file, to `None` it deletes it.
    Change {
        from: Held,
        to: Held,
    },
}

/// Outcome of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A read, or a change that was refused: the file's content, which was left unchanged.
    Found(Held),
    /// The change was acknowledged.
    Changed,
    /// A fault: nothing was read or changed.
    Failed,
    /// No answer: a change may happen at any later moment, or never.
    Unknown,
}

/// One operation on one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    pub(super) client: usize,
    pub(super) file: usize,
    pub(super) act: Action,
    pub(super) outcome: Outcome,
    /// Time of the request, since the history began.
    pub(super) asked: Duration,
    /// Time of the answer; of an unknown outcome, the time when the client gave up.
    pub(super) answered: Duration,
}

impl Operation {
    /// The change, if it was acknowledged.
    pub(super) fn acknowledged(&self) -> Option<(Held, Held)> {
        match (self.act, self.outcome) {
            (Action::Change { from, to }, Outcome::Changed) => Some((from, to)),
            _ => None,
        }
    }

    /// The change, if its outcome is unknown.
    pub(super) fn in_doubt(&self) -> Option<(Held, Held)> {
        match (self.act, self.outcome) {
            (Action::Change { from, to }, Outcome::Unknown) => Some((from, to)),
            _ => None,
        }
    }
}
