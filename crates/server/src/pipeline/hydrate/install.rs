//! Putting staged files into place. Invariant: every step leaves each file either as it was or
//! whole and new, and the state on disk knows both as ours.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use panaversity_model::ContentHash;
use walkdir::WalkDir;

use super::super::Failure;
use super::super::state::{Stamp, State};
use super::super::workspace::Workspace;
use super::diff::{Delete, Diff, FileState, Folders, Install};
use super::staging::{copy_whole, staged, unfinished};
use super::unknown::Unknown;

/// Does what the diff found to do, then saves `done` as the state.
pub(super) fn run(place: &Workspace, known: &State, diff: Diff, mut done: State) -> Result<(), Failure> {
    let Diff { unchanged, install, delete, outdated, prune, respell, .. } = diff;
    done.files = unchanged.iter().cloned().collect();
    place.create_roots()?;
    if install.is_empty() && delete.is_empty() && prune.is_empty() && respell.is_empty() {
        return if *known == done { Ok(()) } else { finish(place, known, &done) };
    }

    // The second diff may want more than the first; what was not fetched for it is not there.
    if let Some(job) = install.iter().find(|job| !staged(place, job.want.hash).is_file()) {
        return Err(changed(&job.file));
    }

    // Both kinds of bytes at these places are ours from here on. What an earlier run knew stays
    // known until an installation is complete, however many of them are killed.
    let mut there = known.files.clone();
    there.extend(unchanged.into_iter().chain(outdated));
    let mut installing = known.installing.clone();
    installing.extend(install.iter().map(|job| (job.path.to_string(), job.want.hash.to_string())));
    place.save(&done.intent(there, installing))?;

    let mut uses: BTreeMap<ContentHash, usize> = BTreeMap::new();
    for job in &install {
        *uses.entry(job.want.hash).or_default() += 1;
    }
    let (in_the_way, gone) = parted(delete, |job| &job.file, &install);
    let (unknown_in_the_way, unknown) = parted(prune, |unknown| &unknown.file, &install);
    remove(place, &in_the_way, &unknown_in_the_way)?;
    let mut folders = Folders::new(place);
    for job in install {
        remove_empty_tree(&job.file);
        check_unmoved(&mut folders, &job.file, job.before)?;
        let left = uses.entry(job.want.hash).or_default();
        *left = left.saturating_sub(1);
        let stamp = put(place, &job, *left == 0)?;
        done.files.insert(job.path.to_string(), stamp.entry(job.want.hash));
    }
    for (from, to) in respell {
        fs::rename(&from, &to).map_err(|error| Failure::disk("rename", &from, &error))?;
    }
    remove(place, &gone, &unknown)?;
    finish(place, known, &done)
}

/// What must go before anything is written, because a file can't be where a folder is or a folder
/// where a file is, and what can wait until everything is in place.
fn parted<T>(all: Vec<T>, file_of: impl Fn(&T) -> &PathBuf, install: &[Install]) -> (Vec<T>, Vec<T>) {
    let coming: HashSet<&Path> = install.iter().map(|job| job.file.as_path()).collect();
    let folders: HashSet<&Path> = coming.iter().flat_map(|file| file.ancestors().skip(1)).collect();
    all.into_iter().partition(|one| {
        let file = file_of(one).as_path();
        folders.contains(file) || file.ancestors().skip(1).any(|folder| coming.contains(folder))
    })
}

/// Deletes files of ours and files that nobody knows, if all of them are as the diff saw them, with
/// the folders that this empties.
fn remove(place: &Workspace, ours: &[Delete], unknown: &[Unknown]) -> Result<(), Failure> {
    let mut folders = Folders::new(place);
    for job in ours {
        check_unmoved(&mut folders, &job.file, Some(job.before))?;
    }
    for unknown in unknown {
        if !folders.is_as_seen(&unknown.file, unknown.before)? {
            return Err(changed(&unknown.file));
        }
    }
    let mut emptied = BTreeSet::new();
    for file in ours.iter().map(|job| &job.file).chain(unknown.iter().map(|unknown| &unknown.file)) {
        fs::remove_file(file).map_err(|error| Failure::disk("delete", file, &error))?;
        emptied.extend(file.parent().map(Path::to_owned));
    }
    remove_emptied(place, &emptied);
    Ok(())
}

