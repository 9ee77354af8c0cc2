//! `get_book_archive`: a state of a book's base as one ZIP that is never built. Keeps R4, and R5:
//! only versions of base files can be named.
//!
//! # Protocol
//! 1. **State.** The archive is of a manifest: of the book's current one, or of one that was asked
//!    for and is still kept. It is kept before it is named, so that any server can read it again.
//! 2. **Pin.** The versions in scope are looked at; those not kept long enough are noted to be kept
//!    until the link is surely over, *and then looked at again*. A `gc` beside us either let a
//!    version go before that look, which then does not find it, or honours the note: see the
//!    model's `gc`. A version of the current state that is gone was superseded meanwhile:
//!    begin again at 1. One of an older state is gone for good: refused.
//! 3. **Look.** The objects among them are looked for, those too that were missing once. One that
//!    is missing or has another size is marked missing, one that is there again live: its bytes are
//!    checked in 6 like all others. What the rows call missing or corrupt is left out and listed.
//! 4. **Layout.** From here on everything follows from the manifest, the scope and the rows; so
//!    every server finds the same layout, whose hash the link carries.
//! 5. **Open.** A server that does not remember the layout makes it again from the same three. If
//!    its hash is not the link's, the archive is gone: never other bytes under the same name. Of
//!    many who open it at once one makes it, the others find it remembered.
//! 6. **Stream.** Every byte is checked before it leaves (see `download`). What turns out bad is
//!    marked, and ends the download and the remembered layout: the next link leaves it out.
//!
//! Pins are rounded up by a day, so that of many links to one state the first one alone writes.

mod cache;
mod download;
mod segments;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use panaversity_model::blob::{BlobMetadata, BlobState};
use panaversity_model::fault::FaultKind;
use panaversity_model::manifest::Manifest;
use panaversity_model::{BookId, ContentHash, Error, Fault, Refusal};

pub(crate) use cache::ArchiveCache;
pub use cache::{Archive, LeftOut};
pub use download::Download;

use crate::blob_reader::LOOKUP_RETRIES;
use crate::service::Service;

/// How often a state that was superseded and let go meanwhile is looked for anew.
const AGAIN: usize = 10;
/// How much longer than its link a version is kept: for a download that begins at the last moment,
/// and for clocks that differ.
const LONGER: Duration = Duration::from_hours(1);
/// How much longer still it is pinned when it is pinned at all.
const ROUNDED_UP: Duration = Duration::from_hours(24);
/// Objects looked for side by side.
const SIDE_BY_SIDE: usize = 16;

/// Which files of a book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those below `content/`.
    Content,
    /// Those below `static/`.
    Assets,
    /// All.
    All,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Content, Self::Assets, Self::All];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Assets => "assets",
            Self::All => "all",
        }
    }

    /// The scope of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    fn holds(self, path: &str) -> bool {
        match self {
            Self::Content => path.starts_with("content/"),
            Self::Assets => path.starts_with("static/"),
            Self::All => true,
        }
    }
}

/// An archive that may be linked to.
#[derive(Debug, Clone)]
pub struct Made {
    /// The state it is of.
    pub manifest: ContentHash,
    /// What it holds.
    pub archive: Arc<Archive>,
}

/// A state of a book.
struct State {
    hash: ContentHash,
    manifest: Arc<Manifest>,
    is_current: bool,
}

impl Service {
    /// Makes the archive of the book's current state, or of a kept one, such that a link to it
    /// opens for `valid_for` from now on.
    ///
    /// # Errors
    /// `NOT_FOUND` if the manifest is not kept, or its versions are not.
    pub async fn make_archive(
        &self,
        book: &BookId,
        scope: Scope,
        manifest: Option<ContentHash>,
        valid_for: Duration,
    ) -> Result<Made, Error> {
        for _ in 0..AGAIN {
            let state = self.state(book, manifest).await?;
            let versions = in_scope(&state.manifest, scope);
            match self.pinned(book, &versions, valid_for).await? {
                Some(mut blob_metadata) => {
                    self.look_for_objects(&versions, &mut blob_metadata).await?;
                    let archive = self.inner.archives.layout(&versions, &blob_metadata);
                    return Ok(Made { manifest: state.hash, archive });
                }
                None if state.is_current => {}
                None => return Err(not_kept(state.hash).into()),
            }
        }
        Err(Fault::new(FaultKind::Timeout, "the book changed again and again while it was archived").into())
    }

