//! Storage keys: the only module that defines the layout below the storage root.
//!
//! ```text
//! .panaversity/store-id                     id of the database that this storage belongs to
//! .panaversity/objects/{aa}/{sha256}        large blobs
//! .panaversity/uploads/{upload}             large uploads that have arrived
//! .panaversity/staging/{id}                 objects being written, in a bucket
//! .panaversity/tmp/{server}/                files being written by one server
//! .panaversity/trial/{id}                   what `config check` puts and removes
//! .panaversity/lost+found/{time}/           entries moved away from books/
//! books/{book}/content|static/...           the base, as published
//! books/{book}/users/{user}/content/...     an overlay, as published
//! ```
//!
//! Supabase admits only some characters in a key; there the others, and `=`, are written as `=XX`
//! for each byte in UTF-8, so that two paths never map to the same key.

use std::fmt::Write;

use panaversity_model::ContentHash;
use panaversity_model::ids::UploadId;
use panaversity_model::publication::FileKey;
use panaversity_model::storage_listing::TreePath;

use crate::backend::Backend;

/// Prefix of everything that belongs to no book.
const ROOT: &str = ".panaversity/";
/// Key of the store id.
pub(crate) const STORE_ID: &str = ".panaversity/store-id";
/// Folder of the files being written.
pub(crate) const TEMPORARY: &str = ".panaversity/tmp";
/// Folder of the published books.
pub(crate) const BOOKS: &str = "books";

/// Folder of the objects.
pub(crate) const OBJECTS: &str = ".panaversity/objects";
/// Folder where uploads arrive.
pub(crate) const UPLOADS: &str = ".panaversity/uploads";
/// Folder of the objects being written to a bucket.
pub(crate) const STAGING: &str = ".panaversity/staging";
/// Folder of the keys of storage probes.
const TRIALS: &str = ".panaversity/trial";
/// Folder of the entries moved away.
const LOST_AND_FOUND: &str = ".panaversity/lost+found";

/// Key of an object.
pub(crate) fn object(hash: ContentHash) -> String {
    let name = hash.to_string();
    format!("{OBJECTS}/{}/{name}", &name[..2])
}

/// Blob whose object belongs at a place below [`OBJECTS`].
pub(crate) fn object_at(place: &[u8]) -> Option<ContentHash> {
    let text = std::str::from_utf8(place).ok()?;
    let (_, name) = text.split_once('/')?;
    ContentHash::from_hex(name)
        .filter(|hash| object(*hash).strip_prefix(OBJECTS) == Some(&format!("/{text}")))
}

/// Key of an upload.
pub(crate) fn upload(id: UploadId) -> String {
    format!("{UPLOADS}/{id}")
}

/// Upload that belongs at a place below [`UPLOADS`].
pub(crate) fn upload_at(place: &str) -> Option<UploadId> {
    UploadId::from_stored(place).filter(|id| id.to_string() == place)
}

/// Unique key for an object being written.
pub(crate) fn fresh_staging() -> String {
    format!("{STAGING}/{}", uuid::Uuid::now_v7().simple())
}

/// Name of a leftover among uploads or stagings, derived from its key.
pub(crate) fn leftover_name(key: &str) -> &str {
    key.strip_prefix(ROOT).unwrap_or(key)
}

/// Key of a leftover, derived from its name. `None`: the name is not one of a leftover.
pub(crate) fn leftover(name: &str) -> Option<String> {
    let key = format!("{ROOT}{name}");
    let below = |folder: &str| key.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    (below(UPLOADS) || below(STAGING)).then_some(key)
}

/// Key of a storage probe.
pub(crate) fn probe(id: &str) -> String {
    format!("{TRIALS}/{id}")
}

/// Keys put by a probe to check public access: an asset, an overlay's file and an object.
pub(crate) fn exposed(id: &str) -> [String; 3] {
    [
        format!("{BOOKS}/trial-{id}/static/trial.txt"),
        format!("{BOOKS}/trial-{id}/users/trial/content/trial.md"),
        format!("{OBJECTS}/tr/trial-{id}"),
    ]
}

/// Key where a file is published.
pub(crate) fn published(key: &FileKey) -> String {
    format!("{BOOKS}/{}", key.location())
}

/// Key of an entry below the books; it need not be UTF-8.
pub(crate) fn tree_key(spot: &TreePath) -> Vec<u8> {
    [BOOKS.as_bytes(), b"/", spot.as_bytes()].concat()
}

/// Key that an entry is moved to, out of the tree.
pub(crate) fn set_aside(spot: &TreePath, folder: &str) -> Vec<u8> {
    [LOST_AND_FOUND.as_bytes(), b"/", folder.as_bytes(), b"/", spot.as_bytes()].concat()
}

impl Backend {
    /// Key where a file is published, below the bucket or the folder.
    pub fn published(self, key: &FileKey) -> String {
        let key = published(key);
        match self {
            Self::Fs | Self::S3 => key,
            Self::Supabase => escape_key(&key),
        }
    }
}

/// Key of an entry below the books, in a storage that may restrict names.
pub(crate) fn lying_in(backend: Backend, spot: &TreePath) -> String {
    // Keys of a bucket are UTF-8.
    let key = String::from_utf8_lossy(&tree_key(spot)).into_owned();
    if backend == Backend::Supabase { escape_key(&key) } else { key }
}

/// Key that an entry is moved to, in such a storage.
pub(crate) fn set_aside_in(backend: Backend, spot: &TreePath, folder: &str) -> String {
    let key = String::from_utf8_lossy(&set_aside(spot, folder)).into_owned();
    if backend == Backend::Supabase { escape_key(&key) } else { key }
}

/// Tree path of a key below the books of such a storage. `None`: not a key that this program writes.
pub(crate) fn spot_at(backend: Backend, key: &str) -> Option<TreePath> {
    let below = key.strip_prefix(BOOKS)?.strip_prefix('/')?;
    if backend != Backend::Supabase {
        return Some(TreePath::new(below.as_bytes().to_vec()));
    }
    let spot = TreePath::new(unspelled(below)?);
    (lying_in(backend, &spot) == key).then_some(spot)
}

/// Inverse of [`escape_key`].
fn unspelled(key: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::with_capacity(key.len()), key.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'=' => {
                let digit = |digit: u8| char::from(digit).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            plain => plain,
        });
    }
    Some(bytes)
}

/// Escapes a key to the characters that Supabase admits (`isValidKey` of its storage service).
fn escape_key(key: &str) -> String {
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
        assert_eq!(escape_key("books/b/content/01-Part/README.md"), "books/b/content/01-Part/README.md");
        assert_eq!(escape_key("static/Gr\u{fc}\u{df}e=1.png"), "static/Gr=C3=BC=C3=9Fe=3D1.png");
        assert_ne!(escape_key("a=C3"), escape_key("a\u{c3}"));
    }

    #[test]
    fn a_key_that_nobody_of_ours_spelled_is_no_place_of_ours() {
        let spot = TreePath::new("b/static/Gr\u{fc}\u{df}e=1.png".as_bytes().to_vec());
        for backend in [Backend::S3, Backend::Supabase] {
            assert_eq!(spot_at(backend, &lying_in(backend, &spot)), Some(spot.clone()));
            assert_eq!(spot_at(backend, "elsewhere/x"), None);
        }
        for odd in ["books/b/a=", "books/b/a=zz", "books/b/a=c3=bc", "books/b/a=41"] {
            assert_eq!(spot_at(Backend::Supabase, odd), None, "{odd}");
        }
    }
}
