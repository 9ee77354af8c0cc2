//! Root folder whose files are opened segment by segment, never through a link.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::file_identity::FileIdentity;

pub(super) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o755);
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

/// The open root folder.
pub(super) struct RootDir {
    root: OwnedFd,
    identity: FileIdentity,
    /// Where it was opened.
    path: PathBuf,
}

/// File name in an open folder, with the open folders above it.
pub(super) struct OpenPath {
    folders: Vec<OwnedFd>,
    name: Vec<u8>,
}

impl OpenPath {
    /// File name in its folder.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Folder that contains the name.
    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        self.folders[self.folders.len() - 1].as_fd()
    }

    /// Folders above that, up to the root.
    pub(super) fn folders_above(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.folders[..self.folders.len() - 1].iter().rev().map(AsFd::as_fd)
    }
}

impl RootDir {
    /// Opens the root; a link to it is followed, because the operator chose it.
    pub(super) fn open(root: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = rustix::fs::open(root, flags, Mode::empty())?;
        Ok(Self { identity: FileIdentity::of_open(&open)?, root: open, path: root.to_owned() })
    }

    /// Refuses a root that was renamed, or replaced by another folder, since it was opened.
    pub(super) fn require_in_place(&self) -> Result<(), Errno> {
        if self.identity.is_at(&self.path) { Ok(()) } else { Err(Errno::STALE) }
    }

    /// Opens the folders of a key; a missing one is created, or is `NOENT`.
    pub(super) fn place(&self, key: impl AsRef<[u8]>, create: bool) -> Result<OpenPath, Errno> {
        let mut segments: Vec<&[u8]> = key.as_ref().split(|byte| *byte == b'/').collect();
        let odd = |segment: &&[u8]| segment.is_empty() || [b".".as_slice(), b".."].contains(segment);
        let name = segments.pop().filter(|name| !odd(name)).ok_or(Errno::INVAL)?.to_vec();
        if segments.iter().any(odd) {
            return Err(Errno::INVAL);
        }
        let mut folders =
            vec![self.root.try_clone().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?];
        for segment in segments {
            let here = folders[folders.len() - 1].as_fd();
            let next = match rustix::fs::openat(here, segment, FOLDER, Mode::empty()) {
                Err(Errno::NOENT) if create => {
                    match rustix::fs::mkdirat(here, segment, FOLDER_MODE) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error),
                    }
                    rustix::fs::openat(here, segment, FOLDER, Mode::empty())?
                }
                result => result?,
            };
            folders.push(next);
        }
        Ok(OpenPath { folders, name })
    }

    /// Creates a new file, for writing.
    pub(super) fn create(&self, key: &str) -> Result<File, Errno> {
        let place = self.place(key, true)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(place.folder(), place.name(), flags, FILE_MODE)?;
        Ok(File::from(file))
    }

    /// Renames a file into place, replacing the existing one.
    pub(super) fn rename(&self, from: &str, to: &OpenPath) -> Result<(), Errno> {
        let from = self.place(from, false)?;
        rustix::fs::renameat(from.folder(), from.name(), to.folder(), to.name())
    }

    /// Opens a file for reading; `None` if it does not exist.
    pub(super) fn open_file(&self, key: impl AsRef<[u8]>) -> Result<Option<File>, Errno> {
        // A pipe made by a foreign process would block until its other end is opened.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = self
            .place(key, false)
            .and_then(|place| rustix::fs::openat(place.folder(), place.name(), flags, Mode::empty()));
        Ok(absent_is_none(file)?.map(File::from))
    }

    /// Size of a file; `None` if it does not exist.
    pub(super) fn size(&self, key: &str) -> Result<Option<u64>, Errno> {
        let stat = self
            .place(key, false)
            .and_then(|place| rustix::fs::statat(place.folder(), place.name(), AtFlags::SYMLINK_NOFOLLOW));
        let stat =
            absent_is_none(stat)?.filter(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile);
        Ok(stat.map(|stat| u64::try_from(stat.st_size).unwrap_or(0)))
    }

    /// Removes a file; idempotent.
    pub(super) fn remove(&self, key: &str) -> Result<(), Errno> {
        let removed = self.place(key, false).and_then(|place| unlink(&place));
        absent_is_none(removed).map(|_| ())
    }

    /// Removes a file and the folders that became empty, except the first `keep`.
    pub(super) fn remove_with_empty_folders(&self, key: &str, keep: usize) -> Result<(), Errno> {
        let Some(place) = absent_is_none(self.place(key, false))? else { return Ok(()) };
        match absent_is_none(unlink(&place)) {
            // The path is a folder by now, so there is no file.
            Err(Errno::ISDIR) => return Ok(()),
            removed => removed?,
        };
        remove_empty_folders(key.as_bytes(), &place, keep);
        Ok(())
    }

    /// Moves a file or a link, not its target, and removes the folders left empty, except the first
    /// `keep`. False: it does not exist.
    pub(super) fn move_away(&self, from: &[u8], to: &[u8], keep: usize) -> Result<bool, Errno> {
        let Some(place) = absent_is_none(self.place(from, false))? else { return Ok(false) };
        let target = self.place(to, true)?;
        let moved = rustix::fs::renameat(place.folder(), place.name(), target.folder(), target.name());
        if absent_is_none(moved)?.is_none() {
            return Ok(false);
        }
        remove_empty_folders(from, &place, keep);
        Ok(true)
    }

    /// Makes everything written so far durable (survives a power cut).
    pub(super) fn sync(&self) -> Result<(), Errno> {
        #[cfg(target_os = "linux")]
        return rustix::fs::syncfs(&self.root);
        #[cfg(not(target_os = "linux"))]
        {
            rustix::fs::sync();
            Ok(())
        }
    }
}

/// Removes empty folders, deepest first; stops at one that is not empty or already removed.
fn remove_empty_folders(key: &[u8], place: &OpenPath, keep: usize) {
    let segments: Vec<&[u8]> = key.split(|byte| *byte == b'/').collect();
    for depth in (keep..segments.len() - 1).rev() {
        let above = place.folders[depth].as_fd();
        if rustix::fs::unlinkat(above, segments[depth], AtFlags::REMOVEDIR).is_err() {
            break;
        }
    }
}

fn unlink(place: &OpenPath) -> Result<(), Errno> {
    rustix::fs::unlinkat(place.folder(), place.name(), AtFlags::empty())
}

pub(super) fn absent_is_none<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Ok(value) => Ok(Some(value)),
        // Nothing exists below a file either.
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}
