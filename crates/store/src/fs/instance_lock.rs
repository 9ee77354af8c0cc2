//! Instance lock of a server in a shared folder: owns its temporary files, which the next start sweeps
//! when the server has ended. Several servers may share the folder.
//!
//! # Protocol
//! 0. Entering and sweeping are done by one server at a time, under `tmp.lock`.
//! 1. A server creates `tmp/{id}.lock`, locks it, and writes below `tmp/{id}/`.
//! 2. At its start it tries the lock of every other server; if it acquires one, that server has ended,
//!    and its files and its lock are removed.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

use crate::keys;

/// Presence of this server; ends when dropped.
pub(super) struct InstanceLock {
    folder: PathBuf,
    id: String,
    counter: AtomicU64,
    _lock: File,
}

impl InstanceLock {
    pub(super) fn enter(root: &Path) -> io::Result<Self> {
        let folder = root.join(keys::TEMPORARY);
        std::fs::create_dir_all(&folder)?;
        let turn = File::options().create(true).append(true).open(folder.with_extension("lock"))?;
        turn.lock()?;
        sweep(&folder)?;
        let id = Uuid::now_v7().simple().to_string();
        let lock = File::create_new(folder.join(format!("{id}.lock")))?;
        lock.try_lock().map_err(io::Error::from)?;
        Ok(Self { folder, id, counter: AtomicU64::new(0), _lock: lock })
    }

    /// Unique key for a temporary file.
    pub(super) fn fresh_name(&self) -> String {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        format!("{}/{}/{number}", keys::TEMPORARY, self.id)
    }
}

impl Drop for InstanceLock {
    fn drop(&mut self) {
        // Anything that cannot be removed now is swept by the next start.
        let _ = std::fs::remove_dir_all(self.folder.join(&self.id));
        let _ = std::fs::remove_file(self.folder.join(format!("{}.lock", self.id)));
    }
}

fn sweep(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "lock") {
            let lock = match File::open(&path) {
                Ok(lock) => lock,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            match lock.try_lock() {
                Ok(()) => leave(&path)?,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        } else if path.is_dir() && !path.with_extension("lock").exists() {
            gone_is_fine(std::fs::remove_dir_all(&path))?;
        }
    }
    Ok(())
}

fn leave(lock: &Path) -> io::Result<()> {
    gone_is_fine(std::fs::remove_dir_all(lock.with_extension("")))?;
    gone_is_fine(std::fs::remove_file(lock))
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
