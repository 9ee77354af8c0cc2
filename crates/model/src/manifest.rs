//! Manifests: the base files of a book at one moment, and the differences between two.
//!
//! # Formats
//! The manifest hash is the SHA-256, in hex, of `"{path}:{sha256}"` for every base file, sorted by
//! path bytewise, joined by `\n`, without a final newline.
//!
//! A kept manifest is the byte 1, the number of files, then per file: the length in bytes of the prefix
//! that its path shares with the previous one, the rest of the path with its length, the size, all
//! numbers as LEB128, and the 32 bytes of the hash. The shared prefixes are most of what a compressor
//! would find, because hashes do not compress.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter;
use std::ops::Bound;

use sha2::{Digest, Sha256};

use crate::fault::Fault;
use crate::hash::ContentHash;

const FORMAT: u64 = 1;

/// A file's entry in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Content hash.
    pub hash: ContentHash,
    /// Size in bytes.
    pub size: u64,
    /// Version of its last change; 0 in a kept manifest.
    pub version: i64,
}

/// Base files by path, ordered bytewise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The files.
    pub files: BTreeMap<String, Item>,
}

/// Difference of a file between two manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The path.
    pub path: String,
    /// Entry in the book now; `None`: deleted.
    pub current: Option<Item>,
    /// Entry in the other manifest; `None`: added.
    pub target: Option<Item>,
}

impl Manifest {
    /// The manifest hash.
    pub fn hash(&self) -> ContentHash {
        let mut digest = Sha256::new();
        let mut line = String::new();
        for (position, (path, item)) in self.files.iter().enumerate() {
            line.clear();
            if position > 0 {
                line.push('\n');
            }
            line.push_str(path);
            line.push(':');
            push_hex(&mut line, item.hash);
            digest.update(line.as_bytes());
        }
        ContentHash::from_bytes(digest.finalize().into())
    }

    /// Total size of all files in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|item| item.size).sum()
    }

    /// Differences of this manifest from `target`, in path order.
    pub fn differences(&self, target: &Self) -> Vec<Difference> {
        self.differences_after(target, "").collect()
    }

    /// Differences of this manifest from `target` at paths after `after`, in path order.
    pub fn differences_after<'a>(
        &'a self,
        target: &'a Self,
        after: &str,
    ) -> impl Iterator<Item = Difference> + use<'a> {
        self.compare(target, after).map(|(path, current, target)| Difference {
            path: path.clone(),
            current: current.copied(),
            target: target.copied(),
        })
    }

    /// Number of differences of this manifest from `target`.
    pub fn count_differences(&self, target: &Self) -> usize {
        if target.files.is_empty() { self.files.len() } else { self.compare(target, "").count() }
    }

    fn compare<'a>(
        &'a self,
        target: &'a Self,
        after: &str,
    ) -> impl Iterator<Item = (&'a String, Option<&'a Item>, Option<&'a Item>)> + use<'a> {
        let later = (Bound::Excluded(after), Bound::Unbounded);
        let mut ours = self.files.range::<str, _>(later).peekable();
        let mut theirs = target.files.range::<str, _>(later).peekable();
        iter::from_fn(move || {
            loop {
                let order = match (ours.peek(), theirs.peek()) {
                    (None, None) => return None,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some((a, _)), Some((b, _))) => a.cmp(b),
                };
                let current = if order.is_le() { ours.next() } else { None };
                let other = if order.is_ge() { theirs.next() } else { None };
                let (path, _) = current.or(other)?;
                let (current, other) = (current.map(|(_, item)| item), other.map(|(_, item)| item));
                if current.map(|item| item.hash) != other.map(|item| item.hash) {
                    return Some((path, current, other));
                }
            }
        })
    }

    /// Encodes into the kept form.
    pub fn encode(&self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(self.files.len() * 80 + 16);
        push_number(&mut plain, FORMAT);
        push_number(&mut plain, self.files.len() as u64);
        let mut before = "";
        for (path, item) in &self.files {
            let shared = before.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count();
            push_number(&mut plain, shared as u64);
            push_number(&mut plain, (path.len() - shared) as u64);
            plain.extend_from_slice(&path.as_bytes()[shared..]);
            push_number(&mut plain, item.size);
            plain.extend_from_slice(item.hash.as_bytes());
            before = path;
        }
        plain
    }

    /// Decodes the kept form.
    pub fn decode(mut kept: &[u8]) -> Result<Self, Fault> {
        read_files(&mut kept).ok_or_else(|| Fault::corrupt("a kept manifest does not read back"))
    }
}

