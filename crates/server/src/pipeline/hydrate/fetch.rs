//! Fetching into the staging folder. Invariant: a file in staging has its hash as its name only if
//! it holds those bytes durably; what a killed run left is checked again before it counts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, stream};
use panaversity_model::{BookId, BookPath, ContentHash};

use super::super::progress::Progress;
use super::super::report::Problem;
use super::super::state::Place;
use super::super::{Breaker, Failure, blocking};
use super::problem;
use super::survey::Survey;
use crate::client::Client;

/// Calls in flight.
const IN_FLIGHT: usize = 16;

/// Where the bytes of this hash are staged.
pub(super) fn staged(place: &Place, hash: ContentHash) -> PathBuf {
    place.staging.join(hash.to_string())
}

/// Stages everything that is to be installed; gives the number of files read from the server.
pub(super) async fn all(
    client: &Client,
    book: &BookId,
    place: &Arc<Place>,
    survey: &Survey,
) -> Result<usize, Failure> {
    let needed: BTreeMap<ContentHash, BookPath> =
        survey.install.iter().map(|job| (job.hash, job.path.clone())).collect();
    let missing = blocking({
        let place = place.clone();
        move || needed.into_iter().filter(|(hash, _)| !is_staged(&place, *hash)).collect::<Vec<_>>()
    })
    .await?;

    let transferred = missing.len();
    let progress = Progress::start(format!("hydrate {book}: fetching"), transferred);
    let breaker = Breaker::default();
    let mut results = stream::iter(missing)
        .map(|(hash, path)| {
            let (breaker, place) = (&breaker, place.clone());
            async move {
                if breaker.is_open() {
                    return Err(None);
                }
                one(client, book, &place, &path, hash, breaker).await.map_err(Some)
            }
        })
        .buffer_unordered(IN_FLIGHT);
    let (mut failed, mut not_tried) = (Vec::new(), 0);
    while let Some(result) = results.next().await {
        progress.step();
        match result {
            Ok(()) => {}
            Err(Some(problem)) => failed.push(problem),
            Err(None) => not_tried += 1,
        }
    }
    if failed.is_empty() {
        return Ok(transferred);
    }
    failed.sort();
    let rest = if not_tried > 0 { format!(" ({not_tried} more were not tried)") } else { String::new() };
    Err(Failure::about(
        format!("nothing was changed: {} files could not be fetched{rest}; run again", failed.len()),
        failed,
    ))
}

async fn one(
    client: &Client,
    book: &BookId,
    place: &Arc<Place>,
    path: &BookPath,
    hash: ContentHash,
    breaker: &Breaker,
) -> Result<(), Problem> {
    let text = client.read_version(book, path, hash).await.map_err(|error| {
        breaker.note(&error);
        problem(path.as_str(), error.to_string())
    })?;
    let target = staged(place, hash);
    let kept = blocking(move || keep(&target, text.as_bytes(), hash)).await;
    match kept.and_then(|kept| kept) {
        Ok(()) => Ok(()),
        Err(failure) => Err(problem(path.as_str(), failure.message)),
    }
}

/// Puts bytes into staging if they are the right ones.
fn keep(target: &Path, bytes: &[u8], hash: ContentHash) -> Result<(), Failure> {
    let got = ContentHash::of(bytes);
    if got != hash {
        return Err(Failure::new(format!(
            "the server sent {} bytes with the hash {got} instead of {hash}",
            bytes.len()
        )));
    }
    write_whole(target, bytes)
}

/// Writes a file that has its name only when it is whole and durable.
pub(super) fn write_whole(target: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let part = unfinished(target);
    let write = || {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&part, target)
    };
    write().map_err(|error| Failure::disk("write", target, &error))
}

/// The name of a file that is not whole yet.
pub(super) fn unfinished(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Is the file staged, whole? What has the name but not the bytes is removed.
fn is_staged(place: &Place, hash: ContentHash) -> bool {
    let path = staged(place, hash);
    match fs::read(&path) {
        Ok(bytes) if ContentHash::of(&bytes) == hash => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        _ => {
            // If it cannot be removed, writing it anew fails and says why.
            let _ = fs::remove_file(&path);
            false
        }
    }
}
