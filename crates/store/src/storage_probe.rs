//! Trying a storage out before a server uses it: can it be put into, read, listed and deleted
//! from, and which of three files does the world see? Everything a trial puts, it removes.

use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use opendal::Operator;
use panaversity_model::Fault;

use crate::keys;
use crate::s3::{Bucket, explain};
use crate::store_identity;

/// What a trial puts.
const BYTES: &[u8] = b"a trial of PanaversityFS; may be removed\n";

/// A storage on trial.
pub struct StorageProbe {
    storage: Storage,
    shown: String,
    id: String,
}

enum Storage {
    Bucket(Operator),
    Folder {
        root: PathBuf,
        /// Folders that were not there before the trial, innermost first: they go with its file.
        missing: Vec<PathBuf>,
    },
}

/// The outcome of one step, by its name.
pub type ProbeStep = (&'static str, Result<(), Fault>);

/// Three files put for others to look for, by their keys below the bucket.
pub struct ProbeFiles {
    /// One as an asset of a book is published: all may see it.
    pub asset: String,
    /// One as an overlay is published: nobody may see it.
    pub overlay: String,
    /// One as an object lies: nobody may see it.
    pub object: String,
}

impl StorageProbe {
    /// A bucket on trial.
    pub fn of_bucket(bucket: &Bucket) -> Result<Self, Fault> {
        let operators = bucket.operators()?;
        Ok(Self::new(Storage::Bucket(operators.retrying), bucket.shown()))
    }

    /// A folder on trial. One that is not there is created for the trial only.
    pub fn of_folder(root: &Path) -> Self {
        let file = root.join(keys::probe("any"));
        let above = file.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        let missing = above.take_while(|folder| !folder.exists()).map(Path::to_path_buf).collect();
        let shown = format!("the storage folder {}", root.display());
        Self::new(Storage::Folder { root: root.to_path_buf(), missing }, shown)
    }

    fn new(storage: Storage, shown: String) -> Self {
        Self { storage, shown, id: uuid::Uuid::now_v7().simple().to_string() }
    }

    /// Puts, gets, lists and deletes a file of its own, and lets a bucket copy it, up to the first
    /// step that fails.
    pub async fn steps(&self) -> Vec<ProbeStep> {
        let key = keys::probe(&self.id);
        let mut steps = vec![("put", self.put(&key).await)];
        if steps[0].1.is_ok() {
            steps.push(("get", self.get(&key).await));
            if let Storage::Bucket(bucket) = &self.storage {
                steps.push(("copy", self.copy(bucket, &key).await));
            }
            steps.push(("list", self.list(&key).await));
            steps.push(("delete", self.delete(&key).await));
        }
        steps
    }

    /// Which database the storage belongs to, by its store id.
    pub async fn store_id(&self) -> Result<Option<String>, Fault> {
        let found = self.read(keys::STORE_ID).await?;
        Ok(found.map(|bytes| store_identity::id_in(&bytes)))
    }

    /// Puts three files to be looked for from outside.
    pub async fn expose(&self) -> Result<ProbeFiles, Fault> {
        let [asset, overlay, object] = keys::exposed(&self.id);
        for key in [&asset, &overlay, &object] {
            self.put(key).await?;
        }
        Ok(ProbeFiles { asset, overlay, object })
    }

    /// Removes them again.
    pub async fn withdraw(&self, exposed: &ProbeFiles) -> Result<(), Fault> {
        for key in [&exposed.asset, &exposed.overlay, &exposed.object] {
            self.delete(key).await?;
        }
        Ok(())
    }

    /// Whether these are the bytes a trial puts.
    pub fn is_its_file(bytes: &[u8]) -> bool {
        bytes == BYTES
    }

    async fn put(&self, key: &str) -> Result<(), Fault> {
        match &self.storage {
            Storage::Bucket(bucket) => {
                bucket.write(key, BYTES).await.map(|_| ()).map_err(|error| self.refused(&error))
            }
            Storage::Folder { root, .. } => {
                let file = root.join(key);
                let folder = file.parent().unwrap_or(root);
                let put = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&file, BYTES));
                put.map_err(|error| self.broken(&error))
            }
        }
    }

    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        match &self.storage {
            Storage::Bucket(bucket) => match bucket.read(key).await {
                Ok(bytes) => Ok(Some(bytes.to_vec())),
                Err(error) if error.kind() == opendal::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(self.refused(&error)),
            },
            Storage::Folder { root, .. } => match std::fs::read(root.join(key)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(self.broken(&error)),
            },
        }
    }

    async fn get(&self, key: &str) -> Result<(), Fault> {
        let found = self.read(key).await?;
        if found.as_deref() == Some(BYTES) { Ok(()) } else { Err(self.odd("gave other bytes than were put")) }
    }

    /// Not every storage that speaks S3 can copy, and large files depend on it.
    async fn copy(&self, bucket: &Operator, key: &str) -> Result<(), Fault> {
        let copy = format!("{key}-copy");
        bucket.copy(key, &copy).await.map_err(|error| self.refused(&error))?;
        self.get(&copy).await.and(self.delete(&copy).await)
    }

    async fn list(&self, key: &str) -> Result<(), Fault> {
        let (above, name) = key.rsplit_once('/').unwrap_or(("", key));
        let found = match &self.storage {
            Storage::Bucket(bucket) => {
                let listed = async {
                    let mut entries = bucket.lister_with(&format!("{above}/")).recursive(true).await?;
                    while let Some(entry) = entries.try_next().await? {
                        if entry.path() == key {
                            return Ok(true);
                        }
                    }
                    Ok(false)
                };
                listed.await.map_err(|error: opendal::Error| self.refused(&error))?
            }
            Storage::Folder { root, .. } => {
                let entries = std::fs::read_dir(root.join(above)).map_err(|error| self.broken(&error))?;
                entries.filter_map(Result::ok).any(|entry| entry.file_name() == name)
            }
        };
        if found { Ok(()) } else { Err(self.odd("did not list what was put")) }
    }

    async fn delete(&self, key: &str) -> Result<(), Fault> {
        match &self.storage {
            Storage::Bucket(bucket) => bucket.delete(key).await.map_err(|error| self.refused(&error)),
            Storage::Folder { root, missing } => {
                std::fs::remove_file(root.join(key)).map_err(|error| self.broken(&error))?;
                let own = root.join(key).parent().map(Path::to_path_buf);
                for folder in own.iter().chain(missing) {
                    // Another trial, or a server that has started meanwhile, may use it too.
                    let _ = std::fs::remove_dir(folder);
                }
                Ok(())
            }
        }
    }

    fn refused(&self, error: &opendal::Error) -> Fault {
        self.odd(&explain(error))
    }

    fn broken(&self, error: &std::io::Error) -> Fault {
        self.odd(&format!("cannot be used: {error}"))
    }

    fn odd(&self, what: &str) -> Fault {
        Fault::storage(format!("{} {what}", self.shown))
    }
}
