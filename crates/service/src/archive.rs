//! `get_book_archive`: a ZIP of one state of a book's base, generated while it is streamed. Keeps R4,
//! and R5: only versions of base files can be included.
//!
//! # Protocol
//! 1. **State.** An archive belongs to a manifest: the book's current one, or a requested one that is
//!    still kept. It is stored before it is returned, so that any server can read it again.
//! 2. **Pin.** The versions in scope are read; those not kept long enough are pinned until the link has
//!    surely expired, *and then read again*. A concurrent `gc` either deleted a version before that
//!    second read, which then does not find it, or respects the pin: see the model's `gc`. A missing
//!    version of the current state was superseded meanwhile: start again at 1. A missing version of an
//!    older state is lost: refused.
//! 3. **Check objects.** Every object in scope is looked up, also one that was missing before. If it is
//!    missing or has another size, it is marked missing; if it is present again, live: its bytes are
//!    checked in 6 like all others. Files whose rows say missing or corrupt are left out and listed.
//! 4. **Layout.** All further steps depend only on the manifest, the scope and the rows; so every server
//!    computes the same layout, whose hash is part of the link.
//! 5. **Open.** A server without the layout in its cache computes it from the same three. If its hash is
//!    not the link's, the archive is gone: a link never yields other bytes. Of concurrent requests one
//!    computes the layout, the others find it in the cache.
//! 6. **Stream.** Every byte is checked before it is sent (see `download`). A blob found bad is marked,
//!    the download ends and the layout leaves the cache: the next link leaves the file out.
//!
//! Pins are rounded up by a day, so that of many links to one state only the first one writes.

pub(crate) mod cache;
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

pub use cache::{Archive, LeftOut};
pub use download::Download;

use crate::authorize::ReadAccess;
use crate::blob_reader::LOOKUP_RETRIES;
use crate::call::Call;
use crate::service::Service;

/// Most attempts at the current state when a version was superseded and deleted meanwhile.
const AGAIN: usize = 10;
/// Time beyond the expiry of its link that a version is kept: for a download that begins at the last
/// moment, and for clock differences.
const LONGER: Duration = Duration::from_hours(1);
/// Extra time of a pin, so that later links need no new one.
const ROUNDED_UP: Duration = Duration::from_hours(24);
/// Concurrent object lookups.
const SIDE_BY_SIDE: usize = 16;

/// Selection of a book's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveScope {
    /// Files below `content/`.
    Content,
    /// Files below `static/`.
    Assets,
    /// All files.
    All,
}

impl ArchiveScope {
    /// All scopes.
    pub const ALL: [Self; 3] = [Self::Content, Self::Assets, Self::All];

    /// Name of the scope.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Assets => "assets",
            Self::All => "all",
        }
    }

    /// The scope with that name.
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

/// An archive ready to be linked to.
#[derive(Debug, Clone)]
pub struct Made {
    /// Hash of the manifest of its state.
    pub manifest: ContentHash,
    /// Its layout.
    pub archive: Arc<Archive>,
}

/// A state of a book's base.
struct ArchiveState {
    hash: ContentHash,
    manifest: Arc<Manifest>,
    is_current: bool,
}

impl Call {
    /// Prepares the archive of the book's current state, or of a kept one, so that a link to it can be
    /// opened for `valid_for` from now on.
    ///
    /// # Errors
    /// `NOT_FOUND` if the manifest is not kept, or its versions are not.
    pub async fn make_archive(
        &self,
        access: &ReadAccess,
        scope: ArchiveScope,
        manifest: Option<ContentHash>,
        valid_for: Duration,
    ) -> Result<Made, Error> {
        let book = access.book();
        for _ in 0..AGAIN {
            let state = self.service.state(book, manifest).await?;
            let versions = in_scope(&state.manifest, scope);
            match self.service.pinned(book, &versions, valid_for).await? {
                Some(mut blob_metadata) => {
                    self.service.look_for_objects(&versions, &mut blob_metadata).await?;
                    let archive = self.service.inner.archives.layout(&versions, &blob_metadata);
                    return Ok(Made { manifest: state.hash, archive });
                }
                None if state.is_current => {}
                None => return Err(not_kept(state.hash).into()),
            }
        }
        Err(Fault::new(FaultKind::Timeout, "the book changed again and again while it was archived").into())
    }

    /// The archive that a link refers to; `None`: it is no longer available.
    pub async fn open_archive(
        &self,
        access: &ReadAccess,
        manifest: ContentHash,
        scope: ArchiveScope,
        layout: ContentHash,
    ) -> Result<Option<Arc<Archive>>, Fault> {
        let archives = &self.service.inner.archives;
        if let Some(remembered) = archives.remembered(layout) {
            return Ok(Some(remembered));
        }
        let making = archives.making(layout);
        let _turn = making.lock().await;
        if let Some(remembered) = archives.remembered(layout) {
            return Ok(Some(remembered));
        }
        let book = access.book();
        let Some(state) = self.service.kept(book, manifest).await? else { return Ok(None) };
        let versions = in_scope(&state, scope);
        let blob_metadata: Option<Vec<_>> =
            self.service.inner.journal.blob_metadata(book, &versions).await?.into_iter().collect();
        let archive = blob_metadata.map(|blob_metadata| archives.layout(&versions, &blob_metadata));
        Ok(archive.filter(|archive| archive.hash() == layout))
    }
}

impl Service {
    /// Memory used by archives now, in bytes: cached layouts, and segments in progress.
    pub fn archive_memory(&self) -> u64 {
        self.inner.archives.held()
    }

    /// Step 1: determines and keeps the manifest.
    async fn state(&self, book: &BookId, asked: Option<ContentHash>) -> Result<ArchiveState, Error> {
        let now = self.manifest(book).await?;
        let state = match asked {
            Some(asked) if asked != now.hash => {
                let manifest = self.kept(book, asked).await?.ok_or_else(|| not_kept(asked))?;
                ArchiveState { hash: asked, manifest, is_current: false }
            }
            _ => ArchiveState { hash: now.hash, manifest: now.manifest, is_current: true },
        };
        self.keep(book, state.hash, &state.manifest).await?;
        Ok(state)
    }

    /// Step 2: pins the versions; `None`: one of them is gone.
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

    /// Step 3: checks the objects.
    pub(crate) async fn look_for_objects(
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

    /// Looks up one object and marks a change of its state; unmarked, other servers would compute
    /// another layout.
    async fn look_for_object(&self, hash: ContentHash, metadata: BlobMetadata) -> Result<BlobState, Fault> {
        let journal = &self.inner.journal;
        for _ in 0..LOOKUP_RETRIES {
            if self.inner.objects.stat(hash).await? == Some(metadata.size) {
                // A blob without a row counts as missing, even if its object exists.
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

fn in_scope(manifest: &Manifest, scope: ArchiveScope) -> Vec<(&str, ContentHash)> {
    let files = manifest.files.iter().filter(|(path, _)| scope.holds(path));
    files.map(|(path, item)| (path.as_str(), item.hash)).collect()
}

fn not_kept(manifest: ContentHash) -> Refusal {
    Refusal::not_found(format!("The book's state {manifest} is not kept (any more)"))
}