    /// The archive that a link names; `None`: it can't be given any more.
    pub async fn open_archive(
        &self,
        book: &BookId,
        manifest: ContentHash,
        scope: Scope,
        layout: ContentHash,
    ) -> Result<Option<Arc<Archive>>, Fault> {
        let archives = &self.inner.archives;
        if let Some(remembered) = archives.remembered(layout) {
            return Ok(Some(remembered));
        }
        let making = archives.making(layout);
        let _turn = making.lock().await;
        if let Some(remembered) = archives.remembered(layout) {
            return Ok(Some(remembered));
        }
        let Some(state) = self.kept(book, manifest).await? else { return Ok(None) };
        let versions = in_scope(&state, scope);
        let blob_metadata: Option<Vec<_>> =
            self.inner.journal.blob_metadata(book, &versions).await?.into_iter().collect();
        let archive = blob_metadata.map(|blob_metadata| archives.layout(&versions, &blob_metadata));
        Ok(archive.filter(|archive| archive.hash() == layout))
    }

    /// Bytes of memory that archives hold now: layouts, and pieces on their way.
    pub fn archive_memory(&self) -> u64 {
        self.inner.archives.held()
    }

    /// Step 1.
    async fn state(&self, book: &BookId, asked: Option<ContentHash>) -> Result<State, Error> {
        let now = self.manifest(book).await?;
        let state = match asked {
            Some(asked) if asked != now.hash => {
                let manifest = self.kept(book, asked).await?.ok_or_else(|| not_kept(asked))?;
                State { hash: asked, manifest, is_current: false }
            }
            _ => State { hash: now.hash, manifest: now.manifest, is_current: true },
        };
        self.keep(book, state.hash, &state.manifest).await?;
        Ok(state)
    }

    /// Step 2; `None`: one of them is gone.
    async fn pinned(
        &self,
        book: &BookId,
        versions: &[(&str, ContentHash)],
        valid_for: Duration,
    ) -> Result<Option<Vec<BlobMetadata>>, Fault> {
        let journal = &self.inner.journal;
        let needed = journal.now().await?.after(valid_for + LONGER);
        let is_kept = |metadata: &BlobMetadata| metadata.kept_until >= Some(needed);
        let mut found = journal.blob_metadata(book, versions).await?;
        let numbered = found.iter().enumerate();
        let short = numbered.filter(|(_, found)| found.is_some_and(|metadata| !is_kept(&metadata)));
        let short: Vec<usize> = short.map(|(number, _)| number).collect();
        if !short.is_empty() {
            let named: Vec<_> = short.iter().map(|number| versions[*number]).collect();
            journal.pin(book, needed.after(ROUNDED_UP), &named).await?;
            let again = journal.blob_metadata(book, &named).await?;
            for (number, metadata) in short.into_iter().zip(again) {
                found[number] = metadata.filter(is_kept);
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Step 3.
    async fn look_for_objects(
        &self,
        versions: &[(&str, ContentHash)],
        blob_metadata: &mut [BlobMetadata],
    ) -> Result<(), Fault> {
        let all = versions.iter().zip(blob_metadata.iter()).enumerate();
        let in_objects = all.filter(|(_, (_, metadata))| {
            metadata.deflated.is_none() && matches!(metadata.state, BlobState::Live | BlobState::Missing)
        });
        let wanted: Vec<_> =
            in_objects.map(|(number, ((_, hash), metadata))| (number, *hash, *metadata)).collect();
        let looks = futures::stream::iter(wanted).map(|(number, hash, metadata)| async move {
            Ok::<_, Fault>((number, self.look_for_object(hash, metadata).await?))
        });
        let found: Vec<_> = looks.buffer_unordered(SIDE_BY_SIDE).try_collect().await?;
        for (number, health) in found {
            blob_metadata[number].state = health;
        }
        Ok(())
    }

    /// Looks for one; unmarked, other servers would find another layout.
    async fn look_for_object(&self, hash: ContentHash, metadata: BlobMetadata) -> Result<BlobState, Fault> {
        let journal = &self.inner.journal;
        for _ in 0..LOOKUP_RETRIES {
            if self.inner.objects.stat(hash).await? == Some(metadata.size) {
                // What has no row counts as missing, wherever its bytes are.
                if metadata.state == BlobState::Missing && !journal.blobs(&[hash]).await?.is_empty() {
                    journal.mark(hash, BlobState::Live).await?;
                    return Ok(BlobState::Live);
                }
                return Ok(metadata.state);
            }
            if !journal.is_referenced(hash).await? {
                return Ok(BlobState::Missing);
            }
        }
        if metadata.state != BlobState::Missing {
            self.inner.stats.damaged_reads.fetch_add(1, Ordering::Relaxed);
            journal.mark(hash, BlobState::Missing).await?;
        }
        Ok(BlobState::Missing)
    }
}

fn in_scope(manifest: &Manifest, scope: Scope) -> Vec<(&str, ContentHash)> {
    let files = manifest.files.iter().filter(|(path, _)| scope.holds(path));
    files.map(|(path, item)| (path.as_str(), item.hash)).collect()
}

fn not_kept(manifest: ContentHash) -> Refusal {
    Refusal::not_found(format!("The book's state {manifest} is not kept (any more)"))
}
