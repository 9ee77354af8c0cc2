//! A service over a private journal and fakes of the storage, for unit tests of what no use case shows from outside.

use std::sync::Arc;

use panaversity_model::audit::Operation;
use panaversity_model::permission::Principal;
use panaversity_model::{BookId, BookPath, Error, Layer};
use panaversity_testkit::samples::{agent, book};
use panaversity_testkit::{MemoryObjects, MemoryTree, MemoryUploadStore, TestClock, TestIds, TestJournal};

use crate::write::Write;
use crate::{Call, Engines, Limits, Service};

/// A service with an empty store, and the id of a book that does not exist yet.
pub(crate) fn empty() -> (Service, BookId) {
    let engines = Engines {
        journal: Arc::new(TestJournal::open()),
        objects: Arc::new(MemoryObjects::new()),
        upload_store: Arc::new(MemoryUploadStore::new()),
        tree: Arc::new(MemoryTree::new()),
        clock: Arc::new(TestClock::new()),
        ids: Arc::new(TestIds),
    };
    let limits =
        Limits { inline_bytes: 64, direct_bytes: 1 << 20, asset_bytes: 1 << 20, publish_overlays: false };
    (Service::new(engines, limits), book())
}

/// Runs a call of an agent that may do everything.
pub(crate) async fn call<T>(
    service: &Service,
    use_case: impl AsyncFnOnce(&mut Call) -> Result<T, Error>,
) -> T {
    let caller = service.caller(Principal::unrestricted(agent("writer-7")));
    service.run_unrecorded(caller, Operation::Search, use_case).await.result.unwrap()
}

/// Writes a new file whose text is its path.
pub(crate) async fn write(service: &Service, book: &BookId, layer: Layer, path: &BookPath) {
    call(service, async |call| {
        let access = call.may_write(book.clone(), layer)?;
        let (path, content) = (path.clone(), path.to_string());
        call.write_content(Write { access, path, content, expected: None }).await
    })
    .await;
}
