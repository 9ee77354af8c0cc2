//! Listings of a bucket, page by page, in the order that the bucket returns.

use futures::{StreamExt, TryStreamExt, stream};
use opendal::{Entry, Lister};
use panaversity_model::Timestamp;
use panaversity_model::ports::PageStream;
use panaversity_model::storage_listing::{Kind, ObjectEntry, TreeEntry, TreePath};
use panaversity_model::upload::UploadEntry;

use super::S3Storage;
use crate::backend::Backend;
use crate::keys;

/// Number of entries on a page.
const PAGE: usize = 256;

/// Conversion of a bucket's entry into a listing's item.
pub(super) trait FromListed: Sized + Send + 'static {
    /// `None`: it is not a file but a folder marker.
    fn of(entry: &Entry, backend: Backend) -> Option<Self>;
}

impl FromListed for TreeEntry {
    fn of(entry: &Entry, backend: Backend) -> Option<Self> {
        let key = entry.path();
        let size = entry.metadata().content_length();
        Some(match keys::spot_at(backend, key).filter(|_| is_asked_for_as_it_is(key)) {
            Some(spot) => Self { spot, kind: Kind::File, size },
            None => Self { spot: TreePath::new(below_books(key)), kind: Kind::Special, size },
        })
    }
}

/// True if opendal requests the key unchanged. It trims keys and joins doubled slashes, so a request for
/// another key would address a different one.
pub(super) fn is_asked_for_as_it_is(key: &str) -> bool {
    key.trim() == key && !key.contains("//") && !key.ends_with('/')
}

fn below_books(key: &str) -> Vec<u8> {
    key.strip_prefix(keys::BOOKS).unwrap_or(key).trim_start_matches('/').as_bytes().to_vec()
}

impl FromListed for ObjectEntry {
    fn of(entry: &Entry, _: Backend) -> Option<Self> {
        let name = entry.path().strip_prefix(keys::OBJECTS)?.trim_start_matches('/').to_owned();
        let put_at = entry.metadata().last_modified();
        Some(Self {
            hash: keys::object_at(name.as_bytes()),
            name: TreePath::new(name.into_bytes()).shown(),
            size: entry.metadata().content_length(),
            put_at: put_at.and_then(|at| Timestamp::parse(&at.to_string())),
        })
    }
}

impl FromListed for UploadEntry {
    fn of(entry: &Entry, _: Backend) -> Option<Self> {
        let key = entry.path();
        let below = key.strip_prefix(keys::UPLOADS).and_then(|rest| rest.strip_prefix('/'));
        let put_at = entry.metadata().last_modified();
        Some(Self {
            id: below.and_then(keys::upload_at),
            name: keys::leftover_name(key).to_owned(),
            size: entry.metadata().content_length(),
            put_at: put_at.and_then(|at| Timestamp::parse(&at.to_string())),
        })
    }
}

/// Lists everything below prefixes, which end in `/`.
pub(super) fn list<T: FromListed>(storage: &S3Storage, mut prefixes: Vec<String>) -> PageStream<T> {
    prefixes.reverse();
    let storage = storage.clone();
    let next = move |(mut prefixes, mut lister): (Vec<String>, Option<Lister>)| {
        let storage = storage.clone();
        async move {
            let page = next_page(&storage, &mut prefixes, &mut lister);
            let page = storage.repeatable("list the bucket", page).await?;
            Ok(page.map(|page| (page, (prefixes, lister))))
        }
    };
    stream::try_unfold((prefixes, None), next).boxed()
}

/// The next page of the last prefix that has one.
async fn next_page<T: FromListed>(
    storage: &S3Storage,
    prefixes: &mut Vec<String>,
    lister: &mut Option<Lister>,
) -> opendal::Result<Option<Vec<T>>> {
    loop {
        let here = if let Some(lister) = lister {
            lister
        } else {
            let Some(prefix) = prefixes.last() else { return Ok(None) };
            lister.insert(storage.operators.retrying.lister_with(prefix).recursive(true).await?)
        };
        let (mut page, mut looked_at) = (Vec::new(), 0);
        while looked_at < PAGE
            && let Some(entry) = here.try_next().await?
        {
            looked_at += 1;
            if entry.metadata().is_file() {
                page.extend(T::of(&entry, storage.backend));
            }
        }
        if looked_at > 0 {
            return Ok(Some(page));
        }
        *lister = None;
        prefixes.pop();
    }
}
