//! Garbage collection of unreferenced blobs, safe against concurrent writers of the same blob. Keeps I9
//! against `gc`.
//!
//! # References
//! A blob is kept by the rows of the versions. The newest version of a file is never deleted, so the
//! content of every file is kept; an older one is deleted when it was superseded longer ago than the
//! retention, unless a kept manifest or an unexpired link to an archive names it. This is recorded as a
//! pin in the version's row, by `gc` for the manifests before it deletes anything, and by the creator
//! of a link before the link is returned. A pin is only ever extended.
//!
//! # Why no linked version is lost
//! The creator of a link pins the versions first, and then checks that they exist with the pin; a
//! version is deleted only by a statement that checks the pin of the very row it deletes, after it
//! acquired that row's lock. So either the deletion was first, and the check finds nothing, or the pin
//! was, and the deletion leaves the row.
//!
//! # Protocol
//! A blob's row has a state, a *staging* (an id that is drawn anew whenever the row becomes live, by
//! insertion or from *condemned*), and two guards in the database's time: the time until which a writer
//! that staged it is protected from `gc`, and the time until which a `gc` that condemned it is
//! protected from writers.
//!
//! 1. **Stage.** A writer upserts the row to *live*, touches it, guards it for an hour, and receives its
//!    staging; then it puts the object, always. While a `gc` guards the row the writer has to wait.
//!    The object of a row that is marked missing or corrupt is put before that as well, so that the
//!    row is live only when its bytes are right; instead of putting it once more the writer may
//!    check, after staging, that it still exists: from then on no deletion may take effect.
//! 2. **Commit.** The transaction locks the row and refuses unless it is live *and has the staging
//!    that the writer received*; it touches the row and removes the writers' guard. After such a
//!    refusal the writer stages again.
//! 3. **Condemn.** `gc` locks rows that nobody has locked, and after that, in a separate statement,
//!    condemns those that no version names, that were not touched for the retention time and that no
//!    guard protects; it guards them for half a minute, and commits durably. An object without a row
//!    gets a condemned row in the same way.
//! 4. **Delete.** Within the first five seconds of its guard `gc` requests the deletion of the object,
//!    once: if repeated, one deletion could take effect after the other was answered. A storage answers
//!    within twenty seconds, with no later effect; no answer counts as no definite one.
//! 5. **Purge.** `gc` deletes the row if it is still condemned under the same guard. Without a
//!    definite answer in 4 it leaves the row: when the guard has ended, another `gc` condemns it
//!    again, or a writer revives it.
//! 6. **Rescue.** A `gc` that was suspended beyond its guard between 4 and 5 detects it in 5: the row
//!    is no longer its own. If the object is deleted, it marks the row missing, so that nobody commits
//!    to it, and puts the object again from the published copy of a file with this content.
//!
//! # Why no live blob is lost
//! Let W write bytes whose row a `gc` G condemns. Deletions carry no condition, so all depends on
//! when one may take effect: only while the row is condemned under G's guard (4); 6 repairs the one
//! exception.
//! - *W stages before 3, commits before 3*: a version names the blob, and 3 sees it, because it
//!   checks after it acquired the lock that W's commit had.
//! - *W stages before 3, commits after*: within the hour 3 leaves the row alone. If the guard was
//!   removed meanwhile by another writer's commit, or has ended, the row is condemned or deleted or of
//!   a later staging when W commits: 2 refuses, W stages and puts again. Nothing was acknowledged.
//! - *W stages between 3 and 5*: W waits until 5 is done, or until the guard has ended and with it
//!   any deletion; then it stages and puts after the deletion.
//! - *W stages before 3, puts after 4, and X stages after 5*: the row is live, X's object may not
//!   be put yet, and W's may or may not be the one that was deleted. The staging is X's, so 2
//!   refuses W.
//! - *The bytes are committed inline instead*: the commit includes them and makes the row live with no
//!   staging; G's guard stays, so a writer of an object still waits; G's 5 finds the row live and
//!   only removes its guard.
//! - *G crashes after 3 or 4*: the guard ends; the row is condemned, nothing names it.
//! - *Two `gc`s*: the second skips rows guarded by the first.
//! - *Power is lost after 4*: 3 was durable, and with it everything committed before it.

use std::time::Duration;

use crate::book::BookId;
use crate::hash::ContentHash;
use crate::ids::StagingId;
use crate::timestamp::Timestamp;

/// Duration of the writers' guard on a staged blob that nobody has committed to.
pub const STAGED_FOR: Duration = Duration::from_hours(1);
/// Duration of the guard of `gc` on a condemned blob.
pub const CONDEMNED_FOR: Duration = Duration::from_secs(30);
/// Time after condemnation within which the deletion of a blob's object may be requested.
pub const DELETED_WITHIN: Duration = Duration::from_secs(5);

/// Result of staging a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staged {
    /// The row is live, with this staging: put the object and commit.
    Ready(StagingId),
    /// `gc` is deleting the object: retry a moment later.
    BeingDeleted,
}

/// A blob condemned and guarded by `gc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condemned {
    /// The blob.
    pub hash: ContentHash,
    /// Size in bytes before compression.
    pub size: u64,
    /// True if it has, or may have, an object.
    pub in_object: bool,
    /// End of the guard against writers; also identifies this guard.
    pub until: Timestamp,
}

/// A batch of condemned blobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CondemnedBatch {
    /// Condemned blobs, in order of their hashes.
    pub condemned: Vec<Condemned>,
    /// Hash after which to continue; `None`: all were examined.
    pub next: Option<ContentHash>,
}

/// Result of purging the row of a condemned blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeOutcome {
    /// The row was deleted.
    Purged,
    /// The bytes were committed inline meanwhile; the row stays.
    Revived,
    /// The guard had ended and the row was claimed by another process.
    TooLate,
}

/// A manifest that is still kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptManifest {
    /// Book of the manifest.
    pub book: BookId,
    /// Manifest hash.
    pub hash: ContentHash,
    /// Time it was last named.
    pub named_at: Timestamp,
    /// Encoded form.
    pub encoded: Vec<u8>,
}

/// Cutoff times of the retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionCutoffs {
    /// Versions superseded, and blobs touched, at or before this time are eligible.
    pub unused_since: Timestamp,
    /// Manifests last named at or before this time are eligible.
    pub unnamed_since: Timestamp,
}

/// Estimate of what a `gc` would delete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcEstimate {
    /// Number of manifests.
    pub manifests: u64,
    /// Number of versions.
    pub versions: u64,
    /// Number of blobs.
    pub blobs: u64,
    /// Total size of these blobs in bytes, before compression.
    pub bytes: u64,
}
