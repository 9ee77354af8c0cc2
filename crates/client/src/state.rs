//! State file of `hydrate`: what earlier runs put into the folders. Invariant: it never records
//! more than was done.
//!
//! # Fields
//! 1. `files`: the files that `hydrate` installed, with hash, size and modification time.
//! 2. `manifest_hash`: the manifest that `files` matches exactly. It is absent while an
//!    installation is in progress: then `files` is what was there before.
//! 3. `installing`: the hashes that the installation puts into place. A file with a hash of `files`
//!    or of `installing` is `hydrate`'s own.
//! 4. `assets`: the folder of the files below `static/`, and the manifest that *they* match
//!    exactly. A run without `--static-dir` leaves them and their entries alone, so the two
//!    manifests may differ.

use std::collections::BTreeMap;
use std::fs;
use std::time::UNIX_EPOCH;

use panaversity_model::{BookId, ContentHash};
use serde::{Deserialize, Serialize};

use crate::sync::STATIC;

const VERSION: u32 = 1;

/// The content of `state.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    pub(super) book_id: String,
    pub(super) manifest_hash: Option<String>,
    pub(super) files: BTreeMap<String, StateEntry>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) installing: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    assets: Option<Assets>,
    /// Entries of assets, set aside in a run without `--static-dir`.
    #[serde(skip)]
    aside: Aside,
}

/// State of the assets as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Assets {
    /// Only ever compared.
    folder: String,
    manifest_hash: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Aside {
    files: BTreeMap<String, StateEntry>,
    installing: BTreeMap<String, String>,
}

/// A file as `hydrate` installed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StateEntry {
    pub(super) hash: String,
    pub(super) size: u64,
    /// Nanoseconds since 1970; 0 is never trusted.
    pub(super) mtime_ns: u64,
}

impl State {
    /// An empty state of the book.
    pub(super) fn new(book: &BookId) -> Self {
        Self { version: VERSION, book_id: book.to_string(), ..Self::default() }
    }

    /// Parses a state file of this version; `None` for any other.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|state: &Self| state.version == VERSION)
    }

    /// Serializes the state, with the entries that were set aside.
    pub(super) fn render(&self) -> serde_json::Result<Vec<u8>> {
        let mut whole = self.clone();
        whole.files.extend(self.aside.files.clone());
        whole.installing.extend(self.aside.installing.clone());
        serde_json::to_vec(&whole)
    }

    /// Restricts the state to the scope of a run: with the assets in this folder, or without any.
    /// Entries of assets in another folder are dropped; those files stay where they are.
    pub(super) fn about(&mut self, static_dir: Option<String>) {
        let is_page = |path: &str| !path.starts_with(STATIC);
        match static_dir {
            Some(folder) if self.assets.as_ref().is_some_and(|assets| assets.folder == folder) => {}
            Some(folder) => {
                self.files.retain(|path, _| is_page(path));
                self.installing.retain(|path, _| is_page(path));
                self.assets = Some(Assets { folder, manifest_hash: None });
            }
            None => {
                self.aside.files = self.files.extract_if(.., |path, _| !is_page(path)).collect();
                self.aside.installing = self.installing.extract_if(.., |path, _| !is_page(path)).collect();
            }
        }
    }

    /// The manifest that all files in the scope of the run match exactly, if there is one.
    pub(super) fn manifest(&self, with_assets: bool) -> Option<ContentHash> {
        let of_assets = self.assets.as_ref().and_then(|assets| assets.manifest_hash.as_ref());
        let agreed = self.manifest_hash.as_ref().filter(|hash| !with_assets || of_assets == Some(hash));
        agreed.and_then(|hash| ContentHash::from_hex(hash))
    }

    /// The state after a run that installs this manifest, still without files.
    pub(super) fn next(&self, book: &BookId, manifest: ContentHash, with_assets: bool) -> Self {
        let mut next = Self { assets: self.assets.clone(), aside: self.aside.clone(), ..Self::new(book) };
        next.manifest_hash = Some(manifest.to_string());
        if let Some(assets) = next.assets.as_mut().filter(|_| with_assets) {
            assets.manifest_hash = Some(manifest.to_string());
        }
        next
    }

    /// The state while an installation that leads to `self` is in progress.
    pub(super) fn intent(
        &self,
        there: BTreeMap<String, StateEntry>,
        installing: BTreeMap<String, String>,
    ) -> Self {
        let assets = self.assets.clone().map(|assets| Assets { manifest_hash: None, ..assets });
        Self { manifest_hash: None, files: there, installing, assets, ..self.clone() }
    }

    /// Returns true if `hydrate` put, or was putting, this hash at the path.
    pub(super) fn owns(&self, path: &str, hash: ContentHash) -> bool {
        let is_it = |text: &String| ContentHash::from_hex(text) == Some(hash);
        self.files.get(path).is_some_and(|entry| is_it(&entry.hash))
            || self.installing.get(path).is_some_and(is_it)
    }

    /// Returns true if a file of `hydrate`'s is or may be at the path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path) || self.installing.contains_key(path)
    }

    /// Every path where a file of `hydrate`'s is or may be.
    pub(super) fn paths(&self) -> impl Iterator<Item = &String> {
        self.files.keys().chain(self.installing.keys())
    }
}

/// Size and modification time of a file: cheap to compare, and enough to trust a file that
/// `hydrate` itself installed.
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

    /// Returns true if size and modification time are those of the entry.
    pub(super) fn matches(self, entry: &StateEntry) -> bool {
        entry.mtime_ns != 0 && self.mtime_ns == entry.mtime_ns && self.size == entry.size
    }

    pub(super) fn entry(self, hash: ContentHash) -> StateEntry {
        StateEntry { hash: hash.to_string(), size: self.size, mtime_ns: self.mtime_ns }
    }
}
