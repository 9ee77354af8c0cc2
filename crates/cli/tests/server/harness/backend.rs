//! Backends of servers under test: a database and a storage, in every combination (I11).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use panaversity_testkit::s3;

/// The databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Db {
    Sqlite,
    Postgres,
}

impl Db {
    /// Both, for properties that hold on either.
    pub(crate) fn both() -> [Self; 2] {
        [Self::Sqlite, Self::Postgres]
    }
}

/// The storages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    Fs,
    S3,
}

/// A database and a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TestBackend {
    pub(crate) db: Db,
    pub(crate) storage: Storage,
}

impl TestBackend {
    pub(crate) const fn new(db: Db, storage: Storage) -> Self {
        Self { db, storage }
    }

    /// The name of the storage in results.
    pub(crate) fn storage_backend(self) -> &'static str {
        match self.storage {
            Storage::Fs => "fs",
            Storage::S3 => "s3",
        }
    }
}

impl From<Db> for TestBackend {
    /// With a folder as storage, for tests that do not depend on it.
    fn from(db: Db) -> Self {
        Self { db, storage: Storage::Fs }
    }
}

/// Storage of one environment.
pub(super) enum StoredFiles {
    Folder(PathBuf),
    Bucket(s3::TestBucket),
}

impl StoredFiles {
    pub(super) fn new(storage: Storage, folder: &Path) -> Self {
        match storage {
            Storage::Fs => Self::Folder(folder.join("storage")),
            Storage::S3 => Self::Bucket(s3::shared().create_bucket()),
        }
    }

    /// The storage's settings, named as in the environment.
    pub(super) fn settings(&self) -> BTreeMap<String, String> {
        let settings = match self {
            Self::Folder(root) => vec![("PANAVERSITY_STORAGE_ROOT", root.to_str().expect("a name in UTF-8"))],
            // With overlays in the tree, as on a folder, so that the same tests can inspect the tree of both.
            Self::Bucket(bucket) => {
                bucket.settings().into_iter().chain([("PANAVERSITY_PUBLISH_OVERLAYS", "true")]).collect()
            }
        };
        settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Every file whose path begins with `prefix`, by the rest of its path; one that vanishes
    /// meanwhile is left out.
    pub(super) fn below(&self, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        match self {
            Self::Folder(root) => {
                let root = root.join(prefix);
                files_below(&root)
                    .into_iter()
                    .filter_map(|path| match fs::read(&path) {
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                        bytes => Some((name_below(&root, &path), bytes.unwrap())),
                    })
                    .collect()
            }
            Self::Bucket(bucket) => {
                let all = bucket.contents().into_iter();
                all.filter_map(|(key, bytes)| Some((key.strip_prefix(prefix)?.to_owned(), bytes))).collect()
            }
        }
    }
}

pub(super) fn name_below(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()
}

pub(super) fn files_below(root: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().map(Result::unwrap) {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files
}
