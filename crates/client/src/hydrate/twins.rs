//! Names that the file system does not distinguish: on most disks of macOS and Windows `Intro.md`
//! and `intro.md` are one file. Invariant: a path that the book no longer has is not deleted if the
//! file system resolves it to one that the book has.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use panaversity_model::BookPath;

use super::Wanted;
use crate::workspace::Workspace;

/// The wanted files by their folded names. They are folded when they are first asked for: most runs find no
/// file that the book does not have.
pub(super) struct Twins<'a> {
    wanted: LazyCell<Folded<'a>, Box<dyn FnOnce() -> Folded<'a> + 'a>>,
}

type Folded<'a> = HashMap<String, (&'a str, PathBuf)>;

impl<'a> Twins<'a> {
    pub(super) fn new(place: &'a Workspace, wanted: &'a Wanted) -> Self {
        // A path that is not safe ends the run when it is looked at.
        let folded = |name: &'a String| {
            let (path, file) = place.locate(name).ok()?;
            Some((path.folded(), (name.as_str(), file)))
        };
        Self { wanted: LazyCell::new(Box::new(move || wanted.keys().filter_map(folded).collect())) }
    }

    /// The wanted path, and its file, that the file system resolves to the same file as `file`;
    /// `None` where it distinguishes them.
    pub(super) fn of(&self, name: &str, file: &Path) -> Option<(&str, &Path)> {
        let folded = BookPath::parse(name).ok()?.folded();
        let (wanted, twin) = self.wanted.get(&folded).filter(|(wanted, _)| *wanted != name)?;
        is_one_file(file, twin).then_some((*wanted, twin.as_path()))
    }
}

fn is_one_file(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}
