//! `reconcile`: the storage against the journal. What appears, changes or vanishes behind our back
//! never changes what the API says; here it is found, and mended if that is asked for. It may run
//! while servers run: what is on its way to the tree is skipped, and what seems wrong is looked at
//! twice, with a look at the journal in between.
//!
//! # A run
//! 1. Objects that a version names are read and checked; then the storage is listed for objects
//!    that nobody knows. Not for a single book: objects belong to no book.
//! 2. Every file of the journal is read in the tree and compared by its hash.
//! 3. The tree is listed: what lies there and is no file of the journal is a stranger.
//!
//! *Repair* restores objects from the tree, publishes files again, and moves strangers, and what
//! was in the place of a file, to `lost+found`: nothing anybody wrote is thrown away. *Adopt* takes
//! strangers and files that were edited by hand in as writes like any other, with what was last
//! published as their precondition.
//!
//! Memory is bounded by a page of names and one text.

mod adopt;
mod files;
mod foreign_files;
mod objects;

pub use foreign_files::QuickScan;

use panaversity_model::{AgentId, BookId, Fault};

use crate::service::Service;

/// What is done about what is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Report,
    /// The storage is made to hold what the journal says.
    Repair,
    /// The journal takes in what lies in the tree, in this agent's name.
    Adopt(AgentId),
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// A published file is not in the tree.
    Missing,
    /// A published file holds other bytes.
    Different,
    /// Something lies in the tree that is no file of the store.
    Stranger,
    /// An object is not there.
    ObjectMissing,
    /// An object has another size.
    ObjectWrongSize,
    /// An object has other bytes.
    ObjectCorrupt,
    /// Something lies among the objects that the database does not know.
    ObjectUnknown,
}

impl Trouble {
    /// Its name in results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Different => "different",
            Self::Stranger => "stranger",
            Self::ObjectMissing => "object_missing",
            Self::ObjectWrongSize => "object_wrong_size",
            Self::ObjectCorrupt => "object_corrupt",
            Self::ObjectUnknown => "object_unknown",
        }
    }
}

/// What was done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing, with the next step.
    Left(String),
    /// The file is published again, or on its way.
    Republished,
    /// It was moved to this folder of `lost+found`.
    SetAside(String),
    /// The object was put again from a published copy.
    Restored,
    /// It was taken in.
    Adopted,
    /// It can't be taken in, for this reason.
    Refused(String),
    /// `gc` deletes it when it is older than the retention.
    LeftToGc,
}

impl Remedy {
    /// Its name in results.
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

    /// Is it as it should be now?
    pub fn mended(&self) -> bool {
        !matches!(self, Self::Left(_) | Self::Refused(_))
    }

    /// The reason or the next step, if there is one.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Left(text) | Self::SetAside(text) | Self::Refused(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub trouble: Trouble,
    /// Where: below `books/` for files, the hash or name of an object.
    pub location: String,
    /// What was done about it.
    pub remedy: Remedy,
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Published files compared.
    pub files: u64,
    /// Objects read.
    pub objects: u64,
    /// Files that are on their way and were skipped.
    pub pending: u64,
    /// What was found wrong.
    pub found: u64,
    /// How much of it is still so.
    pub left: u64,
}

/// Is told each finding as it is made.
pub type Tell<'a> = &'a mut (dyn FnMut(Finding) + Send);

/// A run that is under way.
struct Run<'a> {
    service: &'a Service,
    book: Option<&'a BookId>,
    mode: &'a Mode,
    /// Where strangers are moved.
    aside: String,
    done: Reconciled,
    tell: Tell<'a>,
}

impl Service {
    /// Compares and, if request, mends; of one book or of the whole store.
    ///
    /// # Errors
    /// A fault of the database or the storage; what was mended until then is mended.
    pub async fn reconcile(
        &self,
        book: Option<&BookId>,
        mode: &Mode,
        tell: Tell<'_>,
    ) -> Result<Reconciled, Fault> {
        let began = self.inner.journal.now().await?.to_string();
        let aside = format!("{}Z", began[..19].replace(':', "-"));
        let mut run = Run { service: self, book, mode, aside, done: Reconciled::default(), tell };
        if book.is_none() {
            run.objects().await?;
            run.unknown_objects().await?;
        }
        run.files().await?;
        run.foreign_files().await?;
        // What was taken in or published again, and is not in the tree yet.
        if *mode != Mode::Report {
            self.publish_pending().await?;
        }
        Ok(run.done)
    }
}

impl Run<'_> {
    fn found(&mut self, trouble: Trouble, location: String, remedy: Remedy) {
        self.done.found += 1;
        self.done.left += u64::from(!remedy.mended());
        (self.tell)(Finding { trouble, location, remedy });
    }
}

fn left(next: &str) -> Remedy {
    Remedy::Left(next.to_owned())
}
