//! Fetching many files as one archive. Invariant: the archive is not trusted. Only entries that the
//! plan names are read, by its names, and each counts only if its hash is the plan's; nothing in
//! the archive says where anything is written.
//!
//! # The steps
//! 1. Ask for a link to the archive of the plan's state. What the server says it lacks is reported,
//!    and the run ends. A server that offers no archive is no fault: there is the other way.
//! 2. Download it into the staging folder (see [`download`]); when the link's time
//!    is over, ask for another.
//! 3. Read it, several entries at once, into the staging folder.
//! 4. Remove it. What it lacked, or had with other bytes, comes the other way.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use futures::future::try_join_all;
use zip::ZipArchive;

use super::super::progress::Progress;
use super::super::workspace::Workspace;
use super::super::{Failure, blocking};
use super::download::{self, Ended, Part, Patience, Stopped};
use super::fetch::{Fetch, Missing, unfetched};
use super::staging::{Unkept, keep};
use super::{digest, problem};
use crate::client::CallError;
use crate::client::archive::{Archive, Scope};

/// Entries that are read at once: what takes time is to make each durable.
const AT_ONCE: usize = 8;

impl Fetch<'_> {
    /// Stages what the archive has; gives what is still missing.
    pub(super) async fn take_from_archive(
        &self,
        scope: Scope,
        missing: Vec<Missing>,
        progress: &Arc<Progress>,
    ) -> Result<Vec<Missing>, Failure> {
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
            move || Part::of_archive(&place)
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

    /// A link to the archive of the plan's state, if the server gives one.
    async fn link(&self, scope: Scope) -> Result<Option<Archive>, Failure> {
        match self.client.archive(self.book, scope, self.manifest_hash).await {
            Err(CallError::ServerError(_)) => Ok(None),
            link => Ok(Some(link?)),
        }
    }

    async fn download(&self, scope: Scope, mut link: Archive, part: &mut Part) -> Result<(), Failure> {
        let progress = Progress::of_bytes(format!("hydrate {}: downloading", self.book), link.size);
        let mut patience = Patience::new(part.length());
        loop {
            let going =
                download::go_on(self.client, &link.url, part, link.size, &mut patience, Some(&progress));
            let why = match going.await {
                Ok(Ended::Whole) => return Ok(()),
                Ok(Ended::Over(why)) => why,
                Ok(Ended::Gone) => "HTTP 404".to_owned(),
                Err(Stopped::Call(error)) => return Err(nothing_changed(&error)),
                Err(Stopped::Disk(failure)) => return Err(failure),
            };
            patience.wait(part.length(), &why).await.map_err(|error| nothing_changed(&error))?;
            link = match self.client.archive(self.book, scope, self.manifest_hash).await {
                Ok(link) => link,
                Err(error) => return Err(nothing_changed(&error)),
            };
        }
    }
}

fn nothing_changed(error: &CallError) -> Failure {
    Failure::new(format!("nothing was changed: the archive could not be fetched: {error}"))
}

/// Reads what is missing from the archive; gives what it did not have.
async fn unpack(
    place: &Arc<Workspace>,
    archive: &Path,
    missing: Vec<Missing>,
    progress: &Arc<Progress>,
) -> Result<Vec<Missing>, Failure> {
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
) -> Result<Vec<Missing>, Failure> {
    let file = File::open(archive).map_err(|error| Failure::disk("read", archive, &error))?;
    // One that does not read as an archive has nothing to give.
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
