//! Layers: the base of a book and the private overlays above it. Keeps R5: a view contains the base
//! and at most its owner's overlay, so it cannot name any other overlay.

use std::fmt;

use crate::refusal::Refusal;

/// Value of the `user_id` column for the base.
pub const BASE: &str = "__base__";

/// Owner of an overlay: `^[a-zA-Z0-9_-]+$`, 1–100 characters, never `__base__`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(String);

impl UserId {
    /// Parses a `user_id` argument.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        let plain = raw.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if raw == BASE {
            Err(Refusal::argument("user_id", "`__base__` is the shared book: leave user_id out to use it"))
        } else if plain && (1..=100).contains(&raw.len()) {
            Ok(Self(raw.to_owned()))
        } else {
            Err(Refusal::argument("user_id", "it must be 1 to 100 characters of a-z, A-Z, 0-9, `_` and `-`"))
        }
    }

    /// Id as stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Layer of a book in which a file is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Shared content of the book, visible to all readers.
    Base,
    /// Private changes of one user.
    Overlay(UserId),
}

impl Layer {
    /// Layer written by a call with this `user_id`.
    pub fn of(user: Option<UserId>) -> Self {
        user.map_or(Self::Base, Self::Overlay)
    }

    /// View in which this layer takes precedence.
    pub fn view(&self) -> View {
        View { top: self.clone() }
    }

    /// Parses a stored `user_id` column.
    pub fn from_stored(text: &str) -> Result<Self, Refusal> {
        if text == BASE { Ok(Self::Base) } else { UserId::parse(text).map(Self::Overlay) }
    }

    /// Value of the `user_id` column: `__base__` or the owner.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Base => BASE,
            Self::Overlay(user) => user.as_str(),
        }
    }

    /// `base` or `overlay`, as named in results.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Overlay(_) => "overlay",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A reader's view: the base, with the reader's own overlay above it if a user is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    top: Layer,
}

impl View {
    /// View of a call with this `user_id`.
    pub fn of(user: Option<UserId>) -> Self {
        Self { top: Layer::of(user) }
    }

    /// View of the base alone.
    pub fn base() -> Self {
        Self { top: Layer::Base }
    }

    /// Layer that takes precedence where it has a file.
    pub fn top(&self) -> &Layer {
        &self.top
    }

    /// Owner of the overlay, if there is one.
    pub fn user(&self) -> Option<&UserId> {
        match &self.top {
            Layer::Base => None,
            Layer::Overlay(user) => Some(user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_never_a_user() {
        assert!(UserId::parse(BASE).is_err());
        assert!(UserId::parse("").is_err());
        assert!(UserId::parse("a/b").is_err());
        assert!(UserId::parse(&"u".repeat(101)).is_err());
        assert_eq!(UserId::parse("Student_9").unwrap().as_str(), "Student_9");
    }
}
