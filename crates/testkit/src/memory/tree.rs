//! In-memory tree, and the locations of its files.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures::TryStreamExt;
use panaversity_model::ports::{ByteStream, PageStream, Tree};
use panaversity_model::publication::FileKey;
use panaversity_model::storage_listing::{Kind, TreeEntry, TreePath};
use panaversity_model::{BookId, Fault};

use super::{in_pages, in_parts};

/// A tree in memory.
#[derive(Debug, Default)]
pub struct MemoryTree {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
}

/// The location of a file in the tree: `books/{book}/{path}`, overlays in
/// `books/{book}/users/{user}/{path}`.
pub fn location(key: &FileKey) -> String {
    format!("books/{}", key.location())
}

/// The key under which a tree in memory stores a path.
pub fn lying(spot: &TreePath) -> String {
    format!("books/{}", String::from_utf8_lossy(spot.as_bytes()))
}

/// The key under which it stores a path that was set aside.
pub fn set_aside(spot: &TreePath, folder: &str) -> String {
    format!(".panaversity/lost+found/{folder}/{}", String::from_utf8_lossy(spot.as_bytes()))
}

/// The listing of a tree in memory.
pub fn listed(files: &BTreeMap<String, Vec<u8>>, book: Option<&BookId>) -> PageStream<TreeEntry> {
    let prefix = book.map_or(String::new(), |book| format!("{book}/"));
    let below = files.iter().filter_map(|(at, bytes)| Some((at.strip_prefix("books/")?, bytes)));
    let seen = below.filter(|(at, _)| at.starts_with(&prefix)).map(|(at, bytes)| TreeEntry {
        spot: TreePath::new(at.as_bytes().to_vec()),
        kind: Kind::File,
        size: bytes.len() as u64,
    });
    // No order is promised; this one is descending.
    in_pages(seen.rev().collect())
}

impl MemoryTree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// All its files, by location.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.with(|files| files.clone())
    }

    /// Puts a file directly, bypassing the port.
    pub fn plant(&self, location: &str, bytes: &[u8]) {
        self.with(|files| files.insert(location.to_owned(), bytes.to_vec()));
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> T {
        act(&mut self.files.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Tree for MemoryTree {
    async fn put(&self, key: &FileKey, bytes: &[u8]) -> Result<(), Fault> {
        self.with(|files| files.insert(location(key), bytes.to_vec()));
        Ok(())
    }

    async fn put_parts(&self, key: &FileKey, mut parts: ByteStream, size: u64) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        while let Some(part) = parts.try_next().await? {
            bytes.extend(part);
        }
        if bytes.len() as u64 != size {
            return Err(Fault::corrupt(format!("{} bytes came where {size} were told", bytes.len())));
        }
        self.put(key, &bytes).await
    }

    async fn remove(&self, key: &FileKey) -> Result<(), Fault> {
        self.with(|files| files.remove(&location(key)));
        Ok(())
    }

    async fn sync(&self) -> Result<(), Fault> {
        Ok(())
    }

    async fn open(&self, spot: &TreePath) -> Result<Option<ByteStream>, Fault> {
        Ok(self.with(|files| files.get(&lying(spot)).map(|bytes| in_parts(bytes))))
    }

    async fn set_aside(&self, spot: &TreePath, folder: &str) -> Result<bool, Fault> {
        let moved = self.with(|files| {
            let bytes = files.remove(&lying(spot))?;
            files.insert(set_aside(spot, folder), bytes);
            Some(())
        });
        Ok(moved.is_some())
    }

    fn list_files(&self, book: Option<&BookId>) -> PageStream<TreeEntry> {
        self.with(|files| listed(files, book))
    }

    async fn ping(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn backend(&self) -> &'static str {
        "memory"
    }
}
