//! Paths inside a book, checked for safety independently of the book's schema.
//!
//! # Grammar
//! A path is relative to its book, `/`-separated and at most 255 bytes of UTF-8 in NFC. Refused
//! are: `.` and `..` as a segment, a leading `/` or `~`, `\`, `%`, NUL and every other control
//! character, empty segments, and anything below `users/` (overlays are reached only through
//! `user_id`). Which of these a book admits is defined by its [`grammar`](crate::grammar).

use std::fmt;
use std::path::Path;

use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::refusal::Refusal;

/// Maximum length of a path in bytes.
pub const MAX_BYTES: usize = 255;

/// A safe path of a file inside a book.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BookPath(String);

impl BookPath {
    /// Parses a `path` argument.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        match fault_of(raw) {
            None => Ok(Self(raw.to_owned())),
            Some(why) => Err(Refusal::InvalidPath { path: raw.to_owned(), why: why.to_owned() }),
        }
    }

    /// Path as stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Segments of the path, at least one.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// Last segment of the path.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// Everything before the last `/`, or the empty string.
    pub fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// Case-folded form, which must be unique in a book, because a build machine may not distinguish
    /// paths that differ only by case.
    pub fn folded(&self) -> String {
        // Character by character and through upper case, so that forms that depend on their position in the
        // word (the two small sigmas) and compatibility forms (the long s) fold to the same.
        let letters = self.0.chars().flat_map(char::to_lowercase);
        letters.flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect()
    }

    /// True for an asset: a path below `static/`.
    pub fn is_asset(&self) -> bool {
        self.0.starts_with("static/")
    }

    /// True for a page: Markdown or MDX below `content/`. The extensions are case-sensitive, as in
    /// Docusaurus.
    pub fn is_page(&self) -> bool {
        let extension = Path::new(self.name()).extension();
        self.0.starts_with("content/") && extension.is_some_and(|end| end == "md" || end == "mdx")
    }

    /// True if its extension says MDX.
    pub fn is_mdx(&self) -> bool {
        Path::new(self.name()).extension().is_some_and(|end| end == "mdx")
    }

    /// First segment that is a device name on Windows (`aux.md`, `COM1`); an archive that contains it
    /// cannot be unpacked there.
    pub fn windows_device(&self) -> Option<&str> {
        self.segments().find(|segment| is_windows_device(segment))
    }
}

impl fmt::Display for BookPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// True for a device name of Windows, whatever its case and extension ("Naming Files, Paths, and
/// Namespaces", Microsoft): CON, PRN, AUX, NUL, CONIN$, CONOUT$, COM1 to COM9, LPT1 to LPT9, the
/// digit also as a superscript.
fn is_windows_device(segment: &str) -> bool {
    let stem = segment.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || numbered.is_some_and(|digit| {
            let mut digits = digit.chars();
            matches!((digits.next(), digits.next()), (Some('1'..='9' | '¹' | '²' | '³'), None))
        })
}

/// Folders above a path, from the second segment on: those that could be files as well.
pub fn folders_above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').skip(1).map(|(at, _)| &path[..at])
}

/// True if `path` lies below `other`.
pub fn lies_under(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'))
}

/// Folder of a book, without a trailing `/`; its files are the paths below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder(String);

impl Folder {
    /// All pages of a book.
    pub fn content() -> Self {
        Self("content".to_owned())
    }

    /// All assets of a book.
    pub fn assets() -> Self {
        Self("static".to_owned())
    }

    /// The whole book: content and assets.
    pub fn everything() -> Self {
        Self(String::new())
    }

    /// The first `depth` segments of a path, or `None` if it has fewer.
    pub fn prefix_of(path: &BookPath, depth: usize) -> Option<Self> {
        let segments: Vec<_> = path.segments().take(depth).collect();
        (segments.len() == depth).then(|| Self(segments.join("/")))
    }

    /// Parses the path of a folder; the empty one is the whole book.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        if raw.is_empty() { Ok(Self::everything()) } else { Ok(Self(BookPath::parse(raw)?.0)) }
    }

    /// Last segment of its path; empty for the whole book.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// Subfolder; the name is a trusted constant.
    pub(crate) fn inner(&self, name: &str) -> Self {
        Self(format!("{}/{name}", self.0))
    }

    /// Folder that contains this file.
    pub fn holding(path: &BookPath) -> Self {
        Self(path.folder().to_owned())
    }

    /// Parent folder, or `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        (!self.0.is_empty())
            .then(|| Self(self.0.rsplit_once('/').map_or(String::new(), |(up, _)| up.to_owned())))
    }

    /// Path of the folder; empty for the whole book.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Bounds `from <= path < to`, bytewise, of all paths below; `to` is `None` if there is no upper
    /// bound. Prefix queries are ranges, never `LIKE`.
    pub fn range(&self) -> (String, Option<String>) {
        if self.0.is_empty() {
            (String::new(), None)
        } else {
            // `0` is the byte after `/`.
            (format!("{}/", self.0), Some(format!("{}0", self.0)))
        }
    }
}

