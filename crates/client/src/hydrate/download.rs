//! Resumable downloads, also across a killed run. Invariant: bytes are appended to others only if
//! the server confirms that they follow them in the same version; the caller verifies the result.
//!
//! # A download
//! 1. Determine how much is there, and of which version: an archive's file has its `ETag` in its
//!    name, an asset's version is its hash.
//! 2. Request the rest, with `If-Range` for that version. If all is sent instead, start over.
//! 3. Write the received bytes, until the end or an interruption. An interrupted download that made
//!    progress is resumed at once; without progress, after a growing delay; after several of those
//!    the download has failed, and what is there stays for the next run.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use backon::ExponentialBackoff;
use panaversity_model::ContentHash;
use reqwest::Url;

use crate::client::{CallError, Client, LONGEST_WAIT, RATE_LIMIT_TIMEOUT, retry_pauses};
use crate::download::{Body, DownloadResponse, RangeRequest, is_name};
use crate::progress::Progress;
use crate::sync::{SyncError, blocking};
use crate::workspace::Workspace;

/// Size of the write buffer, in bytes.
const GATHERED: usize = 256 * 1024;
/// Name of an incomplete archive: `archive-{version}.part`.
const ARCHIVE: &str = "archive-";
const PART: &str = ".part";

/// How a download ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The file has its full size.
    Whole,
    /// The link is no longer valid; another may be.
    Over(String),
    /// The version no longer exists.
    Gone,
}

/// Error that ends a download.
#[derive(Debug)]
pub(super) enum Stopped {
    Call(CallError),
    Disk(SyncError),
}

/// The file that a download fills.
#[derive(Debug)]
pub(super) struct PartialFile {
    staging: PathBuf,
    /// `None` for an archive, of any version.
    asset: Option<ContentHash>,
    version: Option<String>,
    length: u64,
}

impl PartialFile {
    /// The incomplete archive that the last run left, or an empty one.
    pub(super) fn of_archive(place: &Workspace) -> Result<Self, SyncError> {
        let fault = |error| SyncError::disk("read", &place.staging, &error);
        let mut part = Self { staging: place.staging.clone(), asset: None, version: None, length: 0 };
        for entry in fs::read_dir(&place.staging).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let name = entry.file_name();
            let Some(version) = name.to_str().and_then(version_in) else { continue };
            if part.version.is_none() && is_name(version) {
                part.length = entry.metadata().map_err(fault)?.len();
                part.version = Some(version.to_owned());
            } else {
                fs::remove_file(entry.path()).map_err(fault)?;
            }
        }
        Ok(part)
    }

    /// The incomplete asset that the last run left, or an empty one.
    pub(super) fn of_asset(place: &Workspace, hash: ContentHash) -> Self {
        let (staging, version) = (place.staging.clone(), Some(hash.to_string()));
        let mut part = Self { staging, asset: Some(hash), version, length: 0 };
        part.length = fs::metadata(part.path()).map_or(0, |metadata| metadata.len());
        part
    }

    pub(super) fn path(&self) -> PathBuf {
        let version = self.version.as_deref().unwrap_or("unnamed");
        let before = if self.asset.is_some() { "" } else { ARCHIVE };
        self.staging.join(format!("{before}{version}{PART}"))
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Removes the file.
    pub(super) fn remove(&mut self) -> Result<(), SyncError> {
        self.length = 0;
        let path = self.path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(SyncError::disk("delete", &path, &error))
            }
            _ => Ok(()),
        }
    }

    /// Opens the file for appending the rest, or for all of a version.
    fn open(&mut self, comes: Comes) -> Result<File, SyncError> {
        if let Comes::All(version) = comes {
            self.remove()?;
            if self.asset.is_none() {
                self.version = version;
            }
        }
        let path = self.path();
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.map_err(|error| SyncError::disk("write", &path, &error))
    }
}

fn version_in(name: &str) -> Option<&str> {
    name.strip_prefix(ARCHIVE)?.strip_suffix(PART)
}

/// Content of a response body.
enum Comes {
    /// The bytes after those already present.
    Rest,
    /// All bytes of this version, if it has a usable `ETag`.
    All(Option<String>),
}

/// Retry budget of a download, shared by all its links. Progress resets the delays; the time for
/// rate limits is not reset.
pub(super) struct RetryBudget {
    farthest: u64,
    pauses: ExponentialBackoff,
    limited: Duration,
}

