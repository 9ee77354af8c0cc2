//! The feed of changes: the change sets of a book's base, or of one view of it, in an order that never
//! changes. A reader goes on from the position of the last set that it has seen.
//!
//! # Order
//! 1. The changes of a set are committed at one time, which is later than all changes of its files before it.
//!    A set's position is that time and, of sets with the same time, its id. So positions are a total order
//!    that agrees with the history of every file, and a set is on one page whatever its size.
//! 2. A reading names only sets before a moment that no unseen change precedes (see [`delta`](crate::delta)).
//!    So no set ever appears before a position that was given: none is missed, and all readers get the same
//!    sequence.
//! 3. The audit log is read, which loses nothing; versions are forgotten by `gc`.
//!
//! Like all times of the journal it relies on the database's clock not being set back. A set that an earlier
//! release of this program wrote at several times is told once for each of them.

use std::fmt;

use uuid::Uuid;

use crate::audit::{AuditEntry, Operation};
use crate::change::message_in;
use crate::hash::ContentHash;
use crate::ids::ChangeId;
use crate::layer::Layer;
use crate::path::BookPath;
use crate::timestamp::Timestamp;

/// Position between two change sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedPosition {
    /// Time of the set before it.
    pub at: Timestamp,
    /// Id of that set.
    pub change: ChangeId,
}

/// A change set as its readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedItem {
    /// Its position: a reader goes on from here.
    pub position: FeedPosition,
    /// The layer that it changed.
    pub layer: Layer,
    /// Agent that made it.
    pub agent: String,
    /// Reason for it, in the words of its agent.
    pub message: Option<String>,
    /// The files that it changed, in path order.
    pub files: Vec<FeedFile>,
}

/// A file that a change set changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedFile {
    /// The file.
    pub path: BookPath,
    /// Operation as stored.
    pub operation: String,
    /// Hash of its content before; `None`: there was no file.
    pub old: Option<ContentHash>,
    /// Hash of its content after; `None`: it was deleted.
    pub new: Option<ContentHash>,
    /// Path from which it was moved.
    pub moved_from: Option<BookPath>,
}

/// A page of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPage {
    /// The sets, in the order of the feed.
    pub items: Vec<FeedItem>,
    /// Position from which to go on.
    pub next: FeedPosition,
    /// Whether there are more sets to read now.
    pub has_more: bool,
    /// Whether sets are committed that cannot be told yet, as one may still come before them.
    pub is_held_back: bool,
}

/// Version of the written form of a position.
const VERSION: &str = "1";

impl FeedPosition {
    /// The position before all change sets.
    pub fn start() -> Self {
        Self { at: Timestamp::default(), change: ChangeId::new(Uuid::nil()) }
    }

    /// The position before all change sets at or after a moment.
    pub fn before(moment: Timestamp) -> Self {
        Self { at: Timestamp::from_micros(moment.micros() - 1), change: ChangeId::new(Uuid::max()) }
    }

    /// Parses the form in which positions are displayed.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (version, at, change) = (parts.next()?, parts.next()?, parts.next()?);
        let is_whole = version == VERSION && parts.next().is_none() && at.len() <= 16 && change.len() == 32;
        let is_hex = [at, change].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if !is_whole || !is_hex {
            return None;
        }
        let at = Timestamp::from_micros(i64::from_str_radix(at, 16).ok()?);
        Some(Self { at, change: ChangeId::from_stored(change)? })
    }
}

/// A cursor: one word of ASCII letters, digits and dots.
impl fmt::Display for FeedPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change: String = self.change.to_string().chars().filter(|c| *c != '-').collect();
        write!(f, "{VERSION}.{:x}.{change}", self.at.micros())
    }
}

