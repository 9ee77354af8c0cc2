//! Comparison of local files with the server's content. Invariant: a file counts as unchanged only
//! if its SHA-256 is the server's; a file that cannot be read counts as different, and fails when
//! it is sent.

use std::thread::available_parallelism;

use futures::{StreamExt, TryStreamExt, stream};
use panaversity_model::ContentHash;

use super::Held;
use super::source::SourceFile;
use crate::digest;
use crate::sync::{SyncError, blocking};

/// Files hashed per blocking task.
const BATCH: usize = 32;

/// A file to write, and the hash of the server's current content.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) file: SourceFile,
    pub(super) expected: Option<ContentHash>,
}

/// Result of the comparison.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub(super) different: Vec<Job>,
    pub(super) unchanged: usize,
}

/// Compares by existence, then size, then hash.
pub(super) async fn with_server(files: Vec<SourceFile>, held: &Held) -> Result<Compared, SyncError> {
    let mut compared = Compared::default();
    let mut doubtful = Vec::new();
    for file in files {
        match held.get(file.path.as_str()) {
            Some(held) if held.size == file.size => doubtful.push((file, held.hash)),
            other => compared.different.push(Job { file, expected: other.map(|held| held.hash) }),
        }
    }
    let workers = available_parallelism().map_or(2, Into::into);
    let batches: Vec<Vec<_>> = doubtful.chunks(BATCH).map(<[_]>::to_vec).collect();
    let mut results =
        stream::iter(batches).map(|batch| blocking(|| differing(batch))).buffered(workers).boxed();
    while let Some((different, unchanged)) = results.try_next().await? {
        compared.different.extend(different);
        compared.unchanged += unchanged;
    }
    Ok(compared)
}

fn differing(batch: Vec<(SourceFile, ContentHash)>) -> (Vec<Job>, usize) {
    let total = batch.len();
    let is_same = |file: &SourceFile, hash| digest::of_file(&file.file).is_ok_and(|(there, _)| there == hash);
    let different: Vec<Job> = batch
        .into_iter()
        .filter(|(file, hash)| !is_same(file, *hash))
        .map(|(file, hash)| Job { file, expected: Some(hash) })
        .collect();
    let unchanged = total - different.len();
    (different, unchanged)
}
