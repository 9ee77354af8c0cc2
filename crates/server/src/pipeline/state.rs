//! What `hydrate` remembers of an output folder, kept beside it in `.{name}.panaversity/`, so that
//! the output holds the book and nothing else. Invariant: `state.json` is replaced as a whole and
//! is durable before anybody relies on it; it never claims more than was done.
//!
//! # What it says
//! 1. `files`: the files that we put there, with hash, size and time of change.
//! 2. `manifest_hash`: the manifest that `files` is exactly. It is absent while an installation
//!    is under way: then `files` is what was there before.
//! 3. `installing`: what the installation puts there. A file that holds either is ours.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use panaversity_model::{BookId, ContentHash};
use serde::{Deserialize, Serialize};

use super::Failure;

const VERSION: u32 = 1;

/// The content of `state.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    pub(super) book_id: String,
    pub(super) manifest_hash: Option<String>,
    pub(super) files: BTreeMap<String, Entry>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) installing: BTreeMap<String, String>,
}

/// A file as we left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) hash: String,
    pub(super) size: u64,
    /// Nanoseconds since 1970; 0 is never trusted.
    pub(super) mtime_ns: u64,
}

impl State {
    pub(super) fn new(book: &BookId) -> Self {
        Self { version: VERSION, book_id: book.to_string(), ..Self::default() }
    }

    /// The state while an installation that leads to `self` is under way.
    pub(super) fn intent(
        &self,
        there: BTreeMap<String, Entry>,
        installing: BTreeMap<String, String>,
    ) -> Self {
        Self {
            version: VERSION,
            book_id: self.book_id.clone(),
            manifest_hash: None,
            files: there,
            installing,
        }
    }

    /// Is this hash one that we put, or were putting, at the path?
    pub(super) fn owns(&self, path: &str, hash: ContentHash) -> bool {
        let is_it = |text: &String| ContentHash::from_hex(text) == Some(hash);
        self.files.get(path).is_some_and(|entry| is_it(&entry.hash))
            || self.installing.get(path).is_some_and(is_it)
    }

    /// Every path that is or may be ours.
    pub(super) fn paths(&self) -> impl Iterator<Item = &String> {
        self.files.keys().chain(self.installing.keys())
    }
}

/// Size and time of change: cheap to compare, enough to trust a file we left ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    pub(super) mtime_ns: u64,
}

impl Stamp {
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let mtime_ns = since.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0);
        Self { size: metadata.len(), mtime_ns }
    }

    /// Does the file still look as in the entry?
    pub(super) fn matches(self, entry: &Entry) -> bool {
        entry.mtime_ns != 0 && self.mtime_ns == entry.mtime_ns && self.size == entry.size
    }

    pub(super) fn entry(self, hash: ContentHash) -> Entry {
        Entry { hash: hash.to_string(), size: self.size, mtime_ns: self.mtime_ns }
    }
}

/// An output folder and its state folder, locked for this run.
#[derive(Debug)]
pub(super) struct Place {
    /// The folder that gets the book; it need not exist yet.
    pub(super) output: PathBuf,
    /// Fetched files on their way, named by hash.
    pub(super) staging: PathBuf,
    state_file: PathBuf,
    /// Holds the lock until it is dropped.
    _lock: File,
}

impl Place {
    /// Finds and locks the state folder of an output folder.
    pub(super) fn open(given: &Path) -> Result<Self, Failure> {
        let output = resolve(given)?;
        let (Some(parent), Some(name)) = (output.parent(), output.file_name()) else {
            return Err(Failure::usage("--output-dir must not be the root folder"));
        };
        let mut folder_name = std::ffi::OsString::from(".");
        folder_name.push(name);
        folder_name.push(".panaversity");
        let folder = parent.join(folder_name);
        let staging = folder.join("staging");
        fs::create_dir_all(&staging).map_err(|error| Failure::disk("create", &staging, &error))?;
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(|error| Failure::disk("create", &path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(format!(
                    "another hydrate is writing to {}; wait for it to end",
                    output.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(Failure::disk("lock", &path, &error)),
        }
        Ok(Self { state_file: folder.join("state.json"), output, staging, _lock: lock })
    }

    /// The state of the last run, if there was one.
    pub(super) fn load(&self) -> Result<Option<State>, Failure> {
        let bytes = match fs::read(&self.state_file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::disk("read", &self.state_file, &error)),
        };
        match serde_json::from_slice::<State>(&bytes) {
            Ok(state) if state.version == VERSION => Ok(Some(state)),
            _ => Err(Failure::new(format!(
                "{} does not read as the state of an earlier run; run with --full-rebuild",
                self.state_file.display()
            ))),
        }
    }

    /// Replaces the state; durable when this returns.
    pub(super) fn save(&self, state: &State) -> Result<(), Failure> {
        let fresh = self.state_file.with_extension("json.new");
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(&serde_json::to_vec(state)?)?;
            file.sync_all()?;
            fs::rename(&fresh, &self.state_file)?;
            // Some systems can't open a folder; there the rename has to do.
            if let Some(folder) = self.state_file.parent().and_then(|folder| File::open(folder).ok()) {
                folder.sync_all()?;
            }
            Ok(())
        };
        write().map_err(|error| Failure::disk("write", &self.state_file, &error))
    }
}

/// The output folder's real path, so that one folder has one state whatever it is called.
fn resolve(given: &Path) -> Result<PathBuf, Failure> {
    let fault = |error: std::io::Error| Failure::disk("use --output-dir", given, &error);
    match fs::canonicalize(given) {
        Ok(path) if path.is_dir() => return Ok(path),
        Ok(path) => {
            return Err(Failure::usage(format!("--output-dir {}: it is not a folder", path.display())));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(fault(error)),
    }
    if given.is_symlink() {
        return Err(Failure::new(format!("{} is a link that leads nowhere", given.display())));
    }
    let Some(name) = given.file_name() else {
        return Err(Failure::usage(format!("--output-dir {}: there is no such folder", given.display())));
    };
    let parent = match given.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(fault)?;
    Ok(fs::canonicalize(parent).map_err(fault)?.join(name))
}
