//! The published copy in memory, and how its files are spelled.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use panaversity_model::ports::Tree;
use panaversity_model::publication::FileKey;
use panaversity_model::{Fault, Layer};

/// A tree in memory.
#[derive(Debug, Default)]
pub struct MemoryTree {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
}

/// Where a file lies in the tree: `books/{book}/{path}`, overlays in
/// `books/{book}/users/{user}/{path}`.
pub fn location(key: &FileKey) -> String {
    match &key.layer {
        Layer::Base => format!("books/{}/{}", key.book, key.path),
        Layer::Overlay(user) => format!("books/{}/users/{}/{}", key.book, user.as_str(), key.path),
    }
}

impl MemoryTree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything it holds, by location.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.with(|files| files.clone())
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

    async fn remove(&self, key: &FileKey) -> Result<(), Fault> {
        self.with(|files| files.remove(&location(key)));
        Ok(())
    }

    async fn sync(&self) -> Result<(), Fault> {
        Ok(())
    }

    async fn ping(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn backend(&self) -> &'static str {
        "memory"
    }
}
