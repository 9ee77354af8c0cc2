//! Listings of the folder for the ports: each page is read in a blocking thread.

use std::sync::Arc;

use futures::{StreamExt, stream};
use panaversity_model::ports::PageStream;
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

/// Lists everything below `key`, with `prefix` before each path.
pub(super) fn list<T: FromDirEntry>(inner: Arc<Inner>, key: String, prefix: String) -> PageStream<T> {
    let next = move |walk: Option<Walk>| {
        let (inner, key, prefix) = (inner.clone(), key.clone(), prefix.clone());
        async move {
            let act = move || -> Result<_, Errno> {
                let mut walk = walk.map_or_else(|| Walk::begin(&inner.root, &key), Ok)?;
                let page = walk.next()?;
                Ok((walk, page))
            };
            let (walk, page) = in_a_thread("list the folder", act).await?;
            let shown = |page: Vec<_>| page.into_iter().map(|entry| T::of(entry, &prefix)).collect();
            Ok(page.map(|page| (shown(page), Some(walk))))
        }
    };
    stream::try_unfold(None, next).boxed()
}