/// Removes a folder that holds nothing but folders; anything else stays as it is.
fn remove_empty_tree(folder: &Path) {
    if !folder.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return;
    }
    for entry in WalkDir::new(folder).contents_first(true).into_iter().flatten() {
        // A folder that holds something is not removed, nor is what is no folder.
        let _ = fs::remove_dir(entry.path());
    }
}

/// Removes emptied folders, saves the state and drops what staging still holds. Folders of
/// everything that is ours no more are looked at, not only of what this run deleted: a run that
/// was killed may have deleted the rest.
fn finish(place: &Workspace, known: &State, done: &State) -> Result<(), Failure> {
    let mut folders = BTreeSet::new();
    for path in known.paths().filter(|path| !done.files.contains_key(*path)) {
        folders.extend(place.locate(path)?.1.parent().map(Path::to_owned));
    }
    remove_emptied(place, &folders);
    place.save(done)?;
    // Leftovers cost space only, and the next run checks them.
    let _ = fs::remove_dir_all(&place.staging);
    Ok(())
}

/// The last look before a file is touched: it must be as the diff saw it.
fn check_unmoved(folders: &mut Folders<'_>, file: &Path, before: Option<Stamp>) -> Result<(), Failure> {
    let now = match folders.standing(file)? {
        FileState::Nothing => None,
        FileState::File(metadata) => Some(Stamp::of(&metadata)),
        FileState::Blocked(why) => return Err(Failure::new(format!("{}: {why}; run again", file.display()))),
    };
    if now == before { Ok(()) } else { Err(changed(file)) }
}

fn changed(file: &Path) -> Failure {
    Failure::new(format!("{} changed while hydrate ran; run again", file.display()))
}

/// Renames a staged file into place; a copy of it, if it is needed again.
fn put(place: &Workspace, job: &Install, is_last_use: bool) -> Result<Stamp, Failure> {
    let fault = |error: Error| Failure::disk("write", &job.file, &error);
    if let Some(folder) = job.file.parent() {
        fs::create_dir_all(folder).map_err(fault)?;
    }
    let mut source = staged(place, job.want.hash);
    if !is_last_use {
        let copy = source.with_extension("copy");
        copy_whole(&source, &copy)?;
        source = copy;
    }
    match fs::rename(&source, &job.file) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            // The output is a mount of its own: go through a file beside the target.
            let part = part_of(&job.file);
            copy_whole(&source, &part)?;
            fs::rename(&part, &job.file).map_err(fault)?;
        }
        renamed => renamed.map_err(fault)?,
    }
    fs::symlink_metadata(&job.file).map(|metadata| Stamp::of(&metadata)).map_err(fault)
}

/// The name beside the target that a file has while it crosses devices: hidden, so no page, and
/// short, however long the target's is.
fn part_of(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().as_encoded_bytes();
    file.with_file_name(format!(".{:.16}.panaversity", ContentHash::of(name).to_string()))
}

/// Removes what a killed installation left beside its targets, which would be in the way of a path that
/// changed its kind.
pub(super) fn remove_parts(place: &Workspace, known: &State) -> Result<(), Failure> {
    for path in known.installing.keys() {
        let part = part_of(&place.locate(path)?.1);
        for leftover in [unfinished(&part), part] {
            match fs::remove_file(&leftover) {
                Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    return Err(Failure::disk("delete", &leftover, &error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Removes folders that have nothing left in them, upwards, never those that are filled.
fn remove_emptied(place: &Workspace, folders: &BTreeSet<PathBuf>) {
    for folder in folders.iter().rev() {
        let mut folder = folder.as_path();
        // A folder that still holds something cannot be removed, and stays.
        while place.root_of(folder).is_some_and(|root| folder != root) && fs::remove_dir(folder).is_ok() {
            let Some(above) = folder.parent() else { break };
            folder = above;
        }
    }
}
