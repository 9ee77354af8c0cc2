//! Difference between the folders and their wanted content. Invariant: a file is `hydrate`'s own
//! only if it has bytes that the state records for it; links are never followed.
//!
//! # A path that changes its kind
//! An own file that is to be deleted may lie where a folder is needed, and such files may be all
//! that a folder contains where a file is needed. Neither is an obstacle: the installation deletes
//! before it writes. So deletions are determined first, and then installations.

use std::cell::LazyCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use panaversity_model::{BookPath, ContentHash};
use walkdir::WalkDir;

use super::twins::Twins;
use super::unknown::{self, Unknown};
use super::{Want, Wanted, problem};
use crate::digest;
use crate::report::Problem;
use crate::state::{Stamp, State, StateEntry};
use crate::sync::SyncError;
use crate::workspace::Workspace;

/// All changes to make, and all obstacles.
#[derive(Debug, Default)]
pub(super) struct Diff {
    /// Files that have the wanted bytes already.
    pub(super) unchanged: Vec<(String, StateEntry)>,
    /// Files to install.
    pub(super) install: Vec<Install>,
    /// Files to delete.
    pub(super) delete: Vec<Delete>,
    /// Own files that are outdated or to be deleted, in their current state.
    pub(super) outdated: Vec<(String, StateEntry)>,
    /// Foreign files at wanted paths: only `--full-rebuild` overwrites them.
    foreign: Vec<Problem>,
    /// Links and folders at wanted paths: nothing overwrites them.
    blocked: Vec<Problem>,
    /// Files that the file system has under another spelling of a wanted name: from, to.
    pub(super) respell: Vec<(PathBuf, PathBuf)>,
    /// Files that neither the book nor the state names, and that stay.
    pub(super) unknown: Vec<Unknown>,
    /// Such files to delete: all of them with `--prune`, those in the way with `--full-rebuild`.
    pub(super) prune: Vec<Unknown>,
}

/// A file to install.
#[derive(Debug, Clone)]
pub(super) struct Install {
    pub(super) path: BookPath,
    pub(super) file: PathBuf,
    pub(super) want: Want,
    /// The file it replaces, if there is one.
    pub(super) before: Option<Stamp>,
}

/// A file to delete.
#[derive(Debug, Clone)]
pub(super) struct Delete {
    pub(super) path: BookPath,
    pub(super) file: PathBuf,
    pub(super) before: Stamp,
}

/// An existing file.
struct Seen {
    path: BookPath,
    file: PathBuf,
    before: Stamp,
    there: Option<ContentHash>,
    /// True if it may be overwritten.
    is_ours: bool,
}

/// Permission of a run to change foreign files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Freedom {
    /// Overwrite them where the book has a file (`--full-rebuild`).
    pub(super) overwrite: bool,
    /// Delete them where it has none (`--prune`).
    pub(super) prune: bool,
}

/// Current state of a file's path.
pub(super) enum FileState {
    Nothing,
    File(Metadata),
    Blocked(String),
}

impl Diff {
    /// Examines every path that is wanted or that the state names.
    pub(super) fn take(
        place: &Workspace,
        known: &State,
        wanted: &Wanted,
        freedom: Freedom,
    ) -> Result<Self, SyncError> {
        let Freedom { overwrite, prune } = freedom;
        let mut diff = Self::default();
        let mut folders = Folders::new(place);
        let gone: BTreeSet<&String> = known.paths().filter(|path| !wanted.contains_key(*path)).collect();
        diff.look_at(gone, known, wanted, &mut folders, overwrite)?;
        let twins = Twins::new(place, wanted);
        let mut spelled = HashMap::new();
        diff.delete.retain(|job| {
            let Some((name, twin)) = twins.of(job.path.as_str(), &job.file) else { return true };
            diff.respell.push((job.file.clone(), twin.to_owned()));
            spelled.insert(name.to_owned(), job.path.to_string());
            false
        });

        let above = LazyCell::new(|| folders_above(place, wanted));
        let is_in_the_way = |unknown: &Unknown| unknown.is_file && above.contains(&unknown.file);
        (diff.prune, diff.unknown) = unknown::find(place, known, wanted, &twins)
            .into_iter()
            .partition(|unknown| prune || (overwrite && is_in_the_way(unknown)));
        let deleted = diff.delete.iter().map(|job| &job.file);
        let leaving = deleted.chain(diff.prune.iter().map(|unknown| &unknown.file));
        let mut folders = Folders { leaving: leaving.cloned().collect(), spelled, ..Folders::new(place) };
        diff.look_at(wanted.keys().collect(), known, wanted, &mut folders, overwrite)?;
        Ok(diff)
    }

