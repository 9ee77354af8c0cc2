//! Publications: the tree's backlog.
//!
//! # Protocol
//! 1. A commit marks each changed path pending, with the change's version, and takes the lease on
//!    it unless somebody holds one.
//! 2. The holder reads what the path holds now, puts or removes it in the tree, and settles by
//!    (path, version, lease). A version that moved on meanwhile stays pending.
//! 3. A file that takes longer than a lease lasts is put part by part. Its publisher prolongs the
//!    lease before it begins, by [`lease_for`] the size; a lease that was lost by then is left
//!    alone. Only the last request of such a put makes anything visible, and like any other it is
//!    sent once.
//! 4. A lease that ends without a definite answer keeps the path pending until it expires; any
//!    publisher may then claim it. If the answer never came although the request may still arrive,
//!    the lease begins anew: nothing else is put before it expires, so nothing else is overwritten.
//!    Whoever settles under a lease that was lost meanwhile makes the path pending again and takes
//!    the later lease over, to its end: the tree may hold the older bytes, and the later holder's
//!    may still be on their way.
//! 5. Where a put is not durable by itself (a folder), a settled path is kept as *published*
//!    until a clean point has made the folder durable; after an unclean stop it is pending again.

use std::time::Duration;

use crate::book::BookId;
use crate::ids::LeaseId;
use crate::layer::Layer;
use crate::path::BookPath;

/// How long a file of so many bytes may take to be put part by part. Whoever puts it gives up then.
/// On a line of 256 KiB a second it succeeds, and half of the time is left for what has to be sent
/// again.
pub fn time_to_put(size: u64) -> Duration {
    const BYTES_A_SECOND: u64 = 128 << 10;
    Duration::from_secs(20 + size.div_ceil(BYTES_A_SECOND))
}

/// How long a lease must last from the moment such a file is begun: the last request may still
/// arrive after its sender gave up, or is gone.
pub fn lease_for(size: u64) -> Duration {
    const LATE: Duration = Duration::from_secs(20);
    time_to_put(size) + LATE
}

/// A file of a layer of a book: what a chain, a publication and a journal row are about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey {
    /// The book.
    pub book: BookId,
    /// The path.
    pub path: BookPath,
    /// The layer.
    pub layer: Layer,
}

impl FileKey {
    /// Where it is published, below `books/`.
    pub fn location(&self) -> String {
        match &self.layer {
            Layer::Base => format!("{}/{}", self.book, self.path),
            Layer::Overlay(user) => format!("{}/users/{}/{}", self.book, user.as_str(), self.path),
        }
    }
}

/// A path this server holds the lease on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The file.
    pub key: FileKey,
    /// The version it is to be published at; a later one may be found.
    pub version: i64,
    /// The lease.
    pub lease: LeaseId,
}

/// What a publisher learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The tree holds what was read.
    Done,
    /// The storage said no, or nothing was asked of it; the path may be tried again at once.
    Failed,
    /// The storage did not answer: the tree may change at any moment until the lease ends anew.
    Unknown,
}

/// What settling a publication found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The path is published.
    Published,
    /// The path is still pending: it changed meanwhile, or the attempt failed.
    Pending,
}
