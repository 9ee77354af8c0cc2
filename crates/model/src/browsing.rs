//! What a reader browses: the children of one folder, and the changes of a book by time. Each is read in
//! pages whose cost the size of the book does not decide.

use crate::book::BookId;
use crate::file::FileRecord;
use crate::ids::ChangeId;
use crate::layer::Layer;
use crate::path::{BookPath, Folder};
use crate::refusal::Refusal;
use crate::timestamp::Timestamp;

/// Child of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FolderChild {
    /// A folder that has files somewhere below it.
    Folder(Folder),
    /// A file.
    File(FileRecord),
}

impl FolderChild {
    /// Its position among its siblings.
    pub fn position(&self) -> ChildPosition {
        match self {
            Self::Folder(folder) => ChildPosition(format!("{}/", folder.as_str())),
            Self::File(record) => ChildPosition(record.path.as_str().to_owned()),
        }
    }
}

/// Position of a child among its siblings, which are in the bytewise order of their paths; the path of a
/// folder counts with a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChildPosition(String);

impl ChildPosition {
    /// Parses the path of a child, with a slash at the end if it is a folder.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        BookPath::parse(raw.strip_suffix('/').unwrap_or(raw))?;
        Ok(Self(raw.to_owned()))
    }

    /// The path, with a slash at the end if it is a folder's.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Exclusive lower bound of the paths of later siblings.
    pub fn bound(&self) -> String {
        // Every path sorts below `\u{10ffff}`.
        if self.0.ends_with('/') { format!("{}{}", self.0, char::MAX) } else { self.0.clone() }
    }
}

/// Selection of audit entries that changed files of one layer of a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeFilter {
    /// The book.
    pub book: BookId,
    /// The layer.
    pub layer: Layer,
    /// Earliest time, inclusive.
    pub from: Timestamp,
    /// Latest time, inclusive.
    pub to: Timestamp,
    /// The change set; `None`: all.
    pub change: Option<ChangeId>,
}

/// Number of changes on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayCount {
    /// Days since 1970-01-01, in UTC.
    pub day: i64,
    /// The changes.
    pub changes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_lies_behind_all_that_its_folder_holds() {
        let folder = ChildPosition::parse("content/a/").unwrap();
        for (path, is_later) in [
            ("content/a/z/9.md", false),
            ("content/a!.md", false),
            ("content/a0.md", true),
            ("content/b", true),
        ] {
            assert_eq!(path > folder.bound().as_str(), is_later, "{path}");
        }
        let file = ChildPosition::parse("content/a.md").unwrap();
        assert_eq!(file.bound(), "content/a.md");
        for bad in ["", "/", "content//", "../x", "a\u{0}"] {
            assert!(ChildPosition::parse(bad).is_err(), "{bad:?}");
        }
    }
}
