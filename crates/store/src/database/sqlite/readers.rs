//! Pool of connections that only read.

use std::path::Path;
use std::sync::Arc;

use deadpool::managed::{Manager, Metrics, RecycleResult};
use tokio_util::task::TaskTracker;

use super::connection::SqliteConnection;
use crate::database::error::SqlError;

/// Opens the connections of the pool.
pub(super) struct ReaderManager {
    pub(super) file: Arc<Path>,
    /// Script of PRAGMAs.
    pub(super) pragmas: String,
    /// Threads of the database's connections.
    pub(super) threads: TaskTracker,
}

impl Manager for ReaderManager {
    type Type = SqliteConnection;
    type Error = SqlError;

    async fn create(&self) -> Result<SqliteConnection, SqlError> {
        SqliteConnection::open(&self.file, self.pragmas.clone(), &self.threads).await
    }

    async fn recycle(&self, _: &mut SqliteConnection, _: &Metrics) -> RecycleResult<SqlError> {
        Ok(())
    }
}
