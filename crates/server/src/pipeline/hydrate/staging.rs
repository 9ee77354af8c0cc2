//! The staging folder. Invariant: a file in it has its hash as its name only if it holds those
//! bytes durably; what a killed run left is checked again before it counts.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use panaversity_model::ContentHash;

use super::super::Failure;
use super::super::digest::{self, Digest};
use super::super::workspace::Workspace;
use super::Want;

/// Why bytes are not in staging.
#[derive(Debug)]
pub(super) enum Unkept {
    /// They are not the wanted ones, or could not be read.
    Wrong(String),
    /// The disk failed.
    Disk(Failure),
}

/// Where the bytes of this hash are staged.
pub(super) fn staged(place: &Workspace, hash: ContentHash) -> PathBuf {
    place.staging.join(hash.to_string())
}

/// The name of a file that is not whole yet.
pub(super) fn unfinished(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Is the file staged, whole? What has the name but not the bytes is removed.
pub(super) fn is_staged(place: &Workspace, hash: ContentHash) -> bool {
    let path = staged(place, hash);
    match digest::of_file(&path) {
        Ok((there, _)) if there == hash => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        _ => {
            // If it cannot be removed, writing it anew fails and says why.
            let _ = fs::remove_file(&path);
            false
        }
    }
}

/// Puts what a reader gives into staging if it is what is wanted; never more of it is held than a
/// part, and never more of it is read than there should be.
pub(super) fn keep(place: &Workspace, want: Want, from: &mut dyn Read) -> Result<(), Unkept> {
    let target = staged(place, want.hash);
    let part = unfinished(&target);
    let disk = |error: io::Error| Unkept::Disk(Failure::disk("write", &target, &error));
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

/// Gives a file its name in staging if it holds what is wanted; removes it otherwise.
pub(super) fn adopt(place: &Workspace, want: Want, part: &Path) -> Result<(), Unkept> {
    let got = digest::of_file(part).map_err(|error| Unkept::Disk(Failure::disk("read", part, &error)))?;
    promote(place, want, part, got)
}

fn promote(place: &Workspace, want: Want, part: &Path, got: (ContentHash, u64)) -> Result<(), Unkept> {
    let (got, size) = got;
    if got != want.hash {
        // It is of no use; what remains is overwritten or removed by the next run.
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
    finish().map_err(|error| Unkept::Disk(Failure::disk("write", &target, &error)))
}

/// Copies a file to a place where it has its name only when it is whole and durable.
pub(super) fn copy_whole(source: &Path, target: &Path) -> Result<(), Failure> {
    let part = unfinished(target);
    let copy = || {
        let mut file = File::create(&part)?;
        io::copy(&mut File::open(source)?, &mut file)?;
        file.sync_data()?;
        fs::rename(&part, target)
    };
    copy().map_err(|error| Failure::disk("write", target, &error))
}
