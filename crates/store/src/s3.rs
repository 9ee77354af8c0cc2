//! Objects and tree in a bucket, through opendal. Keeps I9 for objects and the tree's part of R2.
//!
//! Nothing relies on conditional writes, on the order of a listing, or on anything but
//! `GetObject`, `PutObject`, `DeleteObject` and `ListBucket`. An object is named by its hash, so putting it twice is
//! harmless and it may be retried. A published file is not: a retry could land after a later
//! version. So the tree's requests are sent once, and one that was never answered says so
//! (`outcome_unknown`), which keeps its path leased until it can't arrive any more.

mod connection;
mod listing;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use opendal::{ErrorKind, Operator};
use panaversity_model::drift::{Seen, SeenObject, Spot};
use panaversity_model::ports::{Objects, Pages, Tree};
use panaversity_model::publication::FileKey;
use panaversity_model::{BookId, ContentHash, Fault};

use crate::backend::Backend;
use crate::keys;
use crate::pairing::{self, Pairing};
pub use connection::Bucket;
use listing::Listing;
pub(crate) use trouble::explain;
use trouble::{Answered, answered};

/// How long an act may take in all, its retries included.
const OBJECT_PATIENCE: Duration = Duration::from_secs(15);
/// How long a request may take that is sent once: less than what its lease, or `gc`'s guard, leaves.
const ONCE_PATIENCE: Duration = Duration::from_secs(10);

/// Largest file that is moved out of the way.
const LARGEST_MOVED: u64 = 100 << 20;

/// A bucket with objects and published books.
#[derive(Clone)]
pub struct S3Storage {
    /// Sends again what failed in passing.
    patient: Operator,
    /// Sends once.
    once: Operator,
    backend: Backend,
    store_id: String,
    shown: String,
}

impl S3Storage {
    /// Connects to the bucket and checks whose it is. `store_id` is the database's; `fresh` tells
    /// that no storage carries it yet, so that a bucket without an id may be taken.
    ///
    /// # Errors
    /// `STORAGE_UNAVAILABLE` if the bucket cannot be used or belongs to another database; the
    /// detail is meant for the operator.
    pub async fn open(bucket: &Bucket, store_id: &str, fresh: bool) -> Result<Arc<Self>, Fault> {
        let storage = Self::connect(bucket, store_id)?;
        let found = storage.found_id().await?;
        if pairing::decide(found.as_deref(), store_id, fresh, &storage.shown)? == Pairing::Take {
            let id = format!("{store_id}\n").into_bytes();
            storage
                .within(OBJECT_PATIENCE, "write the store id", storage.patient.write(keys::STORE_ID, id))
                .await?;
            // Of two databases that take one bucket at the same moment, the slower one wins; the other
            // is told so here, or by its next ping.
            pairing::decide(storage.found_id().await?.as_deref(), store_id, false, &storage.shown)?;
        }
        Ok(Arc::new(storage))
    }

    fn connect(bucket: &Bucket, store_id: &str) -> Result<Self, Fault> {
        let (patient, once) = bucket.operators()?;
        let (backend, shown) = (bucket.backend, bucket.shown());
        Ok(Self { patient, once, backend, store_id: store_id.to_owned(), shown })
    }

    async fn found_id(&self) -> Result<Option<String>, Fault> {
        let read = self.patient.read(keys::STORE_ID);
        let found = self.within(OBJECT_PATIENCE, "read the store id", absent_is_none(read)).await?;
        Ok(found.map(|bytes| pairing::id_in(&bytes.to_bytes())))
    }

    /// Runs a request, bounded in time; what went wrong is told in the operator's words.
    async fn within<T>(
        &self,
        patience: Duration,
        what: &str,
        request: impl Future<Output = opendal::Result<T>> + Send,
    ) -> Result<T, Fault> {
        let shown = &self.shown;
        let Ok(result) = tokio::time::timeout(patience, request).await else {
            let fault = Fault::storage(format!("{what}: {shown} did not answer within {patience:?}"));
            return Err(fault.with_unknown_outcome());
        };
        result.map_err(|error| {
            let fault = Fault::storage(format!("{what}: {shown} {}", explain(&error)));
            if answered(&error) == Answered::No { fault.with_unknown_outcome() } else { fault }
        })
    }

    /// The same for what may be repeated at will, where nobody need know whether it happened.
    async fn repeatable<T>(
        &self,
        what: &str,
        request: impl Future<Output = opendal::Result<T>> + Send,
    ) -> Result<T, Fault> {
        let result = self.within(OBJECT_PATIENCE, what, request).await;
        result.map_err(|fault| Fault { outcome_unknown: false, ..fault })
    }

