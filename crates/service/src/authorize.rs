//! Authorization: what the caller of a call may reach, as types. Keeps R5.
//!
//! 1. A call whose operation its caller may do nowhere is refused before it begins.
//! 2. A use case takes the access that it needs as an argument: [`ReadAccess`] or [`WriteAccess`] to one
//!    layer of one book, [`SearchAccess`] to one book or all that the caller may read, [`AuditAccess`] to
//!    entries of the log, [`VerifyAccess`] to its chains. Only the methods here make them, after checking the caller's permission, so no
//!    use case can be called past them.
//!
//! The check precedes every look into the store: a refusal does not tell whether the book exists.

use std::collections::BTreeSet;
use std::ops::Deref;

use panaversity_model::audit::Operation;
use panaversity_model::permission::{Permission, Principal, Scope};
use panaversity_model::publication::FileKey;
use panaversity_model::{AgentId, BookId, BookPath, Layer, Refusal, View};

use crate::call::Call;

/// Permission to read one layer of one book, and the base below it.
#[derive(Debug, Clone)]
pub struct ReadAccess {
    book: BookId,
    layer: Layer,
}

/// Permission to change, and to read, one layer of one book.
#[derive(Debug, Clone)]
pub struct WriteAccess {
    read: ReadAccess,
    may_create: bool,
}

/// Permission to search one book, or all books that the caller may read.
#[derive(Debug, Clone)]
pub struct SearchAccess {
    book: Option<BookId>,
    layer: Layer,
    principal: Principal,
}

/// Permission to read entries of the audit log about one layer: all of them, or the caller's own.
#[derive(Debug, Clone)]
pub struct AuditAccess {
    book: Option<BookId>,
    layer: Layer,
    /// The agent whose entries alone may be read.
    only: Option<AgentId>,
}

/// Permission to verify the chains of one layer, of a book or of all.
#[derive(Debug, Clone)]
pub struct VerifyAccess {
    book: Option<BookId>,
    layer: Layer,
}

impl ReadAccess {
    /// The book.
    pub fn book(&self) -> &BookId {
        &self.book
    }

    /// The file of the layer at a path.
    pub(crate) fn file(&self, path: &BookPath) -> FileKey {
        FileKey { book: self.book.clone(), path: path.clone(), layer: self.layer.clone() }
    }

    /// The layer.
    pub fn layer(&self) -> &Layer {
        &self.layer
    }

    /// The layer with the base below it.
    pub fn view(&self) -> View {
        self.layer.view()
    }
}

impl Deref for WriteAccess {
    type Target = ReadAccess;

    fn deref(&self) -> &ReadAccess {
        &self.read
    }
}

impl WriteAccess {
    /// True if a write may create the book: the caller may change its base.
    pub(crate) fn may_create(&self) -> bool {
        self.may_create
    }
}

impl SearchAccess {
    /// The book; `None`: all that the caller may read.
    pub(crate) fn book(&self) -> Option<&BookId> {
        self.book.as_ref()
    }

    pub(crate) fn view(&self) -> View {
        self.layer.view()
    }

    /// The books to search, in order; `None`: all there are.
    pub(crate) fn books(&self) -> Option<BTreeSet<BookId>> {
        match &self.book {
            Some(book) => Some(BTreeSet::from([book.clone()])),
            None => self.principal.books(Permission::Read),
        }
    }
}

impl AuditAccess {
    /// The book; `None`: all, and the calls about none.
    pub(crate) fn book(&self) -> Option<&BookId> {
        self.book.as_ref()
    }

    /// The layer.
    pub(crate) fn layer(&self) -> &Layer {
        &self.layer
    }

    /// The agent whose entries alone may be read; `None`: all may.
    pub(crate) fn only(&self) -> Option<&AgentId> {
        self.only.as_ref()
    }
}

impl VerifyAccess {
    /// The book; `None`: all, and the calls about none.
    pub(crate) fn book(&self) -> Option<&BookId> {
        self.book.as_ref()
    }

