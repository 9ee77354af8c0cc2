//! Names that the file system does not distinguish: on most disks of macOS and Windows `Intro.md`
//! and `intro.md` are one file. Invariant: a path that the book no longer has is not deleted if the
//! file system resolves it to one that the book has.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use panaversity_model::BookPath;

use super::Wanted;
use crate::sync::SyncError;
use crate::workspace::Workspace;

/// The wanted files by their folded names.
pub(super) struct Twins {
    wanted: HashMap<String, (String, PathBuf)>,
}

impl Twins {
    pub(super) fn new(place: &Workspace, wanted: &Wanted) -> Result<Self, SyncError> {
        let mut folded = HashMap::with_capacity(wanted.len());
        for name in wanted.keys() {
            let (path, file) = place.locate(name)?;
            folded.insert(path.folded(), (name.clone(), file));
        }
        Ok(Self { wanted: folded })
    }

    /// The wanted path, and its file, that the file system resolves to the same file as `file`;
    /// `None` where it distinguishes them.
    pub(super) fn of(&self, name: &str, file: &Path) -> Option<(&str, &Path)> {
        let folded = BookPath::parse(name).ok()?.folded();
        let (wanted, twin) = self.wanted.get(&folded).filter(|(wanted, _)| wanted != name)?;
        is_one_file(file, twin).then_some((wanted.as_str(), twin.as_path()))
    }
}

fn is_one_file(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}
