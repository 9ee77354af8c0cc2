//! Fetch of missing files into the staging folder. Invariant: staged bytes are always those of the
//! plan, whatever server sent them; a run that lacks a file has failed, and the files that it
//! staged remain for the next.
//!
//! # Transport
//! 1. Pages and assets are decided separately. If none of them is there yet, or more than [`MANY`]
//!    are missing and make up a quarter of all bytes, they are fetched as one
//!    [`archive`](super::archive) of the plan's state.
//! 2. The rest is fetched file by file, 16 in flight: a file below `content/` by its hash, as text
//!    or by the link to that version; an asset from the server's own route, if its version is still
//!    that of the plan.
//! 3. Assets that changed since the plan are taken from the archive of its state after all.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, stream};
use panaversity_model::{BookId, BookPath, ContentHash};
use reqwest::Url;

use super::diff::Diff;
use super::download::{self, Ended, PartialFile, RetryBudget, Stopped};
use super::staging::{Unkept, adopt, is_staged, keep};
use super::{Want, Wanted, problem};
use crate::archive::Scope;
use crate::client::Client;
use crate::progress::{Progress, ProgressObserver};
use crate::report::Problem;
use crate::sync::{Breaker, CONTENT, STATIC, SyncError, blocking, files};
use crate::tools::Version;
use crate::workspace::Workspace;

/// Maximum number of calls in flight.
const IN_FLIGHT: usize = 16;
/// Number of missing files above which one archive is faster than single calls.
const MANY: usize = 100;

/// Maximum number of links requested for one file after the earlier ones expired.
const LINKS: usize = 3;

/// Context of a fetch.
pub(super) struct Fetch<'a> {
    pub(super) client: &'a Client,
    pub(super) book: &'a BookId,
    pub(super) place: &'a Arc<Workspace>,
    pub(super) progress: &'a dyn ProgressObserver,
    /// The state that the plan describes.
    pub(super) manifest_hash: ContentHash,
}

/// Bytes that are wanted and not staged, and one of the paths that need them.
#[derive(Debug, Clone)]
pub(super) struct Missing {
    pub(super) path: BookPath,
    pub(super) want: Want,
}

/// Outcome of one file.
enum One {
    Staged,
    /// An asset that changed since the plan.
    Gone(Missing),
    Failed(Problem),
    NotTried,
}

