//! `restore_content`: brings back a kept version of a file, or the state of a book that a manifest names, as
//! a change set with preconditions.
//!
//! The bytes are not read: a version's blob becomes the content again. That its object exists is checked
//! before the transaction, and missing ones refuse the whole restore by name.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt, stream};
use panaversity_model::audit::Operation;
use panaversity_model::blob::{Blob, BlobLocation, BlobState, StoredBlob};
use panaversity_model::change::{Change, PlannedChange};
use panaversity_model::manifest::{Difference, Item};
use panaversity_model::{BookId, BookPath, ContentHash, Error, Fault, Refusal};

use crate::authorize::WriteAccess;
use crate::call::Call;
use crate::commit::{AppliedSet, NewContent, SetResult};
use crate::service::Service;

/// Most files that a restore changes.
pub const MAX_FILES: usize = 10_000;
/// Most bytes of small blobs, in their stored form, that a restore has in memory.
const MAX_STORED_BYTES: u64 = 32 * 1024 * 1024;
/// Objects that are looked for at once.
const STATS_AT_ONCE: usize = 16;

/// Request to restore one file.
#[derive(Debug, Clone)]
pub struct RestoreFile {
    /// The layer of the book.
    pub access: WriteAccess,
    /// The file.
    pub path: BookPath,
    /// The version.
    pub version: ContentHash,
    /// Expected current hash of the file.
    pub expected: Option<ContentHash>,
    /// Whether the restore is only checked.
    pub dry_run: bool,
}

/// Request to restore a book's base.
#[derive(Debug, Clone)]
pub struct RestoreBook {
    /// The base of the book.
    pub access: WriteAccess,
    /// Hash of the manifest that names the state.
    pub manifest: ContentHash,
    /// Expected hash of the book's current manifest.
    pub expected: Option<ContentHash>,
    /// Whether the restore is only checked.
    pub dry_run: bool,
}

impl Call {
    /// Restores a file to a kept version, also a deleted file.
    pub async fn restore_file(&mut self, restore: RestoreFile) -> Result<AppliedSet, Error> {
        let RestoreFile { access, path, version, expected, dry_run } = restore;
        let journal = &self.service.inner.journal;
        let found = journal.find_version(access.book(), &path, &access.view(), version).await?;
        let Some(found) = found else {
            return Err(self.missing(&access, &path, Some(version)).await?.into());
        };
        if !self.service.is_stored(&found.blob).await? {
            return Err(refused_for_lost(vec![path]).into());
        }
        let content = NewContent::Stored(found.blob.blob);
        let change = Change::new(Operation::Restore, path.clone(), content, expected);
        match self.restore(&access, vec![change], dry_run).await? {
            Ok(applied) => Ok(applied),
            Err((_, refusal)) => Err(self.explained(&access, &path, expected, refusal).await?.into()),
        }
    }

    /// Restores the base of a book to the state that a kept manifest names.
    pub async fn restore_book(&mut self, restore: RestoreBook) -> Result<AppliedSet, Error> {
        let RestoreBook { access, manifest, expected, dry_run } = restore;
        let book = access.book();
        let now = self.service.manifest(book).await?;
        if now.hash == manifest {
            return Ok(AppliedSet { change: None, files: Vec::new() });
        }
        match expected {
            Some(expected) if expected != now.hash => return Err(book_changed(now.hash).into()),
            None if !dry_run && !now.manifest.files.is_empty() => {
                return Err(Refusal::ManifestRequired { current: now.hash }.into());
            }
            _ => {}
        }
        let Some(kept) = self.service.kept(book, manifest).await? else {
            return Err(Refusal::not_found("The book has no such manifest, or it is no longer kept").into());
        };
        let differences = kept.differences(&now.manifest);
        if differences.len() > MAX_FILES {
            let actual = differences.len() as u64;
            return Err(Refusal::TooManyFiles { actual, limit: MAX_FILES as u64 }.into());
        }
        // Several MiB may be in memory until the commit.
        let service = self.service.clone();
        let _permit = service.inner.large.acquire().await;
        let changes = self.service.restoring_changes(book, differences).await?;
        match self.restore(&access, changes, dry_run).await? {
            Ok(applied) => Ok(applied),
            Err((_, Refusal::Conflict { current: Some(_), .. } | Refusal::HashRequired { .. })) => {
                Err(book_changed(self.service.manifest(access.book()).await?.hash).into())
            }
            Err((_, refusal)) => Err(refusal.into()),
        }
    }

