//! Id of the store and its pairing with one storage. Keeps: among all storages that servers are started
//! with on one database, one is claimed, and only that one is ever served.
//!
//! # Protocol
//! 1. The first start generates the id, marked as unpaired.
//! 2. A start that finds the mark locks the row, checks again, opens its storage, which may be claimed
//!    if it has no id, and removes the mark. Others wait meanwhile and find the id paired.
//! 3. A start that is interrupted after the storage was written leaves the mark: the same storage has
//!    the right id and is accepted again.

use panaversity_model::Fault;
use uuid::Uuid;

use super::SqlJournal;
use crate::database::{Database, Dialect, Durability, Session, Sql, SqlError, fault};

/// Mark before an id that is not paired with a storage yet.
const UNPAIRED: &str = "unpaired-";

/// Identity of a migrated database, read without changing anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseIdentity {
    /// Id shared with its storage; `None`: no server was ever started on the database.
    pub store_id: Option<String>,
    /// True if a storage has the id.
    pub is_paired: bool,
}

impl DatabaseIdentity {
    /// Reads the identity.
    pub async fn of(db: &Database) -> Result<Self, Fault> {
        let read = async {
            let rows = db.read().await?.rows("SELECT id FROM store", Vec::new()).await?;
            rows.first().map(|row| row.text("id")).transpose()
        };
        let id = read.await.map_err(|error| fault("read the store id", &error))?;
        let is_paired = id.as_deref().is_some_and(is_paired);
        Ok(Self { store_id: id.map(|id| without_mark(&id)), is_paired })
    }
}

fn is_paired(id: &str) -> bool {
    !id.starts_with(UNPAIRED)
}

fn without_mark(id: &str) -> String {
    id.strip_prefix(UNPAIRED).unwrap_or(id).to_owned()
}

/// The row of the store, created if there is none, and locked.
async fn locked(db: &Database) -> Sql<(Session, String)> {
    let mut session = db.begin(Durability::PowerCut).await?;
    // Two concurrent first starts: both see the one row that was inserted.
    if db.dialect() == Dialect::Postgres {
        session.execute("LOCK TABLE store IN EXCLUSIVE MODE", Vec::new()).await?;
    }
    let drawn = format!("{UNPAIRED}{}", Uuid::now_v7().hyphenated());
    let insert = format!(
        "INSERT INTO store (id, created_at) SELECT $1, {} WHERE NOT EXISTS (SELECT 1 FROM store)",
        db.now_sql()
    );
    session.execute(insert, vec![drawn.into()]).await?;
    let row = session.row("SELECT id FROM store", Vec::new()).await?;
    let id = row.ok_or(SqlError::RowNotFound)?.text("id")?;
    Ok((session, id))
}

/// Id of the store, without the mark.
pub(super) async fn store_id(db: &Database) -> Result<String, Fault> {
    let run = async {
        let (session, id) = locked(db).await?;
        session.commit().await?;
        Ok(without_mark(&id))
    };
    run.await.map_err(|error| fault("read the store id", &error))
}

impl SqlJournal {
    /// Opens the storage by `open`, which receives the store's id, and true if a storage without an id
    /// may be claimed.
    ///
    /// # Errors
    /// The fault of `open`; `DATABASE_UNAVAILABLE` if the pairing cannot be read or recorded.
    pub async fn pair<T>(&self, open: impl AsyncFnOnce(&str, bool) -> Result<T, Fault>) -> Result<T, Fault> {
        let broken = |error| fault("pair database and storage", &error);
        if DatabaseIdentity::of(&self.db).await?.is_paired {
            return open(&self.store_id, false).await;
        }
        let (mut session, id) = locked(&self.db).await.map_err(broken)?;
        if is_paired(&id) {
            drop(session);
            return open(&self.store_id, false).await;
        }
        let opened = open(&self.store_id, true).await?;
        let record = session.execute("UPDATE store SET id = $1", vec![self.store_id.as_str().into()]).await;
        record.map_err(broken)?;
        session.commit().await.map_err(broken)?;
        Ok(opened)
    }
}