    async fn first_bytes(&self, what: &str, key: &str, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let read = async {
            let mut parts = self.patient.reader(key).await?.into_stream(..).await?;
            let mut bytes = Vec::new();
            while bytes.len() <= limit
                && let Some(part) = parts.try_next().await?
            {
                part.for_each(|slice| bytes.extend_from_slice(&slice));
            }
            bytes.truncate(limit);
            Ok(bytes)
        };
        self.repeatable(what, absent_is_none(read)).await
    }

    fn published(&self, key: &FileKey) -> String {
        keys::published_in(self.backend, key)
    }
}

async fn absent_is_none<T>(
    request: impl Future<Output = opendal::Result<T>> + Send,
) -> opendal::Result<Option<T>> {
    match request.await {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Objects for S3Storage {
    async fn put(&self, hash: ContentHash, bytes: &[u8]) -> Result<(), Fault> {
        let bytes = bytes.to_vec();
        self.repeatable("put an object", self.patient.write(&keys::object(hash), bytes)).await?;
        Ok(())
    }

    async fn stat(&self, hash: ContentHash) -> Result<Option<u64>, Fault> {
        let key = keys::object(hash);
        let found = self.repeatable("look for an object", absent_is_none(self.patient.stat(&key))).await?;
        Ok(found.map(|metadata| metadata.content_length()))
    }

    async fn get(&self, hash: ContentHash, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
        self.first_bytes("get an object", &keys::object(hash), limit).await
    }

    async fn delete(&self, hash: ContentHash) -> Result<(), Fault> {
        // Sent once: a repeated one could land after the object was put anew.
        self.within(ONCE_PATIENCE, "delete an object", self.once.delete(&keys::object(hash))).await
    }

    fn list_objects(&self) -> Box<dyn Pages<SeenObject>> {
        Box::new(Listing::of(self.clone(), format!("{}/", keys::OBJECTS)))
    }
}

#[async_trait]
impl Tree for S3Storage {
    async fn put(&self, key: &FileKey, bytes: &[u8]) -> Result<(), Fault> {
        let (key, bytes) = (self.published(key), bytes.to_vec());
        self.within(ONCE_PATIENCE, "publish a file", self.once.write(&key, bytes)).await?;
        Ok(())
    }

    async fn remove(&self, key: &FileKey) -> Result<(), Fault> {
        let key = self.published(key);
        self.within(ONCE_PATIENCE, "remove a published file", self.once.delete(&key)).await
    }

    /// A bucket keeps what it acknowledged.
    async fn sync(&self) -> Result<(), Fault> {
        Ok(())
    }

    async fn read(&self, spot: &Spot, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
        let key = keys::lying_in(self.backend, spot);
        self.first_bytes("read a published file", &key, limit).await
    }

    /// Copied through this process, as a bucket cannot rename; a file that is too large for that
    /// stays.
    async fn set_aside(&self, spot: &Spot, folder: &str) -> Result<bool, Fault> {
        let from = keys::lying_in(self.backend, spot);
        if !listing::is_asked_for_as_it_is(&from) {
            return Ok(false);
        }
        let to = keys::set_aside_in(self.backend, spot, folder);
        let Some(bytes) = self.first_bytes("set a file aside", &from, LARGEST_MOVED + 1).await? else {
            return Ok(false);
        };
        if bytes.len() as u64 > LARGEST_MOVED {
            return Ok(false);
        }
        self.repeatable("set a file aside", self.patient.write(&to, bytes)).await?;
        self.within(ONCE_PATIENCE, "set a file aside", self.once.delete(&from)).await?;
        Ok(true)
    }

    fn list_files(&self, book: Option<&BookId>) -> Box<dyn Pages<Seen>> {
        let prefix = book.map_or(format!("{}/", keys::BOOKS), |book| format!("{}/{book}/", keys::BOOKS));
        Box::new(Listing::of(self.clone(), prefix))
    }

    async fn ping(&self) -> Result<(), Fault> {
        let found = absent_is_none(self.once.read(keys::STORE_ID));
        let found = self.within(ONCE_PATIENCE, "read the store id", found).await?;
        let found = found.map(|bytes| pairing::id_in(&bytes.to_bytes()));
        pairing::decide(found.as_deref(), &self.store_id, false, &self.shown).map(|_| ())
    }

    fn backend(&self) -> &'static str {
        self.backend.name()
    }
}
