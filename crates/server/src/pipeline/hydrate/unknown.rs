//! The files in the folders that hydrate did not put there and the book does not have, such as a page
//! that a build machine's cache brought back: a site would show it for good. Invariant: hidden files
//! are left out as `ingest` leaves them out, and links are never followed.

use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::super::place::Place;
use super::super::state::State;
use super::super::{CONTENT, STATIC, is_left_behind};
use super::Wanted;

/// The end of names that an installation gives to files on their way.
const ON_THEIR_WAY: [&str; 2] = [".panaversity", ".panaversity.part"];

/// A file, a link or a device that nobody knows.
#[derive(Debug, Clone)]
pub(super) struct Unknown {
    /// Its path in the book, if it were there.
    pub(super) path: String,
    pub(super) file: PathBuf,
    /// A regular file.
    pub(super) is_file: bool,
}

/// Walks the folders. What can't be listed is left out: it stays whatever the run does.
pub(super) fn find(place: &Place, known: &State, wanted: &Wanted) -> Vec<Unknown> {
    let folders = [(CONTENT, Some(&place.output)), (STATIC, place.static_dir.as_ref())];
    let mut unknown: Vec<_> = folders
        .into_iter()
        .filter_map(|(prefix, folder)| Some((prefix, folder?)))
        .flat_map(|(prefix, folder)| find_below(folder, prefix))
        .filter(|unknown| !wanted.contains_key(&unknown.path) && !known.has(&unknown.path))
        .collect();
    unknown.sort_by(|a, b| a.path.cmp(&b.path));
    unknown
}

fn find_below(folder: &Path, prefix: &'static str) -> impl Iterator<Item = Unknown> {
    let entries = WalkDir::new(folder).min_depth(1).into_iter();
    let entries = entries.filter_entry(move |entry| !is_hidden(entry, prefix == STATIC));
    entries.flatten().filter(|entry| !entry.file_type().is_dir()).map(move |entry| {
        let below = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        let segments: Vec<_> = below.iter().map(|segment| segment.to_string_lossy()).collect();
        let path = format!("{prefix}{}", segments.join("/"));
        Unknown { path, is_file: entry.file_type().is_file(), file: entry.into_path() }
    })
}

/// A site copies hidden files of its static folder, so there only what is nobody's counts as hidden.
fn is_hidden(entry: &DirEntry, in_static: bool) -> bool {
    let name = entry.file_name().to_string_lossy();
    let nobodys = is_left_behind(entry.file_name()) || ON_THEIR_WAY.iter().any(|end| name.ends_with(end));
    name.starts_with('.') && (!in_static || nobodys)
}
