//! Output of a backup: a temporary folder with a lock, renamed to the output when it is complete. Keeps:
//! nothing that exists is overwritten, and the folder is readable by its owner alone.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use panaversity_model::Fault;
use rustix::fs::FlockOperation;

use super::{BACKUP_STORAGE, BackupError};
use crate::file_identity::FileIdentity;

/// Mode of the folders that contain everything else.
const PRIVATE: u32 = 0o700;

/// Output that is being written. If dropped before it is finished, the temporary folder is removed.
pub(super) struct BackupTarget {
    output: PathBuf,
    above: PathBuf,
    temporary: PathBuf,
    /// Holds the lock.
    _lock: File,
    is_finished: bool,
}

impl BackupTarget {
    /// Creates and locks the temporary folder.
    pub(super) fn claim(output: &Path) -> Result<Self, BackupError> {
        let refused = |why: String| BackupError::Refused(why);
        let shown = output.display();
        let is_empty = match fs::read_dir(output) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => return Err(refused(format!("{shown} cannot be the output: {error}"))),
        };
        if !is_empty {
            return Err(refused(format!("{shown} is not empty: name a new folder, or an empty one")));
        }
        let output = fs::canonicalize(output).or_else(|_| std::path::absolute(output));
        let output = output.map_err(|error| refused(format!("{shown} cannot be the output: {error}")))?;
        let (Some(above), Some(name)) = (output.parent(), output.file_name()) else {
            return Err(refused(format!("{shown} cannot be the output: name a folder below it")));
        };
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev());
        let there = device(above).map_err(|error| {
            refused(format!("the folder {} cannot be written to: {error}", above.display()))
        })?;
        if device(&output).is_ok_and(|device| device != there) {
            return Err(refused(format!(
                "{shown} is a mount point, so it cannot appear at once: name a folder below it"
            )));
        }
        let temporary = above.join(format!(".{}.panaversity-backup", name.to_string_lossy()));
        let lock = prepare(&temporary).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => refused(format!("another backup is writing {shown}")),
            _ => refused(format!("{} cannot be written to: {error}", temporary.display())),
        })?;
        Ok(Self { above: above.to_owned(), temporary, _lock: lock, is_finished: false, output })
    }

    /// The temporary folder.
    pub(super) fn folder(&self) -> &Path {
        &self.temporary
    }

    /// The storage folder in it.
    pub(super) fn storage(&self) -> PathBuf {
        self.temporary.join(BACKUP_STORAGE)
    }

    /// Refuses a disk with fewer free bytes.
    pub(super) fn require_room(&self, needed: u64) -> Result<(), BackupError> {
        let found = rustix::fs::statvfs(&self.temporary);
        let found = found.map_err(|error| Fault::storage(format!("look for free space: {error}")))?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        if free >= needed {
            return Ok(());
        }
        Err(BackupError::Refused(format!(
            "the backup needs {needed} bytes, and the disk of {} has {free} free",
            self.above.display()
        )))
    }

    /// Syncs the folders and renames them into place.
    pub(super) fn finish(mut self) -> Result<(), BackupError> {
        let finished = sync_folders(&self.temporary)
            .and_then(|()| fs::rename(&self.temporary, &self.output))
            .and_then(|()| {
                self.is_finished = true;
                File::open(&self.above)?.sync_all()
            });
        let shown = self.output.display();
        finished.map_err(|error| Fault::storage(format!("put the backup to {shown}: {error}")).into())
    }
}

impl Drop for BackupTarget {
    fn drop(&mut self) {
        if !self.is_finished {
            // What is left is removed by the next backup to the same output.
            let _ = fs::remove_dir_all(&self.temporary);
        }
    }
}

/// Creates and locks the folder, without what a killed backup left in it.
fn prepare(temporary: &Path) -> io::Result<File> {
    match DirBuilder::new().mode(PRIVATE).create(temporary) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        created => created?,
    }
    let lock = File::open(temporary)?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    // The backup that held the lock may have renamed the folder meanwhile.
    if !FileIdentity::of_open(&lock)?.is_at(temporary) {
        return Err(ErrorKind::WouldBlock.into());
    }
    for entry in fs::read_dir(temporary)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::set_permissions(temporary, Permissions::from_mode(PRIVATE))?;
    DirBuilder::new().mode(PRIVATE).create(temporary.join(BACKUP_STORAGE))?;
    Ok(lock)
}

fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}
