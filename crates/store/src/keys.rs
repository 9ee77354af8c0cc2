//! Storage keys: the one place that spells where things lie below the storage root.
//!
//! ```text
//! .panaversity/store-id                     which database this storage belongs to
//! .panaversity/objects/{aa}/{sha256}        large blobs
//! .panaversity/tmp/{server}/                files being written by one server
//! .panaversity/trial/{id}                   what `config check` puts and removes
//! books/{book}/content|static/...           the base, as published
//! books/{book}/users/{user}/content/...     an overlay, as published
//! ```
//!
//! Supabase admits only some characters in a key; there the others, and `=`, are written as `=XX`
//! for each byte in UTF-8, so that two paths never meet in one key.

use std::fmt::Write;

use panaversity_model::publication::FileKey;
use panaversity_model::{ContentHash, Layer};

use crate::backend::Backend;

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

/// Where a storage is tried out.
pub(crate) fn trial(id: &str) -> String {
    format!("{HOME}/trial/{id}")
}

/// What a trial puts for others to look for: an asset, an overlay's file and an object.
pub(crate) fn exposed(id: &str) -> [String; 3] {
    [
        format!("{BOOKS}/trial-{id}/static/trial.txt"),
        format!("{BOOKS}/trial-{id}/users/trial/content/trial.md"),
        format!("{HOME}/objects/tr/trial-{id}"),
    ]
}

/// Where a file is published.
pub(crate) fn published(key: &FileKey) -> String {
    match &key.layer {
        Layer::Base => format!("{BOOKS}/{}/{}", key.book, key.path),
        Layer::Overlay(user) => format!("{BOOKS}/{}/users/{}/{}", key.book, user.as_str(), key.path),
    }
}

/// Where a file is published in a storage that may restrict names.
pub(crate) fn published_in(backend: Backend, key: &FileKey) -> String {
    let key = published(key);
    match backend {
        Backend::Fs | Backend::S3 => key,
        Backend::Supabase => spelled(&key),
    }
}

/// A key in the characters that Supabase admits (`isValidKey` of its storage service).
fn spelled(key: &str) -> String {
    let mut spelled = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"_/!-.*'() &$@;:+,?".contains(&byte) {
            spelled.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(spelled, "={byte:02X}");
        }
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supabase_s_spelling_is_plain_where_it_can_be_and_never_ambiguous() {
        assert_eq!(spelled("books/b/content/01-Part/README.md"), "books/b/content/01-Part/README.md");
        assert_eq!(spelled("static/Gr\u{fc}\u{df}e=1.png"), "static/Gr=C3=BC=C3=9Fe=3D1.png");
        assert_ne!(spelled("a=C3"), spelled("a\u{c3}"));
    }
}