    fn look_at(
        &mut self,
        paths: BTreeSet<&String>,
        known: &State,
        wanted: &Wanted,
        folders: &mut Folders<'_>,
        overwrite: bool,
    ) -> Result<(), SyncError> {
        for name in paths {
            let (path, file) = folders.place.locate(name)?;
            let wanted = wanted.get(name).copied();
            match folders.standing(&file)? {
                // A path that is not wanted and cannot exist is no obstacle.
                FileState::Blocked(_) if wanted.is_none() => {}
                FileState::Blocked(why) => self.blocked.push(problem(name, why)),
                FileState::Nothing => {
                    let job = wanted.map(|want| Install { path, file, want, before: None });
                    self.install.extend(job);
                }
                FileState::File(metadata) => {
                    let before = Stamp::of(&metadata);
                    let trusted = known.files.get(name).filter(|entry| !overwrite && before.matches(entry));
                    let there = match trusted.and_then(|entry| ContentHash::from_hex(&entry.hash)) {
                        None => Some(hash_of(&file)?),
                        known => known,
                    };
                    let spelled = folders.spelled.get(name).unwrap_or(name);
                    let is_wanted = there.is_some() && there == wanted.map(|want| want.hash);
                    let is_ours = overwrite
                        || is_wanted
                        || there.is_some_and(|hash| known.owns(name, hash) || known.owns(spelled, hash));
                    self.judge(Seen { path, file, before, there, is_ours }, wanted);
                }
            }
        }
        Ok(())
    }

    /// Classifies an existing file.
    fn judge(&mut self, seen: Seen, wanted: Option<Want>) {
        let Seen { path, file, before, there, is_ours } = seen;
        let entry = there.map(|hash| (path.to_string(), before.entry(hash)));
        if there.is_some() && there == wanted.map(|want| want.hash) {
            self.unchanged.extend(entry);
        } else if !is_ours {
            self.foreign.push(problem(path.as_str(), "it does not hold what hydrate put there"));
        } else {
            self.outdated.extend(entry);
            match wanted {
                Some(want) => self.install.push(Install { path, file, want, before: Some(before) }),
                None => self.delete.push(Delete { path, file, before }),
            }
        }
    }

    /// Ends the run if there are obstacles.
    pub(super) fn stop_if_blocked(&self) -> Result<(), SyncError> {
        if !self.blocked.is_empty() {
            let message = "nothing was changed: these are in the way, move them away";
            return Err(SyncError::about(message, self.blocked.clone()));
        }
        if !self.foreign.is_empty() {
            let message = "nothing was changed: these files were changed or put there by somebody else; \
                           move them away, or overwrite them with --full-rebuild";
            return Err(SyncError::about(message, self.foreign.clone()));
        }
        Ok(())
    }
}

/// Every folder that a wanted file needs.
fn folders_above(place: &Workspace, wanted: &Wanted) -> HashSet<PathBuf> {
    let mut above = HashSet::new();
    // A path that is not safe ends the run when it is looked at.
    for (_, file) in wanted.keys().filter_map(|path| place.locate(path).ok()) {
        let mut folders = file.ancestors().skip(1);
        // The ancestors of a known folder are known.
        while let Some(folder) = folders.next()
            && above.insert(folder.to_owned())
        {}
    }
    above
}

