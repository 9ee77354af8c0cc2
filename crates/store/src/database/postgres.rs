//! PostgreSQL connections with bounded waiting. No state outlives a transaction on the server, so that
//! transaction poolers work. With `pgbouncer=true` no statement is named, because another client may
//! have used the name for another one on the same server connection; and every read is a transaction,
//! because outside of one its statement may be bound on another connection than it was parsed on.
//!
//! # A server that stops answering
//! A frozen server or a broken network returns nothing, not even an error, and its connections
//! stay open.
//! 1. The time limit of a statement is [`statement_timeout`]; then the server cancels it, and a wait for a lock at half of that. [`ANSWER_GRACE`]
//!    later the client stops waiting, and the connection is closed.
//! 2. Then the server counts as silent: until it answers again, a caller waits no longer than
//!    [`SILENT_SERVER_WAIT`] for a connection.
//! 3. After a lost connection all older ones are closed when they are next acquired or released: the
//!    cause has usually cut off all of them. If the URL names several servers, they are tried again
//!    then (see `failover`), and also whenever a caller has waited [`FAILOVER_AFTER`] for a connection.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use panaversity_model::connection_pool::PoolUsage;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool, Postgres as Driver};

use super::failover::{Failover, Servers};
use super::url::postgres::PostgresUrl;
use super::{PoolOptions, Sql, is_lost_connection, is_read_only};
use crate::limits::{
    ANSWER_GRACE, FAILOVER_AFTER, IDLE_IN_TRANSACTION_TIMEOUT, SILENT_SERVER_WAIT, statement_timeout,
};

/// Connection pool and the state of its server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Postgres {
    pool: PgPool,
    /// Connections that are kept for the next call; the others are closed as they are released.
    kept: u32,
    monitor: Arc<ConnectionMonitor>,
    pooled: Option<Limits>,
    /// `None` if there is one server and its kind does not matter.
    failover: Option<Arc<Failover>>,
}

/// `SET` statements with the limits of a transaction behind a pooler, which refuses start-up options.
type Limits = Arc<str>;

/// Tracks if the server answers.
pub(super) struct ConnectionMonitor {
    /// Longest time to wait for an answer.
    patience: Duration,
    began: Instant,
    is_silent: AtomicBool,
    /// Time when a connection was last lost, in milliseconds since `began`; 0: never.
    lost_at: AtomicU64,
}

pub(super) async fn connect(url: &PostgresUrl, options: PoolOptions) -> Sql<Postgres> {
    let limit = statement_timeout(options);
    let milliseconds = |limit: Duration| limit.as_millis().to_string();
    let (statement, lock) = (milliseconds(limit), milliseconds(limit / 2));
    let pooled = url.is_behind_pooler().then(|| {
        Limits::from(format!("SET LOCAL statement_timeout = {statement}; SET LOCAL lock_timeout = {lock}"))
    });
    let start_up = [
        ("statement_timeout", statement),
        ("lock_timeout", lock),
        ("idle_in_transaction_session_timeout", milliseconds(IDLE_IN_TRANSACTION_TIMEOUT)),
    ];
    let candidates = url.candidates()?.into_iter().map(|(name, server)| {
        let cached = if pooled.is_some() { 0 } else { 512 };
        let server = named(server).statement_cache_capacity(cached).disable_statement_logging();
        (name, if pooled.is_some() { server } else { server.options(start_up.clone()) })
    });
    let servers = Servers::new(candidates.collect(), url.target(), options.timeout, url.connect_timeout());
    // Fail now, not at the first call, if the database is unreachable or refuses the connection. The pool
    // would retry for its whole acquire timeout and then hide the reason.
    let (first, used) = servers.connect().await?;
    first.close().await?;
    let server = servers.options(used).clone();
    let monitor = Arc::new(ConnectionMonitor {
        patience: limit + ANSWER_GRACE,
        began: Instant::now(),
        is_silent: AtomicBool::new(false),
        lost_at: AtomicU64::new(0),
    });
    let failover = (!servers.is_one()).then(|| Arc::new(Failover::new(servers, used)));
    let pool = pool(options, &monitor, failover.as_ref()).connect_lazy_with(server);
    Ok(Postgres { pool, kept: options.size.max(1), monitor, pooled, failover })
}

