//! Test fixture: a private journal and fakes of the storage with fault injection in front of them, a book,
//! and servers that start and stop. Support for all tests of the service; it proves nothing by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use panaversity_model::audit::Operation;
use panaversity_model::change::{Applied, Change};
use panaversity_model::ids::UploadId;
use panaversity_model::permission::Principal;
use panaversity_model::ports::{Clock, Objects, Publications, Tree};
use panaversity_model::precondition::Effect;
use panaversity_model::{Book, BookId, BookPath, ContentHash, Error, ErrorCode, Layer, Schema};
use panaversity_service::authorize::WriteAccess;
use panaversity_service::call::EndedCall;
use panaversity_service::commit::NewContent;
use panaversity_service::read::{FileContent, FileRead, ReadFile};
use panaversity_service::uploads::{Announce, Announcement};
use panaversity_service::write::Write;
use panaversity_service::{Call, Engines, Limits, Service};
use panaversity_testkit::samples::{agent, book, key, overlay};
use panaversity_testkit::{
    Faults, FaultyObjects, FaultyTree, FaultyUploadStore, MemoryObjects, MemoryUploadStore, TestClock,
    TestIds, TestJournal,
};

use crate::trees::FragileTree;

/// Small inline limit, so that small texts become objects.
pub(crate) const LIMITS: Limits =
    Limits { inline_bytes: 64, direct_bytes: 10 << 20, asset_bytes: 100 << 20, publish_overlays: true };
/// Longest time that health checks in these tests wait for an engine.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// Agent of the calls in these tests.
pub(crate) const AGENT: &str = "writer-7";

/// Content of files, by layer and path.
pub(crate) type Files = BTreeMap<(Layer, BookPath), Vec<u8>>;

/// A private journal, the fakes of the storage, and a book that does not exist yet.
pub(crate) struct ServiceFixture {
    pub(crate) journal: TestJournal,
    pub(crate) objects: Arc<MemoryObjects>,
    pub(crate) upload_store: Arc<MemoryUploadStore>,
    pub(crate) tree: Arc<FragileTree>,
    pub(crate) faults: Faults,
    pub(crate) book: BookId,
}

impl ServiceFixture {
    pub(crate) fn new() -> Self {
        Self {
            journal: TestJournal::open(),
            objects: Arc::new(MemoryObjects::new()),
            upload_store: Arc::new(MemoryUploadStore::new()),
            tree: Arc::new(FragileTree::default()),
            faults: Faults::new(),
            book: book(),
        }
    }

    /// Another fixture with the same content, for many runs from one beginning.
    pub(crate) fn copy(&self) -> Self {
        let (objects, upload_store) = (MemoryObjects::new(), MemoryUploadStore::new());
        for (hash, bytes) in self.objects.contents() {
            objects.damage(hash, Some(bytes));
        }
        for (id, bytes) in self.upload_store.contents() {
            upload_store.plant(id, &bytes);
        }
        Self {
            journal: self.journal.copy(),
            objects: Arc::new(objects),
            upload_store: Arc::new(upload_store),
            tree: Arc::new(self.tree.copy()),
            faults: Faults::new(),
            book: self.book.clone(),
        }
    }

    /// Starts a server.
    pub(crate) fn server(&self) -> Service {
        self.server_over(self.tree.clone(), LIMITS)
    }

    /// A server with its own access to the tree and its own limits.
    pub(crate) fn server_over(&self, tree: Arc<dyn Tree>, limits: Limits) -> Service {
        let engines = Engines {
            journal: Arc::new(self.journal.behind(&self.faults)),
            objects: Arc::new(FaultyObjects::new(self.objects.clone(), &self.faults)),
            upload_store: Arc::new(FaultyUploadStore::new(self.upload_store.clone(), &self.faults)),
            tree: Arc::new(FaultyTree::new(tree, &self.faults)),
            clock: Arc::new(TestClock::new()),
            ids: Arc::new(TestIds),
        };
        Service::new(engines, limits)
    }

    /// A server with its own access to the objects.
    pub(crate) fn server_with(&self, objects: Arc<dyn Objects>) -> Service {
        let engines = Engines {
            journal: Arc::new(self.journal.clone()),
            objects,
            upload_store: self.upload_store.clone(),
            tree: self.tree.clone(),
            clock: Arc::new(TestClock::new()),
            ids: Arc::new(TestIds),
        };
        Service::new(engines, LIMITS)
    }

