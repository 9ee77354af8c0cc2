//! Published files: compares the tree with the journal.

use panaversity_model::storage_listing::{PublishedFile, TreePath};
use panaversity_model::{Fault, Layer};

use super::{Discrepancy, Mode, ReconcileProgress, Remedy, Run, left};
use crate::blob_reader::measure;

/// Files read in one statement.
const AT_ONCE: usize = 100;

impl Run<'_> {
    /// Compares every file of the journal with the tree.
    pub(super) async fn files(&mut self) -> Result<(), Fault> {
        let (mut after, mut seen) = (None, 0);
        loop {
            let page = self.service.inner.journal.records(self.book, after.as_ref(), AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key.clone());
            seen += page.len() as u64;
            let mut wrong = Vec::new();
            for record in page {
                if record.pending {
                    self.done.pending += 1;
                } else if self.is_published(&record) {
                    self.done.files += 1;
                    wrong.extend(self.really_wrong(record).await?);
                }
            }
            self.settle_files(wrong).await?;
            (self.watch)(ReconcileProgress::Files(seen));
        }
    }

    fn is_published(&self, record: &PublishedFile) -> bool {
        record.key.layer == Layer::Base || self.service.inner.limits.publish_overlays
    }

    /// Confirms a suspected difference: the journal's record must be unchanged, without a pending
    /// publication, and a second comparison must find the difference too.
    pub(super) async fn really_wrong(
        &self,
        record: PublishedFile,
    ) -> Result<Option<(PublishedFile, Discrepancy)>, Fault> {
        if self.compare(&record).await?.is_none() {
            return Ok(None);
        }
        let now = self.service.inner.journal.records_of(std::slice::from_ref(&record.key)).await?.pop();
        if now.as_ref() != Some(&record) {
            return Ok(None);
        }
        Ok(self.compare(&record).await?.map(|trouble| (record, trouble)))
    }

    async fn compare(&self, record: &PublishedFile) -> Result<Option<Discrepancy>, Fault> {
        let Some((hash, size)) = record.held else { return Ok(None) };
        let Some(mut copy) = self.service.inner.tree.open(&TreePath::of(&record.key)).await? else {
            return Ok(Some(Discrepancy::Missing));
        };
        let blob = measure(&mut copy, size).await?;
        Ok((blob.hash != hash).then_some(Discrepancy::Different))
    }

    async fn settle_files(&mut self, wrong: Vec<(PublishedFile, Discrepancy)>) -> Result<(), Fault> {
        let remedies = match self.mode {
            Mode::Report => wrong.iter().map(|(_, trouble)| unmended(*trouble)).collect(),
            Mode::Repair => self.publish_again(&wrong).await?,
            Mode::Adopt(agent) => {
                let mut remedies = Vec::with_capacity(wrong.len());
                for (record, trouble) in &wrong {
                    remedies.push(match (trouble, record.held) {
                        (Discrepancy::Different, Some((hash, _))) => {
                            self.service.adopt(agent, &record.key, Some(hash)).await?
                        }
                        _ => unmended(*trouble),
                    });
                }
                remedies
            }
        };
        for ((record, trouble), remedy) in wrong.into_iter().zip(remedies) {
            self.found(trouble, record.key.location(), remedy);
        }
        Ok(())
    }

    /// Moves other bytes out of a file's place, then publishes the file as usual.
    async fn publish_again(&self, wrong: &[(PublishedFile, Discrepancy)]) -> Result<Vec<Remedy>, Fault> {
        if wrong.is_empty() {
            return Ok(Vec::new());
        }
        let inner = &self.service.inner;
        for (record, trouble) in wrong {
            let moved = match trouble {
                Discrepancy::Different => inner.tree.set_aside(&TreePath::of(&record.key), &self.aside).await,
                _ => Ok(true),
            };
            // A file that can't be moved is not overwritten. One that may have been moved is published
            // again, even if its move reported a fault.
            if moved.as_ref().is_ok_and(|moved| !moved) {
                continue;
            }
            inner.journal.republish(std::slice::from_ref(&record.key)).await?;
            moved?;
        }
        self.service.publish_pending().await?;
        let mut remedies = Vec::with_capacity(wrong.len());
        for (record, _) in wrong {
            remedies.push(match self.compare(record).await? {
                None => Remedy::Republished,
                Some(_) if self.under_way(record).await? => Remedy::Republished,
                Some(Discrepancy::Different) => left("it could not be moved: move it by hand"),
                Some(_) => left("it could not be published; it stays pending, and the log says why"),
            });
        }
        Ok(remedies)
    }

    /// True if the file has changed again, or its publication is pending and its content readable.
    async fn under_way(&self, record: &PublishedFile) -> Result<bool, Fault> {
        let inner = &self.service.inner;
        let now = inner.journal.records_of(std::slice::from_ref(&record.key)).await?.pop();
        let Some(now) = now.filter(|now| now.version == record.version) else { return Ok(true) };
        let readable = match inner.journal.current_file(&record.key).await? {
            Some(found) => self.service.bytes_of(&found.blob).await.is_ok(),
            None => true,
        };
        Ok(now.pending && readable)
    }
}

pub(super) fn unmended(trouble: Discrepancy) -> Remedy {
    left(match trouble {
        Discrepancy::Different => {
            "reconcile --adopt takes it in as a new version, --repair puts the old one back"
        }
        _ => "reconcile --repair publishes it again; to delete it, use delete_content",
    })
}
