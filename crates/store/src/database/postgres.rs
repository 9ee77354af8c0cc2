//! PostgreSQL connections with bounded waiting. No state outlives a transaction on the server, so that
//! transaction poolers work. With `pgbouncer=true` no statement is named, because another client may
//! have used the name for another one on the same server connection; and every read is a transaction,
//! because the limits of its time are set within.
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

pub(super) mod connection;
mod connector;
pub(super) mod monitor;
mod session;
mod tls;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Object, Pool, PoolError, QueueMode};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use panaversity_model::connection_pool::PoolUsage;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use self::connection::{ConnectionSetup, PostgresConnection};
use self::connector::Connector;
use self::monitor::ConnectionMonitor;
pub(crate) use self::session::PostgresSession;
use super::PoolOptions;
use super::error::{Sql, SqlError};
use super::failover::{Failover, Servers};
use super::url::postgres::PostgresUrl;
use crate::limits::{
    ANSWER_GRACE, FAILOVER_AFTER, IDLE_IN_TRANSACTION_TIMEOUT, OVERFLOW_MAX_IDLE, SILENT_SERVER_WAIT,
    statement_timeout,
};

/// Notifications of a listening connection that wait to be read; beyond them they are dropped.
const HEARD: usize = 256;

/// Connection pool and the state of its server.
pub(crate) struct Postgres {
    pool: Pool<Connector>,
    options: PoolOptions,
    /// Tasks of the connections.
    tasks: TaskTracker,
    /// `SET` statements with the limits of a transaction behind a pooler, which refuses start-up options.
    pooled: Option<String>,
}

impl Postgres {
    /// Connects to a suitable server of the URL.
    pub(super) async fn connect(url: &PostgresUrl, options: PoolOptions) -> Sql<Arc<Self>> {
        let limit = statement_timeout(options);
        let (statement, lock) = (limit.as_millis(), (limit / 2).as_millis());
        let idle = IDLE_IN_TRANSACTION_TIMEOUT.as_millis();
        let pooled = url.is_behind_pooler().then(|| {
            format!(
                "SET LOCAL statement_timeout = {statement}; SET LOCAL lock_timeout = {lock}; \
                 SET LOCAL timezone = 'UTC'"
            )
        });
        // The hot statements read the same rows whatever their values, so each is planned once.
        let start_up = format!(
            "-c statement_timeout={statement} -c lock_timeout={lock} \
             -c idle_in_transaction_session_timeout={idle} -c timezone=UTC \
             -c plan_cache_mode=force_generic_plan"
        );
        let candidates = url.candidates(pooled.is_none().then_some(start_up.as_str()))?;
        let tasks = TaskTracker::new();
        let setup = ConnectionSetup { keeps_statements: pooled.is_none(), tasks: tasks.clone(), heard: None };
        let servers = Servers::new(candidates, setup, url.target(), options.timeout, url.connect_timeout());
        // Fail now, not at the first call, if the database is unreachable or refuses the connection. The
        // pool would try again for as long as a caller waits, and then hide the reason.
        let (first, used) = servers.connect().await?;
        drop(first);
        let monitor = Arc::new(ConnectionMonitor::new(limit + ANSWER_GRACE));
        let connector = Connector { failover: Arc::new(Failover::new(servers, used)), monitor };
        let pool = Pool::builder(connector)
            .max_size(Self::most(options) as usize)
            // The connection used last has the most statements prepared.
            .queue_mode(QueueMode::Lifo)
            .build()
            .map_err(|error| SqlError::Driver(error.to_string()))?;
        Ok(Arc::new(Self { pool, options, tasks, pooled }))
    }

    fn most(options: PoolOptions) -> u32 {
        options.size.saturating_add(options.overflow).max(3)
    }

    fn monitor(&self) -> &Arc<ConnectionMonitor> {
        &self.pool.manager().monitor
    }

