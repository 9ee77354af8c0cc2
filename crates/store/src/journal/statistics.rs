//! Statistics for PostgreSQL's planner after a bulk load: autovacuum collects them a minute later, or never if it
//! is off. No statement needs them to be fast (see `plans`). `SQLite` gets none, so that its plans stay as tested.

use std::sync::atomic::Ordering;

use super::SqlJournal;
use crate::database::Dialect;

/// Number of published files that are a bulk load.
const BULK: usize = 10_000;

impl SqlJournal {
    /// Counts published files; collects statistics after each [`BULK`] of them.
    pub(super) async fn note_published(&self, files: usize) {
        let before = self.published.fetch_add(files, Ordering::Relaxed);
        if self.db.dialect() == Dialect::Postgres && (before + files) / BULK > before / BULK {
            let tables = "ANALYZE audit_log, blobs, chains, file_journal, publications, versions";
            if let Err(fault) = self.write("analyse tables", tables, Vec::new()).await {
                tracing::warn!(error = %fault, "PostgreSQL could not collect statistics; autovacuum will");
            }
        }
    }
}
