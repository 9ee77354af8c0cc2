//! Garbage: blobs that nothing names any more, and how they go away without ever taking one along
//! that is being written. Keeps I9 against `gc`.
//!
//! # What holds a blob
//! A row of the versions. The newest version of a file is never let go, so every file holds what
//! it shows; an older one is let go when it was superseded longer ago than the retention, unless
//! a kept manifest or an unexpired link to an archive names it. That is noted in the row, by `gc`
//! for the manifests before it lets anything go, and by whoever makes a link before he gives it
//! away. A note is only ever made longer.
//!
//! # Why no linked version is lost
//! Who makes a link notes until when, and then looks whether the versions are there with the note;
//! a version is let go only by a statement that looks at the note of the very row it deletes, after
//! it got that row's lock. So either the deletion was first, and the look finds nothing, or the
//! note was, and the deletion leaves the row.
//!
//! # Protocol
//! A blob's row has a state, a *staging* (an id that is drawn anew whenever the row comes to life,
//! by insertion or out of *condemned*), and two guards in the database's time: until when a writer
//! who staged it is left alone, and until when a `gc` that condemned it is.
//!
//! 1. **Stage.** A writer upserts the row to *live*, touches it, guards it for an hour, and is told
//!    its staging; then it puts the object, always. While a `gc` guards the row it is told to wait.
//!    The object of a row that is marked missing or corrupt is put before that as well, so that the
//!    row is live only when its bytes are right; instead of putting it once more the writer may
//!    look, after staging, whether it is still there: from then on no deletion may land.
//! 2. **Commit.** The transaction locks the row and refuses unless it is live *and of the staging
//!    the writer was told*; it touches the row and lifts the writers' guard. Refused so, the writer
//!    stages again.
//! 3. **Condemn.** `gc` locks rows that nobody has locked, and after that, in a statement of its
//!    own, condemns those that no version names, that were not touched for the retention time and
//!    that no guard protects; it guards them for half a minute, and commits durably. An object
//!    without a row gets a condemned row in the same way.
//! 4. **Delete.** Within the first five seconds of its guard `gc` asks for the object to be
//!    deleted, once: repeated, one deletion could land after the other was answered. A storage
//!    answers within twenty, and does nothing later; no answer is no definite one.
//! 5. **Bury.** `gc` removes the row if it is still condemned under the same guard. Without a
//!    definite answer in 4 it leaves the row: when the guard has ended, another `gc` condemns it
//!    again, or a writer takes it over.
//! 6. **Rescue.** A `gc` that slept through its guard between 4 and 5 learns so in 5: the row is
//!    not its own any more. If the object is gone, it marks the row missing, so that nobody commits
//!    to it, and puts the object again from the published copy of a file that holds it.
//!
//! # Why no live blob is lost
//! Let W write bytes whose row a `gc` G condemns. Deletions carry no condition, so all depends on
//! when one may land: only while the row is condemned under G's guard (4); 6 mends the one exception.
//! - *W stages before 3, commits before 3*: a version names the blob, and 3 sees it, because it
//!   looks after it got the lock that W's commit held.
//! - *W stages before 3, commits after*: within the hour 3 leaves the row alone. If the guard was
//!   lifted meanwhile by another writer's commit, or has ended, the row is condemned or gone or of
//!   a later staging when W commits: 2 refuses, W stages and puts again. Nothing was acknowledged.
//! - *W stages between 3 and 5*: W waits until 5 is done, or until the guard has ended and with it
//!   any deletion; then it stages and puts after the deletion.
//! - *W stages before 3, puts after 4, and X stages after 5*: the row is live, X's object may not
//!   be put yet, and W's may or may not be the one that was deleted. The staging is X's, so 2
//!   refuses W.
//! - *The bytes come inline instead*: the commit brings them along and makes the row live with no
//!   staging; G's guard stays, so a writer of an object still waits; G's 5 finds the row live and
//!   only lifts its guard.
//! - *G dies after 3 or 4*: the guard ends; the row is condemned, nothing names it.
//! - *Two `gc`s*: the second skips what the first guards.
//! - *The power goes after 4*: 3 was durable, and with it everything committed before it.

use std::time::Duration;

use crate::book::BookId;
use crate::hash::ContentHash;
use crate::ids::StagingId;
use crate::timestamp::Timestamp;

/// How long `gc` leaves a staged blob alone that nobody has committed to.
pub const STAGED_FOR: Duration = Duration::from_hours(1);
/// How long writers leave a condemned blob alone.
pub const CONDEMNED_FOR: Duration = Duration::from_secs(30);
/// How long after it was condemned a blob's object may still be asked to be deleted.
pub const DELETED_WITHIN: Duration = Duration::from_secs(5);

/// What staging a blob found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staged {
    /// The row is live, of this staging: put the object and commit.
    Ready(StagingId),
    /// `gc` is deleting the object: ask again a moment later.
    BeingDeleted,
}

/// A blob that `gc` has condemned and guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condemned {
    /// The blob.
    pub hash: ContentHash,
    /// Its bytes before compression.
    pub size: u64,
    /// It has, or may have, an object.
    pub in_object: bool,
    /// Until when writers leave it alone; also tells this guard from any other.
    pub until: Timestamp,
}

/// Some condemned blobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CondemnedBatch {
    /// In order of their hashes.
    pub condemned: Vec<Condemned>,
    /// After which hash to go on; `None`: all were looked at.
    pub next: Option<ContentHash>,
}

/// What became of a condemned blob's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeOutcome {
    /// It is gone.
    Purged,
    /// A commit brought the bytes inline meanwhile; the row stays.
    Revived,
    /// The guard had ended and somebody else took the row.
    TooLate,
}

/// A manifest that is still kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptManifest {
    /// Its book.
    pub book: BookId,
    /// Its hash.
    pub hash: ContentHash,
    /// When it was last named.
    pub named_at: Timestamp,
    /// Its kept form.
    pub encoded: Vec<u8>,
}

/// How old what goes away must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionCutoffs {
    /// Versions superseded, and blobs touched, no later than this.
    pub unused_since: Timestamp,
    /// Manifests last named no later than this.
    pub unnamed_since: Timestamp,
}

/// What a `gc` would let go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcEstimate {
    /// Manifests.
    pub manifests: u64,
    /// Versions.
    pub versions: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes of these blobs before compression.
    pub bytes: u64,
}
