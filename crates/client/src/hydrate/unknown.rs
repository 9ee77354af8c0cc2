//! Unknown files: files in the folders that hydrate did not put there and the book does not have,
//! such as a page restored by a build machine's cache, which a site would show forever. Invariant:
//! hidden files and folders are left out, and links are never followed.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

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
pub(super) fn find(place: &Workspace, known: &State, wanted: &Wanted, twins: &Twins) -> Vec<Unknown> {
    let folders = [(CONTENT, Some(&place.output)), (STATIC, place.static_dir.as_ref())];
    let mut unknown: Vec<_> = folders
        .into_iter()
        .filter_map(|(prefix, folder)| Some((prefix, folder?)))
        .flat_map(|(prefix, folder)| find_below(folder, prefix))
        .filter(|unknown| !wanted.contains_key(&unknown.path) && !known.has(&unknown.path))
        .filter(|unknown| twins.of(&unknown.path, &unknown.file).is_none())
        .collect();
    unknown.sort_by(|a, b| a.path.cmp(&b.path));
    unknown
}

fn find_below(folder: &Path, prefix: &'static str) -> impl Iterator<Item = Unknown> {
    let entries = WalkDir::new(folder).min_depth(1).into_iter();
    let entries = entries.filter_entry(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    entries.flatten().filter(|entry| !entry.file_type().is_dir()).filter_map(move |entry| {
        let path = book_name(folder, prefix, entry.path());
        let before = Stamp::of(&entry.metadata().ok()?);
        Some(Unknown { path, is_file: entry.file_type().is_file(), file: entry.into_path(), before })
    })
}
