//! Journal on SQL, the source of truth, with the same behaviour on `SQLite` and PostgreSQL (I11).

mod audit_log;
mod blobs;
mod books;
mod browsing;
mod change_signals;
mod changes;
mod committer;
mod decide;
mod feed;
mod files;
mod gc;
mod inventory;
mod lists;
mod manifests;
mod path_locks;
#[cfg(test)]
mod plans;
mod publications;
mod rows;
mod statistics;
mod store_identity;
mod transaction;
mod uploads;
mod versions;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use panaversity_model::audit::AuditDraft;
use panaversity_model::change::{ChangeSet, Verdict};
use panaversity_model::connection_pool::PoolUsage;
use panaversity_model::file::FileMetadata;
use panaversity_model::ports::{AuditLog, ChangeFeed, Changes, Journal};
use panaversity_model::publication::FileKey;
use panaversity_model::version::FileVersion;
use panaversity_model::{Fault, Timestamp};

use crate::backend::Backend;
use crate::database::{
    Database, Dialect, Durability, Session, Sql, SqlError, Value, fault, is_lost_connection, is_retryable,
};
use crate::limits::SETTLED_WITHIN;
use crate::migrations;
use change_signals::ChangeSignals;
use committer::Committer;
use feed::SharedMoment;
pub use store_identity::DatabaseIdentity;

/// Journal of one server.
pub struct SqlJournal {
    pub(crate) db: Database,
    committer: Committer,
    signals: Arc<ChangeSignals>,
    /// For readers of the feed.
    moment: SharedMoment,
    store_id: String,
    backend: Backend,
    /// Number of files published by this server.
    published: AtomicUsize,
}

impl SqlJournal {
    /// Opens the journal of a migrated database. `backend` is the storage where files are published.
    pub async fn open(db: Database, backend: Backend) -> Result<Arc<Self>, Fault> {
        if db.dialect() == Dialect::Sqlite && backend.ends_with_the_process() {
            drop_leases(&db).await?;
        }
        Self::open_settling(db, backend, SETTLED_WITHIN).await
    }

    /// Same as [`open`](Self::open) for an operator's command, which may run beside a server: it keeps all
    /// leases, because even on `SQLite` they may be valid.
    pub async fn open_shared(db: Database, backend: Backend) -> Result<Arc<Self>, Fault> {
        Self::open_settling(db, backend, Duration::ZERO).await
    }

    /// Opens the journal; publications to settle wait for other jobs for this time.
    async fn open_settling(db: Database, backend: Backend, within: Duration) -> Result<Arc<Self>, Fault> {
        let store_id = store_identity::store_id(&db).await?;
        Ok(Arc::new(Self::over(db, store_id, backend, within)))
    }

    /// The audit log alone, for commands that only read: it asks for no permission to write.
    pub fn audit_log(db: Database) -> Arc<dyn AuditLog> {
        // Only commits ask for the backend and the id.
        Arc::new(Self::over(db, String::new(), Backend::Fs, Duration::ZERO))
    }

    /// The feed of changes alone, for commands that only read.
    pub fn change_feed(db: Database) -> Arc<dyn ChangeFeed> {
        Arc::new(Self::over(db, String::new(), Backend::Fs, Duration::ZERO))
    }

    fn over(db: Database, store_id: String, backend: Backend, settled_within: Duration) -> Self {
        let signals = ChangeSignals::start(&db);
        let committer = Committer::start(&db, backend, settled_within, &signals);
        let (moment, published) = (SharedMoment::default(), AtomicUsize::new(0));
        Self { db, committer, signals, moment, store_id, backend, published }
    }

    /// Id shared by database and storage.
    pub fn store_id(&self) -> &str {
        &self.store_id
    }

    /// Completes the queued jobs and accepts no more.
    pub async fn close(&self) {
        self.committer.close().await;
        self.signals.close();
    }

