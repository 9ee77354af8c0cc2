//! Downloads that go on where they were cut, also those of a run that was killed. Invariant: bytes
//! are put behind others only if the server says that they follow them in the same version; what
//! they amount to is checked by whoever uses them.
//!
//! # A download
//! 1. Look how much is there, and of which version: an archive's file carries its `ETag` in its
//!    name, an asset's is its hash.
//! 2. Ask for what follows, `If-Range` that version. If all is sent instead, begin anew.
//! 3. Write what comes, until the end or a cut. A cut with progress is asked on at once; without,
//!    after a wait that grows; after several of those the download has failed, and what is there
//!    stays for the next run.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use panaversity_model::ContentHash;
use reqwest::Url;

use super::super::progress::Progress;
use super::super::workspace::Workspace;
use super::super::{Failure, blocking};
use crate::client::download::{Body, DownloadResponse, RangeRequest, is_name};
use crate::client::{CallError, Client, LONGEST_WAIT, PATIENCE, WAITS_MS};

/// Bytes gathered before they are written.
const GATHERED: usize = 256 * 1024;
/// An archive on its way: `archive-{version}.part`.
const ARCHIVE: &str = "archive-";
const PART: &str = ".part";

/// How a download ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// As many bytes are there as there should be.
    Whole,
    /// The link opens nothing any more; another may.
    Over(String),
    /// That version is not there any more.
    Gone,
}

/// Why a download cannot go on.
#[derive(Debug)]
pub(super) enum Stopped {
    Call(CallError),
    Disk(Failure),
}

/// The file that a download fills.
#[derive(Debug)]
pub(super) struct Part {
    staging: PathBuf,
    /// `None`: an archive, of whatever version.
    asset: Option<ContentHash>,
    version: Option<String>,
    length: u64,
}

impl Part {
    /// An archive, as far as the last run got with one.
    pub(super) fn of_archive(place: &Workspace) -> Result<Self, Failure> {
        let fault = |error| Failure::disk("read", &place.staging, &error);
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

    /// An asset, as far as the last run got with it.
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

    /// Throws away what is there.
    pub(super) fn remove(&mut self) -> Result<(), Failure> {
        self.length = 0;
        let path = self.path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::disk("delete", &path, &error))
            }
            _ => Ok(()),
        }
    }

    /// Opens the file for what follows, or for all of this version.
    fn open(&mut self, comes: Comes) -> Result<File, Failure> {
        if let Comes::All(version) = comes {
            self.remove()?;
            if self.asset.is_none() {
                self.version = version;
            }
        }
        let path = self.path();
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.map_err(|error| Failure::disk("write", &path, &error))
    }
}

fn version_in(name: &str) -> Option<&str> {
    name.strip_prefix(ARCHIVE)?.strip_suffix(PART)
}

/// What follows in a part.
enum Comes {
    /// The rest of what is there.
    Rest,
    /// All of this version, if it has a name.
    All(Option<String>),
}

/// How long a download may go without progress. One for all links of it.
pub(super) struct Patience {
    farthest: u64,
    waits: std::slice::Iter<'static, u64>,
    limited: Duration,
}

impl Patience {
    pub(super) fn new(length: u64) -> Self {
        Self { farthest: length, waits: WAITS_MS.iter(), limited: PATIENCE }
    }

    /// Waits as long as it takes to try again, or gives up.
    pub(super) async fn wait(&mut self, length: u64, why: &str) -> Result<(), CallError> {
        if length > self.farthest {
            self.farthest = length;
            self.waits = WAITS_MS.iter();
            return Ok(());
        }
        let Some(ms) = self.waits.next() else {
            return Err(CallError::Unreachable(format!(
                "the download does not go on after {length} bytes: {why}; run again, and it goes on from there"
            )));
        };
        tokio::time::sleep(Duration::from_millis(*ms)).await;
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
    part: &mut Part,
    size: u64,
    patience: &mut Patience,
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
                patience.wait_for_limit(wait, &why).await.map_err(Stopped::Call)?;
                continue;
            }
            DownloadResponse::MayPass(why) => Some(why),
            DownloadResponse::UnexpectedResponse(why) => {
                return Err(Stopped::Call(CallError::UnexpectedResponse(why)));
            }
        };
        let Some(why) = why else { return Ok(Ended::Whole) };
        patience.wait(part.length.max(before), &why).await.map_err(Stopped::Call)?;
    }
}

/// Writes what comes; `None`: all is there, else why it is not.
async fn fill(
    part: &mut Part,
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
                file.write_all(&gathered).map_err(|error| Failure::disk("write", &path, &error))?;
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
