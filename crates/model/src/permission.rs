//! Permissions of callers: scopes, and the principal that holds them. Keeps R5: a caller that is tied to
//! a user reaches no other user's overlay.
//!
//! A scope is written `read`, `write` or `admin`, for all books or, as in `write:ai-python`, for one; or
//! `overlay:any`. `admin` includes `write`, and `write` includes `read`. Scopes of a token are separated
//! by spaces (RFC 6749, section 3.3).
//!
//! # Layers
//! 1. Every caller with the scope for a book has its base; one tied to a user only reads it.
//! 2. An overlay is open to its owner, to `overlay:any`, and to `admin` of the book.

use std::collections::BTreeSet;
use std::fmt;

use crate::agent::AgentId;
use crate::book::BookId;
use crate::layer::{Layer, UserId};
use crate::refusal::Refusal;

/// Kind of act, from the least to the greatest; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Read files, lists and plans.
    Read,
    /// Change files.
    Write,
    /// Everything, all overlays and the whole audit log included.
    Admin,
}

/// One scope of a token or key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// A permission, in one book or, for `None`, in all.
    Books(Permission, Option<BookId>),
    /// The overlays of all users, within the other scopes.
    AnyOverlay,
}

/// A caller with its permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The agent, as the audit log names it.
    pub agent: AgentId,
    /// `None`: everything is permitted, because nobody authenticates.
    grants: Option<Grants>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Grants {
    scopes: Vec<Scope>,
    user: Option<UserId>,
}

impl Permission {
    /// All permissions, from the least to the greatest.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// Name in a scope.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl Scope {
    /// Parses one scope. Scopes of other programs are none of ours: `None`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "overlay:any" {
            return Some(Self::AnyOverlay);
        }
        let (name, book) = match text.split_once(':') {
            Some((name, book)) => (name, Some(BookId::parse(book).ok()?)),
            None => (text, None),
        };
        let permission = Permission::ALL.into_iter().find(|permission| permission.as_str() == name)?;
        Some(Self::Books(permission, book))
    }

    /// Parses a list of scopes, separated by spaces; unknown ones grant nothing.
    pub fn parse_list(text: &str) -> Vec<Self> {
        text.split(' ').filter_map(Self::parse).collect()
    }

    /// The list that [`parse_list`](Self::parse_list) parses.
    pub fn format_list(scopes: &[Self]) -> String {
        scopes.iter().map(Self::to_string).collect::<Vec<_>>().join(" ")
    }

    fn grants(&self, permission: Permission, book: Option<&BookId>) -> bool {
        match self {
            Self::Books(granted, None) => *granted >= permission,
            Self::Books(granted, Some(only)) => {
                *granted >= permission && book.is_none_or(|book| book == only)
            }
            Self::AnyOverlay => false,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Books(permission, None) => f.write_str(permission.as_str()),
            Self::Books(permission, Some(book)) => write!(f, "{}:{}", permission.as_str(), book.as_str()),
            Self::AnyOverlay => f.write_str("overlay:any"),
        }
    }
}

impl Principal {
    /// A caller of a server without authentication, or of this machine: everything is permitted.
    pub fn unrestricted(agent: AgentId) -> Self {
        Self { agent, grants: None }
    }

    /// An authenticated caller with these scopes, tied to a user if one is given.
    pub fn limited(agent: AgentId, scopes: Vec<Scope>, user: Option<UserId>) -> Self {
        Self { agent, grants: Some(Grants { scopes, user }) }
    }

    /// Its scopes; `None`: everything is permitted.
    pub fn scopes(&self) -> Option<&[Scope]> {
        self.grants.as_ref().map(|grants| grants.scopes.as_slice())
    }

    /// The user that it is tied to.
    pub fn user(&self) -> Option<&UserId> {
        self.grants.as_ref()?.user.as_ref()
    }

    /// True if the permission is granted in the book, or for `None` in at least one.
    pub fn may(&self, permission: Permission, book: Option<&BookId>) -> bool {
        let Some(Grants { scopes, .. }) = &self.grants else { return true };
        scopes.iter().any(|scope| scope.grants(permission, book))
    }

    /// True if the permission is granted in the book, or for `None` in the whole server.
    pub fn may_all(&self, permission: Permission, book: Option<&BookId>) -> bool {
        let Some(Grants { scopes, .. }) = &self.grants else { return true };
        let grants = |scope: &Scope| matches!(scope, Scope::Books(granted, None) if *granted >= permission);
        scopes.iter().any(grants) || (book.is_some() && self.may(permission, book))
    }