/// Sets the application name that the server's operator sees, unless one is given.
fn named(server: PgConnectOptions) -> PgConnectOptions {
    if server.get_application_name().is_some() { server } else { server.application_name("panaversity-fs") }
}

fn pool(
    options: PoolOptions,
    monitor: &Arc<ConnectionMonitor>,
    failover: Option<&Arc<Failover>>,
) -> PgPoolOptions {
    let (given, returned) = (monitor.clone(), monitor.clone());
    let pool = PgPoolOptions::new()
        .max_connections(options.size.saturating_add(options.overflow).max(3))
        .acquire_timeout(options.timeout)
        .test_before_acquire(false)
        .before_acquire(move |_, connection| {
            let fine = given.trusts(connection.age);
            Box::pin(async move { Ok(fine) })
        })
        // Otherwise sqlx would ping the server without a time limit.
        .after_release(move |_, connection| {
            let fine = returned.trusts(connection.age);
            Box::pin(async move { Ok(fine) })
        });
    let Some(failover) = failover else { return pool };
    let (failover, monitor) = (failover.clone(), monitor.clone());
    pool.after_connect(move |connection, _| {
        let (failover, monitor) = (failover.clone(), monitor.clone());
        Box::pin(async move { failover.admit(connection, &monitor).await })
    })
}

impl Postgres {
    /// Connection outside a transaction; each statement is its own.
    pub(super) async fn acquire(&self) -> Sql<PostgresSession> {
        let acquired = if self.monitor.is_silent.load(Ordering::Acquire) {
            tokio::time::timeout(SILENT_SERVER_WAIT, self.acquire_somewhere()).await
        } else {
            Ok(self.acquire_somewhere().await)
        };
        let acquired = acquired.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        if matches!(acquired, Err(sqlx::Error::PoolTimedOut)) {
            self.monitor.is_silent.store(true, Ordering::Release);
        }
        let connection = Some(acquired?);
        let (monitor, pooled) = (self.monitor.clone(), self.pooled.is_some());
        let pool = (self.pool.clone(), self.kept);
        Ok(PostgresSession { connection, pool, monitor, pooled, is_open: false, is_busy: false })
    }

    /// Connection of the pool, to the server to be used.
    async fn acquire_somewhere(&self) -> Sql<PoolConnection<Driver>> {
        let Some(failover) = &self.failover else { return self.pool.acquire().await };
        if failover.is_due(&self.monitor) {
            // A search whose task failed has found nothing.
            let _ = failover.look(&self.pool, &self.monitor).await;
        }
        let mut acquired = pin!(self.pool.acquire());
        loop {
            match tokio::time::timeout(FAILOVER_AFTER, &mut acquired).await {
                Ok(acquired) => return acquired,
                Err(_) => drop(failover.look(&self.pool, &self.monitor)),
            }
        }
    }

    /// Connection for one read-only statement.
    pub(super) async fn reader(&self) -> Sql<PostgresSession> {
        if self.pooled.is_some() { self.begin("BEGIN READ ONLY").await } else { self.acquire().await }
    }

    /// Transaction begun by the given statement.
    pub(super) async fn begin(&self, begin: &'static str) -> Sql<PostgresSession> {
        let mut session = self.acquire().await?;
        session.is_open = true;
        session.run(async |connection| connection.execute(sqlx::raw_sql(begin)).await.map(|_| ())).await?;
        if let Some(limits) = &self.pooled {
            let limits = AssertSqlSafe(limits.to_string());
            session
                .run(async |connection| connection.execute(sqlx::raw_sql(limits)).await.map(|_| ()))
                .await?;
        }
        Ok(session)
    }

