//! Fault injection for any port call, for the crash matrix: run an operation once to record its
//! calls, then once more for each of them and each [`FaultMode`], and check the result (I9, I10).
//!
//! Calls are numbered from 0 in the order they are made, over every port that shares the hook. Only
//! calls that can fail are counted; `backend()` is not.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use panaversity_model::fault::FaultKind;
use panaversity_model::ids::UploadId;
use panaversity_model::ports::{ByteStream, Objects, PageStream, Staging, Tree, UploadStore, UploadWriter};
use panaversity_model::publication::FileKey;
use panaversity_model::storage_listing::{ObjectEntry, TreeEntry, TreePath};
use panaversity_model::upload::{Permit, SignedPut, UploadEntry};
use panaversity_model::{BookId, ContentHash, Fault};

/// Way in which a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultMode {
    /// A fault is returned and nothing was done.
    FailBefore,
    /// The call was carried out, but a fault is returned; for a commit, one that says so.
    FailAfter,
    /// The process dies before the call: neither it nor any later one is carried out.
    VanishBefore,
    /// The process dies after the call: it was carried out, no later one is.
    VanishAfter,
    /// The call never ends, and nothing was done.
    Hang,
}

impl FaultMode {
    /// Every way to fail that ends, for a matrix.
    pub const ALL: [Self; 4] = [Self::FailBefore, Self::FailAfter, Self::VanishBefore, Self::VanishAfter];
}

/// The hook that counts and breaks calls; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    plan: Arc<Mutex<FaultPlan>>,
}

#[derive(Debug, Default)]
struct FaultPlan {
    calls: Vec<&'static str>,
    armed: Option<(usize, FaultMode)>,
    vanished: bool,
    side_by_side: bool,
}

impl Faults {
    /// A hook that breaks nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Breaks call number `call`, counted from the last [`reset`](Self::reset).
    pub fn arm(&self, call: usize, failure: FaultMode) {
        self.plan().armed = Some((call, failure));
    }

    /// From now on, until the next reset, each call yields to other tasks, as real engines do, so
    /// that concurrent callers interleave.
    pub fn side_by_side(&self) {
        self.plan().side_by_side = true;
    }

    /// The calls since the last reset, such as `journal.commit`, in order.
    pub fn calls(&self) -> Vec<&'static str> {
        self.plan().calls.clone()
    }

    /// Simulates a new process: calls work again.
    pub fn revive(&self) {
        let mut plan = self.plan();
        plan.vanished = false;
        plan.armed = None;
    }

    /// Clears the recorded calls and all settings.
    pub fn reset(&self) {
        *self.plan() = FaultPlan::default();
    }

    fn plan(&self) -> MutexGuard<'_, FaultPlan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a call and returns its failure, if it has one.
    fn enter(&self, name: &'static str) -> Option<FaultMode> {
        let mut plan = self.plan();
        let number = plan.calls.len();
        plan.calls.push(name);
        if plan.vanished {
            return Some(FaultMode::VanishBefore);
        }
        let failure = plan.armed.filter(|(call, _)| *call == number).map(|(_, failure)| failure);
        plan.vanished = matches!(failure, Some(FaultMode::VanishBefore | FaultMode::VanishAfter));
        failure
    }

    pub(crate) async fn pass<T>(
        &self,
        name: &'static str,
        kind: FaultKind,
        call: impl Future<Output = Result<T, Fault>> + Send,
    ) -> Result<T, Fault> {
        match self.enter(name) {
            None => {
                if self.plan().side_by_side {
                    tokio::task::yield_now().await;
                }
                call.await
            }
            Some(FaultMode::FailBefore | FaultMode::VanishBefore) => {
                Err(Fault::new(kind, format!("{name} was made to fail")))
            }
            Some(FaultMode::Hang) => std::future::pending().await,
            Some(FaultMode::FailAfter | FaultMode::VanishAfter) => {
                call.await?;
                let fault = Fault::new(kind, format!("{name} was made to lose its answer"));
                Err(if name == "journal.commit" { fault.with_unknown_outcome() } else { fault })
            }
        }
    }
}

/// An object storage with fault injection.
pub struct FaultyObjects {
    inner: Arc<dyn Objects>,
    faults: Faults,
}

/// A tree with fault injection.
pub struct FaultyTree {
    inner: Arc<dyn Tree>,
    faults: Faults,
}

/// An upload store with fault injection.
pub struct FaultyUploadStore {
    inner: Arc<dyn UploadStore>,
    faults: Faults,
}

/// A list with fault injection for its pages.
fn faulty_pages<T: Send + 'static>(
    inner: PageStream<T>,
    faults: &Faults,
    name: &'static str,
) -> PageStream<T> {
    let faults = faults.clone();
    let next = move |mut inner: PageStream<T>| {
        let faults = faults.clone();
        async move {
            let page = faults.pass(name, FaultKind::Storage, inner.try_next()).await?;
            Ok(page.map(|page| (page, inner)))
        }
    };
    stream::try_unfold(inner, next).boxed()
}

/// A writer with fault injection for each part.
struct FaultyWriter<W: ?Sized> {
    inner: Box<W>,
    faults: Faults,
}

#[async_trait]
impl Staging for FaultyWriter<dyn Staging> {
    async fn write(&mut self, part: &[u8]) -> Result<(), Fault> {
        self.faults.pass("staging.write", FaultKind::Storage, self.inner.write(part)).await
    }

