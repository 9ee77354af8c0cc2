//! The folders that `hydrate` fills, and the one beside the output, `.{name}.panaversity/`, where
//! it keeps its state and what is on its way: so that the output holds the book and nothing else.
//! Invariants: `state.json` is replaced as a whole and is durable before anybody relies on it;
//! nothing that a server or a state file names is joined to a folder without [`Workspace::locate`].

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Component, Path, PathBuf};

use panaversity_model::{BookPath, Schema};

use super::state::State;
use super::{CONTENT, Failure, STATIC};

/// The folders of one run, locked for it.
#[derive(Debug)]
pub(super) struct Workspace {
    /// The folder that gets the pages; it need not exist yet.
    pub(super) output: PathBuf,
    /// The folder that gets the assets, if any does.
    pub(super) static_dir: Option<PathBuf>,
    /// Fetched files on their way, named by hash.
    pub(super) staging: PathBuf,
    state_file: PathBuf,
    /// Folders that this run made and that were not there before, innermost first.
    made: Vec<PathBuf>,
    /// Holds the lock until it is dropped.
    _lock: File,
}

impl Workspace {
    /// Finds and locks the state folder of an output folder.
    pub(super) fn open(output: &Path, static_dir: Option<&Path>) -> Result<Self, Failure> {
        let mut made = missing(output.parent().unwrap_or(output));
        made.extend(static_dir.and_then(Path::parent).map(missing).unwrap_or_default());
        let output = resolve("--output-dir", output)?;
        let static_dir = static_dir.map(|folder| resolve("--static-dir", folder)).transpose()?;
        if static_dir.as_ref().is_some_and(|other| other.starts_with(&output) || output.starts_with(other)) {
            let message = "--static-dir and --output-dir must not be one folder, nor one inside the other";
            return Err(Failure::usage(message));
        }
        let (Some(parent), Some(name)) = (output.parent(), output.file_name()) else {
            return Err(Failure::usage("--output-dir must not be the root folder"));
        };
        let mut folder_name = std::ffi::OsString::from(".");
        folder_name.push(name);
        folder_name.push(".panaversity");
        let folder = parent.join(folder_name);
        let staging = folder.join("staging");
        made.splice(0..0, missing(&staging));
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
        Ok(Self { state_file: folder.join("state.json"), output, static_dir, staging, made, _lock: lock })
    }

    /// Takes back what [`open`](Self::open) has made, as far as nothing has come into it: a run that
    /// was refused leaves no trace.
    pub(super) fn withdraw(&self) {
        for folder in &self.made {
            // The lock goes after what it guards, and only if the folder was made for this run.
            if self.state_file.parent() == Some(folder.as_path())
                && !self.staging.exists()
                && !self.state_file.exists()
            {
                let _ = fs::remove_file(folder.join("lock"));
            }
            // One that holds something is not removed, and stays.
            let _ = fs::remove_dir(folder);
        }
    }

    /// Creates the folders that the run fills: those of an empty book too.
    pub(super) fn create_roots(&self) -> Result<(), Failure> {
        for root in [Some(&self.output), self.static_dir.as_ref()].into_iter().flatten() {
            fs::create_dir_all(root).map_err(|error| Failure::disk("create", root, &error))?;
        }
        Ok(())
    }

    /// Is this run about the path? Without a folder for assets, it is about pages only.
    pub(super) fn covers(&self, path: &str) -> bool {
        path.starts_with(CONTENT) || (self.static_dir.is_some() && path.starts_with(STATIC))
    }

    /// Where the file of a book path belongs. The path must be one that some book admits, and no
    /// part of a Git folder: Git runs what is written there.
    pub(super) fn locate(&self, path: &str) -> Result<(BookPath, PathBuf), Failure> {
        let unsafe_path =
            || Failure::new(format!("the path {path:?} is not safe on a disk; nothing was changed"));
        let parsed = BookPath::parse(path).map_err(|_| unsafe_path())?;
        // Every path that any schema admits is one of these.
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

    /// The folder that the run fills and that this one is, or lies in.
    pub(super) fn root_of(&self, folder: &Path) -> Option<&Path> {
        let roots = [Some(&self.output), self.static_dir.as_ref()];
        roots.into_iter().flatten().find(|root| folder.starts_with(root)).map(PathBuf::as_path)
    }

    /// The folder of the assets as seen from beside the output, where the state is: both may be
    /// moved together.
    pub(super) fn static_name(&self) -> Option<String> {
        let (to, from) = (self.static_dir.as_ref()?, self.output.parent()?);
        let common = to.components().zip(from.components()).take_while(|(a, b)| a == b).count();
        let up = from.components().skip(common).map(|_| Component::ParentDir);
        let path: PathBuf = up.chain(to.components().skip(common)).collect();
        Some(path.to_string_lossy().into_owned())
    }

    /// The state of the last run, if there was one.
    pub(super) fn load(&self) -> Result<Option<State>, Failure> {
        let bytes = match fs::read(&self.state_file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::disk("read", &self.state_file, &error)),
        };
        State::parse(&bytes).map(Some).ok_or_else(|| {
            Failure::new(format!(
                "{} does not read as the state of an earlier run; run with --full-rebuild",
                self.state_file.display()
            ))
        })
    }

    /// Replaces the state; durable when this returns.
    pub(super) fn save(&self, state: &State) -> Result<(), Failure> {
        let fresh = self.state_file.with_extension("json.new");
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(&state.render()?)?;
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

/// A folder and those above it that are not there, innermost first.
fn missing(folder: &Path) -> Vec<PathBuf> {
    let named = folder.ancestors().filter(|folder| !folder.as_os_str().is_empty());
    named.take_while(|folder| !folder.exists()).map(Path::to_path_buf).collect()
}

/// A folder's real path, so that one folder has one state whatever it is called.
fn resolve(flag: &str, given: &Path) -> Result<PathBuf, Failure> {
    let fault = |error: std::io::Error| Failure::disk(&format!("use {flag}"), given, &error);
    match fs::canonicalize(given) {
        Ok(path) if path.is_dir() => return Ok(path),
        Ok(path) => {
            return Err(Failure::usage(format!("{flag} {}: it is not a folder", path.display())));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(fault(error)),
    }
    if given.is_symlink() {
        return Err(Failure::new(format!("{} is a link that leads nowhere", given.display())));
    }
    let Some(name) = given.file_name() else {
        return Err(Failure::usage(format!("{flag} {}: there is no such folder", given.display())));
    };
    let parent = match given.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(fault)?;
    Ok(fs::canonicalize(parent).map_err(fault)?.join(name))
}
