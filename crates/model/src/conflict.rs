//! Details of a conflict, from which a caller can tell what happened to the version it has read.

use crate::agent::AgentId;
use crate::merge::ConflictRegion;
use crate::timestamp::Timestamp;

/// How the current version of a file differs from the one that a caller expected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConflictDetails {
    /// The last change of the file.
    pub changed: Option<LastChange>,
    /// Unified diff from the expected version to the current one, if the expected one is a kept version of
    /// this file in this layer and the caller may read it.
    pub diff: Option<String>,
    /// Regions that a merge could not join, in order.
    pub regions: Vec<ConflictRegion>,
}

/// The last change of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastChange {
    /// Agent that made it.
    pub agent: AgentId,
    /// When it was made.
    pub at: Timestamp,
    /// Reason in the words of the agent.
    pub message: Option<String>,
}
