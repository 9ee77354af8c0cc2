//! Deltas: the changes of a book since a moment, as seen by one view.
//!
//! # Completeness
//! A change gets its time before it is committed, so one that a reader cannot see yet may have an
//! earlier time than one that is visible. [`Delta::complete_until`] is therefore not the time of the
//! reading, but a moment no later than any change that the reading has not seen. A caller that queries
//! again from there misses nothing, but may receive a file twice. A later reading may give a slightly
//! earlier moment: on PostgreSQL a change that has read the clock but not yet taken its lock is invisible
//! to one reading and visible to the next. Its files get their times after the lock, so none is missed.
//!
//! This relies on the database's clock not being set back.
//!
//! # Overlays
//! A file of an overlay hides the base's, so a change of the base below it is no change to its owner.
//! When the overlay's file is deleted, the base is visible again: that is a change, to the base's file
//! or, if there is none, a deletion.

use crate::file::FileRecord;
use crate::layer::Layer;
use crate::path::BookPath;
use crate::timestamp::Timestamp;

/// A path at which a view has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedFile {
    /// The path.
    pub path: BookPath,
    /// Current state of the path in the view.
    pub now: Shown,
}

/// State of a path in a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// The file shown.
    File(FileRecord),
    /// No file any more.
    Gone {
        /// Time of the deletion.
        at: Timestamp,
        /// Layer whose file was deleted last.
        layer: Layer,
    },
}

/// Paths at which a view has changed since a moment, or a page of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// Changed paths, in path order.
    pub files: Vec<ChangedFile>,
    /// Number of changed paths from this page on.
    pub total: usize,
    /// Every change not included here has this time or a later one.
    pub complete_until: Timestamp,
}
