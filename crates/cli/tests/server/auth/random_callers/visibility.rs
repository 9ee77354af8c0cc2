//! The model of R5: what a caller may see, written from the contract and not from the server's code.

use super::dice::Dice;
use super::library::{Library, Marker, Owner};

/// A caller: scopes as its token lists them, and the user it is tied to.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) agent: String,
    pub(super) scopes: Vec<String>,
    pub(super) user: Option<String>,
    pub(super) identity: Identity,
}

/// How a caller identifies itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// By a valid token.
    Token,
    /// By a token of another key.
    Forged,
    /// Not at all.
    Nothing,
}

impl Caller {
    /// A random caller; most have a valid token, some scopes and, half of them, a user.
    pub(super) fn random(library: &Library, dice: &mut Dice, agent: String) -> Self {
        let identity = match dice.below(20) {
            18 => Identity::Forged,
            19 => Identity::Nothing,
            _ => Identity::Token,
        };
        let mut scopes = Vec::new();
        for _ in 0..=dice.below(3) {
            let name = *dice.pick(&["read", "read", "write", "write", "admin", "overlay:any"]);
            let is_general = name == "overlay:any" || dice.below(4) == 3;
            let book = if is_general { String::new() } else { format!(":{}", dice.pick(&library.books)) };
            scopes.push(format!("{name}{book}"));
        }
        let user = dice.often(50).then(|| dice.pick(&library.users).clone());
        Self { agent, scopes, user, identity }
    }

    /// A caller that is not known.
    pub(super) fn nobody() -> Self {
        Self { agent: String::new(), scopes: Vec::new(), user: None, identity: Identity::Nothing }
    }

    /// True if a scope of at least this permission covers the book.
    pub(super) fn may(&self, permission: &str, book: &str) -> bool {
        let includes: &[&str] = match permission {
            "read" => &["read", "write", "admin"],
            _ => &["admin"],
        };
        let covers = |scope: &String| match scope.split_once(':') {
            None => includes.contains(&scope.as_str()),
            Some((name, only)) => includes.contains(&name) && only == book,
        };
        self.identity == Identity::Token && self.scopes.iter().any(covers)
    }

    /// True if the caller may administer every book, and so read entries about none.
    pub(super) fn is_admin_of_all(&self) -> bool {
        self.identity == Identity::Token && self.scopes.iter().any(|scope| scope == "admin")
    }

    fn reaches_overlay(&self, book: &str, user: &str) -> bool {
        let is_own = self.user.as_deref() == Some(user);
        let reaches_any = self.scopes.iter().any(|scope| scope == "overlay:any");
        self.may("read", book) && (is_own || reaches_any || self.may("admin", book))
    }

    /// True if an answer to this caller may contain the marker.
    pub(super) fn sees(&self, library: &Library, marker: &Marker) -> bool {
        match &marker.owner {
            Owner::Base(book) => self.may("read", book),
            Owner::Overlay(book, user) => self.reaches_overlay(book, user),
            Owner::User(user) => {
                let mut overlays = library.overlays.iter().filter(|(_, owner)| owner == user);
                self.user.as_ref() == Some(user) || overlays.any(|(book, _)| self.reaches_overlay(book, user))
            }
        }
    }
}
