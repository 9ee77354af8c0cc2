//! The contract suites: what every engine and every fake must do (I11). Each sentence is one
//! function named as what it proves, with the number of the invariant it proves.
//!
//! # Use
//! ```ignore
//! use panaversity_testkit::{contract::Setup, journal_contract};
//!
//! async fn sqlite() -> Setup {
//!     let folder = tempfile::tempdir().unwrap();
//!     let journal = Sqlite::open(folder.path()).await.unwrap();
//!     Setup::new(Arc::new(journal), folder)
//! }
//! journal_contract!(sqlite);
//! ```
//! Every sentence uses a book of its own, so the journals of one process may share a database.
//! Sentences about what all books share (the backlog, damaged blobs) run alone; they keep apart
//! only within a process, so under `cargo nextest` each setup needs its own database.

pub mod audit;
pub mod audit_log;
pub mod blobs;
pub mod books;
pub mod changes;
pub mod deltas;
pub mod files;
mod fixture;
pub mod gc;
pub mod inventory;
pub mod manifests;
pub mod names;
pub mod objects;
pub mod publications;
pub mod races;
pub mod random;
pub mod sets;
mod suites;
pub mod tree;
pub mod upload_store;
pub mod uploads;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use panaversity_model::ports::{Journal, Objects, Parts, Tree, UploadStore};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use fixture::{ContractFixture, run_concurrently};

/// What a setup keeps alive until the sentence ends: a temporary folder, a database to drop.
pub type Guard = Box<dyn Any + Send + Sync>;

type Expire = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A journal to be tested.
pub struct Setup {
    /// The journal.
    pub journal: Arc<dyn Journal>,
    expire_leases: Option<Expire>,
    _guard: Guard,
}

impl Setup {
    /// A journal, and what it lives on.
    pub fn new(journal: Arc<dyn Journal>, guard: impl Any + Send + Sync) -> Self {
        Self { journal, expire_leases: None, _guard: Box::new(guard) }
    }

    /// Tells how to make every lease held now expire without waiting for it. Without this the
    /// sentences about expiry say nothing.
    #[must_use]
    pub fn expiring_leases<F>(mut self, expire: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.expire_leases = Some(Box::new(move || Box::pin(expire())));
        self
    }

    /// Lets every lease expire; false if the setup does not know how.
    pub(crate) async fn expire_leases(&self) -> bool {
        match &self.expire_leases {
            Some(expire) => {
                expire().await;
                true
            }
            None => false,
        }
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Setup({})", self.journal.backend())
    }
}

/// An object storage to be tested.
pub struct ObjectsSetup {
    /// The storage.
    pub objects: Arc<dyn Objects>,
    _guard: Guard,
}

impl ObjectsSetup {
    /// A storage, and what it lives on.
    pub fn new(objects: Arc<dyn Objects>, guard: impl Any + Send + Sync) -> Self {
        Self { objects, _guard: Box::new(guard) }
    }
}

/// An inbox to be tested.
pub struct InboxSetup {
    /// The inbox.
    pub inbox: Arc<dyn UploadStore>,
    _guard: Guard,
}

impl InboxSetup {
    /// An inbox, and what it lives on.
    pub fn new(inbox: Arc<dyn UploadStore>, guard: impl Any + Send + Sync) -> Self {
        Self { inbox, _guard: Box::new(guard) }
    }
}

/// All bytes of what was opened, if anything was.
pub async fn whole(parts: Option<Parts>) -> Option<Vec<u8>> {
    let (mut parts, mut bytes) = (parts?, Vec::new());
    while let Some(part) = parts.next().await.unwrap() {
        assert!(part.len() <= 4 << 20, "a part has a few MiB at most");
        bytes.extend(part);
    }
    Some(bytes)
}

type Look = Box<dyn Fn() -> BTreeMap<String, Vec<u8>> + Send + Sync>;

/// A tree to be tested.
pub struct TreeSetup {
    /// The tree.
    pub tree: Arc<dyn Tree>,
    look: Look,
    _guard: Guard,
}

impl TreeSetup {
    /// A tree, how to see all its files by their location below the root (such as
    /// `books/ai-python/content/README.md`), and what it lives on.
    pub fn new(
        tree: Arc<dyn Tree>,
        look: impl Fn() -> BTreeMap<String, Vec<u8>> + Send + Sync + 'static,
        guard: impl Any + Send + Sync,
    ) -> Self {
        Self { tree, look: Box::new(look), _guard: Box::new(guard) }
    }

    /// Everything the tree holds.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        (self.look)()
    }
}

static TURN: RwLock<()> = RwLock::const_new(());

/// The turn of a sentence that minds its own book.
pub async fn shared() -> RwLockReadGuard<'static, ()> {
    TURN.read().await
}

/// The turn of a sentence about what all books share.
pub async fn exclusive() -> RwLockWriteGuard<'static, ()> {
    TURN.write().await
}