impl RetryBudget {
    pub(super) fn new(length: u64) -> Self {
        Self { farthest: length, pauses: retry_pauses(), limited: RATE_LIMIT_TIMEOUT }
    }

    /// Returns when the next attempt may start, or the error when the delays are used up.
    pub(super) async fn wait(&mut self, length: u64, why: &str) -> Result<(), CallError> {
        if length > self.farthest {
            self.farthest = length;
            self.pauses = retry_pauses();
            return Ok(());
        }
        let Some(pause) = self.pauses.next() else {
            return Err(CallError::Unreachable(format!(
                "the download does not go on after {length} bytes: {why}; run again, and it goes on from there"
            )));
        };
        tokio::time::sleep(pause).await;
        Ok(())
    }

    async fn wait_for_limit(&mut self, asked: Duration, why: &str) -> Result<(), CallError> {
        let wait = asked.max(Duration::from_millis(100)).min(LONGEST_WAIT).min(self.limited);
        if wait.is_zero() {
            return Err(CallError::Unreachable(format!("{why}; run again later")));
        }
        self.limited -= wait;
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// Downloads until `size` bytes are there.
pub(super) async fn go_on(
    client: &Client,
    url: &Url,
    part: &mut PartialFile,
    size: u64,
    retries: &mut RetryBudget,
    progress: Option<&Progress>,
) -> Result<Ended, Stopped> {
    loop {
        let before = part.length;
        if part.version.is_none() || part.length > size {
            part.remove().map_err(Stopped::Disk)?;
        }
        let version = part.version.clone();
        let wish =
            RangeRequest { url, from: part.length, etag: version.as_deref(), only: part.asset.is_some() };
        let why = match client.get(wish).await {
            DownloadResponse::Rest(body) => fill(part, Comes::Rest, body, size, progress).await?,
            DownloadResponse::Whole(body, version) => {
                fill(part, Comes::All(version), body, size, progress).await?
            }
            DownloadResponse::Nothing if part.length == size => return Ok(Ended::Whole),
            DownloadResponse::Nothing => {
                part.remove().map_err(Stopped::Disk)?;
                Some("it is shorter than announced".to_owned())
            }
            DownloadResponse::Over(why) => return Ok(Ended::Over(why)),
            DownloadResponse::Gone => return Ok(Ended::Gone),
            DownloadResponse::Limited { why, wait } => {
                retries.wait_for_limit(wait, &why).await.map_err(Stopped::Call)?;
                continue;
            }
            DownloadResponse::MayPass(why) => Some(why),
            DownloadResponse::UnexpectedResponse(why) => {
                return Err(Stopped::Call(CallError::UnexpectedResponse(why)));
            }
        };
        let Some(why) = why else { return Ok(Ended::Whole) };
        retries.wait(part.length.max(before), &why).await.map_err(Stopped::Call)?;
    }
}

/// Writes a response body. Returns `None` if the file is complete, else why it is not.
async fn fill(
    part: &mut PartialFile,
    comes: Comes,
    mut body: Body,
    size: u64,
    progress: Option<&Progress>,
) -> Result<Option<String>, Stopped> {
    let mut file = part.open(comes).map_err(Stopped::Disk)?;
    if let Some(progress) = progress {
        progress.at(part.length);
    }
    let mut gathered = Vec::with_capacity(GATHERED);
    loop {
        let next = body.next().await;
        if let Ok(Some(bytes)) = &next {
            gathered.extend_from_slice(bytes);
        }
        let is_over = !matches!(next, Ok(Some(_)));
        if gathered.len() >= GATHERED || (is_over && !gathered.is_empty()) {
            let path = part.path();
            let written = blocking(move || {
                file.write_all(&gathered).map_err(|error| SyncError::disk("write", &path, &error))?;
                Ok((file, gathered))
            });
            (file, gathered) = written.await.and_then(|written| written).map_err(Stopped::Disk)?;
            part.length += gathered.len() as u64;
            gathered.clear();
            if let Some(progress) = progress {
                progress.at(part.length);
            }
        }
        match next {
            _ if part.length > size => return Ok(Some("more came than was announced".to_owned())),
            Ok(Some(_)) => {}
            Ok(None) if part.length == size => return Ok(None),
            Ok(None) => return Ok(Some("it ended early".to_owned())),
            Err(why) => return Ok(Some(why)),
        }
    }
}