/// Prefix of paths: any text, not only whole folders. Restricts what is read from a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Parses a prefix; the empty one matches all paths. `None` if it has a control character, which no
    /// path has and no database could take.
    pub fn parse(raw: &str) -> Option<Self> {
        (!raw.contains(char::is_control)).then(|| Self(raw.to_owned()))
    }

    /// Prefix of all paths.
    pub fn everything() -> Self {
        Self(String::new())
    }

    /// Prefix of all pages.
    pub fn content() -> Self {
        Self("content/".to_owned())
    }

    /// Bounds `from <= path < to`, bytewise, of all paths that begin with it; `to` is `None` if there is
    /// no upper bound.
    pub fn range(&self) -> (&str, Option<String>) {
        (&self.0, successor(&self.0))
    }
}

/// The smallest text, bytewise, greater than all that begin with `prefix`: the last character that has
/// a successor is replaced by it, because UTF-8 preserves the order of characters.
fn successor(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // A range of characters skips the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

fn fault_of(raw: &str) -> Option<&'static str> {
    if raw.is_empty() {
        Some("it is empty")
    } else if raw.len() > MAX_BYTES {
        Some("it is longer than 255 bytes")
    } else if raw.starts_with('/') || raw.starts_with('~') {
        Some("it must be relative to the book: no leading `/` or `~`")
    } else if raw.chars().any(char::is_control) {
        Some("it contains a control character")
    } else if raw.contains('\\') {
        Some("it contains `\\`; segments are separated by `/`")
    } else if raw.contains('%') {
        Some("it contains `%`; write the character itself instead of an escape")
    } else if raw.split('/').any(str::is_empty) {
        Some("it has an empty segment (`//` or a trailing `/`)")
    } else if raw.split('/').any(|s| s == "." || s == "..") {
        Some("it has a `.` or `..` segment")
    } else if raw == "users" || raw.starts_with("users/") {
        Some("overlays are reached through user_id, not through a path below `users/`")
    } else if !is_nfc(raw) {
        Some("it is not in Unicode NFC")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_path_trick_is_refused() {
        let long = format!("content/{}.md", "x".repeat(255));
        for bad in [
            "",
            "/etc/passwd",
            "~/x",
            "content/../x.md",
            "..",
            "content/./x.md",
            "content//x.md",
            "content/x.md/",
            "content\\x.md",
            "content/%2e%2e/x.md",
            "content/a\0.md",
            "content/a\nb.md",
            "content/a\u{85}b.md",
            "users/eve/content/x.md",
            "users",
            "content/cafe\u{301}.md",
            &long,
        ] {
            assert!(matches!(BookPath::parse(bad), Err(Refusal::InvalidPath { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_device_of_windows_is_known_whatever_stands_behind_it() {
        let device = |s: &str| BookPath::parse(s).unwrap().windows_device().map(str::to_owned);
        for bad in ["aux.md", "AUX", "con.tar.gz", "com1.md", "Lpt9", "NUL .md", "com².md", "conin$.txt"] {
            assert_eq!(device(&format!("content/{bad}")).as_deref(), Some(bad));
            assert_eq!(device(&format!("content/{bad}/x.md")).as_deref(), Some(bad));
        }
        for good in ["auxiliary.md", "com.md", "com10.md", "com0.md", "x.aux", "console.md", "null.md"] {
            assert_eq!(device(&format!("content/{good}")), None, "{good}");
        }
    }

    #[test]
    fn paths_that_differ_by_case_fold_into_one() {
        let fold = |s: &str| BookPath::parse(s).unwrap().folded();
        assert_eq!(fold("static/img/Logo.PNG"), fold("static/img/logo.png"));
        assert_eq!(fold("content/ΟΔΟΣ.md"), fold("content/οδος.md"));
        assert_ne!(fold("static/img/a.png"), fold("static/images/a.png"));
    }

    proptest! {
        #[test]
        fn a_prefix_s_range_holds_exactly_what_begins_with_it(
            prefix in "[a\u{80}\u{d7ff}\u{10ffff}]{0,3}",
            other in "[ab\u{80}\u{e000}\u{10ffff}]{0,4}",
        ) {
            let prefix = Prefix(prefix);
            let (from, to) = prefix.range();
            let inside = other.as_str() >= from && to.is_none_or(|to| other < to);
            prop_assert_eq!(inside, other.starts_with(&prefix.0));
        }

        #[test]
        fn a_folder_s_range_holds_exactly_what_lies_below_it(
            folder in "[a-c]{1,2}(/[a-c.0-]{1,2}){0,1}",
            path in "[a-c]{1,2}(/[a-c.0-]{1,3}){0,3}",
        ) {
            prop_assume!(fault_of(&folder).is_none() && fault_of(&path).is_none());
            let (from, to) = Folder(folder.clone()).range();
            let inside = path.as_str() >= from.as_str() && to.is_none_or(|to| path.as_str() < to.as_str());
            prop_assert_eq!(inside, path.starts_with(&format!("{folder}/")));
        }
    }
}