    pub(super) fn pool_usage(&self) -> PoolUsage {
        let max = self.pool.options().get_max_connections();
        super::pool_usage(self.pool.size(), self.pool.num_idle(), max)
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

impl ConnectionMonitor {
    /// Waits for an answer of the server, within the limit.
    async fn within<T>(&self, answer: impl Future<Output = Sql<T>>) -> Sql<T> {
        let Ok(result) = tokio::time::timeout(self.patience, answer).await else {
            self.is_silent.store(true, Ordering::Release);
            self.lost();
            return Err(answer_timeout());
        };
        match &result {
            Err(error) if is_lost_connection(error) || is_read_only(error) => self.lost(),
            _ if self.is_silent.load(Ordering::Acquire) => self.is_silent.store(false, Ordering::Release),
            _ => {}
        }
        result
    }

    /// Records that a connection was lost.
    pub(super) fn lost(&self) {
        self.lost_at.store(self.now(), Ordering::Release);
    }

    /// True if a connection of this age was made after the last one was lost.
    fn trusts(&self, age: Duration) -> bool {
        let lost_at = self.lost_at();
        lost_at == 0 || age.as_millis() < u128::from(self.now().saturating_sub(lost_at))
    }

    /// Time when a connection was last lost; 0: never.
    pub(super) fn lost_at(&self) -> u64 {
        self.lost_at.load(Ordering::Acquire)
    }

    pub(super) fn now(&self) -> u64 {
        // At least 1: 0 means never.
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// A connection, possibly in a transaction. If dropped in the middle of a statement it is closed,
/// because the pending response would be taken for the next one's; if dropped in a transaction, the
/// transaction is rolled back.
pub(crate) struct PostgresSession {
    /// Present until the session is dropped.
    connection: Option<PoolConnection<Driver>>,
    /// Its pool, and the number of connections that this keeps idle.
    pool: (PgPool, u32),
    monitor: Arc<ConnectionMonitor>,
    /// The server is behind a pooler.
    pooled: bool,
    /// A transaction is open.
    is_open: bool,
    /// A statement was sent, and its response has not arrived.
    is_busy: bool,
}

impl PostgresSession {
    /// True if prepared statements may be named and reused.
    pub(super) fn keeps_statements(&self) -> bool {
        !self.pooled
    }

    /// Runs an operation on the connection, within the time limit.
    pub(super) async fn run<T>(&mut self, act: impl AsyncFnOnce(&mut PgConnection) -> Sql<T>) -> Sql<T> {
        let connection = self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        self.is_busy = true;
        let result = self.monitor.within(act(connection)).await;
        self.is_busy = matches!(&result, Err(error) if is_answer_timeout(error));
        result
    }

    /// Runs a script, limited only by the server's timeouts.
    pub(super) async fn script(&mut self, sql: &'static str) -> Sql<()> {
        let connection = self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        self.is_busy = true;
        let result = connection.execute(sqlx::raw_sql(sql)).await.map(|_| ());
        self.is_busy = false;
        result
    }

    /// Commits the transaction, if one is open.
    pub(super) async fn commit(mut self) -> Sql<()> {
        if self.is_open {
            let commit = AssertSqlSafe("COMMIT".to_owned());
            self.run(async |connection| connection.execute(sqlx::raw_sql(commit)).await.map(|_| ())).await?;
            self.is_open = false;
        }
        Ok(())
    }
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if self.is_busy {
            connection.close_on_drop();
        } else if self.is_open {
            let monitor = self.monitor.clone();
            tokio::spawn(async move {
                let rolled_back = monitor.within(connection.execute("ROLLBACK")).await;
                if rolled_back.is_err_and(|error| is_answer_timeout(&error)) {
                    connection.close_on_drop();
                }
            });
        } else if self.pool.0.num_idle() >= self.pool.1 as usize {
            connection.close_on_drop();
        }
    }
}

/// Error for a missing answer within the limit.
pub(crate) fn answer_timeout() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database does not answer"))
}

/// True if the error is the client's own timeout.
pub(crate) fn is_answer_timeout(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(why) if why.kind() == io::ErrorKind::TimedOut)
}
