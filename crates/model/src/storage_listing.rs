//! Drift: what lies in the storage, whoever put it there, against what the journal holds. A place
//! may be anything a stranger wrote; only here it is read as the file of a book.

use crate::book::BookId;
use crate::hash::ContentHash;
use crate::layer::{Layer, UserId};
use crate::path::BookPath;
use crate::publication::FileKey;
use crate::refusal::Refusal;
use crate::timestamp::Timestamp;

/// Where something lies below `books/`: segments separated by `/`, in bytes that need not be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// A place as a storage lists it.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Where a file is published.
    pub fn of(key: &FileKey) -> Self {
        Self(key.location().into_bytes())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// For people: without control characters, and with marks where it is not UTF-8.
    pub fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let escaped = |c: char| c.escape_default().collect::<String>();
        text.chars().map(|c| if c.is_control() { escaped(c) } else { c.to_string() }).collect()
    }

    /// The file it is the place of, or why it can be none.
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

/// What kind of thing lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file, or an object of a bucket.
    File,
    /// A link, which nobody follows, or a device.
    Special,
}

/// Something that lies below `books/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Where.
    pub spot: TreePath,
    /// What.
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
}

/// Something that lies among the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Its name for people, below the objects' folder.
    pub name: String,
    /// The blob it should be, if it lies where that blob's object lies.
    pub hash: Option<ContentHash>,
    /// Bytes.
    pub size: u64,
    /// When it was put, if the storage says so.
    pub put_at: Option<Timestamp>,
}

/// What the journal knows of the place of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedFile {
    /// The file.
    pub key: FileKey,
    /// What it holds and how many bytes; `None`: it is gone, and its removal is pending.
    pub held: Option<(ContentHash, u64)>,
    /// The version of its last change.
    pub version: i64,
    /// It is on its way to the tree.
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
