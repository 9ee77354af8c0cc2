//! Listings of the folder for the ports: each page is read in a blocking thread.

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use panaversity_model::Fault;
use panaversity_model::ports::Pages;
use panaversity_model::storage_listing::{ObjectEntry, TreeEntry, TreePath};
use panaversity_model::upload::UploadEntry;
use rustix::io::Errno;

use super::walk::{DirEntry, Walk};
use super::{Inner, in_a_thread};
use crate::keys;

/// Conversion of a directory entry into a listing's item.
pub(super) trait FromDirEntry: Send + 'static {
    fn of(entry: DirEntry, prefix: &str) -> Self;
}

impl FromDirEntry for TreeEntry {
    fn of(entry: DirEntry, prefix: &str) -> Self {
        let spot = [prefix.as_bytes(), &entry.path].concat();
        Self { spot: TreePath::new(spot), kind: entry.kind, size: entry.size }
    }
}

impl FromDirEntry for ObjectEntry {
    fn of(entry: DirEntry, _: &str) -> Self {
        let name = TreePath::new(entry.path);
        let hash = keys::object_at(name.as_bytes());
        Self { name: name.shown(), hash, size: entry.size, put_at: Some(entry.changed_at) }
    }
}

impl FromDirEntry for UploadEntry {
    fn of(entry: DirEntry, prefix: &str) -> Self {
        let below = TreePath::new(entry.path).shown();
        Self {
            id: keys::upload_at(&below),
            name: format!("{prefix}{below}"),
            size: entry.size,
            put_at: Some(entry.changed_at),
        }
    }
}

/// A listing in progress.
pub(super) struct FolderListing<T> {
    inner: Arc<Inner>,
    key: String,
    prefix: String,
    walk: Option<Walk>,
    shown: PhantomData<fn() -> T>,
}

impl<T> FolderListing<T> {
    /// Lists everything below `key`, with `prefix` before each path.
    pub(super) fn of(inner: Arc<Inner>, key: String, prefix: String) -> Self {
        Self { inner, key, prefix, walk: None, shown: PhantomData }
    }
}

#[async_trait]
impl<T: FromDirEntry> Pages<T> for FolderListing<T> {
    async fn next(&mut self) -> Result<Option<Vec<T>>, Fault> {
        let (inner, key, walk) = (self.inner.clone(), self.key.clone(), self.walk.take());
        let act = move || -> Result<_, Errno> {
            let mut walk = walk.map_or_else(|| Walk::begin(&inner.root, &key), Ok)?;
            let page = walk.next()?;
            Ok((walk, page))
        };
        let (walk, page) = in_a_thread("list the folder", act).await?;
        self.walk = Some(walk);
        Ok(page.map(|page| page.into_iter().map(|entry| T::of(entry, &self.prefix)).collect()))
    }
}