impl Fetch<'_> {
    /// Stages everything that is to be installed; returns the number of files read from the server.
    pub(super) async fn all(&self, diff: &Diff, wanted: &Wanted) -> Result<usize, SyncError> {
        let needed: BTreeMap<ContentHash, Missing> = diff
            .install
            .iter()
            .map(|job| (job.want.hash, Missing { path: job.path.clone(), want: job.want }))
            .collect();
        let missing: Vec<Missing> = blocking({
            let place = self.place.clone();
            move || needed.into_values().filter(|one| !is_staged(&place, one.want.hash)).collect()
        })
        .await?;
        let transferred = missing.len();
        let progress = Arc::new(Progress::of_files(
            self.progress,
            format!("hydrate {}: fetching", self.book),
            transferred,
        ));

        // 1.
        let [pages, assets] = [CONTENT, STATIC].map(|part| is_worth_an_archive(part, &missing, diff, wanted));
        let scope = match (pages, assets) {
            (true, true) => Some(Scope::All),
            (true, false) => Some(Scope::Content),
            (false, true) => Some(Scope::Assets),
            (false, false) => None,
        };
        let left = match scope {
            Some(scope) => self.take_from_archive(scope, missing, &progress).await?,
            None => missing,
        };

        // 2.
        let (mut gone, mut failed, mut not_tried) = (Vec::new(), Vec::new(), 0);
        let breaker = Breaker::default();
        let mut results =
            stream::iter(left).map(|missing| self.one(missing, &breaker)).buffer_unordered(IN_FLIGHT);
        while let Some(one) = results.next().await {
            match one {
                One::Staged => progress.step(),
                One::Gone(missing) => gone.push(missing),
                One::Failed(problem) => failed.push(problem),
                One::NotTried => not_tried += 1,
            }
        }

        // 3.
        if !gone.is_empty() && failed.is_empty() {
            gone = self.take_from_archive(Scope::Assets, gone, &progress).await?;
        }
        let lost = "it was changed since, and the server has no archive with what it was; run again";
        failed.extend(gone.iter().map(|missing| problem(missing.path.as_str(), lost)));
        if failed.is_empty() { Ok(transferred) } else { Err(unfetched(failed, not_tried)) }
    }

    async fn one(&self, missing: Missing, breaker: &Breaker) -> One {
        if breaker.is_open() {
            return One::NotTried;
        }
        if missing.path.is_asset() {
            return self.asset(missing, breaker).await;
        }
        let mut over = String::new();
        for _ in 0..LINKS {
            let Missing { path, want } = missing.clone();
            let text = match self.client.read_version(self.book, &path, want.hash).await {
                Ok(Version::Text(text)) => text,
                Ok(Version::Link(url)) => match self.download_file(&url, missing.clone(), breaker).await {
                    Ok(one) => return one,
                    Err(why) => {
                        over = why;
                        continue;
                    }
                },
                Err(error) => {
                    breaker.note(&error);
                    return One::Failed(problem(path.as_str(), error.to_string()));
                }
            };
            let place = self.place.clone();
            return judge(&path, blocking(move || keep(&place, want, &mut text.as_bytes())).await);
        }
        One::Failed(problem(missing.path.as_str(), format!("its link was over each time: {over}; run again")))
    }

    async fn asset(&self, missing: Missing, breaker: &Breaker) -> One {
        let (url, path) = (self.client.asset_url(self.book, &missing.path), missing.path.clone());
        let one = self.download_file(&url, missing, breaker).await;
        one.unwrap_or_else(|why| One::Failed(problem(path.as_str(), why)))
    }

    /// Downloads a URL into staging.
    ///
    /// # Errors
    /// The reason why the link is no longer valid.
    async fn download_file(&self, url: &Url, missing: Missing, breaker: &Breaker) -> Result<One, String> {
        let want = missing.want;
        let mut part = PartialFile::of_asset(self.place, want.hash);
        let mut retries = RetryBudget::new(part.length());
        let going = download::go_on(self.client, url, &mut part, want.size, &mut retries, None);
        let failed = |why: String| Ok(One::Failed(problem(missing.path.as_str(), why)));
        match going.await {
            Ok(Ended::Whole) => {}
            Ok(Ended::Gone) => return Ok(One::Gone(missing)),
            Ok(Ended::Over(why)) => return Err(why),
            Err(Stopped::Call(error)) => {
                breaker.note(&error);
                return failed(error.to_string());
            }
            Err(Stopped::Disk(failure)) => return failed(failure.message),
        }
        let place = self.place.clone();
        Ok(judge(&missing.path, blocking(move || adopt(&place, want, &part.path())).await))
    }
}

fn judge(path: &BookPath, kept: Result<Result<(), Unkept>, SyncError>) -> One {
    match kept {
        Ok(Ok(())) => One::Staged,
        Ok(Err(Unkept::Wrong(why))) => One::Failed(problem(path.as_str(), why)),
        Ok(Err(Unkept::Disk(failure))) | Err(failure) => One::Failed(problem(path.as_str(), failure.message)),
    }
}

/// Returns true if enough files of this part of the book are missing for an archive to be faster.
fn is_worth_an_archive(part: &str, missing: &[Missing], diff: &Diff, wanted: &Wanted) -> bool {
    let missing: Vec<_> = missing.iter().filter(|one| one.path.as_str().starts_with(part)).collect();
    let mut there = diff.unchanged.iter().chain(&diff.outdated);
    let is_first = !there.any(|(path, _)| path.starts_with(part));
    let lacking: u64 = missing.iter().map(|one| one.want.size).sum();
    let all: u64 = wanted.iter().filter(|(path, _)| path.starts_with(part)).map(|(_, want)| want.size).sum();
    !missing.is_empty() && (is_first || (missing.len() > MANY && lacking >= all / 4))
}

/// The error of a run that lacks files.
pub(super) fn unfetched(mut failed: Vec<Problem>, not_tried: usize) -> SyncError {
    failed.sort();
    let rest = if not_tried > 0 { format!(" ({not_tried} more were not tried)") } else { String::new() };
    let message =
        format!("nothing was changed: {} could not be fetched{rest}; run again", files(failed.len()));
    SyncError::about(message, failed)
}