    /// The books in which the permission is granted, in order; `None`: in all.
    pub fn books(&self, permission: Permission) -> Option<BTreeSet<BookId>> {
        if self.may_all(permission, None) {
            return None;
        }
        let scopes = self.grants.iter().flat_map(|grants| &grants.scopes);
        Some(
            scopes
                .filter_map(|scope| match scope {
                    Scope::Books(granted, book) if *granted >= permission => book.clone(),
                    _ => None,
                })
                .collect(),
        )
    }

    /// Refuses a permission that is not granted in the book, or for `None` in any.
    pub fn require(&self, permission: Permission, book: Option<&BookId>) -> Result<(), Refusal> {
        if self.may(permission, book) {
            return Ok(());
        }
        Err(Refusal::Forbidden { scope: Some(Scope::Books(permission, book.cloned())) })
    }

    /// Refuses a layer of a book that is not open to this caller; for `None` one that is not open in all
    /// of its books.
    pub fn require_layer(
        &self,
        permission: Permission,
        book: Option<&BookId>,
        layer: &Layer,
    ) -> Result<(), Refusal> {
        let Some(Grants { scopes, user }) = &self.grants else { return Ok(()) };
        let is_open = match (layer, user) {
            (Layer::Base, None) => true,
            (Layer::Base, Some(_)) => permission == Permission::Read,
            (Layer::Overlay(owner), user) => user.as_ref() == Some(owner),
        };
        if is_open || self.may_all(Permission::Admin, book) || scopes.contains(&Scope::AnyOverlay) {
            return Ok(());
        }
        Err(Refusal::Forbidden { scope: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(id: &str) -> BookId {
        BookId::parse(id).unwrap()
    }

    fn agent() -> AgentId {
        AgentId::parse("writer-7").unwrap()
    }

    fn overlay(user: &str) -> Layer {
        Layer::Overlay(UserId::parse(user).unwrap())
    }

    #[test]
    fn a_scope_is_written_as_it_is_read() {
        for text in ["read", "write", "admin", "read:ai-python", "write:ai-python", "overlay:any"] {
            assert_eq!(Scope::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "READ", "openid", "read:", "read:No Book", "overlay", "overlay:eve", "write:a:b"] {
            assert_eq!(Scope::parse(text), None, "{text}");
        }
        assert_eq!(Scope::parse_list("openid read  write:ai-python").len(), 2);
    }

    #[test]
    fn a_greater_permission_includes_the_lesser_ones_and_a_book_s_scope_is_for_it_alone() {
        let writer = Principal::limited(agent(), Scope::parse_list("write:one-book"), None);
        let (one, two) = (book("one-book"), book("two-book"));
        assert!(writer.may(Permission::Read, Some(&one)) && writer.may(Permission::Write, Some(&one)));
        assert!(!writer.may(Permission::Admin, Some(&one)) && !writer.may(Permission::Read, Some(&two)));
        assert!(writer.may(Permission::Write, None) && !writer.may_all(Permission::Read, None));
        let nobody = Principal::limited(agent(), Scope::parse_list("overlay:any openid"), None);
        assert!(Permission::ALL.into_iter().all(|permission| !nobody.may(permission, None)));
        let refused = writer.require(Permission::Write, Some(&two)).unwrap_err();
        assert_eq!(refused, Refusal::Forbidden { scope: Scope::parse("write:two-book") });
    }

    #[test]
    fn r5_an_overlay_is_open_to_its_owner_to_overlay_any_and_to_admin() {
        let one = book("one-book");
        let layer = |scopes: &str, user: Option<&str>, permission, layer: &Layer| {
            let user = user.map(|user| UserId::parse(user).unwrap());
            let principal = Principal::limited(agent(), Scope::parse_list(scopes), user);
            principal.require_layer(permission, Some(&one), layer).is_ok()
        };
        let (read, write) = (Permission::Read, Permission::Write);
        assert!(layer("write", Some("eve"), write, &overlay("eve")));
        assert!(!layer("write", Some("eve"), read, &overlay("bob")));
        assert!(!layer("write", None, read, &overlay("eve")));
        assert!(layer("write overlay:any", None, write, &overlay("eve")));
        assert!(layer("admin", None, write, &overlay("eve")));
        assert!(layer("admin:one-book", Some("bob"), write, &overlay("eve")));
        assert!(!layer("admin:two-book", None, write, &overlay("eve")));
        assert!(layer("read", Some("eve"), read, &Layer::Base));
        assert!(!layer("write", Some("eve"), write, &Layer::Base));
        assert!(layer("write", None, write, &Layer::Base));
        let admin = Principal::limited(agent(), Scope::parse_list("admin:one-book"), None);
        assert!(admin.require_layer(read, None, &overlay("eve")).is_err(), "not in all books");
    }
}
