//! Limits of a server: sizes, timeouts, and how much happens at once.

use std::time::Duration;

/// Connections at once, where the process may open enough files.
const MOST_CONNECTIONS: usize = 10_000;
/// Descriptors that are left to the database, the storage and the log.
const OTHER_DESCRIPTORS: usize = 256;

/// Limits of connections. Whatever is beyond them, a client that reads and writes at a sensible pace
/// is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at once.
    pub total: usize,
    /// Connections at once from one address: half of all, as a load balancer is one address.
    pub per_address: usize,
    /// Longest time for the head of a request, from the start of a new connection or from the head's
    /// first byte.
    pub header_timeout: Duration,
    /// Longest time between two requests of a connection. Longer than the minute that load balancers
    /// keep idle connections, so that they close first.
    pub idle_timeout: Duration,
    /// Longest time that a client may read nothing of a response that waits for it.
    pub write_timeout: Duration,
}

impl ConnectionLimits {
    /// The limits of a process that may have so many descriptors open.
    pub fn for_descriptors(descriptors: usize) -> Self {
        let total = descriptors.saturating_sub(OTHER_DESCRIPTORS).clamp(64, MOST_CONNECTIONS);
        Self {
            total,
            per_address: total / 2,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
        }
    }
}