    async fn restore(
        &mut self,
        access: &WriteAccess,
        changes: Vec<Change<NewContent>>,
        dry_run: bool,
    ) -> Result<SetResult, Error> {
        if dry_run {
            return Ok(self.service.dry_run(access, &changes).await?);
        }
        self.change_set(access, changes, None).await
    }
}

impl Service {
    /// The changes that lead from the current state to the kept one.
    async fn restoring_changes(
        &self,
        book: &BookId,
        differences: Vec<Difference>,
    ) -> Result<Vec<Change<NewContent>>, Error> {
        let wanted = differences.iter().filter_map(|file| Some((file.path.as_str(), file.current?.hash)));
        let stored = self.stored_blobs(book, &wanted.collect::<Vec<_>>()).await?;
        let (mut changes, mut lost) = (Vec::with_capacity(differences.len()), Vec::new());
        for Difference { path, current: kept, target: now } in differences {
            let path = BookPath::parse(&path)?;
            let expected = now.map(|Item { hash, .. }| hash);
            let Some(kept) = kept else {
                changes.push(Change::new(Operation::Restore, path, NewContent::Absent, expected));
                continue;
            };
            match stored.get(&kept.hash) {
                Some(blob) => {
                    let content = NewContent::Stored(blob.clone());
                    changes.push(Change::new(Operation::Restore, path, content, expected));
                }
                None => lost.push(path),
            }
        }
        if lost.is_empty() { Ok(changes) } else { Err(refused_for_lost(lost).into()) }
    }

    /// Those of the blobs of these versions whose bytes are there. The size of the small ones is checked
    /// before they are read.
    async fn stored_blobs(
        &self,
        book: &BookId,
        versions: &[(&str, ContentHash)],
    ) -> Result<HashMap<ContentHash, Blob>, Error> {
        let metadata = self.inner.journal.blob_metadata(book, versions).await?;
        let actual = metadata.iter().flatten().filter_map(|blob| blob.deflated).sum();
        if actual > MAX_STORED_BYTES {
            let what = "the files of the restore together, as stored,";
            return Err(Refusal::TooLarge { what, actual, limit: MAX_STORED_BYTES }.into());
        }
        let hashes: Vec<ContentHash> = versions.iter().map(|(_, hash)| *hash).collect();
        let blobs = self.inner.journal.blobs(&hashes).await?;
        let checked = stream::iter(blobs).map(|stored| async move {
            let is_stored = self.is_stored(&stored).await?;
            Ok::<_, Fault>(is_stored.then_some((stored.blob.hash, stored.blob)))
        });
        let checked: Vec<_> = checked.buffer_unordered(STATS_AT_ONCE).try_collect().await?;
        Ok(checked.into_iter().flatten().collect())
    }

    /// Whether the bytes of a blob are where its row says, undamaged as far as is known.
    async fn is_stored(&self, stored: &StoredBlob) -> Result<bool, Fault> {
        if matches!(stored.state, BlobState::Missing | BlobState::Corrupt) {
            return Ok(false);
        }
        match stored.blob.location {
            BlobLocation::Inline(_) => Ok(true),
            BlobLocation::Object(_) => {
                Ok(self.inner.objects.stat(stored.blob.hash).await? == Some(stored.blob.size))
            }
        }
    }
}

fn book_changed(current: ContentHash) -> Refusal {
    let why = "The book has changed since the manifest you named in expected_hash".to_owned();
    Refusal::Conflict { why, current: Some(current), details: None }
}

/// The refusal of a restore because the bytes of these files are gone.
fn refused_for_lost(paths: Vec<BookPath>) -> Refusal {
    let lost = |path: BookPath| PlannedChange { result: Err(Refusal::BytesMissing(path.clone())), path };
    Refusal::ChangesRefused(paths.into_iter().map(lost).collect())
}
