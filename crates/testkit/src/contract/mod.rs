//! Contract test suites: the behavior that every engine and every fake must have (I11). Each test
//! is one function named after the property it proves, with the number of the invariant.
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
//! Every test uses a book of its own, so the journals of one process may share a database. Tests of
//! state that all books share (the backlog, damaged blobs) run alone; that is guaranteed only
//! within a process, so under `cargo nextest` each setup needs its own database.

pub mod audit;
pub mod audit_log;
pub mod blobs;
pub mod books;
pub mod browsing;
pub mod changes;
pub mod deltas;
pub mod feed;
pub mod files;
mod fixture;
pub mod gc;
pub mod inventory;
pub mod manifests;
pub mod names;
pub mod objects;
pub mod overlays;
pub mod publications;
pub mod races;
pub mod random;
pub mod sets;
mod suites;
pub mod tree;
pub mod upload_store;
pub mod uploads;
pub mod versions;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use futures::TryStreamExt;
use panaversity_model::ports::{ByteStream, Journal, Objects, Tree, UploadStore};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use fixture::{ContractFixture, run_concurrently};

/// Resources of a setup that are released when the test ends: a temporary folder, a database to
/// drop.
pub type ContractGuard = Box<dyn Any + Send + Sync>;

type Expire = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A journal to be tested.
pub struct Setup {
    /// The journal.
    pub journal: Arc<dyn Journal>,
    expire_leases: Option<Expire>,
    _guard: ContractGuard,
}

impl Setup {
    /// A journal, and the resources it needs.
    pub fn new(journal: Arc<dyn Journal>, guard: impl Any + Send + Sync) -> Self {
        Self { journal, expire_leases: None, _guard: Box::new(guard) }
    }

    /// Sets the function that makes every current lease expire without waiting. Without it the
    /// tests of expiry are skipped.
    #[must_use]
    pub fn expiring_leases<F>(mut self, expire: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.expire_leases = Some(Box::new(move || Box::pin(expire())));
        self
    }

    /// Makes every lease expire; returns false if the setup has no function for it.
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
    _guard: ContractGuard,
}

impl ObjectsSetup {
    /// A storage, and the resources it needs.
    pub fn new(objects: Arc<dyn Objects>, guard: impl Any + Send + Sync) -> Self {
        Self { objects, _guard: Box::new(guard) }
    }
}

/// An upload store to be tested.
pub struct UploadStoreSetup {
    /// The upload store.
    pub upload_store: Arc<dyn UploadStore>,
    _guard: ContractGuard,
}

impl UploadStoreSetup {
    /// An upload store, and the resources it needs.
    pub fn new(upload_store: Arc<dyn UploadStore>, guard: impl Any + Send + Sync) -> Self {
        Self { upload_store, _guard: Box::new(guard) }
    }
}

/// All bytes of an opened file, if there is one.
pub async fn whole(parts: Option<ByteStream>) -> Option<Vec<u8>> {
    let (mut parts, mut bytes) = (parts?, Vec::new());
    while let Some(part) = parts.try_next().await.unwrap() {
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
    _guard: ContractGuard,
}

impl TreeSetup {
    /// A tree, a function that returns all its files by their location below the root (such as
    /// `books/ai-python/content/README.md`), and the resources it needs.
    pub fn new(
        tree: Arc<dyn Tree>,
        look: impl Fn() -> BTreeMap<String, Vec<u8>> + Send + Sync + 'static,
        guard: impl Any + Send + Sync,
    ) -> Self {
        Self { tree, look: Box::new(look), _guard: Box::new(guard) }
    }

    /// All files of the tree.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        (self.look)()
    }
}

static TURN: RwLock<()> = RwLock::const_new(());

/// Shared lock of a test that touches only its own book.
pub async fn shared() -> RwLockReadGuard<'static, ()> {
    TURN.read().await
}

/// Exclusive lock of a test of state that all books share.
pub async fn exclusive() -> RwLockWriteGuard<'static, ()> {
    TURN.write().await
}