fn read_files(rest: &mut &[u8]) -> Option<Manifest> {
    if take_number(rest)? != FORMAT {
        return None;
    }
    let count = take_number(rest)?;
    let (mut files, mut before) = (BTreeMap::new(), Vec::new());
    for _ in 0..count {
        let shared = usize::try_from(take_number(rest)?).ok()?;
        let fresh = usize::try_from(take_number(rest)?).ok()?;
        before.truncate(shared);
        before.extend_from_slice(rest.split_off(..fresh)?);
        let size = take_number(rest)?;
        let hash = ContentHash::from_bytes(rest.split_off(..32)?.try_into().ok()?);
        files.insert(String::from_utf8(before.clone()).ok()?, Item { hash, size, version: 0 });
    }
    Some(Manifest { files })
}

fn push_hex(line: &mut String, hash: ContentHash) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in hash.as_bytes() {
        line.push(char::from(DIGITS[usize::from(byte >> 4)]));
        line.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push((number & 0x7f) as u8);
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// A manifest entry as read from the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRow {
    /// The path.
    pub path: String,
    /// The file's entry.
    pub item: Item,
}

/// Stamp that validates a cached manifest: versions increase over the whole store and are never reused,
/// so replacing any rows by as many newer ones increases the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Number of files of the layer.
    pub count: i64,
    /// Sum of their versions.
    pub sum: i64,
    /// Highest of their versions.
    pub highest: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn manifests() -> impl Strategy<Value = Manifest> {
        prop::collection::btree_map("[a-cé/]{1,12}", (any::<u8>(), 0u64..1 << 40), 0..12).prop_map(|files| {
            Manifest {
                files: files
                    .into_iter()
                    .map(|(path, (n, size))| (path, Item { hash: ContentHash::of(&[n]), size, version: 0 }))
                    .collect(),
            }
        })
    }

    #[test]
    fn the_manifest_hash_is_the_documented_one() {
        let item = |bytes: &[u8]| Item { hash: ContentHash::of(bytes), size: bytes.len() as u64, version: 0 };
        let files = BTreeMap::from([
            ("content/b.md".to_owned(), item(b"b")),
            ("content/a.md".to_owned(), item(b"a")),
        ]);
        let text = format!("content/a.md:{}\ncontent/b.md:{}", ContentHash::of(b"a"), ContentHash::of(b"b"));
        assert_eq!(Manifest { files }.hash(), ContentHash::of(text.as_bytes()));
        assert_eq!(Manifest::default().hash(), ContentHash::of(b""));
    }

    proptest! {
        #[test]
        fn a_kept_manifest_reads_back_as_written(manifest in manifests()) {
            prop_assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
        }

        #[test]
        fn the_differences_turn_the_target_into_the_current(current in manifests(), target in manifests()) {
            let mut files = target.files.clone();
            for difference in current.differences(&target) {
                prop_assert_eq!(target.files.get(&difference.path).copied(), difference.target);
                match difference.current {
                    Some(item) => files.insert(difference.path, item),
                    None => files.remove(&difference.path),
                };
            }
            let hashes = |m: &BTreeMap<String, Item>| m.iter().map(|(p, i)| (p.clone(), i.hash)).collect::<Vec<_>>();
            prop_assert_eq!(hashes(&files), hashes(&current.files));
        }

        #[test]
        fn pages_of_differences_are_all_of_them(
            current in manifests(),
            target in manifests(),
            page in 1_usize..4,
        ) {
            let (all, mut paged) = (current.differences(&target), Vec::<Difference>::new());
            prop_assert_eq!(current.count_differences(&target), all.len());
            while paged.len() < all.len() {
                let after = paged.last().map_or(String::new(), |last| last.path.clone());
                let before = paged.len();
                paged.extend(current.differences_after(&target, &after).take(page));
                prop_assert!(paged.len() > before, "a page before the last is empty");
            }
            prop_assert_eq!(paged, all);
        }

        #[test]
        fn a_damaged_kept_manifest_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::decode(&bytes);
        }
    }
}
