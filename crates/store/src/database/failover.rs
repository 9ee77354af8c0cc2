//! Failover between the servers of a PostgreSQL URL. They are tried in their order; the first that
//! accepts the connection and is of the required kind (`target_session_attrs`) is used until a
//! connection to it is lost. Then they are tried again from the first on.
//!
//! Invariant: every connection of the pool was made to a server of the required kind. A server whose
//! kind changes is detected by its next refusal to write.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::error::{Sql, SqlError, is_transient};
use super::postgres::connection::{ConnectionSetup, PostgresConnection};
use super::postgres::monitor::ConnectionMonitor;
use super::url::postgres::{ConnectOptions, TargetSession};

/// Bounds of the connect timeout per server if there are several and the URL gives none.
const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(10);

/// Servers of a URL.
pub(super) struct Servers {
    /// Connection options with the display name of each server.
    candidates: Vec<(String, ConnectOptions)>,
    setup: ConnectionSetup,
    target: TargetSession,
    /// Connect timeout per server.
    limit: Duration,
}

impl Servers {
    /// `timeout` is the limit for all of them together, `limit` for each.
    pub(super) fn new(
        candidates: Vec<(String, ConnectOptions)>,
        setup: ConnectionSetup,
        target: TargetSession,
        timeout: Duration,
        limit: Option<Duration>,
    ) -> Self {
        let share = match u32::try_from(candidates.len()) {
            Ok(several @ 2..) => (timeout / several).clamp(SHORTEST, LONGEST),
            _ => timeout,
        };
        Self { candidates, setup, target, limit: limit.map_or(share, |limit| limit.min(timeout)) }
    }

    /// Connects to the first suitable server; returns its index too. A permanent refusal, such as a wrong
    /// password, ends the search, as in libpq.
    pub(super) async fn connect(&self) -> Sql<(PostgresConnection, usize)> {
        let passes: &[TargetSession] = match self.target {
            TargetSession::PreferStandby => &[TargetSession::Standby, TargetSession::Any],
            ref target => std::slice::from_ref(target),
        };
        let mut reasons = Vec::new();
        for target in passes {
            reasons.clear();
            for (index, (name, options)) in self.candidates.iter().enumerate() {
                let attempt = async {
                    let connection = PostgresConnection::open(options, &self.setup).await?;
                    check(&connection, *target).await?;
                    Ok(connection)
                };
                let result = tokio::time::timeout(self.limit, attempt).await;
                match result.unwrap_or(Err(SqlError::NoConnection)) {
                    Ok(connection) => return Ok((connection, index)),
                    Err(error) if self.candidates.len() == 1 || !is_transient(&error) => return Err(error),
                    Err(SqlError::NoConnection) => reasons.push(format!("{name}: no answer in time")),
                    Err(error) => reasons.push(format!("{name}: {error}")),
                }
            }
        }
        let all = format!("none of the servers will do: {}", reasons.join("; "));
        Err(io::Error::new(io::ErrorKind::NotConnected, all).into())
    }
}

/// Checks that the server of a connection is of the required kind.
async fn check(connection: &PostgresConnection, target: TargetSession) -> Sql<()> {
    if matches!(target, TargetSession::Any | TargetSession::PreferStandby) {
        return Ok(());
    }
    let state = "SELECT pg_catalog.pg_is_in_recovery(), \
                 pg_catalog.current_setting('default_transaction_read_only') = 'on'";
    let row = connection.text_row(state).await?;
    let (is_standby, is_read_only) = (row.try_get(0)? == Some("t"), row.try_get(1)? == Some("t"));
    let is_read_only = is_standby || is_read_only;
    let (fits, found) = match target {
        TargetSession::ReadWrite => (!is_read_only, "it is read-only"),
        TargetSession::ReadOnly => (is_read_only, "it is not read-only"),
        TargetSession::Primary => (!is_standby, "it is a standby"),
        TargetSession::Standby => (is_standby, "it is no standby"),
        TargetSession::Any | TargetSession::PreferStandby => (true, ""),
    };
    if fits { Ok(()) } else { Err(io::Error::new(io::ErrorKind::NotConnected, found).into()) }
}

/// Chooses the server that the pool connects to.
pub(super) struct Failover {
    servers: Servers,
    /// Index of the server in use, and when it was chosen, by the monitor's clock.
    used: AtomicUsize,
    chosen_at: AtomicU64,
    /// Locked during the search for another server.
    looking: Mutex<()>,
}

impl Failover {
    /// `used` is the index of the server chosen first.
    pub(super) fn new(servers: Servers, used: usize) -> Self {
        Self { servers, used: AtomicUsize::new(used), chosen_at: AtomicU64::new(0), looking: Mutex::new(()) }
    }

    /// False if there is one server, and its kind does not matter.
    pub(super) fn has_choice(&self) -> bool {
        self.servers.candidates.len() > 1 || self.servers.target != TargetSession::Any
    }

    /// True if a connection was lost since the server was chosen.
    pub(super) fn is_due(&self, monitor: &ConnectionMonitor) -> bool {
        self.has_choice() && monitor.lost_at() > self.chosen_at.load(Ordering::Acquire)
    }

    /// Connects to the server in use, and checks that it still is of the required kind.
    pub(super) async fn connect(&self, monitor: &ConnectionMonitor) -> Sql<PostgresConnection> {
        self.connect_as(monitor, &self.servers.setup).await
    }

    /// The same, with a connection of another kind than those of the pool.
    pub(super) async fn connect_as(
        &self,
        monitor: &ConnectionMonitor,
        setup: &ConnectionSetup,
    ) -> Sql<PostgresConnection> {
        let Servers { candidates, target, limit, .. } = &self.servers;
        let (_, options) = &candidates[self.used.load(Ordering::Acquire)];
        let attempt = async {
            let connection = PostgresConnection::open(options, setup).await?;
            check(&connection, *target).await.inspect_err(|_| monitor.lost())?;
            Ok(connection)
        };
        tokio::time::timeout(*limit, attempt).await.unwrap_or(Err(SqlError::NoConnection))
    }

    /// Searches for the server to use from now on, in a separate task: the search continues if its caller
    /// is cancelled. Only one runs at a time; other callers wait for its result.
    pub(super) fn look(self: &Arc<Self>, monitor: &Arc<ConnectionMonitor>) -> JoinHandle<()> {
        let (this, monitor) = (self.clone(), monitor.clone());
        tokio::spawn(async move {
            let Ok(_alone) = this.looking.try_lock() else {
                drop(this.looking.lock().await);
                return;
            };
            let began = monitor.now();
            // If none is suitable, the caller gets the error from the pool.
            let Ok((_, index)) = this.servers.connect().await else { return };
            this.chosen_at.store(began, Ordering::Release);
            if this.used.swap(index, Ordering::AcqRel) != index {
                let server = &this.servers.candidates[index].0;
                tracing::warn!(target: "panaversity_fs.database", server, "the database is another server now");
            }
        })
    }
}
