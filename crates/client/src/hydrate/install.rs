//! Installation of staged files. Invariant: every step leaves each file either unchanged or
//! completely replaced, and the state on disk records both versions as `hydrate`'s own.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use panaversity_model::ContentHash;
use walkdir::WalkDir;

use super::diff::{Delete, Diff, FileState, Folders, Install};
use super::staging::{copy_whole, staged, unfinished};
use super::unknown::Unknown;
use crate::state::{Stamp, State};
use crate::sync::SyncError;
use crate::workspace::Workspace;

/// Applies the diff, then saves `done` as the state.
pub(super) fn run(place: &Workspace, known: &State, diff: Diff, mut done: State) -> Result<(), SyncError> {
    let Diff { unchanged, install, delete, outdated, prune, respell, .. } = diff;
    done.files = unchanged.iter().cloned().collect();
    place.create_roots()?;
    if install.is_empty() && delete.is_empty() && prune.is_empty() && respell.is_empty() {
        return if *known == done { Ok(()) } else { finish(place, known, &done) };
    }

    // The second diff may need more than the first; files that were not fetched for it are not
    // staged.
    if let Some(job) = install.iter().find(|job| !staged(place, job.want.hash).is_file()) {
        return Err(changed(&job.file));
    }

    // From here on, both versions of these files are recorded as own. Entries of earlier runs are
    // kept until an installation is complete, however many are killed.
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
        fs::rename(&from, &to).map_err(|error| SyncError::disk("rename", &from, &error))?;
    }
    remove(place, &gone, &unknown)?;
    finish(place, known, &done)
}

/// Splits deletions into those that must precede all writes, because a file replaces a folder or a
/// folder a file, and those that can wait until everything is installed.
fn parted<T>(all: Vec<T>, file_of: impl Fn(&T) -> &PathBuf, install: &[Install]) -> (Vec<T>, Vec<T>) {
    let coming: HashSet<&Path> = install.iter().map(|job| job.file.as_path()).collect();
    let folders: HashSet<&Path> = coming.iter().flat_map(|file| file.ancestors().skip(1)).collect();
    all.into_iter().partition(|one| {
        let file = file_of(one).as_path();
        folders.contains(file) || file.ancestors().skip(1).any(|folder| coming.contains(folder))
    })
}

/// Deletes own and unknown files, if all of them are as the diff saw them, with the folders that
/// this empties.
fn remove(place: &Workspace, ours: &[Delete], unknown: &[Unknown]) -> Result<(), SyncError> {
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
        fs::remove_file(file).map_err(|error| SyncError::disk("delete", file, &error))?;
        emptied.extend(file.parent().map(Path::to_owned));
    }
    remove_emptied(place, &emptied);
    Ok(())
}

/// Removes a folder that contains nothing but folders; anything else stays as it is.
fn remove_empty_tree(folder: &Path) {
    if !folder.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return;
    }
    for entry in WalkDir::new(folder).contents_first(true).into_iter().flatten() {
        // A folder that is not empty is not removed, nor is anything that is not a folder.
        let _ = fs::remove_dir(entry.path());
    }
}

/// Removes emptied folders, saves the state and removes the staging folder. The folders of all
/// paths that are no longer own are examined, not only of those this run deleted: a killed run may
/// have deleted the rest.
fn finish(place: &Workspace, known: &State, done: &State) -> Result<(), SyncError> {
    let mut folders = BTreeSet::new();
    for path in known.paths().filter(|path| !done.files.contains_key(*path)) {
        folders.extend(place.locate(path)?.1.parent().map(Path::to_owned));
    }
    remove_emptied(place, &folders);
    place.save(done)?;
    // Leftovers only take space, and the next run checks them.
    let _ = fs::remove_dir_all(&place.staging);
    Ok(())
}

/// Final check before a file is changed: it must be as the diff saw it.
fn check_unmoved(folders: &mut Folders<'_>, file: &Path, before: Option<Stamp>) -> Result<(), SyncError> {
    let now = match folders.standing(file)? {
        FileState::Nothing => None,
        FileState::File(metadata) => Some(Stamp::of(&metadata)),
        FileState::Blocked(why) => {
            return Err(SyncError::new(format!("{}: {why}; run again", file.display())));
        }
    };
    if now == before { Ok(()) } else { Err(changed(file)) }
}

