//! Download of many files as one archive. Invariant: the archive is not trusted. Only entries that
//! the plan names are read, by the plan's names, and each counts only if its hash is the plan's;
//! nothing in the archive determines where anything is written.
//!
//! # The steps
//! 1. Request a link to the archive of the plan's state. Files that the server reports as lacking
//!    are reported, and the run ends. A server that offers no archive is no fault: files are then
//!    fetched one by one.
//! 2. Download it into the staging folder (see [`download`]); when the link has expired, request
//!    another.
//! 3. Extract it, several entries at once, into the staging folder.
//! 4. Remove it. Files that it lacked, or had with other bytes, are fetched one by one.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use futures::future::try_join_all;
use zip::ZipArchive;

use super::download::{self, Ended, PartialFile, RetryBudget, Stopped};
use super::fetch::{Fetch, Missing, unfetched};
use super::staging::{Unkept, keep};
use super::{digest, problem};
use crate::archive::{Archive, Scope};
use crate::client::CallError;
use crate::progress::Progress;
use crate::sync::{SyncError, blocking};
use crate::workspace::Workspace;

/// Maximum number of entries extracted at once. Most of the time is spent on making each durable.
const AT_ONCE: usize = 8;

impl Fetch<'_> {
    /// Stages the files that the archive contains; returns those still missing.
    pub(super) async fn take_from_archive(
        &self,
        scope: Scope,
        missing: Vec<Missing>,
        progress: &Arc<Progress>,
    ) -> Result<Vec<Missing>, SyncError> {
        // 1.
        let Some(link) = self.link(scope).await? else { return Ok(missing) };
        let why = |path: &str| link.lacking.iter().find(|lacking| lacking.path == path);
        let lacking = missing.iter().filter_map(|one| {
            let lacking = why(one.path.as_str())?;
            Some(problem(&lacking.path, format!("the server cannot give it: {}", lacking.error)))
        });
        let lacking: Vec<_> = lacking.collect();
        if !lacking.is_empty() {
            return Err(unfetched(lacking, 0));
        }

        // 2.
        let mut part = blocking({
            let place = self.place.clone();
            move || PartialFile::of_archive(&place)
        })
        .await??;
        self.download(scope, link, &mut part).await?;

        // 3.
        let (place, path) = (self.place.clone(), part.path());
        let left = unpack(&place, &path, missing, progress).await?;

        // 4.
        blocking(move || part.remove()).await??;
        Ok(left)
    }

    /// A link to the archive of the plan's state, if the server offers one.
    async fn link(&self, scope: Scope) -> Result<Option<Archive>, SyncError> {
        match self.client.archive(self.book, scope, self.manifest_hash).await {
            Err(CallError::ServerError(_)) => Ok(None),
            link => Ok(Some(link?)),
        }
    }

    async fn download(
        &self,
        scope: Scope,
        mut link: Archive,
        part: &mut PartialFile,
    ) -> Result<(), SyncError> {
        let progress =
            Progress::of_bytes(self.progress, format!("hydrate {}: downloading", self.book), link.size);
        let mut retries = RetryBudget::new(part.length());
        loop {
            let going =
                download::go_on(self.client, &link.url, part, link.size, &mut retries, Some(&progress));
            let why = match going.await {
                Ok(Ended::Whole) => return Ok(()),
                Ok(Ended::Over(why)) => why,
                Ok(Ended::Gone) => "HTTP 404".to_owned(),
                Err(Stopped::Call(error)) => return Err(nothing_changed(&error)),
                Err(Stopped::Disk(failure)) => return Err(failure),
            };
            retries.wait(part.length(), &why).await.map_err(|error| nothing_changed(&error))?;
            link = match self.client.archive(self.book, scope, self.manifest_hash).await {
                Ok(link) => link,
                Err(error) => return Err(nothing_changed(&error)),
            };
        }
    }
}

fn nothing_changed(error: &CallError) -> SyncError {
    SyncError::new(format!("nothing was changed: the archive could not be fetched: {error}"))
}

/// Extracts the missing files from the archive; returns those that it did not contain.
async fn unpack(
    place: &Arc<Workspace>,
    archive: &Path,
    missing: Vec<Missing>,
    progress: &Arc<Progress>,
) -> Result<Vec<Missing>, SyncError> {
    let share = missing.len().div_ceil(AT_ONCE).max(1);
    let readers = missing.chunks(share).map(|share| {
        let (place, archive, progress) = (place.clone(), archive.to_owned(), progress.clone());
        let share = share.to_vec();
        async move { blocking(move || read(&place, &archive, share, &progress)).await? }
    });
    Ok(try_join_all(readers).await?.concat())
}

fn read(
    place: &Workspace,
    archive: &Path,
    share: Vec<Missing>,
    progress: &Progress,
) -> Result<Vec<Missing>, SyncError> {
    let file = File::open(archive).map_err(|error| SyncError::disk("read", archive, &error))?;
    // A file that is not a valid archive contains none of the files.
    let Ok(mut archive) = ZipArchive::new(BufReader::with_capacity(digest::PART, file)) else {
        return Ok(share);
    };
    let mut left = Vec::new();
    for missing in share {
        let entry = archive.index_for_name_raw(missing.path.as_str().as_bytes());
        let kept = match entry.and_then(|entry| archive.by_index(entry).ok()) {
            Some(mut entry) => keep(place, missing.want, &mut entry),
            None => Err(Unkept::Wrong("there is no such entry".to_owned())),
        };
        match kept {
            Ok(()) => progress.step(),
            Err(Unkept::Wrong(_)) => left.push(missing),
            Err(Unkept::Disk(failure)) => return Err(failure),
        }
    }
    Ok(left)
}
