//! Identity of an open file or folder, by which it is told whether its path still leads to it: what is
//! written into one that was removed, renamed or replaced would not be there after a restart.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::Stat;
use rustix::io::Errno;

/// Device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    /// Identity of an open file or folder.
    pub(crate) fn of_open(file: impl AsFd) -> Result<Self, Errno> {
        rustix::fs::fstat(file).map(Self::of)
    }

    /// Identity of what is at a path; a link is followed.
    pub(crate) fn of_path(path: &Path) -> Result<Self, Errno> {
        rustix::fs::stat(path).map(Self::of)
    }

    /// True if the path leads to it.
    pub(crate) fn is_at(self, path: &Path) -> bool {
        Self::of_path(path).is_ok_and(|there| there == self)
    }

    fn of(stat: Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}
