//! What of a book has changed since a moment, as one view shows it.
//!
//! # Nothing is missed
//! A change has its time before it is committed, so one that a reader cannot see yet may have an
//! earlier time than one that they can. [`Delta::complete_until`] is therefore not the time of the
//! reading: it is a moment that no change which the reading has not seen will ever precede. Who
//! asks again from there misses nothing, and may be told of a file twice.
//!
//! This trusts the database's clock not to be set back.
//!
//! # What a view shows
//! A file of an overlay hides the base's, so a change of the base below it is none to its owner.
//! When the overlay's file goes, the base shows again: that is a change, to the base's file or,
//! if there is none, to nothing.

use crate::file::FileRecord;
use crate::layer::Layer;
use crate::path::BookPath;
use crate::timestamp::Timestamp;

/// A path at which a view has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedFile {
    /// The path.
    pub path: BookPath,
    /// What the view shows there now.
    pub now: Shown,
}

/// What a view shows at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// This file.
    File(FileRecord),
    /// Nothing any more.
    Gone {
        /// Since when.
        at: Timestamp,
        /// The layer whose file went last.
        layer: Layer,
    },
}

/// The paths at which a view has changed since a moment, or a page of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// In path order.
    pub files: Vec<ChangedFile>,
    /// How many there are from this page on.
    pub total: usize,
    /// Every change that is not in here has this time or a later one.
    pub complete_until: Timestamp,
}
