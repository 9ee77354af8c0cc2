//! Probe of a storage before a server uses it: checks put, get, copy, list and delete, and puts three
//! files to check which of them are publicly readable. A probe removes everything it puts.

use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use opendal::Operator;
use panaversity_model::Fault;

use crate::keys;
use crate::s3::{Bucket, explain};
use crate::store_identity;

/// Content of the files that a probe puts.
const BYTES: &[u8] = b"a trial of PanaversityFS; may be removed\n";

/// Probe of a storage.
pub struct StorageProbe {
    storage: Storage,
    shown: String,
    id: String,
}

enum Storage {
    Bucket(Operator),
    Folder {
        root: PathBuf,
        /// Folders that did not exist before the probe, innermost first; removed with its file.
        missing: Vec<PathBuf>,
    },
}

/// Name and result of one step.
pub type ProbeStep = (&'static str, Result<(), Fault>);

/// Three files put to check public access, by their keys below the bucket.
pub struct ProbeFiles {
    /// At the place of a published asset: publicly readable.
    pub asset: String,
    /// At the place of a published overlay: must not be readable.
    pub overlay: String,
    /// At the place of an object: must not be readable.
    pub object: String,
}

impl StorageProbe {
    /// Probe of a bucket.
    pub fn of_bucket(bucket: &Bucket) -> Result<Self, Fault> {
        let operators = bucket.operators()?;
        Ok(Self::new(Storage::Bucket(operators.retrying), bucket.shown()))
    }

    /// Probe of a folder. A missing one is created for the probe only.
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

    /// Puts, gets, lists and deletes a file of its own, and copies it within a bucket. If the put fails,
    /// there are no further steps.
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

    /// Store id of the database that the storage belongs to.
    pub async fn store_id(&self) -> Result<Option<String>, Fault> {
        let found = self.read(keys::STORE_ID).await?;
        Ok(found.map(|bytes| store_identity::id_in(&bytes)))
    }

    /// Puts three files to check public access.
    pub async fn expose(&self) -> Result<ProbeFiles, Fault> {
        let [asset, overlay, object] = keys::exposed(&self.id);
        for key in [&asset, &overlay, &object] {
            self.put(key).await?;
        }
        Ok(ProbeFiles { asset, overlay, object })
    }

    /// Removes these files.
    pub async fn withdraw(&self, exposed: &ProbeFiles) -> Result<(), Fault> {
        for key in [&exposed.asset, &exposed.overlay, &exposed.object] {
            self.delete(key).await?;
        }
        Ok(())
    }

    /// True if these are the bytes of a probe's file.
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

    /// Checks the copy within the bucket: not every S3 storage supports it, and large files depend on it.
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
                    // Fails if another probe, or a server started meanwhile, uses the folder.
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
