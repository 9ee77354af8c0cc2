//! Objects and tree in a folder. Keeps I9 for objects and the tree's part of R2.
//!
//! Why not opendal: see ADR 0002. Files appear by rename, so a reader sees the old one or the
//! new; links inside the folder are never followed. An object is durable when `put` returns:
//! its file, its folder and the folders created for it are synced. A published file is not; it is
//! checked again after an unclean stop.
//!
//! Large content is written part by part, and read by ranges; it is never in memory as a whole.

mod atomic_file;
mod instance_lock;
mod listing;
mod object_copy;
mod root_dir;
mod upload_store;
mod walk;

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use panaversity_model::ports::{ByteStream, Objects, PageStream, Staging, Tree};
use panaversity_model::publication::{FileKey, time_to_put};
use panaversity_model::storage_listing::{ObjectEntry, TreeEntry, TreePath};
use panaversity_model::{BookId, ContentHash, Fault};
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::exact_length::ExactLength;
use crate::keys;
use crate::store_identity::{self, StoreIdentity};
use atomic_file::{AtomicFile, stream_of};
use instance_lock::InstanceLock;
pub(crate) use object_copy::{CopyTarget, ObjectCopy};
use root_dir::{OpenPath, RootDir};

/// Bytes written by a probe of the folder.
const PROBE: usize = 64 << 10;

/// Storage in a folder: objects and published books.
pub struct FileStorage {
    inner: Arc<Inner>,
}

struct Inner {
    root: RootDir,
    store_id: String,
    instance: InstanceLock,
    /// Object folders that this process has synced.
    durable_folders: Mutex<HashSet<String>>,
}

impl FileStorage {
    /// Opens the folder. `store_id` is the database's; `fresh` means that no storage has this id yet, so
    /// that a folder without an id may be claimed, and a missing one is created. Otherwise nothing is
    /// written into a folder before its id was compared.
    ///
    /// # Errors
    /// `STORAGE_UNAVAILABLE` if the folder cannot be used or belongs to another database; the
    /// detail is meant for the operator.
    pub fn open(root: &Path, store_id: &str, fresh: bool) -> Result<Arc<Self>, Fault> {
        let shown = root.display();
        let trouble = |error: &dyn std::fmt::Display| {
            Fault::storage(format!("the storage folder {shown} cannot be used: {error}"))
        };
        if fresh {
            std::fs::create_dir_all(root).map_err(|error| trouble(&error))?;
        }
        let folder = match RootDir::open(root) {
            Err(Errno::NOENT) => None,
            opened => Some(opened.map_err(|error| trouble(&error))?),
        };
        let named = if folder.is_some() { "storage folder" } else { "missing storage folder" };
        let found = folder.as_ref().map_or(Ok(None), found_id);
        let found = found.map_err(|error| trouble(&format!("read the store id: {error}")))?;
        let pairing =
            store_identity::decide(found.as_deref(), store_id, fresh, &format!("the {named} {shown}"))?;
        let folder = folder.ok_or_else(|| trouble(&Errno::NOENT))?;
        let instance = InstanceLock::enter(root).map_err(|error| trouble(&error))?;
        let inner = Inner {
            root: folder,
            store_id: store_id.to_owned(),
            instance,
            durable_folders: Mutex::new(HashSet::new()),
        };
        if pairing == StoreIdentity::Unclaimed {
            inner
                .write(keys::STORE_ID, format!("{store_id}\n").as_bytes(), Durable::Yes)
                .map_err(|error| trouble(&format!("write the store id: {error}")))?;
        }
        Ok(Arc::new(Self { inner: Arc::new(inner) }))
    }

    /// Puts a file before its publisher's lease ends: later it could replace a newer one.
    async fn put_parts_within(
        &self,
        limit: Duration,
        key: &FileKey,
        parts: ByteStream,
        size: u64,
    ) -> Result<(), Fault> {
        let (what, until) = ("publish a large file", Instant::now() + limit);
        let written = tokio::time::timeout(limit, async {
            let mut draft = AtomicFile::begin(&self.inner, what).await?;
            let mut parts = ExactLength::new(size, parts);
            while let Some(part) = parts.next().await? {
                draft.write(part).await?;
            }
            Ok::<_, Fault>(draft)
        });
        let Ok(draft) = written.await else {
            return Err(Fault::storage(format!("{what}: it took longer than {limit:?}")));
        };
        draft?.finish(keys::published(key), Durable::No, Some(until)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        act: impl FnOnce(&Inner) -> Result<T, Errno> + Send + 'static,
    ) -> Result<T, Fault> {
        let inner = self.inner.clone();
        in_a_thread(what, move || act(&inner)).await
    }
}

/// Runs a blocking disk operation in a thread.
async fn in_a_thread<T: Send + 'static>(
    what: &'static str,
    act: impl FnOnce() -> Result<T, Errno> + Send + 'static,
) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(act).await {
        Ok(result) => result.map_err(|error| Fault::storage(format!("{what}: {error}"))),
        Err(broken) => Err(Fault::internal(format!("{what}: {broken}"))),
    }
}

