//! What the folders hold, compared with what they are to hold. Invariant: a file is ours only
//! if it holds bytes that the state says we put there; links are never followed.
//!
//! # A path that changes its kind
//! A file of ours that goes may lie where a folder is to come, and files of ours that go may be all
//! that a folder holds where a file is to come. Neither is in the way: the installation deletes
//! before it writes. So what goes is found first, and then what comes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use panaversity_model::{BookPath, ContentHash};
use walkdir::WalkDir;

use super::super::report::Problem;
use super::super::state::{Stamp, State, StateEntry};
use super::super::workspace::Workspace;
use super::super::{Failure, digest};
use super::twins::Twins;
use super::unknown::{self, Unknown};
use super::{Want, Wanted, problem};

/// Everything that has to be done, and everything in the way.
#[derive(Debug, Default)]
pub(super) struct Diff {
    /// Files that hold the wanted bytes.
    pub(super) unchanged: Vec<(String, StateEntry)>,
    /// Files to put into place.
    pub(super) install: Vec<Install>,
    /// Files to delete.
    pub(super) delete: Vec<Delete>,
    /// Files of ours that are outdated or to be deleted, as they are now.
    pub(super) outdated: Vec<(String, StateEntry)>,
    /// Files that are not ours: `--full-rebuild` overwrites them.
    foreign: Vec<Problem>,
    /// Links and folders in the way: nothing overwrites them.
    blocked: Vec<Problem>,
    /// Files that the disk has under another spelling of a wanted name: from, to.
    pub(super) respell: Vec<(PathBuf, PathBuf)>,
    /// Files that neither the book nor the state names, and that stay.
    pub(super) unknown: Vec<Unknown>,
    /// The same, to delete: all of them with `--prune`, those in the way with `--full-rebuild`.
    pub(super) prune: Vec<Unknown>,
}

/// A file to put into place.
#[derive(Debug, Clone)]
pub(super) struct Install {
    pub(super) path: BookPath,
    pub(super) file: PathBuf,
    pub(super) want: Want,
    /// What is there now.
    pub(super) before: Option<Stamp>,
}

/// A file to delete.
#[derive(Debug, Clone)]
pub(super) struct Delete {
    pub(super) path: BookPath,
    pub(super) file: PathBuf,
    pub(super) before: Stamp,
}

/// A file that is there.
struct Seen {
    path: BookPath,
    file: PathBuf,
    before: Stamp,
    there: Option<ContentHash>,
    /// It may be overwritten.
    is_ours: bool,
}

/// What a run may do to files that are not ours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Freedom {
    /// Overwrite them where the book has a file (`--full-rebuild`).
    pub(super) overwrite: bool,
    /// Delete them where it has none (`--prune`).
    pub(super) prune: bool,
}

/// What stands at a file's place.
pub(super) enum FileState {
    Nothing,
    File(Metadata),
    Blocked(String),
}