    /// Runs one read-only statement.
    async fn read(
        &self,
        what: &str,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Vec<crate::database::Row>, Fault> {
        let mut tries = 1;
        loop {
            let values = values.clone();
            let run = async { self.db.read().await?.rows(sql, values).await };
            match run.await {
                Err(error) if is_lost_connection(&error) && tries < 4 => tries += 1,
                result => return result.map_err(|error| fault(what, &error)),
            }
        }
    }

    /// Runs one statement that writes, in a transaction; returns the number of rows changed. A power cut
    /// may undo it.
    async fn write(&self, what: &str, sql: &str, values: Vec<Value>) -> Result<u64, Fault> {
        self.write_within(Durability::Kill, what, sql, values).await
    }

    /// Same as [`write`](Self::write), but durable: a power cut does not undo it.
    async fn write_durably(&self, what: &str, sql: &str, values: Vec<Value>) -> Result<u64, Fault> {
        self.write_within(Durability::PowerCut, what, sql, values).await
    }

    async fn write_within(
        &self,
        durability: Durability,
        what: &str,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<u64, Fault> {
        write(&self.db, durability, what, sql, values).await
    }
}

/// Runs one statement that writes, with retries after conflicts; returns the number of rows changed.
pub(crate) async fn write(
    db: &Database,
    durability: Durability,
    what: &str,
    sql: &str,
    values: Vec<Value>,
) -> Result<u64, Fault> {
    retried(what, || async {
        let mut session = db.begin(durability).await?;
        let changed = session.execute(sql, values.clone()).await?;
        session.commit().await?;
        Ok(changed)
    })
    .await
}

/// Runs a whole transaction, with retries after conflicts with another writer.
pub(crate) async fn retried<T, F>(what: &str, mut act: impl FnMut() -> F) -> Result<T, Fault>
where
    F: Future<Output = Sql<T>> + Send,
{
    let mut tries = 1;
    loop {
        match act().await {
            Err(error) if is_retryable(&error) && tries < 6 => tries += 1,
            result => return result.map_err(|error| fault(what, &error)),
        }
    }
}

/// Drops all leases. On `SQLite` only one server runs: a lease found at its start is its own, from
/// before it stopped.
async fn drop_leases(db: &Database) -> Result<(), Fault> {
    retried("drop old leases", || async {
        let mut session = db.begin(Durability::Kill).await?;
        session.execute("UPDATE publications SET lease = NULL, lease_until = NULL", Vec::new()).await?;
        session.commit().await
    })
    .await
}

#[async_trait]
impl Journal for SqlJournal {
    async fn ping(&self) -> Result<(), Fault> {
        let found = self.read("ping", &migrations::shape_sql(self.db.dialect()), Vec::new()).await?;
        migrations::require_shape(found.first())?;
        self.db.try_writing().await.map_err(|error| fault("try to write", &error))
    }

    fn pool_usage(&self) -> PoolUsage {
        self.db.pool_usage()
    }

    fn backend(&self) -> &'static str {
        match self.db.dialect() {
            Dialect::Sqlite => "sqlite",
            Dialect::Postgres => "postgresql",
        }
    }
}

/// The database's time, read within a session.
async fn now(db: &Database, session: &mut Session) -> Sql<Timestamp> {
    let row = session.row(format!("SELECT {} AS now", db.now_sql()), Vec::new()).await?;
    row.ok_or(SqlError::RowNotFound)?.time("now")
}

#[async_trait]
impl Changes for SqlJournal {
    async fn commit(&self, set: ChangeSet) -> Result<Verdict, Fault> {
        self.committer.commit(set).await
    }

    async fn current_metadata(&self, keys: &[FileKey]) -> Result<Vec<Option<FileMetadata>>, Fault> {
        self.metadata_of(keys).await
    }

    async fn versions(
        &self,
        key: &FileKey,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<FileVersion>, Fault> {
        self.versions_of(key, before, limit).await
    }

    async fn append(&self, draft: AuditDraft) -> Result<(), Fault> {
        self.committer.append(draft).await
    }
}