    /// A server with its own clock.
    pub(crate) fn server_at(&self, clock: Arc<dyn Clock>) -> Service {
        let engines = Engines {
            journal: Arc::new(self.journal.clone()),
            objects: self.objects.clone(),
            upload_store: self.upload_store.clone(),
            tree: self.tree.clone(),
            clock,
            ids: Arc::new(TestIds),
        };
        Service::new(engines, LIMITS)
    }

    /// A call about the book or a file of it, recorded as an endpoint's is.
    pub(crate) async fn run<T>(
        &self,
        server: &Service,
        operation: Operation,
        path: Option<&BookPath>,
        layer: &Layer,
        use_case: impl AsyncFnOnce(&mut Call) -> Result<T, Error>,
    ) -> EndedCall<T> {
        let caller = server.caller(Principal::unrestricted(agent(AGENT)));
        let about_the_book = async |call: &mut Call| {
            call.book = Some(self.book.clone());
            call.path = path.cloned();
            call.layer = layer.clone();
            use_case(call).await
        };
        server.run(caller, operation, about_the_book).await
    }

    /// `write_content`.
    pub(crate) async fn write(
        &self,
        server: &Service,
        layer: &Layer,
        path: &BookPath,
        text: &str,
        expected: Option<ContentHash>,
    ) -> Result<Applied, Error> {
        let write = async |call: &mut Call| {
            let access = call.may_write(self.book.clone(), layer.clone())?;
            call.write_content(Write { access, path: path.clone(), content: text.to_owned(), expected }).await
        };
        unrecorded(server, Operation::Write, write).await
    }

    /// `delete_content`.
    pub(crate) async fn delete(
        &self,
        server: &Service,
        layer: &Layer,
        path: &BookPath,
    ) -> Result<bool, Error> {
        let delete = async |call: &mut Call| {
            let access = call.may_write(self.book.clone(), layer.clone())?;
            call.delete_content(&access, path, None).await
        };
        unrecorded(server, Operation::Delete, delete).await
    }

    /// Begins an upload of the announced asset.
    pub(crate) async fn begin(
        &self,
        server: &Service,
        announce: impl FnOnce(WriteAccess) -> Announce,
    ) -> UploadId {
        let begin = async |call: &mut Call| {
            let access = call.may_write(self.book.clone(), Layer::Base)?;
            call.begin_upload(announce(access), Duration::from_hours(24)).await
        };
        match unrecorded(server, Operation::Upload, begin).await.unwrap() {
            Announcement::Begun(upload, _) => upload.announced.id,
            Announcement::Held(kept) => panic!("it has these bytes already: {kept:?}"),
        }
    }

    /// `complete_upload`, recorded as an endpoint does it.
    pub(crate) async fn complete(&self, server: &Service, id: UploadId) -> Result<Applied, Error> {
        let complete = async |call: &mut Call| {
            let access = call.may_write(self.book.clone(), Layer::Base)?;
            call.complete_upload(&access, id).await
        };
        self.run(server, Operation::Upload, None, &Layer::Base, complete).await.result
    }

    /// Commits a change set that must succeed.
    pub(crate) async fn change(
        &self,
        server: &Service,
        layer: &Layer,
        wanted: Vec<Change<NewContent>>,
    ) -> Vec<Effect> {
        let change = async |call: &mut Call| {
            let access = call.may_write(self.book.clone(), layer.clone())?;
            call.change(&access, wanted).await
        };
        let set = unrecorded(server, Operation::Write, change).await.unwrap();
        set.files.iter().map(|file| file.effect).collect()
    }

    /// Writes this text to a file, whatever its current content.
    pub(crate) async fn put(&self, server: &Service, layer: &Layer, path: &BookPath, text: &str) -> Applied {
        let now = self.holds(layer, path).await;
        self.write(server, layer, path, text, now).await.unwrap()
    }

    /// Current hash of a file in a layer, read from the journal without fault injection.
    pub(crate) async fn holds(&self, layer: &Layer, path: &BookPath) -> Option<ContentHash> {
        let found = self.journal.current_file(&key(&self.book, path, layer)).await.unwrap();
        found.map(|found| found.record.hash)
    }

