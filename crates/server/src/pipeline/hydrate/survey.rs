//! What the folders hold, compared with what they are to hold. Invariant: a file is ours only
//! if it holds bytes that the state says we put there; links are never followed.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use panaversity_model::{BookPath, ContentHash};

use super::super::place::Place;
use super::super::report::Problem;
use super::super::state::{Entry, Stamp, State};
use super::super::{Failure, digest};
use super::{Want, Wanted, problem};

/// Everything that has to be done, and everything in the way.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Files that hold the wanted bytes.
    pub(super) unchanged: Vec<(String, Entry)>,
    /// Files to put into place.
    pub(super) install: Vec<Install>,
    /// Files to delete.
    pub(super) delete: Vec<Delete>,
    /// Files of ours that are outdated or to be deleted, as they are now.
    pub(super) outdated: Vec<(String, Entry)>,
    /// Files that are not ours: `--full-rebuild` overwrites them.
    foreign: Vec<Problem>,
    /// Links and folders in the way: nothing overwrites them.
    blocked: Vec<Problem>,
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

/// What stands at a file's place.
pub(super) enum Standing {
    Nothing,
    File(Metadata),
    Blocked(String),
}

impl Survey {
    /// Looks at every path that is wanted, ours or maybe ours.
    pub(super) fn take(
        place: &Place,
        known: &State,
        wanted: &Wanted,
        overwrite: bool,
    ) -> Result<Self, Failure> {
        let mut survey = Self::default();
        let mut folders = Folders::new(place);
        let paths: BTreeSet<&String> = wanted.keys().chain(known.paths()).collect();
        for name in paths {
            let (path, file) = place.locate(name)?;
            let wanted = wanted.get(name).copied();
            match folders.standing(&file)? {
                Standing::Blocked(why) => survey.blocked.push(problem(name, why)),
                Standing::Nothing => {
                    let job = wanted.map(|want| Install { path, file, want, before: None });
                    survey.install.extend(job);
                }
                Standing::File(metadata) => {
                    let before = Stamp::of(&metadata);
                    let trusted = known.files.get(name).filter(|entry| !overwrite && before.matches(entry));
                    let there = match trusted.and_then(|entry| ContentHash::from_hex(&entry.hash)) {
                        None => Some(hash_of(&file)?),
                        known => known,
                    };
                    let is_ours = there.is_some_and(|hash| known.owns(name, hash));
                    survey.judge(Seen { path, file, before, there, is_ours: is_ours || overwrite }, wanted);
                }
            }
        }
        Ok(survey)
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

/// Looks at places below the folders that are filled, each folder once.
pub(super) struct Folders<'a> {
    place: &'a Place,
    seen: HashMap<PathBuf, Option<String>>,
}

impl<'a> Folders<'a> {
    pub(super) fn new(place: &'a Place) -> Self {
        Self { place, seen: HashMap::new() }
    }

    /// What stands at `file`.
    pub(super) fn standing(&mut self, file: &Path) -> Result<Standing, Failure> {
        if let Some(why) = file.parent().map(|folder| self.blocked(folder)).transpose()?.flatten() {
            return Ok(Standing::Blocked(why));
        }
        Ok(match lookup(file)? {
            None => Standing::Nothing,
            Some(metadata) if metadata.is_file() => Standing::File(metadata),
            Some(metadata) if metadata.is_symlink() => Standing::Blocked("it is a link".to_owned()),
            Some(_) => Standing::Blocked("it is not a file".to_owned()),
        })
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
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::disk("look at", path, &error)),
    }
}

fn hash_of(file: &Path) -> Result<ContentHash, Failure> {
    digest::of_file(file).map(|(hash, _)| hash).map_err(|error| Failure::disk("read", file, &error))
}
