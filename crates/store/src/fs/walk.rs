//! Walk of a folder, page by page. A link is listed, never followed; memory is bounded by the depth of
//! the folders, not by their content.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use panaversity_model::Timestamp;
use panaversity_model::storage_listing::Kind;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::root_dir::{FOLDER, RootDir, absent_is_none};

/// Number of entries on a page.
const PAGE: usize = 256;
/// A folder deeper than this is listed, not entered: each one on the path is kept open.
const DEEPEST: usize = 64;

/// An entry that is not an entered folder.
pub(super) struct DirEntry {
    /// Path relative to the start of the walk, in bytes.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) changed_at: Timestamp,
}

/// A walk in progress: the open folders, each with its path.
pub(super) struct Walk {
    open: Vec<(Dir, Vec<u8>)>,
}

impl Walk {
    /// Begins at a folder; a missing one counts as empty.
    pub(super) fn begin(root: &RootDir, key: &str) -> Result<Self, Errno> {
        let place = match absent_is_none(root.place(key, false)) {
            Ok(Some(place)) => place,
            Ok(None) | Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Self { open: Vec::new() }),
            Err(error) => return Err(error),
        };
        let top = match rustix::fs::openat(place.folder(), place.name(), FOLDER, Mode::empty()) {
            Ok(top) => vec![(Dir::new(top)?, Vec::new())],
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { open: top })
    }

    /// The next page; `None`: the end.
    pub(super) fn next(&mut self) -> Result<Option<Vec<DirEntry>>, Errno> {
        let mut page = Vec::new();
        while page.len() < PAGE {
            let depth = self.open.len();
            let Some((folder, above)) = self.open.last_mut() else { break };
            let Some(entry) = folder.read() else {
                self.open.pop();
                continue;
            };
            let entry = entry?;
            if [c".", c".."].contains(&entry.file_name()) {
                continue;
            }
            match look(folder, above, entry.file_name(), depth)? {
                Some(Found::Folder(inside, path)) => self.open.push((Dir::new(inside)?, path)),
                Some(Found::Entry(entry)) => page.push(entry),
                None => {}
            }
        }
        Ok((!page.is_empty() || !self.open.is_empty()).then_some(page))
    }
}

enum Found {
    Folder(OwnedFd, Vec<u8>),
    Entry(DirEntry),
}

/// `None`: the entry was removed meanwhile.
fn look(folder: &Dir, above: &[u8], name: &CStr, depth: usize) -> Result<Option<Found>, Errno> {
    let mut path = above.to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name.to_bytes());
    let here = folder.fd()?;
    let Some(stat) = absent_is_none(rustix::fs::statat(here, name, AtFlags::SYMLINK_NOFOLLOW))? else {
        return Ok(None);
    };
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Directory && depth < DEEPEST {
        let flags = FOLDER | OFlags::NONBLOCK;
        let inside = absent_is_none(rustix::fs::openat(here, name, flags, Mode::empty()))?;
        return Ok(inside.map(|inside| Found::Folder(inside, path)));
    }
    #[allow(clippy::unnecessary_cast, reason = "their types differ between systems")]
    let micros = (stat.st_mtime as i64).saturating_mul(1_000_000);
    Ok(Some(Found::Entry(DirEntry {
        path,
        kind: if kind == FileType::RegularFile { Kind::File } else { Kind::Special },
        size: u64::try_from(stat.st_size).unwrap_or(0),
        changed_at: Timestamp::from_micros(micros),
    })))
}
