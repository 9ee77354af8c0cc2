//! Storage keys: the one place that spells where things lie below the storage root.
//!
//! ```text
//! .panaversity/store-id                     which database this storage belongs to
//! .panaversity/objects/{aa}/{sha256}        large blobs
//! .panaversity/tmp/{server}/                files being written by one server
//! books/{book}/content|static/...           the base, as published
//! books/{book}/users/{user}/content/...     an overlay, as published
//! ```

use panaversity_model::publication::FileKey;
use panaversity_model::{ContentHash, Layer};

/// Our own folder.
pub(crate) const HOME: &str = ".panaversity";
/// The store id.
pub(crate) const STORE_ID: &str = ".panaversity/store-id";
/// Files being written.
pub(crate) const TEMPORARY: &str = ".panaversity/tmp";
/// The published books.
pub(crate) const BOOKS: &str = "books";

/// Where an object lies.
pub(crate) fn object(hash: ContentHash) -> String {
    let name = hash.to_string();
    format!("{HOME}/objects/{}/{name}", &name[..2])
}

/// Where a file is published.
pub(crate) fn published(key: &FileKey) -> String {
    match &key.layer {
        Layer::Base => format!("{BOOKS}/{}/{}", key.book, key.path),
        Layer::Overlay(user) => format!("{BOOKS}/{}/users/{}/{}", key.book, user.as_str(), key.path),
    }
}
