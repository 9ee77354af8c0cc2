//! The staging folder. Invariant: a file in it is named by its hash only if it contains those bytes
//! durably; files of a killed run are verified again before they count.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use panaversity_model::ContentHash;

use super::Want;
use crate::digest::{self, Digest};
use crate::sync::SyncError;
use crate::workspace::Workspace;

/// Reason why bytes were not staged.
#[derive(Debug)]
pub(super) enum Unkept {
    /// They are not the expected ones, or could not be read.
    Wrong(String),
    /// The disk failed.
    Disk(SyncError),
}

/// Path of the staged file with this hash.
pub(super) fn staged(place: &Workspace, hash: ContentHash) -> PathBuf {
    place.staging.join(hash.to_string())
}

/// Path of the incomplete file for `target`.
pub(super) fn unfinished(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Returns true if the file is staged completely. A file with the name but other bytes is removed.
pub(super) fn is_staged(place: &Workspace, hash: ContentHash) -> bool {
    let path = staged(place, hash);
    match digest::of_file(&path) {
        Ok((there, _)) if there == hash => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        _ => {
            // If it cannot be removed, writing it anew fails and reports why.
            let _ = fs::remove_file(&path);
            false
        }
    }
}

/// Stages the bytes of a reader if they are the expected ones. At most one chunk is in memory, and
/// reading stops as soon as there are more bytes than expected.
pub(super) fn keep(place: &Workspace, want: Want, from: &mut dyn Read) -> Result<(), Unkept> {
    let target = staged(place, want.hash);
    let part = unfinished(&target);
    let disk = |error: io::Error| Unkept::Disk(SyncError::disk("write", &target, &error));
    let mut file = File::create(&part).map_err(disk)?;
    let (mut digest, mut bytes) = (Digest::default(), vec![0; digest::PART]);
    let mut from = from.take(want.size.saturating_add(1));
    loop {
        match from.read(&mut bytes).map_err(|error| Unkept::Wrong(error.to_string()))? {
            0 => break,
            length => {
                digest.add(&bytes[..length]);
                file.write_all(&bytes[..length]).map_err(disk)?;
            }
        }
    }
    drop(file);
    promote(place, want, &part, digest.finish())
}

/// Renames a complete file to its name in staging if it has the expected bytes; removes it
/// otherwise.
pub(super) fn adopt(place: &Workspace, want: Want, part: &Path) -> Result<(), Unkept> {
    let got = digest::of_file(part).map_err(|error| Unkept::Disk(SyncError::disk("read", part, &error)))?;
    promote(place, want, part, got)
}

fn promote(place: &Workspace, want: Want, part: &Path, got: (ContentHash, u64)) -> Result<(), Unkept> {
    let (got, size) = got;
    if got != want.hash {
        // A failure is harmless: the next run overwrites or removes the file.
        let _ = fs::remove_file(part);
        let wanted = want.hash;
        let why = if size > want.size {
            format!("the server sent more than {} bytes instead of {wanted}", want.size)
        } else {
            format!("the server sent {size} bytes with the hash {got} instead of {wanted}")
        };
        return Err(Unkept::Wrong(why));
    }
    let target = staged(place, want.hash);
    let finish = || {
        File::open(part)?.sync_data()?;
        fs::rename(part, &target)
    };
    finish().map_err(|error| Unkept::Disk(SyncError::disk("write", &target, &error)))
}

/// Copies a file so that the target's name appears only when the copy is complete and durable.
pub(super) fn copy_whole(source: &Path, target: &Path) -> Result<(), SyncError> {
    let part = unfinished(target);
    let copy = || {
        let mut file = File::create(&part)?;
        io::copy(&mut File::open(source)?, &mut file)?;
        file.sync_data()?;
        fs::rename(&part, target)
    };
    copy().map_err(|error| SyncError::disk("write", target, &error))
}
