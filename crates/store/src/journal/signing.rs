//! The key by which the servers of one store sign their links. Keeps: all servers have the same
//! one, whoever was the first to want it.

use panaversity_model::Fault;

use super::{SqlJournal, retried};
use crate::database::{Dialect, Durability, fault};

impl SqlJournal {
    /// The key: 64 hex digits, drawn from the database's source of strong randomness when it is
    /// first wanted.
    pub async fn signing_key(&self) -> Result<Vec<u8>, Fault> {
        let drawn = match self.db.dialect() {
            Dialect::Sqlite => "lower(hex(randomblob(32)))",
            Dialect::Postgres => "replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')",
        };
        let draw = format!("UPDATE store SET signing_key = {drawn} WHERE signing_key IS NULL");
        let row = retried("read the signing key", || async {
            let mut session = self.db.begin(Durability::PowerCut).await?;
            session.execute(draw.as_str(), Vec::new()).await?;
            let row = session.row("SELECT signing_key FROM store", Vec::new()).await?;
            session.commit().await?;
            row.ok_or(sqlx::Error::RowNotFound)
        })
        .await?;
        row.text(0).map(String::into_bytes).map_err(|error| fault("read the signing key", &error))
    }
}