    /// Connection; with `begin`, in a transaction that this script begins.
    async fn acquire(self: &Arc<Self>, begin: Option<String>) -> Sql<PostgresSession> {
        let longest = if self.monitor().is_silent() { SILENT_SERVER_WAIT } else { Duration::MAX };
        let wait = self.options.timeout.min(longest);
        // Boxed, as connecting is the largest part of every future that uses the database.
        let acquired = Box::pin(self.acquire_somewhere());
        let Ok(acquired) = tokio::time::timeout(wait, acquired).await else {
            self.monitor().set_silent();
            return Err(SqlError::NoConnection);
        };
        Ok(PostgresSession::new(acquired?, self.clone(), begin))
    }

    /// Connection of the pool, to the server to be used.
    async fn acquire_somewhere(&self) -> Sql<Object<Connector>> {
        let Connector { failover, monitor } = self.pool.manager();
        if failover.is_due(monitor) {
            // A search whose task failed has found nothing.
            let _ = failover.look(monitor).await;
        }
        let mut acquired = pin!(self.pool.get());
        loop {
            match tokio::time::timeout(FAILOVER_AFTER, &mut acquired).await {
                Ok(acquired) => return acquired.map_err(pool_error),
                Err(_) if failover.has_choice() => drop(failover.look(monitor)),
                Err(_) => {}
            }
        }
    }

    /// Connection for one read-only statement.
    pub(super) async fn reader(self: &Arc<Self>) -> Sql<PostgresSession> {
        if self.pooled.is_some() { self.begin("BEGIN READ ONLY").await } else { self.acquire(None).await }
    }

    /// Transaction begun by the given script, with the first statement.
    pub(super) async fn begin(self: &Arc<Self>, begin: &str) -> Sql<PostgresSession> {
        let limits = self.pooled.as_ref().map(|limits| format!("; {limits}")).unwrap_or_default();
        self.acquire(Some(format!("{begin}{limits}"))).await
    }

    /// Returns a connection to the pool, or closes it if it is not trusted any more. Of those beyond the
    /// pool's size it closes what was not used for some time: at once, a busy server would open them again
    /// and again.
    fn release(&self, connection: Object<Connector>) {
        if !self.pool.manager().trusts(&connection) {
            return drop(Object::take(connection));
        }
        drop(connection);
        let mut surplus = self.pool.status().size.saturating_sub(self.options.size.max(1) as usize);
        if surplus > 0 {
            self.pool.retain(|_, metrics| {
                let is_kept = surplus == 0 || metrics.last_used() < OVERFLOW_MAX_IDLE;
                surplus -= usize::from(!is_kept);
                is_kept
            });
        }
    }

    /// True behind a transaction pooler, where no state outlives a transaction.
    pub(crate) fn is_behind_pooler(&self) -> bool {
        self.pooled.is_some()
    }

    /// Listens to a channel of `NOTIFY` on a connection of its own; the stream ends with the connection.
    pub(crate) async fn listen(&self, channel: &str) -> Sql<BoxStream<'static, String>> {
        let Connector { failover, monitor } = self.pool.manager();
        let (sender, heard) = mpsc::channel(HEARD);
        let setup =
            ConnectionSetup { keeps_statements: false, tasks: self.tasks.clone(), heard: Some(sender) };
        let connection = failover.connect_as(monitor, &setup).await?;
        connection.script(&format!("LISTEN {channel}")).await?;
        let next = async |(connection, mut heard): (PostgresConnection, mpsc::Receiver<String>)| {
            let payload = heard.recv().await?;
            Some((payload, (connection, heard)))
        };
        Ok(stream::unfold((connection, heard), next).boxed())
    }

    pub(super) fn pool_usage(&self) -> PoolUsage {
        let status = self.pool.status();
        let open = u32::try_from(status.size).unwrap_or(u32::MAX);
        super::pool_usage(open, status.available, Self::most(self.options))
    }

    /// Closes all connections; waits for those in use within the limit of a statement.
    pub(super) async fn close(&self) {
        self.pool.close();
        self.tasks.close();
        let _: Result<(), _> = tokio::time::timeout(self.monitor().patience, self.tasks.wait()).await;
    }
}

fn pool_error(error: PoolError<SqlError>) -> SqlError {
    match error {
        PoolError::Backend(error) => error,
        other => SqlError::Driver(other.to_string()),
    }
}
