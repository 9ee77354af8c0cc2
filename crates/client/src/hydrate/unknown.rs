//! Unknown files: files in the folders that hydrate did not put there and the book does not have,
//! such as a page restored by a build machine's cache, which a site would show forever. Invariant:
//! hidden files and folders are left out, and links are never followed.

use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::Wanted;
use super::twins::Twins;
use crate::state::{Stamp, State};
use crate::sync::{CONTENT, STATIC, book_name};
use crate::workspace::Workspace;

/// A file, link or device that neither the state nor the book names.
#[derive(Debug, Clone)]
pub(super) struct Unknown {
    /// The path in the book that would map to it.
    pub(super) path: String,
    pub(super) file: PathBuf,
    /// True for a regular file.
    pub(super) is_file: bool,
    /// Size and modification time when it was found.
    pub(super) before: Stamp,
}

/// Walks the folders. Entries that can't be listed are left out: no run changes them.
pub(super) fn find(place: &Workspace, known: &State, wanted: &Wanted, twins: &Twins<'_>) -> Vec<Unknown> {
    let folders = [(CONTENT, Some(&place.output)), (STATIC, place.static_dir.as_ref())];
    let mut unknown: Vec<_> = folders
        .into_iter()
        .filter_map(|(prefix, folder)| Some((prefix, folder?)))
        .flat_map(|(prefix, folder)| {
            files_below(folder).map(move |entry| (book_name(folder, prefix, entry.path()), entry))
        })
        .filter(|(path, _)| !wanted.contains_key(path) && !known.has(path))
        .filter(|(path, entry)| twins.of(path, entry.path()).is_none())
        .filter_map(|(path, entry)| {
            let before = Stamp::of(&entry.metadata().ok()?);
            Some(Unknown { path, is_file: entry.file_type().is_file(), file: entry.into_path(), before })
        })
        .collect();
    unknown.sort_by(|a, b| a.path.cmp(&b.path));
    unknown
}

fn files_below(folder: &Path) -> impl Iterator<Item = DirEntry> + use<> {
    let entries = WalkDir::new(folder).min_depth(1).into_iter();
    let entries = entries.filter_entry(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    entries.flatten().filter(|entry| !entry.file_type().is_dir())
}
