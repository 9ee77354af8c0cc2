//! Makes the connections of the pool, and decides which are used again.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};

use super::connection::PostgresConnection;
use super::monitor::ConnectionMonitor;
use crate::database::error::{Sql, SqlError, is_not_yet_open};
use crate::database::failover::Failover;
use crate::limits::{CONNECTION_MAX_AGE, CONNECTION_MAX_IDLE};

/// Bounds of the pause between attempts to connect; it doubles.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Connects to the server that is in use.
pub(super) struct Connector {
    pub(super) failover: Arc<Failover>,
    pub(super) monitor: Arc<ConnectionMonitor>,
}

impl Manager for Connector {
    type Type = PostgresConnection;
    type Error = SqlError;

    /// Connects; repeatedly while the server is not yet open, for as long as the caller waits.
    async fn create(&self) -> Sql<PostgresConnection> {
        let (mut pause, longest) = PAUSES;
        loop {
            match self.failover.connect(&self.monitor).await {
                Err(error) if is_not_yet_open(&error) => tokio::time::sleep(pause).await,
                result => return result,
            }
            pause = (pause * 2).min(longest);
        }
    }

    async fn recycle(
        &self,
        connection: &mut PostgresConnection,
        metrics: &Metrics,
    ) -> RecycleResult<SqlError> {
        let is_fresh = metrics.age() < CONNECTION_MAX_AGE && metrics.last_used() < CONNECTION_MAX_IDLE;
        if is_fresh && self.trusts(connection) { Ok(()) } else { Err(RecycleError::message("outdated")) }
    }
}

impl Connector {
    /// True if a connection is open and not from before the last loss of one.
    pub(super) fn trusts(&self, connection: &PostgresConnection) -> bool {
        !connection.is_closed() && self.monitor.trusts(connection.made_at)
    }
}
