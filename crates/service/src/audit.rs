//! Recording of calls and queries of the audit log. Keeps R6 and R7: every call has an entry before its
//! answer is sent, and a query shows no other user's entries.

use panaversity_model::audit::{AuditEntry, EntryFilter, EntryPosition, Outcome};
use panaversity_model::{Error, Fault};

use crate::call::Call;
use crate::json_size::{self, PAGE_BYTES};
use crate::service::Service;

/// Outcome under which an error is recorded.
pub fn outcome_of(error: &Error) -> Outcome {
    match error {
        Error::Refused(refusal) => Outcome::Refused { code: refusal.code(), message: refusal.to_string() },
        Error::Broken(fault) => Outcome::Failed { code: fault.kind.code() },
    }
}

/// A page of the log.
#[derive(Debug, Clone)]
pub struct EntryPage {
    /// The entries, newest first.
    pub entries: Vec<AuditEntry>,
    /// Position of the next page.
    pub next: Option<EntryPosition>,
}

impl Service {
    /// Records the outcome of a call, unless the transaction of its change did.
    pub async fn record(&self, call: &Call, outcome: Outcome) -> Result<(), Fault> {
        if call.recorded {
            return Ok(());
        }
        self.inner.journal.append(self.draft(call, outcome)).await
    }

    /// A page of the log, newest first, of the entries for which `keep` is true. A call examines a
    /// bounded number of entries and returns a bounded number of bytes, so a page may be short and still
    /// have a next one.
    pub async fn query_audit_log(
        &self,
        filter: &EntryFilter,
        after: Option<EntryPosition>,
        limit: usize,
        keep: impl Fn(&AuditEntry) -> bool + Send,
    ) -> Result<EntryPage, Error> {
        const LOOKED_AT: usize = 10_000;
        const FETCHED_AT_ONCE: usize = 200;
        let (mut entries, mut position, mut looked_at, mut bytes) = (Vec::new(), after, 0, 0);
        loop {
            let fetched = limit.max(FETCHED_AT_ONCE);
            let page = self.inner.journal.entries(filter, position.as_ref(), fetched).await?;
            let last_page = page.len() < fetched;
            looked_at += page.len();
            for entry in page {
                let before = position;
                position = Some(EntryPosition { timestamp: entry.timestamp, id: entry.id.clone() });
                if keep(&entry) {
                    bytes += json_size::of_entry(&entry);
                    if bytes > PAGE_BYTES && !entries.is_empty() {
                        return Ok(EntryPage { entries, next: before });
                    }
                    entries.push(entry);
                    if entries.len() == limit {
                        return Ok(EntryPage { entries, next: position });
                    }
                }
            }
            if last_page {
                return Ok(EntryPage { entries, next: None });
            }
            if looked_at >= LOOKED_AT {
                return Ok(EntryPage { entries, next: position });
            }
        }
    }
}