fn changed(file: &Path) -> SyncError {
    SyncError::new(format!("{} changed while hydrate ran; run again", file.display()))
}

/// Renames a staged file to its target; copies it if it is needed again.
fn put(place: &Workspace, job: &Install, is_last_use: bool) -> Result<Stamp, SyncError> {
    let fault = |error: Error| SyncError::disk("write", &job.file, &error);
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
            // The output is on another device: copy to a file beside the target, then rename.
            let part = part_of(&job.file);
            copy_whole(&source, &part)?;
            fs::rename(&part, &job.file).map_err(fault)?;
        }
        renamed => renamed.map_err(fault)?,
    }
    fs::symlink_metadata(&job.file).map(|metadata| Stamp::of(&metadata)).map_err(fault)
}

/// Path beside the target for a file that is copied between devices. The name is hidden, so it is
/// no page, and short, whatever the length of the target's name.
fn part_of(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().as_encoded_bytes();
    file.with_file_name(format!(".{:.16}.panaversity", ContentHash::of(name).to_string()))
}

/// Removes such copies that a killed installation left, which would be in the way of a path that
/// changed its kind.
pub(super) fn remove_parts(place: &Workspace, known: &State) -> Result<(), SyncError> {
    for path in known.installing.keys() {
        let part = part_of(&place.locate(path)?.1);
        for leftover in [unfinished(&part), part] {
            match fs::remove_file(&leftover) {
                Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    return Err(SyncError::disk("delete", &leftover, &error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Removes empty folders, upwards, but never the folders to fill.
fn remove_emptied(place: &Workspace, folders: &BTreeSet<PathBuf>) {
    for folder in folders.iter().rev() {
        let mut folder = folder.as_path();
        // A folder that is not empty cannot be removed, and stays.
        while place.root_of(folder).is_some_and(|root| folder != root) && fs::remove_dir(folder).is_ok() {
            let Some(above) = folder.parent() else { break };
            folder = above;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use panaversity_model::BookId;
    use tempfile::TempDir;

    use super::super::diff::Freedom;
    use super::super::{Want, Wanted};
    use super::*;

    #[test]
    fn a_file_that_appears_while_others_are_fetched_is_not_overwritten() {
        let folder = TempDir::new().unwrap();
        let output = folder.path().join("out");
        let known = State::new(&BookId::parse("ai-python").unwrap());
        let place = Workspace::open(&output, None).unwrap();
        let want = Want { hash: ContentHash::of(b"the book's"), size: 10 };
        fs::write(staged(&place, want.hash), "the book's").unwrap();
        let wanted = Wanted::from([("content/README.md".to_owned(), want)]);
        let freedom = Freedom { overwrite: true, prune: true };
        let found = Diff::take(&place, &known, &wanted, freedom).unwrap();
        fs::create_dir_all(&output).unwrap();
        fs::write(output.join("README.md"), "mine").unwrap();
        assert!(run(&place, &known, found, known.clone()).is_err());
        assert_eq!(fs::read_to_string(output.join("README.md")).unwrap(), "mine");
    }

    #[test]
    fn a_file_that_changes_while_others_are_fetched_is_not_pruned() {
        let folder = TempDir::new().unwrap();
        let output = folder.path().join("out");
        fs::create_dir_all(output.join("junk")).unwrap();
        fs::write(output.join("junk/old.txt"), "old").unwrap();
        let known = State::new(&BookId::parse("ai-python").unwrap());
        let place = Workspace::open(&output, None).unwrap();
        let freedom = Freedom { overwrite: false, prune: true };
        let found = Diff::take(&place, &known, &Wanted::new(), freedom).unwrap();
        assert_eq!(found.prune.len(), 1);
        // A folder outside takes the place of the one that was looked at.
        let outside = folder.path().join("outside");
        fs::rename(output.join("junk"), &outside).unwrap();
        symlink(&outside, output.join("junk")).unwrap();
        assert!(run(&place, &known, found, known.clone()).is_err());
        assert!(outside.join("old.txt").exists(), "a link is never followed");
    }
}