    async fn promote(self: Box<Self>, hash: ContentHash) -> Result<(), Fault> {
        let Self { inner, faults } = *self;
        faults.pass("staging.promote", FaultKind::Storage, inner.promote(hash)).await
    }
}

#[async_trait]
impl UploadWriter for FaultyWriter<dyn UploadWriter> {
    async fn write(&mut self, part: &[u8]) -> Result<(), Fault> {
        self.faults.pass("receiving.write", FaultKind::Storage, self.inner.write(part)).await
    }

    async fn finish(self: Box<Self>) -> Result<(), Fault> {
        let Self { inner, faults } = *self;
        faults.pass("receiving.finish", FaultKind::Storage, inner.finish()).await
    }
}

/// A port's return value that has calls of its own.
trait Breakable: Sized {
    /// Wraps the value with fault injection; `name` is the call that returned it.
    fn behind(self, faults: &Faults, name: &'static str) -> Self;
}

impl Breakable for Box<dyn Staging> {
    fn behind(self, faults: &Faults, _: &'static str) -> Self {
        Box::new(FaultyWriter { inner: self, faults: faults.clone() })
    }
}

impl Breakable for Box<dyn UploadWriter> {
    fn behind(self, faults: &Faults, _: &'static str) -> Self {
        Box::new(FaultyWriter { inner: self, faults: faults.clone() })
    }
}

impl Breakable for Option<ByteStream> {
    fn behind(self, faults: &Faults, name: &'static str) -> Self {
        self.map(|inner| faulty_pages(inner, faults, name))
    }
}

/// Implements a port by passing every call through the hook.
macro_rules! faulty {
    (
        $port:ident for $wrapper:ident, $prefix:literal;
        $(fn $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*
        $(called fn $opening:ident($($given:ident: $given_type:ty),*) -> $opened:ty;)*
        $(pages fn $list:ident($($by:ident: $by_type:ty),*) -> $entry:ty;)*
        $(plain fn $plain:ident($($with:ident: $with_type:ty),*) -> $value:ty;)*
    ) => {
        #[async_trait]
        impl $port for $wrapper {
            $(async fn $method(&self, $($argument: $type),*) -> Result<$answer, Fault> {
                let name = concat!($prefix, ".", stringify!($method));
                self.pass(name, self.inner.$method($($argument),*)).await
            })*
            $(async fn $opening(&self, $($given: $given_type),*) -> Result<$opened, Fault> {
                let name = concat!($prefix, ".", stringify!($opening));
                let opened = self.pass(name, self.inner.$opening($($given),*)).await?;
                Ok(opened.behind(&self.faults, concat!($prefix, ".", stringify!($opening), ".next")))
            })*
            $(fn $list(&self, $($by: $by_type),*) -> PageStream<$entry> {
                let name = concat!($prefix, ".", stringify!($list));
                faulty_pages(self.inner.$list($($by),*), &self.faults, name)
            })*
            $(fn $plain(&self, $($with: $with_type),*) -> $value {
                self.inner.$plain($($with),*)
            })*
        }
    };
    (new $wrapper:ident over $port:ident) => {
        impl $wrapper {
            /// Wraps a port; clones of one hook may serve several ports.
            pub fn new(inner: Arc<dyn $port>, faults: &Faults) -> Self {
                Self { inner, faults: faults.clone() }
            }

            async fn pass<T>(
                &self,
                name: &'static str,
                call: impl Future<Output = Result<T, Fault>> + Send,
            ) -> Result<T, Fault> {
                self.faults.pass(name, FaultKind::Storage, call).await
            }
        }
    };
}

pub(crate) use faulty;

faulty! { new FaultyObjects over Objects }
faulty! { new FaultyTree over Tree }
faulty! { new FaultyUploadStore over UploadStore }

faulty! { Objects for FaultyObjects, "objects";
    fn put(hash: ContentHash, bytes: &[u8]) -> ();
    fn stat(hash: ContentHash) -> Option<u64>;
    fn get(hash: ContentHash, range: Range<u64>) -> Option<Vec<u8>>;
    fn delete(hash: ContentHash) -> ();
    called fn stage() -> Box<dyn Staging>;
    pages fn list_objects() -> ObjectEntry;
}
faulty! { Tree for FaultyTree, "tree";
    fn put(key: &FileKey, bytes: &[u8]) -> ();
    fn put_parts(key: &FileKey, parts: ByteStream, size: u64) -> ();
    fn remove(key: &FileKey) -> ();
    fn sync() -> ();
    fn set_aside(spot: &TreePath, folder: &str) -> bool;
    fn ping() -> ();
    called fn open(spot: &TreePath) -> Option<ByteStream>;
    pages fn list_files(book: Option<&BookId>) -> TreeEntry;
    plain fn backend() -> &'static str;
}
faulty! { UploadStore for FaultyUploadStore, "upload_store";
    fn presign(id: UploadId, permit: &Permit) -> Option<SignedPut>;
    fn arrived(id: UploadId) -> Option<u64>;
    fn discard(id: UploadId) -> ();
    fn sweep(seen: &UploadEntry) -> ();
    called fn receive(id: UploadId) -> Box<dyn UploadWriter>;
    called fn open(id: UploadId) -> Option<ByteStream>;
    pages fn list_arrived() -> UploadEntry;
}
