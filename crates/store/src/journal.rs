//! The journal on SQL: the truth, on SQLite and PostgreSQL alike (I11).

mod audit_log;
mod blobs;
mod books;
mod changes;
mod committer;
mod decide;
mod files;
mod gc;
mod inventory;
mod manifests;
mod path_locks;
mod publications;
mod rows;
mod signing;
mod store_identity;
mod transaction;
mod uploads;

use std::sync::Arc;

use async_trait::async_trait;
use panaversity_model::audit::AuditDraft;
use panaversity_model::change::{ChangeSet, Verdict};
use panaversity_model::ports::{Changes, Journal};
use panaversity_model::{Fault, Timestamp};

use crate::backend::Backend;
use crate::database::{
    Database, Dialect, Durability, Session, Sql, Value, fault, is_lost_connection, is_retryable,
};
use crate::migrations;
use committer::Committer;
pub use store_identity::DatabaseIdentity;

/// The journal of one server.
pub struct SqlJournal {
    pub(crate) db: Database,
    committer: Committer,
    store_id: String,
    backend: Backend,
}

impl SqlJournal {
    /// Opens the journal of a migrated database. `backend` is where files are published.
    pub async fn open(db: Database, backend: Backend) -> Result<Arc<Self>, Fault> {
        if db.dialect() == Dialect::Sqlite && backend.ends_with_the_process() {
            drop_leases(&db).await?;
        }
        Self::open_shared(db, backend).await
    }

    /// The same for an operator's command, which may run beside a server: on SQLite too the leases
    /// it finds may be somebody's.
    pub async fn open_shared(db: Database, backend: Backend) -> Result<Arc<Self>, Fault> {
        let store_id = store_identity::store_id(&db).await?;
        let committer = Committer::start(db.clone(), backend);
        Ok(Arc::new(Self { db, committer, store_id, backend }))
    }

    /// The id that database and storage share.
    pub fn store_id(&self) -> &str {
        &self.store_id
    }

    /// Finishes what was asked for and takes no more.
    pub async fn close(&self) {
        self.committer.close().await;
    }

    /// Runs one reading statement.
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

    /// Runs one writing statement in a transaction; gives the number of rows it changed. A power
    /// cut may take it back.
    async fn write(&self, what: &str, sql: &str, values: Vec<Value>) -> Result<u64, Fault> {
        self.write_within(Durability::Kill, what, sql, values).await
    }

    /// The same, and a power cut does not take it back.
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
        retried(what, || async {
            let mut session = self.db.begin(durability).await?;
            let changed = session.execute(sql, values.clone()).await?;
            session.commit().await?;
            Ok(changed)
        })
        .await
    }
}

/// Runs a whole transaction, again if another writer was in its way.
async fn retried<T, F>(what: &str, mut act: impl FnMut() -> F) -> Result<T, Fault>
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

/// A server on SQLite is alone: a lease it finds at its start is its own, from before it stopped.
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

    fn backend(&self) -> &'static str {
        match self.db.dialect() {
            Dialect::Sqlite => "sqlite",
            Dialect::Postgres => "postgresql",
        }
    }
}

/// The database's time, asked for within a session.
async fn now(db: &Database, session: &mut Session) -> Sql<Timestamp> {
    let row = session.row(format!("SELECT {}", db.now_sql()), Vec::new()).await?;
    row.ok_or(sqlx::Error::RowNotFound)?.time(0)
}

#[async_trait]
impl Changes for SqlJournal {
    async fn commit(&self, set: ChangeSet) -> Result<Verdict, Fault> {
        self.committer.commit(set).await
    }

    async fn append(&self, draft: AuditDraft) -> Result<(), Fault> {
        self.committer.append(draft).await
    }
}
