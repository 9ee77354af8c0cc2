//! The books that random callers may or may not see. Each path, text, binary file, hash, book and user
//! contains a marker: a random word that stands nowhere else and says whose it is.

mod seeding;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::TestClient;

/// Agent that seeds the books.
pub(super) const SEEDER: &str = "seeder";
/// Number of different texts that callers write into each layer.
pub(super) const SCRATCH_TEXTS: usize = 3;

/// The part of the store that a marker belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// The base of a book; its id belongs to it.
    Base(String),
    /// A user's overlay of a book.
    Overlay(String, String),
    /// A user, whose id is shown only to those who may see one of its overlays.
    User(String),
}

/// A word that only some callers may see.
#[derive(Debug)]
pub(super) struct Marker {
    pub(super) text: String,
    pub(super) owner: Owner,
    pub(super) kind: MarkerKind,
    /// True if callers write it, and not the seeder.
    pub(super) is_scratch: bool,
    /// Beginning of the URL paths under which it is published to everybody.
    pub(super) published_at: Option<String>,
}

/// The place that contains a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MarkerKind {
    BookId,
    UserId,
    Path,
    Content,
    Hash,
}

/// A file that was seeded and that no caller changes.
#[derive(Debug, Clone)]
pub(super) struct SeededFile {
    pub(super) book: String,
    pub(super) user: Option<String>,
    pub(super) path: String,
    pub(super) hash: String,
}

/// The seeded books, with all that a call may name.
pub(super) struct Library {
    pub(super) books: Vec<String>,
    pub(super) users: Vec<String>,
    /// The overlays that have files, as book and user.
    pub(super) overlays: Vec<(String, String)>,
    pub(super) files: Vec<SeededFile>,
    pub(super) markers: Vec<Marker>,
    /// Book, user and id of change sets.
    pub(super) changes: Vec<(String, Option<String>, String)>,
    /// Book and id of uploads that are not complete.
    pub(super) uploads: Vec<(String, String)>,
    /// Book and path of signed links.
    pub(super) links: Vec<(String, String)>,
    /// The tools, as an administrator is offered them.
    pub(super) tools: Vec<Value>,
    /// All that the seeding administrator was shown.
    pub(super) seeders_view: String,
    scratch: BTreeMap<(String, Option<String>), String>,
    scratch_assets: BTreeMap<String, String>,
    seeder: TestClient,
    is_naming_scratch: bool,
    seed: u128,
}

impl Library {
    /// A text that callers write into this layer; one without a marker if it is not of the library.
    pub(super) fn scratch_text(&self, book: &str, user: Option<&str>, n: usize) -> String {
        let word = self.scratch.get(&(book.to_owned(), user.map(str::to_owned)));
        format!("{} {}\n", word.map_or("nobody's", String::as_str), n % SCRATCH_TEXTS)
    }

    /// The bytes that callers upload into this book; of one length for all.
    pub(super) fn scratch_asset(&self, book: &str) -> Vec<u8> {
        let word = self.scratch_assets.get(book).map_or("of no book..", String::as_str);
        [b"\x89PNG\r\n\x1a\n\x00\xfe", word.as_bytes()].concat()
    }

    /// Every hash, those of states and of older versions included.
    pub(super) fn hashes(&self) -> Vec<String> {
        let hashes = self.markers.iter().filter(|marker| marker.kind == MarkerKind::Hash);
        hashes.map(|marker| marker.text.clone()).collect()
    }

    /// The text with the last letter of its first marker dropped: a near miss that shows nothing.
    pub(super) fn near_miss(&self, text: &str) -> String {
        let mut near = text.to_owned();
        for marker in self.markers.iter().filter(|marker| text.contains(&marker.text)) {
            near = near.replace(&marker.text, &marker.text[..marker.text.len() - 1]);
        }
        if near == text { format!("{near}x") } else { near }
    }
}
