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

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Row};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::postgres::ConnectionMonitor;
use super::url::postgres::TargetSession;
use super::{Sql, is_transient};

/// Bounds of the connect timeout per server if there are several and the URL gives none.
const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(10);

/// Servers of a URL.
pub(super) struct Servers {
    /// Connection options with the display name of each server.
    candidates: Vec<(String, PgConnectOptions)>,
    target: TargetSession,
    /// Connect timeout per server.
    limit: Duration,
}

impl Servers {
    /// `timeout` is the limit for all of them together, `limit` for each.
    pub(super) fn new(
        candidates: Vec<(String, PgConnectOptions)>,
        target: TargetSession,
        timeout: Duration,
        limit: Option<Duration>,
    ) -> Self {
        let share = match u32::try_from(candidates.len()) {
            Ok(several @ 2..) => (timeout / several).clamp(SHORTEST, LONGEST),
            _ => timeout,
        };
        Self { candidates, target, limit: limit.map_or(share, |limit| limit.min(timeout)) }
    }

    /// True if there is no choice: one server, of any kind.
    pub(super) fn is_one(&self) -> bool {
        self.candidates.len() == 1 && self.target == TargetSession::Any
    }

    /// Connects to the first suitable server; returns its index too. A permanent refusal, such as a wrong
    /// password, ends the search, as in libpq.
    pub(super) async fn connect(&self) -> Sql<(PgConnection, usize)> {
        let passes: &[TargetSession] = match self.target {
            TargetSession::PreferStandby => &[TargetSession::Standby, TargetSession::Any],
            ref target => std::slice::from_ref(target),
        };
        let mut reasons = Vec::new();
        for target in passes {
            reasons.clear();
            for (index, (name, options)) in self.candidates.iter().enumerate() {
                let attempt = async {
                    let mut connection = options.connect().await?;
                    check(&mut connection, *target).await?;
                    Ok(connection)
                };
                let result = tokio::time::timeout(self.limit, attempt).await;
                match result.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                    Ok(connection) => return Ok((connection, index)),
                    Err(error) if self.candidates.len() == 1 || !is_transient(&error) => return Err(error),
                    Err(sqlx::Error::PoolTimedOut) => reasons.push(format!("{name}: no answer in time")),
                    Err(error) => reasons.push(format!("{name}: {error}")),
                }
            }
        }
        let all = format!("none of the servers will do: {}", reasons.join("; "));
        Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::NotConnected, all)))
    }

    /// Connection options of a server.
    pub(super) fn options(&self, index: usize) -> &PgConnectOptions {
        &self.candidates[index].1
    }
}

/// Checks that the server of a connection is of the required kind.
async fn check(connection: &mut PgConnection, target: TargetSession) -> Sql<()> {
    if matches!(target, TargetSession::Any | TargetSession::PreferStandby) {
        return Ok(());
    }
    let state = "SELECT pg_catalog.pg_is_in_recovery(), \
                 pg_catalog.current_setting('default_transaction_read_only') = 'on'";
    let row = sqlx::raw_sql(state).fetch_one(connection).await?;
    let (is_standby, is_read_only) = (row.try_get::<bool, _>(0)?, row.try_get::<bool, _>(1)?);
    let is_read_only = is_standby || is_read_only;
    let (fits, found) = match target {
        TargetSession::ReadWrite => (!is_read_only, "it is read-only"),
        TargetSession::ReadOnly => (is_read_only, "it is not read-only"),
        TargetSession::Primary => (!is_standby, "it is a standby"),
        TargetSession::Standby => (is_standby, "it is no standby"),
        TargetSession::Any | TargetSession::PreferStandby => (true, ""),
    };
    if fits { Ok(()) } else { Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::NotConnected, found))) }
}

/// Chooses the server that the pool of a URL with several candidates connects to.
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

    /// True if a connection was lost since the server was chosen.
    pub(super) fn is_due(&self, monitor: &ConnectionMonitor) -> bool {
        monitor.lost_at() > self.chosen_at.load(Ordering::Acquire)
    }

    /// Checks a new connection of the pool.
    pub(super) async fn admit(&self, connection: &mut PgConnection, monitor: &ConnectionMonitor) -> Sql<()> {
        let checked = tokio::time::timeout(self.servers.limit, check(connection, self.servers.target)).await;
        let checked = checked.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        if checked.is_err() {
            monitor.lost();
        }
        checked
    }

    /// Searches for the server to use from now on, in a separate task: the search continues if its caller
    /// is cancelled. Only one runs at a time; other callers wait for its result.
    pub(super) fn look(self: &Arc<Self>, pool: &PgPool, monitor: &Arc<ConnectionMonitor>) -> JoinHandle<()> {
        let (this, pool, monitor) = (self.clone(), pool.clone(), monitor.clone());
        tokio::spawn(async move {
            let Ok(_alone) = this.looking.try_lock() else {
                drop(this.looking.lock().await);
                return;
            };
            let began = monitor.now();
            // If none is suitable, the caller gets the error from the pool.
            let Ok((connection, index)) = this.servers.connect().await else { return };
            pool.set_connect_options(this.servers.options(index).clone());
            this.chosen_at.store(began, Ordering::Release);
            if this.used.swap(index, Ordering::AcqRel) != index {
                let server = &this.servers.candidates[index].0;
                tracing::warn!(target: "panaversity_fs.database", server, "the database is another server now");
            }
            let _ = connection.close().await;
        })
    }
}
