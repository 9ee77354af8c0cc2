//! Copies of objects into another folder with the same layout, for backups. Keeps: a copy has the bytes
//! that its name says, is synced, and is readable by nobody who cannot read the original.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;

use panaversity_model::blob::{BlobHasher, CHUNK_BYTES};
use panaversity_model::{ContentHash, Fault};
use rustix::fs::Mode;
use rustix::io::Errno;

use super::root_dir::RootDir;
use super::{FileStorage, Inner, errno, in_a_thread};
use crate::keys;

/// Result of copying one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectCopy {
    /// It is copied.
    Whole,
    /// It does not exist.
    Missing,
    /// It cannot be read, or has other bytes; nothing is left of the copy.
    Corrupt,
}

/// Folder that objects are copied into.
#[derive(Clone)]
pub(crate) struct CopyTarget {
    root: Arc<RootDir>,
}

impl CopyTarget {
    /// Opens an empty folder.
    pub(crate) fn open(root: &Path) -> Result<Self, Fault> {
        let opened = RootDir::open(root);
        let root = opened.map_err(|error| Fault::storage(format!("open {}: {error}", root.display())))?;
        Ok(Self { root: Arc::new(root) })
    }
}

impl FileStorage {
    /// Copies the store id.
    pub(crate) async fn copy_store_id(&self, to: &CopyTarget) -> Result<(), Fault> {
        let (inner, to) = (self.inner.clone(), to.clone());
        let act = move || {
            let id = format!("{}\n", inner.store_id);
            let mut copy = to.root.create(keys::STORE_ID)?;
            copy.write_all(id.as_bytes()).map_err(|error| errno(&error))?;
            rustix::fs::fsync(&copy)
        };
        in_a_thread("copy the store id", act).await
    }

    /// Copies an object.
    ///
    /// # Errors
    /// The copy cannot be written.
    pub(crate) async fn copy_object(&self, to: &CopyTarget, hash: ContentHash) -> Result<ObjectCopy, Fault> {
        let (inner, to) = (self.inner.clone(), to.clone());
        in_a_thread("copy an object", move || copy(&inner, &to.root, hash)).await
    }
}

fn copy(inner: &Inner, to: &RootDir, hash: ContentHash) -> Result<ObjectCopy, Errno> {
    let key = keys::object(hash);
    let source = match inner.open_regular(key.as_bytes()) {
        Ok(Some(source)) => source,
        Ok(None) => return Ok(ObjectCopy::Missing),
        Err(_) => return Ok(ObjectCopy::Corrupt),
    };
    let target = to.create(&key)?;
    if copy_bytes(&source, &target)? != Some(hash) {
        drop(target);
        to.remove(&key)?;
        return Ok(ObjectCopy::Corrupt);
    }
    rustix::fs::fchmod(&target, Mode::from_raw_mode(rustix::fs::fstat(&source)?.st_mode & 0o777))?;
    rustix::fs::fsync(&target)?;
    Ok(ObjectCopy::Whole)
}

/// Copies all bytes and returns their hash; `None`: the source cannot be read.
fn copy_bytes(mut source: &File, mut target: &File) -> Result<Option<ContentHash>, Errno> {
    let (mut hasher, mut part) = (BlobHasher::default(), vec![0; CHUNK_BYTES]);
    loop {
        let read = match source.read(&mut part) {
            Ok(0) => return Ok(Some(hasher.finish().hash)),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return Ok(None),
        };
        hasher.add(&part[..read]);
        target.write_all(&part[..read]).map_err(|error| errno(&error))?;
    }
}
