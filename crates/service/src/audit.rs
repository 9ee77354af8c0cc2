//! Queries of the audit log. Keeps R5: a query shows no other user's entries. The operator's are in
//! [`AuditReader`].

mod reader;

pub use reader::AuditReader;

use panaversity_model::audit::{AuditEntry, EntryFilter, EntryPosition};
use panaversity_model::{AgentId, Error, Fault};

use crate::authorize::AuditAccess;
use crate::call::Call;
use crate::json_size::{self, PAGE_BYTES};
use crate::service::Service;

/// A page of the log.
#[derive(Debug, Clone)]
pub struct EntryPage {
    /// The entries, newest first.
    pub entries: Vec<AuditEntry>,
    /// Position of the next page.
    pub next: Option<EntryPosition>,
}

impl Call {
    /// A page of the log, newest first, of the entries for which `keep` is true. A call examines a
    /// bounded number of entries and returns a bounded number of bytes, so a page may be short and still
    /// have a next one.
    pub async fn query_audit_log(
        &self,
        access: &AuditAccess,
        filter: EntryFilter,
        after: Option<EntryPosition>,
        limit: usize,
        keep: impl Fn(&AuditEntry) -> bool + Send,
    ) -> Result<EntryPage, Error> {
        const LOOKED_AT: usize = 10_000;
        const FETCHED_AT_ONCE: usize = 200;
        let Some(filter) = within(access, filter) else {
            return Ok(EntryPage { entries: Vec::new(), next: None });
        };
        let (mut entries, mut position, mut looked_at, mut bytes) = (Vec::new(), after, 0, 0);
        loop {
            let fetched = limit.max(FETCHED_AT_ONCE);
            let page = self.service.inner.journal.entries(&filter, position.as_ref(), fetched).await?;
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

impl Service {
    /// Number of entries, at most two, whose agent is none (R7): the database refuses such entries, so that
    /// one tells of a database that was changed.
    pub async fn entries_without_agent(&self) -> Result<u64, Fault> {
        let mut found = 0;
        for agent in ["", "system"] {
            let filter = EntryFilter { agent: Some(agent.to_owned()), ..EntryFilter::default() };
            found += self.inner.journal.entries(&filter, None, 1).await?.len() as u64;
        }
        Ok(found)
    }
}

/// The filter narrowed to what may be read; `None`: nothing.
fn within(access: &AuditAccess, filter: EntryFilter) -> Option<EntryFilter> {
    let agent = match (access.only().map(AgentId::as_str), filter.agent) {
        (Some(only), Some(agent)) if agent != only => return None,
        (Some(only), _) => Some(only.to_owned()),
        (None, agent) => agent,
    };
    Some(EntryFilter { agent, book: access.book().cloned(), layer: Some(access.layer().clone()), ..filter })
}