    /// Bytes that the view of a layer's owner shows at a path; `None`: no file.
    pub(crate) async fn read(
        &self,
        server: &Service,
        layer: &Layer,
        path: &BookPath,
    ) -> Result<Option<Vec<u8>>, Error> {
        let read = async |call: &mut Call| {
            let access = call.may_read(self.book.clone(), layer.clone())?;
            call.read_file(&ReadFile::whole(access, path.clone())).await
        };
        match reading(server, read).await {
            Ok(FileRead { content: FileContent::Text(text), .. }) => Ok(Some(text.into_bytes())),
            Ok(FileRead { record, .. }) => {
                let open = async |call: &mut Call| {
                    let access = call.may_read(self.book.clone(), record.layer.clone())?;
                    Ok(call.open_version(&access, path, record.hash).await?)
                };
                let file = reading(server, open).await?.expect("it was found just now");
                let (mut parts, mut bytes) = (server.asset_parts(file, 0..record.size), Vec::new());
                while let Some(part) = parts.try_next().await? {
                    bytes.extend(part);
                }
                Ok(Some(bytes))
            }
            Err(error) if error.code() == ErrorCode::NotFound || error.code() == ErrorCode::BookNotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until all tasks of the servers are idle. Tests run on one thread and no call of a port waits
    /// for another task, so every yield runs such a task.
    pub(crate) async fn quiet(&self) {
        let mut before = usize::MAX;
        while before != self.faults.calls().len() {
            before = self.faults.calls().len();
            for _ in 0..32 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Runs the publisher, and lets leases expire, until nothing is pending.
    pub(crate) async fn idle(&self, server: &Service) {
        for _ in 0..50 {
            self.quiet().await;
            if server.pending_publications().await.unwrap() == 0 {
                return;
            }
            self.expire_leases();
            server.publish_pending().await.unwrap();
        }
        panic!("the backlog does not empty");
    }

    /// Expires all current leases.
    pub(crate) fn expire_leases(&self) {
        self.journal.age(Duration::from_mins(1));
    }
}

/// The layers that these tests write.
pub(crate) fn layers() -> [Layer; 3] {
    [Layer::Base, overlay("ann"), overlay("bob")]
}

/// A change of one file, for a set.
pub(crate) fn want(path: &BookPath, text: Option<&str>, expected: Option<&str>) -> Change<NewContent> {
    let expected = expected.map(|text| ContentHash::of(text.as_bytes()));
    let (operation, content) = match text {
        Some(text) => (Operation::Write, NewContent::of(text.as_bytes().to_vec())),
        None => (Operation::Delete, NewContent::Absent),
    };
    Change::new(operation, path.clone(), content, expected)
}

/// Bytes that a member of a set writes.
pub(crate) fn wanted_bytes(want: &Change<NewContent>) -> Option<&[u8]> {
    match &want.content {
        NewContent::Bytes(bytes) => Some(bytes.as_slice()),
        NewContent::Absent | NewContent::Staged(..) | NewContent::Stored(_) => None,
    }
}

/// A text beyond the inline limit.
pub(crate) fn long(text: &str) -> String {
    format!("{text} {}", "and so on, ".repeat(20))
}

/// A call without an audit entry, unless the transaction of its change writes one.
pub(crate) async fn unrecorded<T>(
    server: &Service,
    operation: Operation,
    use_case: impl AsyncFnOnce(&mut Call) -> Result<T, Error>,
) -> Result<T, Error> {
    server
        .run_unrecorded(server.caller(Principal::unrestricted(agent(AGENT))), operation, use_case)
        .await
        .result
}

/// A call without an audit entry that changes no file.
pub(crate) async fn reading<T>(
    server: &Service,
    use_case: impl AsyncFnOnce(&mut Call) -> Result<T, Error>,
) -> Result<T, Error> {
    unrecorded(server, Operation::Read, use_case).await
}

/// Creates a book; returns it and whether it is new.
pub(crate) async fn create_book(
    server: &Service,
    book: &BookId,
    schema: Option<Schema>,
) -> Result<(Book, bool), Error> {
    unrecorded(server, Operation::Create, async |call| {
        let access = call.may_write(book.clone(), Layer::Base)?;
        call.create_book(&access, schema).await
    })
    .await
}
