//! URLs of the pages. Invariant: every part is percent-encoded, so that no name of a book, path or agent
//! leads elsewhere; a page of an overlay links to pages of the same overlay.

use panaversity_model::browsing::ChildPosition;
use panaversity_model::ids::ChangeId;
use panaversity_model::path::Folder;
use panaversity_model::{BookId, BookPath, ContentHash, Layer, Timestamp};
use percent_encoding::utf8_percent_encode;

use crate::signed_url::{PLAIN, PLAIN_PATH};

/// A query value as it is written in a URL.
pub(super) fn encoded(value: &str) -> String {
    utf8_percent_encode(value, PLAIN).to_string()
}

/// The URL of a path with a query; pairs without a value are left out.
pub(super) fn with_query(path: &str, pairs: &[(&str, Option<&str>)]) -> String {
    let mut url = path.to_owned();
    let mut mark = '?';
    for (name, value) in pairs {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            url.push(mark);
            url.push_str(name);
            url.push('=');
            url.push_str(&encoded(value));
            mark = '&';
        }
    }
    url
}

/// The page of an agent.
pub(super) fn agent(name: &str) -> String {
    format!("/ui/agents/{}", encoded(name))
}

/// URLs of the pages of a book in one view.
#[derive(Debug, Clone)]
pub(super) struct BookLinks {
    pub(super) book: BookId,
    pub(super) layer: Layer,
}

impl BookLinks {
    pub(super) fn new(book: &BookId, layer: &Layer) -> Self {
        Self { book: book.clone(), layer: layer.clone() }
    }

    /// Owner of the overlay that the view shows.
    pub(super) fn user(&self) -> Option<&str> {
        match &self.layer {
            Layer::Base => None,
            Layer::Overlay(user) => Some(user.as_str()),
        }
    }

    /// A page of the book, by the rest of its path.
    pub(super) fn to(&self, rest: &str, pairs: &[(&str, Option<&str>)]) -> String {
        let mut all = vec![("user", self.user())];
        all.extend_from_slice(pairs);
        with_query(&format!("/ui/books/{}{rest}", self.book), &all)
    }

    pub(super) fn book(&self) -> String {
        self.to("", &[])
    }

    pub(super) fn folder(&self, folder: &Folder, after: Option<&ChildPosition>) -> String {
        self.to("", &[("folder", Some(folder.as_str())), ("after", after.map(ChildPosition::as_str))])
    }

    fn of_file(&self, section: &str, path: &BookPath, pairs: &[(&str, Option<&str>)]) -> String {
        self.to(&format!("/{section}/{}", utf8_percent_encode(path.as_str(), PLAIN_PATH)), pairs)
    }

    pub(super) fn file(&self, path: &BookPath) -> String {
        self.of_file("files", path, &[])
    }

    /// The text of a file, from a line on.
    pub(super) fn text(&self, path: &BookPath, version: Option<&str>, from: usize) -> String {
        let from = from.to_string();
        self.of_file("files", path, &[("view", Some("text")), ("version", version), ("from", Some(&from))])
    }

    pub(super) fn version(&self, path: &BookPath, hash: ContentHash) -> String {
        self.of_file("files", path, &[("version", Some(&hash.to_string()))])
    }

    pub(super) fn bytes(&self, path: &BookPath) -> String {
        self.of_file("bytes", path, &[])
    }

    pub(super) fn history(&self, path: &BookPath) -> String {
        self.of_file("history", path, &[])
    }

    pub(super) fn history_after(&self, path: &BookPath, at: &BookPath, before: i64) -> String {
        let before = before.to_string();
        self.of_file("history", path, &[("at", Some(at.as_str())), ("before", Some(&before))])
    }

    /// Where the form that compares two versions leads, without its query.
    pub(super) fn compare_form(&self, path: &BookPath) -> String {
        format!("/ui/books/{}/compare/{}", self.book, utf8_percent_encode(path.as_str(), PLAIN_PATH))
    }

    pub(super) fn compare(&self, path: &BookPath, from: &str, to: &str, view: Option<&str>) -> String {
        self.of_file("compare", path, &[("from", Some(from)), ("to", Some(to)), ("view", view)])
    }

    pub(super) fn blame(&self, path: &BookPath, from: usize) -> String {
        let from = (from > 1).then(|| from.to_string());
        self.of_file("blame", path, &[("from", from.as_deref())])
    }

    /// Where a version is restored.
    pub(super) fn restore(&self, path: &BookPath) -> String {
        self.of_file("restore", path, &[])
    }

    pub(super) fn changes(&self, until: Option<Timestamp>) -> String {
        let until = until.map(|until| until.to_string());
        self.to("/changes", &[("until", until.as_deref())])
    }

    /// A change set; its time saves a search for it.
    pub(super) fn change(&self, id: &ChangeId, at: Timestamp) -> String {
        self.to(&format!("/changes/{id}"), &[("at", Some(&at.to_string()))])
    }

    pub(super) fn gallery(&self, after: Option<&BookPath>) -> String {
        self.to("/assets", &[("after", after.map(BookPath::as_str))])
    }

    pub(super) fn build(&self) -> String {
        self.to("/build", &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panaversity_model::UserId;

    #[test]
    fn names_are_encoded_and_the_overlay_is_kept() {
        let book = BookId::parse("ai-python").unwrap();
        let path = BookPath::parse("content/a b&c=\u{fc}+é.md").unwrap();
        let base = BookLinks::new(&book, &Layer::Base);
        assert_eq!(base.file(&path), "/ui/books/ai-python/files/content/a%20b%26c%3D%C3%BC%2B%C3%A9.md");
        let own = BookLinks::new(&book, &Layer::Overlay(UserId::parse("ann").unwrap()));
        assert_eq!(own.book(), "/ui/books/ai-python?user=ann");
        assert_eq!(own.blame(&path, 1).split('?').nth(1), Some("user=ann"));
        assert_eq!(agent("a/b?<x>"), "/ui/agents/a%2Fb%3F%3Cx%3E");
    }
}
