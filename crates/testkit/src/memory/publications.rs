//! In-memory backlog of the tree; see [`publication`](panaversity_model::publication) for the
//! protocol.

use std::time::Duration;

use async_trait::async_trait;
use panaversity_model::file::Found;
use panaversity_model::ids::LeaseId;
use panaversity_model::ports::Publications;
use panaversity_model::publication::{Attempt, FileKey, Publication, Settled};
use panaversity_model::{Fault, Timestamp};

use super::{Backlog, MemoryJournal};

#[async_trait]
impl Publications for MemoryJournal {
    async fn claim(&self, leases: &[LeaseId]) -> Result<Vec<Publication>, Fault> {
        let mut state = self.state();
        let now = state.now();
        let mut fresh = leases.iter().copied().peekable();
        let mut claimed = Vec::new();
        for (key, row) in state.publications.iter_mut().filter(|(_, row)| !row.published) {
            let Some(&lease) = fresh.peek() else { break };
            if row.take(lease, now) {
                fresh.next();
                claimed.push(Publication { key: key.clone(), version: row.version, lease });
            }
        }
        Ok(claimed)
    }

    async fn current_file(&self, key: &FileKey) -> Result<Option<Found>, Fault> {
        Ok(self.state().found(key))
    }

    async fn extend_lease(&self, publication: &Publication, by: Duration) -> Result<bool, Fault> {
        let mut state = self.state();
        let now = state.now();
        let row = state.publications.get_mut(&publication.key);
        let held = row
            .and_then(|row| row.lease.as_mut())
            .filter(|(lease, until)| *lease == publication.lease && *until > now);
        let ours = held.is_some();
        if let Some((_, until)) = held {
            let later = now.micros() + i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            *until = (*until).max(Timestamp::from_micros(later));
        }
        Ok(ours)
    }

    async fn acknowledge(&self, publication: &Publication, attempt: Attempt) -> Result<Settled, Fault> {
        let mut state = self.state();
        let (version, now) = (publication.version, state.now());
        let anew = (attempt == Attempt::Unknown).then(|| Backlog::lease_from(publication.lease, now));
        let fresh = || Backlog { version, published: false, lease: anew };
        let Some(row) = state.publications.get_mut(&publication.key) else {
            if attempt != Attempt::Failed {
                state.publications.insert(publication.key.clone(), fresh());
            }
            return Ok(Settled::Pending);
        };
        if row.lease.is_some_and(|(lease, _)| lease == publication.lease) {
            row.lease = anew;
            row.published = attempt == Attempt::Done && row.version == version;
        } else if attempt != Attempt::Failed {
            // The current lease may be waiting for a request that was never answered: its expiry is
            // kept.
            let runs = row.lease.map(|(_, until)| (publication.lease, until));
            *row = Backlog { version: row.version, published: false, lease: anew.or(runs) };
        } else {
            return Ok(Settled::Pending);
        }
        Ok(if row.published { Settled::Published } else { Settled::Pending })
    }

    async fn pending(&self) -> Result<i64, Fault> {
        let state = self.state();
        let pending = state.publications.values().filter(|row| !row.published);
        Ok(i64::try_from(pending.count()).unwrap())
    }

    async fn unsynced(&self, limit: usize) -> Result<Vec<(FileKey, i64)>, Fault> {
        let state = self.state();
        let published = state.publications.iter().filter(|(_, row)| row.published);
        Ok(published.map(|(key, row)| (key.clone(), row.version)).take(limit).collect())
    }

    async fn synced(&self, paths: &[(FileKey, i64)]) -> Result<(), Fault> {
        let mut state = self.state();
        for (key, version) in paths {
            let covered =
                state.publications.get(key).is_some_and(|row| row.published && row.version == *version);
            if covered {
                state.publications.remove(key);
            }
        }
        Ok(())
    }

    async fn requeue_unsynced(&self) -> Result<u64, Fault> {
        let mut count = 0;
        for row in self.state().publications.values_mut().filter(|row| row.published) {
            row.published = false;
            count += 1;
        }
        Ok(count)
    }
}
