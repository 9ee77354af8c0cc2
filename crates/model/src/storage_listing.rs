//! Entries listed from the storage, for comparison with the journal. A place may be anything a foreign
//! process wrote; it is parsed as the file of a book only here.

use crate::book::BookId;
use crate::hash::ContentHash;
use crate::layer::{Layer, UserId};
use crate::path::BookPath;
use crate::publication::FileKey;
use crate::refusal::Refusal;
use crate::timestamp::Timestamp;

/// Path below `books/`: segments separated by `/`, in bytes that need not be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// A path as listed by a storage.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Path where a file is published.
    pub fn of(key: &FileKey) -> Self {
        Self(key.location().into_bytes())
    }

    /// Bytes of the path.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Display form: control characters escaped, invalid UTF-8 replaced.
    pub fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let escaped = |c: char| c.escape_default().collect::<String>();
        text.chars().map(|c| if c.is_control() { escaped(c) } else { c.to_string() }).collect()
    }

    /// The file published at this path, or the reason why there can be none.
    pub fn key(&self) -> Result<FileKey, Refusal> {
        let none = |why: &str| Refusal::InvalidPath { path: self.shown(), why: why.to_owned() };
        let text = std::str::from_utf8(&self.0).map_err(|_| none("its name is not UTF-8"))?;
        let (book, rest) =
            text.split_once('/').ok_or_else(|| none("it lies beside the books, not in one"))?;
        let (layer, path) = match rest.strip_prefix("users/") {
            None => (Layer::Base, rest),
            Some(private) => {
                let (user, path) =
                    private.split_once('/').ok_or_else(|| none("it lies beside the overlays, not in one"))?;
                (Layer::Overlay(UserId::parse(user)?), path)
            }
        };
        Ok(FileKey { book: BookId::parse(book)?, path: BookPath::parse(path)?, layer })
    }
}

/// Type of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file, or an object of a bucket.
    File,
    /// A link, which is not followed, or a device.
    Special,
}

/// An entry below `books/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Path of the entry.
    pub spot: TreePath,
    /// Type of the entry.
    pub kind: Kind,
    /// Size in bytes.
    pub size: u64,
}

/// An entry stored among the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Name for display, relative to the objects' folder.
    pub name: String,
    /// Blob whose object belongs at this place, if any.
    pub hash: Option<ContentHash>,
    /// Size in bytes.
    pub size: u64,
    /// Time it was put, if the storage reports it.
    pub put_at: Option<Timestamp>,
}

/// A file as recorded in the journal, with the state of its publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedFile {
    /// The file.
    pub key: FileKey,
    /// Content hash and size in bytes; `None`: the file is deleted, and its removal is pending.
    pub held: Option<(ContentHash, u64)>,
    /// Version of its last change.
    pub version: i64,
    /// True if its publication is pending.
    pub pending: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(place: &str) -> Result<FileKey, Refusal> {
        TreePath::new(place.as_bytes().to_vec()).key()
    }

    #[test]
    fn the_place_of_a_file_reads_back_as_the_file() {
        for place in
            ["ai-python/content/README.md", "ai-python/users/Eve_1/content/x.md", "a-b/static/img/a b.png"]
        {
            let file = key(place).unwrap();
            assert_eq!(TreePath::of(&file), TreePath::new(place.as_bytes().to_vec()));
        }
    }

    #[test]
    fn the_place_of_nothing_says_why() {
        for place in [
            "x",
            "ai-python",
            "AI/content/x.md",
            "ai-python/users/eve",
            "ai-python/users/a b/content/x.md",
            "ai-python/users/eve/users/bob/x.md",
            "ai-python/content/a%20b.md",
            "ai-python/content//x.md",
        ] {
            assert!(key(place).is_err(), "{place}");
        }
        let odd = TreePath::new(b"ai-python/content/\xff\n.md".to_vec());
        assert!(odd.key().is_err());
        assert_eq!(odd.shown(), "ai-python/content/\u{fffd}\\n.md");
    }
}
