//! Publications: the backlog of changed paths to be copied to the published tree.
//!
//! # Protocol
//! 1. A commit marks each changed path pending, with the change's version, and acquires the lease on
//!    it unless another server has one.
//! 2. The lease holder reads the current content of the path, puts or removes it in the tree, and
//!    settles by (path, version, lease). A path with a newer version by then stays pending.
//! 3. A file that takes longer than a lease lasts is put part by part. Its publisher extends the
//!    lease before it begins, by [`lease_for`] the size; if the lease is lost by then, it does nothing.
//!    Only the last request of such a put makes anything visible, and like any other it is sent once.
//! 4. A lease that ends without a definite answer keeps the path pending until it expires; any
//!    publisher may then claim it. If there was no answer although the request may still arrive,
//!    the lease is renewed: nothing else is put before it expires, so nothing else is overwritten.
//!    A publisher that settles under a lease lost meanwhile makes the path pending again and takes
//!    over the later lease, with its end unchanged: the tree may have the older bytes, and the put of
//!    the later holder may still be in flight.
//! 5. Where a put is not durable by itself (a folder), a settled path is recorded as *published*
//!    until a clean point has made the folder durable; after an unclean stop it is pending again.

use std::time::Duration;

use crate::book::BookId;
use crate::ids::LeaseId;
use crate::layer::Layer;
use crate::path::BookPath;

/// Time limit for putting a file of this size part by part; its publisher gives up afterwards. It
/// suffices on a link of 256 KiB per second, with half of the time left for retries.
pub fn time_to_put(size: u64) -> Duration {
    const BYTES_A_SECOND: u64 = 128 << 10;
    Duration::from_secs(20 + size.div_ceil(BYTES_A_SECOND))
}

/// Duration of the lease from the moment such a put begins: the last request may still arrive after
/// its sender has given up or crashed.
pub fn lease_for(size: u64) -> Duration {
    const LATE: Duration = Duration::from_secs(20);
    time_to_put(size) + LATE
}

/// Key of a file: path in a layer of a book. Chains, publications and journal rows refer to it.
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
    /// Location where it is published, below `books/`.
    pub fn location(&self) -> String {
        match &self.layer {
            Layer::Base => format!("{}/{}", self.book, self.path),
            Layer::Overlay(user) => format!("{}/users/{}/{}", self.book, user.as_str(), self.path),
        }
    }
}

/// A path on which this server has the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The file.
    pub key: FileKey,
    /// Version it is to be published at; a later one may be found.
    pub version: i64,
    /// The lease.
    pub lease: LeaseId,
}

/// Result of an attempt to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The tree has the content that was read.
    Done,
    /// The storage refused, or no request was sent; the path may be retried at once.
    Failed,
    /// The storage did not answer: the tree may change at any moment until the renewed lease ends.
    Unknown,
}

/// Result of settling a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The path is published.
    Published,
    /// The path is still pending: it changed meanwhile, or the attempt failed.
    Pending,
}
