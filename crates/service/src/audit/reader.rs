//! The audit log as the operator of a store reads it: all layers, straight from the log. Nothing here writes.

use std::sync::Arc;

use panaversity_model::audit::{AuditEntry, EntryFilter, EntryPosition};
use panaversity_model::audit_export::{EarlierTips, ExportEnd, ExportLine, PrefixChecker, TipDigest};
use panaversity_model::ports::AuditLog;
use panaversity_model::{BookId, Fault};

use crate::verify::{ChainReport, ChainScope, verify_chains};

const FETCHED_AT_ONCE: usize = 500;

/// Use cases of an operator. They have no caller: access to the database is what permits them.
#[derive(Clone)]
pub struct AuditReader {
    log: Arc<dyn AuditLog>,
}

impl AuditReader {
    /// A reader of this log.
    pub fn new(log: Arc<dyn AuditLog>) -> Self {
        Self { log }
    }

    /// Passes the newest `limit` entries for which `keep` is true to `see`, newest first.
    ///
    /// # Errors
    /// The fault of the database, or the error of `see`, which ends the query.
    pub async fn query<E: From<Fault>>(
        &self,
        filter: &EntryFilter,
        limit: usize,
        keep: impl Fn(&AuditEntry) -> bool,
        mut see: impl FnMut(AuditEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut after, mut left) = (None, limit);
        while left > 0 {
            let page = self.log.entries(filter, after.as_ref(), FETCHED_AT_ONCE).await?;
            let is_last = page.len() < FETCHED_AT_ONCE;
            after = page.last().map(|last| EntryPosition { timestamp: last.timestamp, id: last.id.clone() });
            for entry in page.into_iter().filter(|entry| keep(entry)).take(left) {
                left -= 1;
                see(entry)?;
            }
            if is_last {
                break;
            }
        }
        Ok(())
    }

    /// Number of entries in the scope, for a progress bar; `None` for a single file.
    ///
    /// # Errors
    /// The fault of the database.
    pub async fn entry_count(&self, scope: &ChainScope) -> Result<Option<u64>, Fault> {
        if scope.path.is_some() {
            return Ok(None);
        }
        self.log.entry_count(scope.layer.as_ref(), scope.book.as_ref()).await.map(Some)
    }

    /// Verifies the chains of the scope, and that they continue those of an earlier export. `progress`
    /// gets the number of entries so far.
    ///
    /// # Errors
    /// The fault of the database.
    pub async fn verify(
        &self,
        scope: &ChainScope,
        mut earlier: EarlierTips,
        mut progress: impl FnMut(u64),
    ) -> Result<ChainReport, Fault> {
        earlier.retain(|key| scope.contains(key));
        let mut prefix = PrefixChecker::new(earlier);
        let mut entries = 0;
        let mut see = |line: ExportLine| {
            if matches!(line, ExportLine::Entry(_)) {
                entries += 1;
                progress(entries);
            }
            prefix.add(&line);
            Ok::<(), Fault>(())
        };
        let mut report = verify_chains(&*self.log, scope, &mut see).await?;
        report.breaks.extend(prefix.finish());
        Ok(report)
    }

    /// Passes the lines of an export of a book, or of the whole log, to `write`; a broken log too, whose
    /// breaks are returned.
    ///
    /// Each chain is exported up to the tip that its row had when it was read, once; entries that are
    /// appended later are not in it. A chain that begins while the export runs may be missing. Memory is
    /// bounded by a page of chains and a page of entries.
    ///
    /// # Errors
    /// The fault of the database, or the error of `write`, which ends the export.
    pub async fn export<E: From<Fault>>(
        &self,
        book: Option<BookId>,
        mut write: impl FnMut(&ExportLine) -> Result<(), E>,
    ) -> Result<(ExportEnd, ChainReport), E> {
        let mut tips = TipDigest::default();
        let scope = ChainScope { book, ..ChainScope::default() };
        let mut see = |line: ExportLine| {
            tips.add(&line);
            write(&line)
        };
        let report = verify_chains(&*self.log, &scope, &mut see).await?;
        let end = tips.end(scope.book.as_ref().map(BookId::as_str));
        write(&ExportLine::End(end.clone()))?;
        Ok((end, report))
    }
}
