//! Foreign files: entries of the tree that are no files of the store. At a server's start they are only
//! counted, cheaply, so that a folder of Markdown put there by hand is noticed.

use std::collections::HashMap;

use futures::TryStreamExt;
use panaversity_model::publication::FileKey;
use panaversity_model::storage_listing::{Kind, PublishedFile, TreeEntry};
use panaversity_model::{Error, Fault, Refusal};

use super::{Discrepancy, Mode, ReconcileProgress, Remedy, Run, left};
use crate::service::Service;

/// Reason why an entry of a special kind is not adopted.
const NO_FILE: &str = "it is no file but a link, a device or too deep a folder";
/// Entries read when a server starts.
const GLANCED_AT: usize = 20_000;

/// Result of a quick scan of the tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuickScan {
    /// Entries that are no files of the store.
    pub foreign: usize,
    /// Files whose size differs from the journal's.
    pub changed: usize,
    /// Location of one of them.
    pub example: Option<String>,
    /// True if the tree has more entries than were read.
    pub cut_short: bool,
}

impl Service {
    /// Compares names and sizes in the tree with the journal, for a bounded number of entries.
    pub async fn quick_scan(&self) -> Result<QuickScan, Fault> {
        let (mut scan, mut seen) = (QuickScan::default(), 0);
        let mut listing = self.inner.tree.list_files(None);
        while let Some(page) = listing.try_next().await? {
            seen += page.len();
            let known = self.known(&page).await?;
            for seen in page {
                let record = seen.spot.key().ok().and_then(|key| known.get(&key).cloned());
                let changed = match record {
                    None => {
                        scan.foreign += 1;
                        true
                    }
                    Some(PublishedFile { pending: false, held: Some((_, size)), .. })
                        if size != seen.size =>
                    {
                        scan.changed += 1;
                        true
                    }
                    Some(_) => false,
                };
                if changed {
                    scan.example.get_or_insert_with(|| seen.spot.shown());
                }
            }
            if seen >= GLANCED_AT {
                scan.cut_short = true;
                break;
            }
        }
        Ok(scan)
    }

    /// The journal's records for these entries.
    pub(super) async fn known(&self, page: &[TreeEntry]) -> Result<HashMap<FileKey, PublishedFile>, Fault> {
        let keys: Vec<_> = page.iter().filter_map(|seen| seen.spot.key().ok()).collect();
        let records = self.inner.journal.records_of(&keys).await?;
        Ok(records.into_iter().map(|record| (record.key.clone(), record)).collect())
    }
}

impl Run<'_> {
    /// Lists the tree and treats its foreign files.
    pub(super) async fn foreign_files(&mut self) -> Result<(), Fault> {
        let mut seen = 0;
        let mut listing = self.service.inner.tree.list_files(self.book);
        while let Some(page) = listing.try_next().await? {
            seen += page.len() as u64;
            let known = self.service.known(&page).await?;
            for entry in page {
                let key = entry.spot.key();
                if !key.as_ref().is_ok_and(|key| known.contains_key(key)) {
                    self.report_foreign(&entry, key).await?;
                }
            }
            (self.watch)(ReconcileProgress::Entries(seen));
        }
        Ok(())
    }

    /// Treats an entry that the journal does not know, if that is still so.
    pub(super) async fn report_foreign(
        &mut self,
        seen: &TreeEntry,
        key: Result<FileKey, Refusal>,
    ) -> Result<(), Fault> {
        if self.still_strange(seen, &key).await? {
            let remedy = self.receive(seen, key).await?;
            self.found(Discrepancy::Foreign, seen.spot.shown(), remedy);
        }
        Ok(())
    }

    /// True if the entry is still there and the journal still has no record: it was not a file just
    /// being removed or published.
    async fn still_strange(&self, seen: &TreeEntry, key: &Result<FileKey, Refusal>) -> Result<bool, Fault> {
        let inner = &self.service.inner;
        if seen.kind == Kind::File && inner.tree.open(&seen.spot).await?.is_none() {
            return Ok(false);
        }
        match key {
            Ok(key) => Ok(inner.journal.records_of(std::slice::from_ref(key)).await?.is_empty()),
            Err(_) => Ok(true),
        }
    }

    async fn receive(&self, seen: &TreeEntry, key: Result<FileKey, Refusal>) -> Result<Remedy, Fault> {
        match self.mode {
            Mode::Report => Ok(match self.unadoptable(seen, key).await? {
                None => left("reconcile --adopt takes it in, --repair moves it to lost+found"),
                Some(why) => left(&format!("{why}; reconcile --repair moves it to lost+found")),
            }),
            Mode::Repair => self.move_aside(seen, key.ok()).await,
            Mode::Adopt(agent) => match key {
                _ if seen.kind == Kind::Special => Ok(Remedy::Refused(NO_FILE.to_owned())),
                Ok(key) => self.service.adopt(agent, &key, None).await,
                Err(refusal) => Ok(Remedy::Refused(refusal.to_string())),
            },
        }
    }

    /// The reason why adopting would refuse the entry, as far as it can be known without reading it.
    async fn unadoptable(
        &self,
        seen: &TreeEntry,
        key: Result<FileKey, Refusal>,
    ) -> Result<Option<String>, Fault> {
        if seen.kind == Kind::Special {
            return Ok(Some(NO_FILE.to_owned()));
        }
        let admitted = match key {
            Ok(key) => self.service.require_adoptable(&key, seen.size).await,
            Err(refusal) => Err(refusal.into()),
        };
        match admitted {
            Ok(()) => Ok(None),
            Err(Error::Refused(refusal)) => Ok(Some(refusal.to_string())),
            Err(Error::Broken(fault)) => Err(fault),
        }
    }

    async fn move_aside(&self, seen: &TreeEntry, key: Option<FileKey>) -> Result<Remedy, Fault> {
        let inner = &self.service.inner;
        let moved = inner.tree.set_aside(&seen.spot, &self.aside).await;
        // A file published at that moment may have been moved instead of the foreign one.
        if let (Some(key), Ok(true) | Err(_)) = (key, &moved) {
            inner.journal.republish(&[key]).await?;
        }
        if !moved? {
            return Ok(left("it could not be moved: move it by hand, or look whether it is still there"));
        }
        Ok(Remedy::SetAside(format!(".panaversity/lost+found/{}", self.aside)))
    }
}
