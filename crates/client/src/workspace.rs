//! The folders that `hydrate` fills, and the state folder `.{name}.panaversity/` beside the output,
//! for its state and staged files: so that the output contains the book and nothing else.
//! Invariants: `state.json` is replaced atomically and is durable before anything relies on it; a
//! path from a server or a state file is joined to a folder only by [`Workspace::locate`].

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Component, Path, PathBuf};

use panaversity_model::{BookPath, Schema};

use crate::state::State;
use crate::sync::{CONTENT, STATIC, SyncError};

/// The folders of one run, locked for it.
#[derive(Debug)]
pub(super) struct Workspace {
    /// Folder of the pages; it need not exist yet.
    pub(super) output: PathBuf,
    /// Folder of the assets, if there is one.
    pub(super) static_dir: Option<PathBuf>,
    /// Folder of the staged files, named by hash.
    pub(super) staging: PathBuf,
    state_file: PathBuf,
    /// Folders that this run created, innermost first.
    made: Vec<PathBuf>,
    /// Releases the lock when dropped.
    _lock: File,
}

impl Workspace {
    /// Finds and locks the state folder of an output folder.
    pub(super) fn open(output: &Path, static_dir: Option<&Path>) -> Result<Self, SyncError> {
        let mut made = missing(output.parent().unwrap_or(output));
        made.extend(static_dir.and_then(Path::parent).map(missing).unwrap_or_default());
        let output = resolve("--output-dir", output)?;
        let static_dir = static_dir.map(|folder| resolve("--static-dir", folder)).transpose()?;
        if static_dir.as_ref().is_some_and(|other| other.starts_with(&output) || output.starts_with(other)) {
            let message = "--static-dir and --output-dir must not be one folder, nor one inside the other";
            return Err(SyncError::usage(message));
        }
        let (Some(parent), Some(name)) = (output.parent(), output.file_name()) else {
            return Err(SyncError::usage("--output-dir must not be the root folder"));
        };
        let mut folder_name = std::ffi::OsString::from(".");
        folder_name.push(name);
        folder_name.push(".panaversity");
        let folder = parent.join(folder_name);
        let staging = folder.join("staging");
        made.splice(0..0, missing(&staging));
        fs::create_dir_all(&staging).map_err(|error| SyncError::disk("create", &staging, &error))?;
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(|error| SyncError::disk("create", &path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(SyncError::new(format!(
                    "another hydrate is writing to {}; wait for it to end",
                    output.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(SyncError::disk("lock", &path, &error)),
        }
        Ok(Self { state_file: folder.join("state.json"), output, static_dir, staging, made, _lock: lock })
    }

    /// Removes the folders that [`open`](Self::open) created and that are still empty: a refused
    /// run leaves no trace.
    pub(super) fn withdraw(&self) {
        for folder in &self.made {
            // The lock file is removed last, and only if this run created its folder.
            if self.state_file.parent() == Some(folder.as_path())
                && !self.staging.exists()
                && !self.state_file.exists()
            {
                let _ = fs::remove_file(folder.join("lock"));
            }
            // A folder that is not empty is not removed, and stays.
            let _ = fs::remove_dir(folder);
        }
    }

    /// Creates the folders that the run fills, also for an empty book.
    pub(super) fn create_roots(&self) -> Result<(), SyncError> {
        for root in [Some(&self.output), self.static_dir.as_ref()].into_iter().flatten() {
            fs::create_dir_all(root).map_err(|error| SyncError::disk("create", root, &error))?;
        }
        Ok(())
    }

    /// Returns true if the path is in the scope of this run. Without a folder for assets, only
    /// pages are.
    pub(super) fn covers(&self, path: &str) -> bool {
        path.starts_with(CONTENT) || (self.static_dir.is_some() && path.starts_with(STATIC))
    }

    /// The file for a book path. The path must be one that some schema admits, and must not lie in
    /// a Git folder, because Git executes files there.
    pub(super) fn locate(&self, path: &str) -> Result<(BookPath, PathBuf), SyncError> {
        let unsafe_path =
            || SyncError::new(format!("the path {path:?} is not safe on a disk; nothing was changed"));
        let parsed = BookPath::parse(path).map_err(|_| unsafe_path())?;
        // This schema admits every path that any schema admits.
        Schema::Docusaurus.admit(&parsed).map_err(|_| unsafe_path())?;
        if parsed.segments().any(|segment| segment.eq_ignore_ascii_case(".git")) {
            return Err(unsafe_path());
        }
        let file = match (path.strip_prefix(CONTENT), path.strip_prefix(STATIC), &self.static_dir) {
            (Some(below), _, _) => self.output.join(below),
            (None, Some(below), Some(folder)) => folder.join(below),
            _ => return Err(unsafe_path()),
        };
        Ok((parsed, file))
    }

    /// The folder filled by the run that is, or contains, `folder`.
    pub(super) fn root_of(&self, folder: &Path) -> Option<&Path> {
        let roots = [Some(&self.output), self.static_dir.as_ref()];
        roots.into_iter().flatten().find(|root| folder.starts_with(root)).map(PathBuf::as_path)
    }

    /// Path of the assets' folder relative to the output's parent, where the state is: both may be
    /// moved together.
    pub(super) fn static_name(&self) -> Option<String> {
        let (to, from) = (self.static_dir.as_ref()?, self.output.parent()?);
        let common = to.components().zip(from.components()).take_while(|(a, b)| a == b).count();
        let up = from.components().skip(common).map(|_| Component::ParentDir);
        let path: PathBuf = up.chain(to.components().skip(common)).collect();
        Some(path.to_string_lossy().into_owned())
    }

    /// The state of the last run, if there is one.
    pub(super) fn load(&self) -> Result<Option<State>, SyncError> {
        let bytes = match fs::read(&self.state_file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SyncError::disk("read", &self.state_file, &error)),
        };
        State::parse(&bytes).map(Some).ok_or_else(|| {
            SyncError::new(format!(
                "{} does not read as the state of an earlier run; run with --full-rebuild",
                self.state_file.display()
            ))
        })
    }

    /// Replaces the state; durable when this returns.
    pub(super) fn save(&self, state: &State) -> Result<(), SyncError> {
        let fresh = self.state_file.with_extension("json.new");
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(&state.render()?)?;
            file.sync_all()?;
            fs::rename(&fresh, &self.state_file)?;
            // Some systems can't open a folder; there the rename has to suffice.
            if let Some(folder) = self.state_file.parent().and_then(|folder| File::open(folder).ok()) {
                folder.sync_all()?;
            }
            Ok(())
        };
        write().map_err(|error| SyncError::disk("write", &self.state_file, &error))
    }
}

/// The folder and its ancestors that do not exist, innermost first.
fn missing(folder: &Path) -> Vec<PathBuf> {
    let named = folder.ancestors().filter(|folder| !folder.as_os_str().is_empty());
    named.take_while(|folder| !folder.exists()).map(Path::to_path_buf).collect()
}

/// A folder's canonical path, so that one folder has one state under all its names.
fn resolve(flag: &str, given: &Path) -> Result<PathBuf, SyncError> {
    let fault = |error: std::io::Error| SyncError::disk(&format!("use {flag}"), given, &error);
    match fs::canonicalize(given) {
        Ok(path) if path.is_dir() => return Ok(path),
        Ok(path) => {
            return Err(SyncError::usage(format!("{flag} {}: it is not a folder", path.display())));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(fault(error)),
    }
    if given.is_symlink() {
        return Err(SyncError::new(format!("{} is a link that leads nowhere", given.display())));
    }
    let Some(name) = given.file_name() else {
        return Err(SyncError::usage(format!("{flag} {}: there is no such folder", given.display())));
    };
    let parent = match given.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(fault)?;
    Ok(fs::canonicalize(parent).map_err(fault)?.join(name))
}