impl FeedItem {
    /// The set of these entries, which have one position; `None`: they are none of a change.
    pub fn of(position: FeedPosition, layer: Layer, entries: &[&AuditEntry]) -> Option<Self> {
        let first = entries.first()?;
        let message = entries.iter().find_map(|entry| message_in(entry.error_message.as_deref()?));
        let mut item = Self {
            position,
            layer,
            agent: first.agent_id.clone(),
            message: message.map(str::to_owned),
            files: Vec::new(),
        };
        // Ids ascend in the order of the changes.
        let mut entries = entries.to_vec();
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        let hash = |text: &Option<String>| text.as_deref().and_then(ContentHash::from_hex);
        let is_moved = |entry: &AuditEntry| entry.operation == Operation::Move.as_str();
        let gone = entries.iter().filter(|entry| is_moved(entry) && entry.new_content_hash.is_none());
        let mut gone: Vec<_> = gone.map(|entry| (hash(&entry.old_content_hash), &entry.path)).collect();
        for entry in &entries {
            let (old, new) = (hash(&entry.old_content_hash), hash(&entry.new_content_hash));
            let made = new.filter(|_| is_moved(entry) && old.is_none());
            let origin = made.and_then(|_| gone.iter().position(|(hash, _)| *hash == made));
            let moved_from = origin.and_then(|at| BookPath::parse(gone.remove(at).1).ok());
            let path = BookPath::parse(&entry.path).ok()?;
            item.files.push(FeedFile { path, operation: entry.operation.clone(), old, new, moved_from });
        }
        item.files.sort_by(|a, b| a.path.cmp(&b.path));
        Some(item)
    }

    /// The operations of its files, each once.
    pub fn operations(&self) -> Vec<&str> {
        let mut operations: Vec<&str> = self.files.iter().map(|file| file.operation.as_str()).collect();
        operations.sort_unstable();
        operations.dedup();
        operations
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::tests::draft;

    proptest! {
        #[test]
        fn a_position_reads_back_as_written_and_nothing_else_does(at in 0i64..253_402_300_799_999_999, id: u128, text in ".{0,60}") {
            let position =
                FeedPosition { at: Timestamp::from_micros(at), change: ChangeId::new(Uuid::from_u128(id)) };
            prop_assert_eq!(FeedPosition::parse(&position.to_string()), Some(position));
            if let Some(parsed) = FeedPosition::parse(&text) {
                prop_assert!(text.starts_with("1."), "{}", parsed);
            }
        }
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for text in [
            "",
            "1",
            "1.5",
            "2.5.00000000000000000000000000000000",
            "1.5.0",
            "1.-5.00000000000000000000000000000000",
            "1.fffffffffffffffff.00000000000000000000000000000000",
            "1.5.00000000000000000000000000000000.",
            "now",
        ] {
            assert_eq!(FeedPosition::parse(text), None, "{text}");
        }
        let moment = Timestamp::from_micros(7);
        let (before, first) =
            (FeedPosition::before(moment), FeedPosition { at: moment, change: ChangeId::new(Uuid::nil()) });
        assert!(FeedPosition::start() < before && before < first);
    }

    #[test]
    fn a_moved_file_names_its_origin_and_a_merge_the_message_alone() {
        let hash = ContentHash::of(b"x");
        let entry = |n, path: &str, operation, old, new, note: Option<String>| {
            let path = Some(BookPath::parse(path).unwrap());
            let draft = crate::audit::AuditDraft { operation, path, note, old, new, ..draft(n) };
            draft.seal(Timestamp::from_micros(5), None)
        };
        let merged = format!("merged {hash} and {hash}: tidy: up");
        let entries = [
            entry(4, "content/README.md", Operation::Write, Some(hash), Some(hash), Some(merged)),
            entry(2, "content/01-A/README.md", Operation::Move, None, Some(hash), None),
            entry(1, "content/02-B/README.md", Operation::Move, Some(hash), None, None),
        ];
        let item =
            FeedItem::of(FeedPosition::start(), Layer::Base, &entries.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(item.message.as_deref(), Some("tidy: up"));
        assert_eq!(item.operations(), ["MOVE", "WRITE"]);
        let from: Vec<_> =
            item.files.iter().map(|file| file.moved_from.as_ref().map(BookPath::as_str)).collect();
        assert_eq!(from, [Some("content/02-B/README.md"), None, None]);
    }
}