/// Lookup of paths below the folders to fill, which examines each folder once.
pub(super) struct Folders<'a> {
    place: &'a Workspace,
    seen: HashMap<PathBuf, Option<String>>,
    /// Files that are deleted before anything is written.
    leaving: HashSet<PathBuf>,
    /// Names in the state of wanted files that the file system spells differently.
    spelled: HashMap<String, String>,
}

impl<'a> Folders<'a> {
    pub(super) fn new(place: &'a Workspace) -> Self {
        Self { place, seen: HashMap::new(), leaving: HashSet::new(), spelled: HashMap::new() }
    }

    /// The current state of the path `file`.
    pub(super) fn standing(&mut self, file: &Path) -> Result<FileState, SyncError> {
        if let Some(why) = file.parent().map(|folder| self.blocked(folder)).transpose()?.flatten() {
            return Ok(FileState::Blocked(why));
        }
        Ok(match lookup(file)? {
            None => FileState::Nothing,
            Some(metadata) if metadata.is_file() => FileState::File(metadata),
            Some(metadata) if metadata.is_symlink() => FileState::Blocked("it is a link".to_owned()),
            Some(metadata) if metadata.is_dir() => match self.staying_in(file) {
                None => FileState::Nothing,
                Some(staying) => {
                    FileState::Blocked(format!("it is a folder that holds {}", staying.display()))
                }
            },
            Some(_) => FileState::Blocked("it is not a file".to_owned()),
        })
    }

    /// Returns true if the file or link is unchanged since it was seen, and reached without
    /// following a link.
    pub(super) fn is_as_seen(&mut self, file: &Path, before: Stamp) -> Result<bool, SyncError> {
        let blocked = file.parent().map(|folder| self.blocked(folder)).transpose()?.flatten();
        let now = lookup(file)?.filter(|metadata| !metadata.is_dir());
        Ok(blocked.is_none() && now.is_some_and(|metadata| Stamp::of(&metadata) == before))
    }

    /// The first entry of a folder that is neither a folder nor about to be deleted.
    fn staying_in(&self, folder: &Path) -> Option<PathBuf> {
        let entries = WalkDir::new(folder).min_depth(1).into_iter();
        let mut staying = entries.filter_map(|entry| match entry {
            Ok(entry) if entry.file_type().is_dir() || self.leaving.contains(entry.path()) => None,
            Ok(entry) => Some(entry.into_path()),
            Err(error) => Some(error.path().unwrap_or(folder).to_owned()),
        });
        staying.next()
    }

    /// The reason why nothing can be put below `folder`, if there is one. A missing folder is no
    /// obstacle.
    fn blocked(&mut self, folder: &Path) -> Result<Option<String>, SyncError> {
        if self.place.root_of(folder).is_none_or(|root| folder == root) {
            return Ok(None);
        }
        if let Some(seen) = self.seen.get(folder) {
            return Ok(seen.clone());
        }
        let above = folder.parent().map(|above| self.blocked(above)).transpose()?.flatten();
        let why = match above {
            Some(why) => Some(why),
            None if self.leaving.contains(folder) => None,
            None => lookup(folder)?.filter(|metadata| !metadata.is_dir()).map(|metadata| {
                let kind = if metadata.is_symlink() { "a link" } else { "not a folder" };
                format!("{} is {kind}", folder.display())
            }),
        };
        self.seen.insert(folder.to_owned(), why.clone());
        Ok(why)
    }
}

/// The metadata of the path itself, never of a link's target.
fn lookup(path: &Path) -> Result<Option<Metadata>, SyncError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        // Below a file there is nothing.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(SyncError::disk("look at", path, &error)),
    }
}

fn hash_of(file: &Path) -> Result<ContentHash, SyncError> {
    digest::of_file(file).map(|(hash, _)| hash).map_err(|error| SyncError::disk("read", file, &error))
}
