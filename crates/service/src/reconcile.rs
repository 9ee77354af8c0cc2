//! `reconcile`: comparison of the storage with the journal, with optional repair. A file that appears,
//! changes or vanishes without a call never changes what the API returns; a run finds it and, on
//! request, repairs it. It may run while servers run: paths with a pending publication are skipped, and
//! each suspected difference is checked twice, with a read of the journal in between.
//!
//! # A run
//! 1. Objects that a version references are read and checked; then the storage is listed for objects
//!    without a row. Not for a single book: objects belong to no book.
//! 2. Every file of the journal is read in the tree and compared by its hash.
//! 3. The tree is listed: an entry that is no file of the journal is a foreign file.
//!
//! *Repair* restores objects from the tree, publishes files again, and moves foreign files, and other
//! bytes in the place of a file, to `lost+found`: nothing that anybody wrote is deleted. *Adopt* commits
//! foreign files and files that were edited by hand as ordinary writes, with the last published hash as
//! their precondition.
//!
//! Memory is bounded by one page of names and one text.

mod adopt;
mod base_copy;
mod files;
mod foreign_files;
mod objects;

pub(crate) use base_copy::told;
pub use foreign_files::QuickScan;

use panaversity_model::{AgentId, BookId, Fault};

use crate::service::Service;

/// Treatment of the differences that a run finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is changed.
    Report,
    /// The storage is made to match the journal.
    Repair,
    /// Files in the tree are committed to the journal, in this agent's name.
    Adopt(AgentId),
}

/// Kind of a difference between the storage and the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discrepancy {
    /// A published file is not in the tree.
    Missing,
    /// A published file has other bytes.
    Different,
    /// A foreign file: an entry of the tree that is no file of the store.
    Foreign,
    /// An object that a version references does not exist.
    ObjectMissing,
    /// An object has another size.
    ObjectWrongSize,
    /// An object has other bytes.
    ObjectCorrupt,
    /// An entry among the objects that has no row in the database.
    ObjectUnknown,
}

impl Discrepancy {
    /// Name of the kind in results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Different => "different",
            Self::Foreign => "stranger",
            Self::ObjectMissing => "object_missing",
            Self::ObjectWrongSize => "object_wrong_size",
            Self::ObjectCorrupt => "object_corrupt",
            Self::ObjectUnknown => "object_unknown",
        }
    }
}

/// Action taken on a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// None; the text names the next step.
    Left(String),
    /// The file is published again, or its publication is pending.
    Republished,
    /// The entry was moved to this folder of `lost+found`.
    SetAside(String),
    /// The object was put again from a published copy.
    Restored,
    /// The file was committed to the journal.
    Adopted,
    /// The file can't be adopted, for this reason.
    Refused(String),
    /// `gc` deletes the object when it is older than the retention.
    LeftToGc,
}

impl Remedy {
    /// Name of the action in results.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Left(_) => "left",
            Self::Republished => "republished",
            Self::SetAside(_) => "set_aside",
            Self::Restored => "restored",
            Self::Adopted => "adopted",
            Self::Refused(_) => "refused",
            Self::LeftToGc => "left_to_gc",
        }
    }

    /// True if the difference is repaired or left to `gc`, so that nothing remains to be done.
    pub fn mended(&self) -> bool {
        !matches!(self, Self::Left(_) | Self::Refused(_))
    }

    /// The next step, the folder or the reason, if there is one.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Left(text) | Self::SetAside(text) | Self::Refused(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

/// One difference that a run found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Kind of the difference.
    pub trouble: Discrepancy,
    /// Location: below `books/` for a file, the hash or listed name for an object.
    pub location: String,
    /// Action taken.
    pub remedy: Remedy,
}

/// Counts of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Published files compared.
    pub files: u64,
    /// Objects read.
    pub objects: u64,
    /// Files that were skipped because their publication is pending.
    pub pending: u64,
    /// Differences found.
    pub found: u64,
    /// Differences that remain.
    pub left: u64,
}

/// Callback that receives each finding as it is made.
pub type Tell<'a> = &'a mut (dyn FnMut(Finding) + Send + Sync);

/// Progress of a run: how many it has looked at of what it looks at now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconcileProgress {
    /// Objects that versions reference.
    Objects(u64),
    /// Files of the journal, in all layers.
    Files(u64),
    /// Entries of the tree.
    Entries(u64),
}

/// Callback that receives the progress after each page.
pub type ReconcileWatch<'a> = &'a mut (dyn FnMut(ReconcileProgress) + Send + Sync);

/// A run in progress.
struct Run<'a> {
    service: &'a Service,
    book: Option<&'a BookId>,
    mode: &'a Mode,
    /// Folder in `lost+found` to which files are moved: the time of the run.
    aside: String,
    done: Reconciled,
    tell: Tell<'a>,
    watch: ReconcileWatch<'a>,
}

impl Service {
    /// Compares one book or the whole store with the journal, and treats differences as `mode` says.
    ///
    /// # Errors
    /// A fault of the database or the storage; repairs made until then stay.
    pub async fn reconcile(
        &self,
        book: Option<&BookId>,
        mode: &Mode,
        tell: Tell<'_>,
    ) -> Result<Reconciled, Fault> {
        self.reconcile_with_progress(book, mode, tell, &mut |_| {}).await
    }

    /// As [`reconcile`](Self::reconcile), and reports its progress.
    ///
    /// # Errors
    /// As there.
    pub async fn reconcile_with_progress(
        &self,
        book: Option<&BookId>,
        mode: &Mode,
        tell: Tell<'_>,
        watch: ReconcileWatch<'_>,
    ) -> Result<Reconciled, Fault> {
        let began = self.inner.journal.now().await?.to_string();
        let aside = format!("{}Z", began[..19].replace(':', "-"));
        let mut run = Run { service: self, book, mode, aside, done: Reconciled::default(), tell, watch };
        if book.is_none() {
            run.objects().await?;
            run.unknown_objects().await?;
        }
        run.files().await?;
        run.foreign_files().await?;
        // Adopted and republished files that are not in the tree yet.
        if *mode != Mode::Report {
            self.publish_pending().await?;
        }
        Ok(run.done)
    }
}

impl Run<'_> {
    fn found(&mut self, trouble: Discrepancy, location: String, remedy: Remedy) {
        self.done.found += 1;
        self.done.left += u64::from(!remedy.mended());
        (self.tell)(Finding { trouble, location, remedy });
    }
}

fn left(next: &str) -> Remedy {
    Remedy::Left(next.to_owned())
}