impl Inner {
    /// Writes a temporary file and renames it into place.
    fn write(&self, key: &str, bytes: &[u8], durable: Durable) -> Result<(), Errno> {
        let temporary = self.instance.fresh_name();
        let written = self.root.create(&temporary).and_then(|mut file| {
            file.write_all(bytes).map_err(|error| errno(&error))?;
            self.move_into_place(&temporary, &file, key, durable, None)
        });
        if written.is_err() {
            // A failure here is ignored: the next start sweeps the file.
            let _ = self.root.remove(&temporary);
        }
        written
    }

    /// Renames a complete temporary file to its key, unless `until` has passed.
    fn move_into_place(
        &self,
        temporary: &str,
        file: &File,
        key: &str,
        durable: Durable,
        until: Option<Instant>,
    ) -> Result<(), Errno> {
        if durable == Durable::Yes {
            rustix::fs::fsync(file)?;
        }
        let mut tries = 0;
        let place = loop {
            let place = self.root.place(key, true)?;
            if until.is_some_and(|until| Instant::now() >= until) {
                return Err(Errno::TIME);
            }
            match self.root.rename(temporary, &place) {
                Ok(()) => break place,
                // Another process removed the folder because it had become empty.
                Err(Errno::NOENT) if tries < 5 => tries += 1,
                Err(error) => return Err(error),
            }
        };
        if durable == Durable::Yes {
            self.make_durable(key, &place)?;
        }
        self.root.require_in_place()
    }

    /// Syncs the folder of a file, and once per process the folders above it.
    fn make_durable(&self, key: &str, place: &OpenPath) -> Result<(), Errno> {
        rustix::fs::fsync(place.folder())?;
        let above = key.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let mut known = self.durable_folders.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(&above) {
            place.folders_above().try_for_each(rustix::fs::fsync)?;
            known.insert(above);
        }
        Ok(())
    }

