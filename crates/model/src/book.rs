//! Books: their ids and path schemas.

use std::fmt;

use crate::refusal::Refusal;
use crate::timestamp::Timestamp;

/// Id of a book: `^[a-z0-9-]+$`, 3–50 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BookId(String);

impl BookId {
    /// Parses a `book_id` argument.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        let plain = raw.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if plain && (3..=50).contains(&raw.len()) {
            Ok(Self(raw.to_owned()))
        } else {
            Err(Refusal::argument(
                "book_id",
                "it must be 3 to 50 characters of a-z, 0-9 and `-`, such as `ai-python`",
            ))
        }
    }

    /// Id as stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Schema of the paths that a book admits; see [`grammar`](crate::grammar).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Schema {
    /// `content/{NN-Part}/{NN-Chapter}/{NN-lesson}[.summary].md|.mdx` and index pages.
    #[default]
    Strict,
    /// Paths that Docusaurus reads below `content/`. A superset of the strict ones.
    Docusaurus,
}

impl Schema {
    /// Parses a `schema` argument.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        match raw {
            "strict" => Ok(Self::Strict),
            "docusaurus" => Ok(Self::Docusaurus),
            _ => Err(Refusal::argument("schema", "it must be `strict` or `docusaurus`")),
        }
    }

    /// Name as stored and displayed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Docusaurus => "docusaurus",
        }
    }
}

/// A book as recorded in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    /// Id of the book.
    pub id: BookId,
    /// Schema of its paths.
    pub schema: Schema,
    /// Time of its creation.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_id_is_3_to_50_plain_characters() {
        for good in ["abc", "ai-python-2", &"x".repeat(50)] {
            assert!(BookId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", "AI-python", "a_b", "a/b", "a b", "é-x", "..-", &"x".repeat(51)] {
            assert!(BookId::parse(bad).is_err(), "{bad}");
        }
    }
}
