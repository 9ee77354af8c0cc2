//! Bounded set of the books that have series of their own. Invariant: however many books there are, no
//! more than the limit are ever in a label; the others are counted together under
//! [`UNKNOWN`](super::UNKNOWN).

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use super::UNKNOWN;

/// The books that have series of their own: the first ones that were seen.
pub(super) struct BookLabels {
    limit: usize,
    books: RwLock<BTreeSet<String>>,
}

impl BookLabels {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, books: RwLock::default() }
    }

    /// The label of an existing book: its id if it has series of its own, or there is room for them.
    pub(super) fn label<'a>(&self, book: &'a str) -> &'a str {
        if self.books.read().unwrap_or_else(PoisonError::into_inner).contains(book) {
            return book;
        }
        let mut books = self.books.write().unwrap_or_else(PoisonError::into_inner);
        if book == UNKNOWN || books.len() >= self.limit && !books.contains(book) {
            return UNKNOWN;
        }
        books.insert(book.to_owned());
        book
    }

    /// The books of which `is_gone` holds, if the room is used up; they lose their place.
    pub(super) fn evict(&self, is_gone: impl Fn(&str) -> bool) -> Vec<String> {
        let mut books = self.books.write().unwrap_or_else(PoisonError::into_inner);
        if books.len() < self.limit {
            return Vec::new();
        }
        books.extract_if(.., |book| is_gone(book)).collect()
    }

    /// All books that have series of their own.
    pub(super) fn all(&self) -> BTreeSet<String> {
        self.books.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_beyond_the_limit_share_one_label_until_others_are_gone() {
        let labels = BookLabels::new(2);
        assert_eq!(labels.label("one"), "one");
        assert!(labels.evict(|_| true).is_empty(), "there is room");
        assert_eq!(labels.label("two"), "two");
        assert_eq!(labels.label("three"), UNKNOWN);
        assert_eq!(labels.label("one"), "one");
        assert_eq!(labels.evict(|book| book == "one"), ["one"]);
        assert_eq!(labels.label("three"), "three");
        assert_eq!(labels.label("one"), UNKNOWN);
    }
}