    /// Opens a regular file. Anything else that a foreign process put at its path, or in place of a folder
    /// above it, counts as absent.
    fn open_regular(&self, key: &[u8]) -> Result<Option<File>, Errno> {
        let file = match self.root.open_file(key) {
            Ok(Some(file)) => file,
            Ok(None) | Err(Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => return Ok(None),
            Err(error) => return Err(error),
        };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        Ok((kind == FileType::RegularFile).then_some(file))
    }
}

/// Store id currently in the folder.
fn found_id(root: &RootDir) -> Result<Option<String>, Errno> {
    let Some(file) = root.open_file(keys::STORE_ID)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(100).read_to_end(&mut bytes).map_err(|error| errno(&error))?;
    Ok(Some(store_identity::id_in(&bytes)))
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Durable {
    Yes,
    No,
}

#[async_trait]
impl Objects for FileStorage {
    async fn put(&self, hash: ContentHash, bytes: &[u8]) -> Result<(), Fault> {
        let bytes = bytes.to_vec();
        self.run("put an object", move |inner| inner.write(&keys::object(hash), &bytes, Durable::Yes)).await
    }

    async fn stat(&self, hash: ContentHash) -> Result<Option<u64>, Fault> {
        self.run("look for an object", move |inner| inner.root.size(&keys::object(hash))).await
    }

    async fn get(&self, hash: ContentHash, range: Range<u64>) -> Result<Option<Vec<u8>>, Fault> {
        self.run("get an object", move |inner| {
            let file = inner.root.open_file(keys::object(hash))?;
            file.map(|file| atomic_file::bytes_of(&file, range)).transpose()
        })
        .await
    }

    async fn stage(&self) -> Result<Box<dyn Staging>, Fault> {
        Ok(Box::new(AtomicFile::begin(&self.inner, "stage an object").await?))
    }

    async fn delete(&self, hash: ContentHash) -> Result<(), Fault> {
        self.run("delete an object", move |inner| inner.root.remove(&keys::object(hash))).await
    }

    fn list_objects(&self) -> PageStream<ObjectEntry> {
        listing::list(self.inner.clone(), keys::OBJECTS.to_owned(), String::new())
    }
}

#[async_trait]
impl Tree for FileStorage {
    async fn put(&self, key: &FileKey, bytes: &[u8]) -> Result<(), Fault> {
        let (key, bytes) = (keys::published(key), bytes.to_vec());
        self.run("publish a file", move |inner| inner.write(&key, &bytes, Durable::No)).await
    }

    async fn put_parts(&self, key: &FileKey, parts: ByteStream, size: u64) -> Result<(), Fault> {
        self.put_parts_within(time_to_put(size), key, parts, size).await
    }

    async fn remove(&self, key: &FileKey) -> Result<(), Fault> {
        let key = keys::published(key);
        self.run("remove a published file", move |inner| {
            inner.root.remove_with_empty_folders(&key, 2)?;
            inner.root.require_in_place()
        })
        .await
    }

    async fn sync(&self) -> Result<(), Fault> {
        self.run("sync the folder", |inner| inner.root.sync()).await
    }

    async fn open(&self, spot: &TreePath) -> Result<Option<ByteStream>, Fault> {
        let (key, what) = (keys::tree_key(spot), "read a published file");
        let file = self.run(what, move |inner| inner.open_regular(&key)).await?;
        Ok(file.map(|file| stream_of(file, what)))
    }

    async fn set_aside(&self, spot: &TreePath, folder: &str) -> Result<bool, Fault> {
        let (from, to) = (keys::tree_key(spot), keys::set_aside(spot, folder));
        self.run("set a file aside", move |inner| inner.root.move_away(&from, &to, 2)).await
    }

    fn list_files(&self, book: Option<&BookId>) -> PageStream<TreeEntry> {
        let (key, prefix) = match book {
            None => (keys::BOOKS.to_owned(), String::new()),
            Some(book) => (format!("{}/{book}", keys::BOOKS), format!("{book}/")),
        };
        listing::list(self.inner.clone(), key, prefix)
    }

    async fn ping(&self) -> Result<(), Fault> {
        let ours = self.run("write into the folder", |inner| {
            let name = inner.instance.fresh_name();
            // An empty file would succeed even on a full disk.
            let written = inner
                .root
                .create(&name)
                .and_then(|mut file| file.write_all(&vec![1; PROBE]).map_err(|error| errno(&error)));
            inner.root.remove(&name).and(written)?;
            let is_ours = found_id(&inner.root)?.as_ref() == Some(&inner.store_id);
            Ok(is_ours && inner.root.require_in_place().is_ok())
        });
        if ours.await? {
            return Ok(());
        }
        Err(Fault::storage(format!(
            "{} is gone or another database's: the storage folder was moved away or emptied; put it back",
            keys::STORE_ID
        )))
    }

    fn backend(&self) -> &'static str {
        "fs"
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};
    use panaversity_testkit::memory::in_parts;
    use panaversity_testkit::samples;

    use super::*;

    #[tokio::test]
    async fn r2_a_large_file_that_comes_too_late_takes_nobody_s_place() {
        let root = tempfile::TempDir::new().unwrap();
        let storage = FileStorage::open(root.path(), "0193-store", true).unwrap();
        let key = samples::key(
            &samples::book(),
            &samples::path("static/img/a.png"),
            &panaversity_model::Layer::Base,
        );
        Tree::put(&*storage, &key, b"newer").await.unwrap();
        let stuck =
            storage.put_parts_within(Duration::from_millis(1), &key, stream::pending().boxed(), 5).await;
        assert!(stuck.unwrap_err().detail.contains("took longer"));
        // All parts arrived in time, and then the publisher was suspended.
        let mut draft = AtomicFile::begin(&storage.inner, "publish a large file").await.unwrap();
        draft.write(b"older".to_vec()).await.unwrap();
        let late = draft.finish(keys::published(&key), Durable::No, Some(Instant::now())).await;
        assert!(!late.unwrap_err().outcome_unknown);
        assert_eq!(std::fs::read(root.path().join(keys::published(&key))).unwrap(), b"newer");
        let in_time = in_parts(b"newest");
        storage.put_parts_within(Duration::from_mins(1), &key, in_time, 6).await.unwrap();
        assert_eq!(std::fs::read(root.path().join(keys::published(&key))).unwrap(), b"newest");
    }
}