    /// The layer.
    pub(crate) fn layer(&self) -> &Layer {
        &self.layer
    }
}

/// Least permission with which an operation may be asked for.
pub fn permission_for(operation: Operation) -> Permission {
    match operation {
        Operation::Write
        | Operation::Edit
        | Operation::Delete
        | Operation::Move
        | Operation::Restore
        | Operation::Apply
        | Operation::Upload
        | Operation::Create => Permission::Write,
        Operation::Verify => Permission::Admin,
        _ => Permission::Read,
    }
}

impl Call {
    /// Refuses a call that its caller may make in no book.
    pub(crate) fn authorize(&self) -> Result<(), Refusal> {
        self.caller.principal.require(permission_for(self.operation), None)
    }

    /// Permission to read a layer of a book.
    pub fn may_read(&mut self, book: BookId, layer: Layer) -> Result<ReadAccess, Refusal> {
        self.access(Permission::Read, book, layer)
    }

    /// Permission to change a layer of a book.
    pub fn may_write(&mut self, book: BookId, layer: Layer) -> Result<WriteAccess, Refusal> {
        let read = self.access(Permission::Write, book, layer)?;
        let base = self.caller.principal.require_layer(Permission::Write, Some(&read.book), &Layer::Base);
        Ok(WriteAccess { read, may_create: base.is_ok() })
    }

    /// Permission to search a book, or for `None` all that the caller may read.
    pub fn may_search(&mut self, book: Option<BookId>, layer: Layer) -> Result<SearchAccess, Refusal> {
        let principal = self.caller.principal.clone();
        if let Some(book) = book {
            let ReadAccess { book, layer } = self.access(Permission::Read, book, layer)?;
            return Ok(SearchAccess { book: Some(book), layer, principal });
        }
        principal.require(Permission::Read, None)?;
        principal.require_layer(Permission::Read, None, &layer)?;
        self.layer = layer.clone();
        Ok(SearchAccess { book: None, layer, principal })
    }

    /// Permission to read the audit log: with `admin` all entries, else one's own.
    pub fn may_audit(&mut self, book: Option<BookId>, layer: Layer) -> Result<AuditAccess, Refusal> {
        let principal = &self.caller.principal;
        principal.require(Permission::Read, book.as_ref())?;
        principal.require_layer(Permission::Read, book.as_ref(), &layer)?;
        let is_admin = principal.may_all(Permission::Admin, book.as_ref());
        let only = (!is_admin).then(|| principal.agent.clone());
        (self.book, self.layer) = (book.clone(), layer.clone());
        Ok(AuditAccess { book, layer, only })
    }

    /// Permission to verify the chains of a layer, of a book or of all.
    pub fn may_verify(&mut self, book: Option<BookId>, layer: Layer) -> Result<VerifyAccess, Refusal> {
        let principal = &self.caller.principal;
        let needed = Permission::Admin;
        if !principal.may_all(needed, book.as_ref()) {
            return Err(Refusal::Forbidden { scope: Some(Scope::Books(needed, book)) });
        }
        (self.book, self.layer) = (book.clone(), layer.clone());
        Ok(VerifyAccess { book, layer })
    }

    /// Permission to read what a signed link names: it was checked when the link was given.
    pub fn linked(&mut self, book: BookId, layer: Layer) -> ReadAccess {
        (self.book, self.layer) = (Some(book.clone()), layer.clone());
        ReadAccess { book, layer }
    }

    fn access(&mut self, permission: Permission, book: BookId, layer: Layer) -> Result<ReadAccess, Refusal> {
        let principal = &self.caller.principal;
        principal.require(permission, Some(&book))?;
        principal.require_layer(permission, Some(&book), &layer)?;
        (self.book, self.layer) = (Some(book.clone()), layer.clone());
        Ok(ReadAccess { book, layer })
    }
}