impl Diff {
    /// Looks at every path that is wanted, ours or maybe ours.
    pub(super) fn take(
        place: &Workspace,
        known: &State,
        wanted: &Wanted,
        freedom: Freedom,
    ) -> Result<Self, Failure> {
        let Freedom { overwrite, prune } = freedom;
        let mut diff = Self::default();
        let mut folders = Folders::new(place);
        let gone: BTreeSet<&String> = known.paths().filter(|path| !wanted.contains_key(*path)).collect();
        diff.look_at(gone, known, wanted, &mut folders, overwrite)?;
        let twins = Twins::new(place, wanted)?;
        let mut spelled = HashMap::new();
        diff.delete.retain(|job| {
            let Some((name, twin)) = twins.of(job.path.as_str(), &job.file) else { return true };
            diff.respell.push((job.file.clone(), twin.to_owned()));
            spelled.insert(name.to_owned(), job.path.to_string());
            false
        });

        let above = folders_above(place, wanted)?;
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
    ) -> Result<(), Failure> {
        for name in paths {
            let (path, file) = folders.place.locate(name)?;
            let wanted = wanted.get(name).copied();
            match folders.standing(&file)? {
                // What is gone already stands in nobody's way.
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
                    let is_ours =
                        there.is_some_and(|hash| known.owns(name, hash) || known.owns(spelled, hash));
                    self.judge(Seen { path, file, before, there, is_ours: is_ours || overwrite }, wanted);
                }
            }
        }
        Ok(())
    }

    /// Decides the fate of a file that is there.
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

    /// Ends the run if something is in the way.
    pub(super) fn stop_if_blocked(&self) -> Result<(), Failure> {
        if !self.blocked.is_empty() {
            let message = "nothing was changed: these are in the way, move them away";
            return Err(Failure::about(message, self.blocked.clone()));
        }
        if !self.foreign.is_empty() {
            let message = "nothing was changed: these files were changed or put there by somebody else; \
                           move them away, or overwrite them with --full-rebuild";
            return Err(Failure::about(message, self.foreign.clone()));
        }
        Ok(())
    }
}

/// Every folder that a wanted file needs.
fn folders_above(place: &Workspace, wanted: &Wanted) -> Result<HashSet<PathBuf>, Failure> {
    let mut above = HashSet::new();
    for path in wanted.keys() {
        let (_, file) = place.locate(path)?;
        let mut folders = file.ancestors().skip(1);
        // What is above a known folder is known.
        while let Some(folder) = folders.next()
            && above.insert(folder.to_owned())
        {}
    }
    Ok(above)
}

/// Looks at places below the folders that are filled, each folder once.
pub(super) struct Folders<'a> {
    place: &'a Workspace,
    seen: HashMap<PathBuf, Option<String>>,
    /// Files that are deleted before anything is written.
    leaving: HashSet<PathBuf>,
    /// The names under which the state knows wanted files that the disk spells otherwise.
    spelled: HashMap<String, String>,
}

impl<'a> Folders<'a> {
    pub(super) fn new(place: &'a Workspace) -> Self {
        Self { place, seen: HashMap::new(), leaving: HashSet::new(), spelled: HashMap::new() }
    }

    /// What stands at `file`.
    pub(super) fn standing(&mut self, file: &Path) -> Result<FileState, Failure> {
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

    /// Whether the file, or the link, is still as it was seen, and reached without following a link.
    pub(super) fn is_as_seen(&mut self, file: &Path, before: Stamp) -> Result<bool, Failure> {
        let blocked = file.parent().map(|folder| self.blocked(folder)).transpose()?.flatten();
        let now = lookup(file)?.filter(|metadata| !metadata.is_dir());
        Ok(blocked.is_none() && now.is_some_and(|metadata| Stamp::of(&metadata) == before))
    }

    /// Something in a folder that is no folder and does not leave.
    fn staying_in(&self, folder: &Path) -> Option<PathBuf> {
        let entries = WalkDir::new(folder).min_depth(1).into_iter();
        let mut staying = entries.filter_map(|entry| match entry {
            Ok(entry) if entry.file_type().is_dir() || self.leaving.contains(entry.path()) => None,
            Ok(entry) => Some(entry.into_path()),
            Err(error) => Some(error.path().unwrap_or(folder).to_owned()),
        });
        staying.next()
    }

    /// Why nothing can be put below `folder`, if so. What does not exist yet is no obstacle.
    fn blocked(&mut self, folder: &Path) -> Result<Option<String>, Failure> {
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

/// The metadata of the path itself, never of what a link points to.
fn lookup(path: &Path) -> Result<Option<Metadata>, Failure> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        // Below a file there is nothing.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Failure::disk("look at", path, &error)),
    }
}

fn hash_of(file: &Path) -> Result<ContentHash, Failure> {
    digest::of_file(file).map(|(hash, _)| hash).map_err(|error| Failure::disk("read", file, &error))
}
