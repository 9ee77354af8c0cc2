//! The files in the folders that hydrate did not put there and the book does not have, such as a page
//! that a build machine's cache brought back: a site would show it for good. Invariant: hidden files
//! and folders are left out, and links are never followed.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::super::state::{Stamp, State};
use super::super::workspace::Workspace;
use super::super::{CONTENT, STATIC};
use super::Wanted;
use super::twins::Twins;

/// A file, a link or a device that nobody knows.
#[derive(Debug, Clone)]
pub(super) struct Unknown {
    /// Its path in the book, if it were there.
    pub(super) path: String,
    pub(super) file: PathBuf,
    /// A regular file.
    pub(super) is_file: bool,
    /// As it was when it was found.
    pub(super) before: Stamp,
}

/// Walks the folders. What can't be listed is left out: it stays whatever the run does.
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
        let below = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        let segments: Vec<_> = below.iter().map(|segment| segment.to_string_lossy()).collect();
        let path = format!("{prefix}{}", segments.join("/"));
        let before = Stamp::of(&entry.metadata().ok()?);
        Some(Unknown { path, is_file: entry.file_type().is_file(), file: entry.into_path(), before })
    })
}
