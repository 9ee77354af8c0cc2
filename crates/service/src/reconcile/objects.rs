//! Objects: checks that each one named by a version exists with its bytes, and finds those without a
//! row.

use futures::TryStreamExt;
use panaversity_model::Fault;
use panaversity_model::blob::{BlobState, StoredBlob};

use super::{Discrepancy, Mode, ReconcileProgress, Remedy, Run, left};

/// Rows read in one statement.
const AT_ONCE: usize = 64;

impl Run<'_> {
    /// Reads and checks every object that a version names.
    pub(super) async fn objects(&mut self) -> Result<(), Fault> {
        let mut after = None;
        loop {
            let page = self.service.inner.journal.retained_objects(after, AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.blob.hash);
            for stored in page {
                self.done.objects += 1;
                let Some(trouble) = self.trouble_of(&stored).await? else { continue };
                let remedy = self.mend(&stored).await?;
                self.found(trouble, stored.blob.hash.to_string(), remedy);
            }
            (self.watch)(ReconcileProgress::Objects(self.done.objects));
        }
    }

    /// Checks one object; marks its row as any reader would.
    async fn trouble_of(&self, stored: &StoredBlob) -> Result<Option<Discrepancy>, Fault> {
        let Some(measured) = self.service.measured(stored).await? else { return Ok(None) };
        let (trouble, health) = match measured {
            None => (Some(Discrepancy::ObjectMissing), BlobState::Missing),
            Some(blob) if blob.size != stored.blob.size => {
                (Some(Discrepancy::ObjectWrongSize), BlobState::Corrupt)
            }
            Some(blob) if blob.hash != stored.blob.hash => {
                (Some(Discrepancy::ObjectCorrupt), BlobState::Corrupt)
            }
            Some(_) => (None, BlobState::Live),
        };
        if health != stored.state {
            self.service.inner.journal.mark(stored.blob.hash, health).await?;
        }
        Ok(trouble)
    }

    async fn mend(&self, stored: &StoredBlob) -> Result<Remedy, Fault> {
        Ok(match self.mode {
            Mode::Repair if self.service.recreate_object(stored).await? => Remedy::Restored,
            Mode::Repair => {
                left("no published copy has its bytes: write the file again, or restore a backup")
            }
            Mode::Report | Mode::Adopt(_) => left("reconcile --repair puts it again from a published copy"),
        })
    }

    /// Lists the storage for objects without a row.
    pub(super) async fn unknown_objects(&mut self) -> Result<(), Fault> {
        let mut listing = self.service.inner.objects.list_objects();
        while let Some(page) = listing.try_next().await? {
            let (ours, foreign): (Vec<_>, Vec<_>) = page.into_iter().partition(|seen| seen.hash.is_some());
            for seen in foreign {
                self.found(Discrepancy::ObjectUnknown, seen.name, left("it is no object: remove it by hand"));
            }
            let named = ours.into_iter().filter_map(|seen| Some((seen.hash?, seen.size))).collect();
            for (hash, _) in self.service.without_row(named).await? {
                let remedy = match self.mode {
                    Mode::Report => left("gc deletes it when it is older than the retention"),
                    Mode::Repair | Mode::Adopt(_) => Remedy::LeftToGc,
                };
                self.found(Discrepancy::ObjectUnknown, hash.to_string(), remedy);
            }
        }
        Ok(())
    }
}
