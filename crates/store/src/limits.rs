//! Limits of the engines: every semaphore and timeout of the databases and of the bucket, in one place.
//! `config check` shows them.

use std::time::Duration;

use crate::database::{DatabaseUrl, PoolOptions};

/// Limits of a bucket.
#[derive(Debug, Clone, Copy)]
pub struct BucketLimits {
    /// Timeout of a connection.
    pub connect_timeout: Duration,
    /// Timeout of one request: a whole put, or one part of a read. Enough for texts on any link; large files
    /// are put in parts, each with more time.
    pub request_timeout: Duration,
    /// Timeout of one part of a large file, or of a copy within the bucket.
    pub large_request_timeout: Duration,
    /// Time limit of a small operation in total, its retries included.
    pub operation_timeout: Duration,
    /// Time limit of a request that is sent once: less than what its lease, or `gc`'s guard, leaves.
    pub single_attempt_timeout: Duration,
    /// Number of retries after a transient error.
    pub retries: usize,
    /// Delays before the retries, growing from the first to the second value.
    pub retry_delays: (Duration, Duration),
    /// Maximum number of concurrent requests; others wait.
    pub requests_at_once: usize,
    /// Number of large files written concurrently, each with up to 10 MiB in memory; others wait.
    pub large_writes_at_once: usize,
}

impl Default for BucketLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(8),
            large_request_timeout: Duration::from_mins(1),
            operation_timeout: Duration::from_secs(15),
            single_attempt_timeout: Duration::from_secs(10),
            retries: 3,
            retry_delays: (Duration::from_millis(100), Duration::from_secs(2)),
            requests_at_once: 64,
            large_writes_at_once: 4,
        }
    }
}

impl BucketLimits {
    /// Time limit of an operation on this many bytes in total: enough for a link of 256 KiB per second, and
    /// the same again for retries.
    pub(crate) fn timeout_for(&self, bytes: u64) -> Duration {
        self.operation_timeout + Duration::from_secs(bytes / (128 << 10))
    }
}

/// Busy timeout of `SQLite`: longest time to wait for a writer of another process.
pub(crate) const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of readers of `SQLite`: a laptop has few cores; more readers only cost memory.
pub(crate) const SQLITE_MOST_READERS: u32 = 4;
/// Additional time that a client of PostgreSQL waits beyond the limit at which the server cancels a
/// statement.
pub(crate) const ANSWER_GRACE: Duration = Duration::from_secs(1);
/// Longest time that a caller waits for a connection to a silent PostgreSQL.
pub(crate) const SILENT_SERVER_WAIT: Duration = Duration::from_secs(2);
/// Time that a caller waits for a connection before the other servers of the URL are tried.
pub(crate) const FAILOVER_AFTER: Duration = Duration::from_secs(2);
/// Age at which a connection to PostgreSQL is replaced, so that a balancer can spread them again.
pub(crate) const CONNECTION_MAX_AGE: Duration = Duration::from_mins(30);
/// Time after which an unused connection to PostgreSQL is replaced: a firewall may have forgotten it.
pub(crate) const CONNECTION_MAX_IDLE: Duration = Duration::from_mins(10);
/// Time after which an unused connection beyond the pool's size is closed.
pub(crate) const OVERFLOW_MAX_IDLE: Duration = Duration::from_secs(3);
/// Time after which PostgreSQL aborts the transaction, and releases the locks, of an idle client.
pub(crate) const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_mins(1);
/// Longest time that a server's publications wait for other jobs to be settled with.
pub(crate) const SETTLED_WITHIN: Duration = Duration::from_millis(5);
/// Time between two announcements of changes to the other servers of PostgreSQL.
pub(crate) const ANNOUNCED_EVERY: Duration = Duration::from_millis(100);
/// Pause before a server listens to such announcements again, after it could not.
pub(crate) const LISTEN_AGAIN: Duration = Duration::from_secs(2);
/// Time limit of a transaction up to its COMMIT, then of COMMIT; after the same time there are no
/// further retries. The limit of a statement is much shorter.
pub(crate) const COMMIT_TIMEOUT: Duration = Duration::from_mins(1);
/// Longest time to determine the result of a lost COMMIT.
pub(crate) const OUTCOME_TIMEOUT: Duration = Duration::from_secs(5);

/// Time limit of a statement on PostgreSQL: the pool's timeout, within bounds. A wait for a lock has half
/// of it.
pub(crate) fn statement_timeout(pool: PoolOptions) -> Duration {
    pool.timeout.clamp(Duration::from_secs(5), Duration::from_secs(30))
}

/// Name and value of each limit of these engines that no setting sets, as an operator reads them.
pub fn shown(
    url: &DatabaseUrl,
    pool: PoolOptions,
    bucket: Option<BucketLimits>,
) -> Vec<(&'static str, String)> {
    let seconds = |limit: Duration| format!("{} s", limit.as_secs());
    let mut shown = match url {
        DatabaseUrl::Sqlite { .. } => vec![
            ("readers of the database", pool.size.clamp(1, SQLITE_MOST_READERS).to_string()),
            ("wait for another process that writes", seconds(SQLITE_BUSY_TIMEOUT)),
        ],
        DatabaseUrl::Postgres(_) => vec![
            ("statement of the database", seconds(statement_timeout(pool))),
            ("wait for a lock in the database", seconds(statement_timeout(pool) / 2)),
            ("wait for a database that does not answer", seconds(SILENT_SERVER_WAIT)),
            ("idle transaction", seconds(IDLE_IN_TRANSACTION_TIMEOUT)),
            ("between two announcements of changes", format!("{} ms", ANNOUNCED_EVERY.as_millis())),
        ],
    };
    shown.push(("commit", seconds(COMMIT_TIMEOUT)));
    if let Some(limits) = bucket {
        shown.extend([
            ("requests to the bucket at once", limits.requests_at_once.to_string()),
            ("large files written to the bucket at once", limits.large_writes_at_once.to_string()),
            ("connection to the bucket", seconds(limits.connect_timeout)),
            ("request to the bucket", seconds(limits.request_timeout)),
            ("request to the bucket with its retries", seconds(limits.operation_timeout)),
            ("part of a large file to the bucket", seconds(limits.large_request_timeout)),
        ]);
    }
    shown
}
