//! Objects and tree in a bucket, through opendal. Keeps I9 for objects and the tree's part of R2.
//!
//! Nothing relies on conditional writes, on the order of a listing, or on any permission but
//! `GetObject`, `PutObject`, `DeleteObject`, `ListBucket` and, to clean up, `AbortMultipartUpload`;
//! the first two also cover copying within the bucket and putting in parts. An object is addressed by
//! its hash, so putting it twice is harmless and it may be retried. A published file is not: a retry
//! could take effect after a later version. So the tree's requests are sent once, and one without an
//! answer reports it (`outcome_unknown`), which keeps its path leased until it can no longer arrive.
//! Of a file that is put in parts only the last request makes anything visible: that one is sent once,
//! the parts are retried.

mod connection;
mod error;
mod listing;
mod multipart;
mod reading;
mod upload_store;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opendal::ErrorKind;
use panaversity_model::ports::{ByteStream, Objects, PageStream, Staging, Tree};
use panaversity_model::publication::{FileKey, time_to_put};
use panaversity_model::storage_listing::{ObjectEntry, TreeEntry, TreePath};
use panaversity_model::{BookId, ContentHash, Fault, media};
use tokio::sync::Semaphore;

use crate::backend::Backend;
use crate::exact_length::ExactLength;
use crate::keys;
use crate::limits::BucketLimits;
use crate::store_identity::{self, StoreIdentity};
pub use connection::Bucket;
use connection::Operators;
pub(crate) use error::explain;
use error::{Answered, answered, is_transient};
use multipart::{MultipartWriter, RetryPolicy};

/// Largest request body in bytes that has the time limit of a small operation.
const SMALL: usize = 1 << 20;

/// Storage in a bucket: objects and published books.
#[derive(Clone)]
pub struct S3Storage {
    operators: Operators,
    /// Permits of large files: each has two parts in memory while it is written.
    permits: Arc<Semaphore>,
    limits: BucketLimits,
    backend: Backend,
    store_id: String,
    shown: String,
}

impl S3Storage {
    /// Connects to the bucket and checks that it belongs to the database. `store_id` is the database's;
    /// `fresh` means that no storage has this id yet, so that a bucket without an id may be claimed.
    ///
    /// # Errors
    /// `STORAGE_UNAVAILABLE` if the bucket cannot be used or belongs to another database; the
    /// detail is meant for the operator.
    pub async fn open(bucket: &Bucket, store_id: &str, fresh: bool) -> Result<Arc<Self>, Fault> {
        let storage = Self::connect(bucket, store_id)?;
        let found = storage.found_id().await?;
        if store_identity::decide(found.as_deref(), store_id, fresh, &storage.shown)?
            == StoreIdentity::Unclaimed
        {
            let id = format!("{store_id}\n").into_bytes();
            storage
                .within(
                    storage.limits.operation_timeout,
                    "write the store id",
                    storage.operators.retrying.write(keys::STORE_ID, id),
                )
                .await?;
            // If two databases claim one bucket at the same moment, the later write wins; the other gets a
            // fault here, or at its next ping.
            store_identity::decide(storage.found_id().await?.as_deref(), store_id, false, &storage.shown)?;
        }
        Ok(Arc::new(storage))
    }

    fn connect(bucket: &Bucket, store_id: &str) -> Result<Self, Fault> {
        Ok(Self {
            operators: bucket.operators()?,
            permits: Arc::new(Semaphore::new(bucket.limits.large_writes_at_once)),
            limits: bucket.limits,
            backend: bucket.backend,
            store_id: store_id.to_owned(),
            shown: bucket.shown(),
        })
    }

    async fn found_id(&self) -> Result<Option<String>, Fault> {
        let read = self.operators.retrying.read(keys::STORE_ID);
        let found =
            self.within(self.limits.operation_timeout, "read the store id", absent_is_none(read)).await?;
        Ok(found.map(|bytes| store_identity::id_in(&bytes.to_bytes())))
    }

    /// Runs a request with a time limit; errors are explained to the operator.
    async fn within<T>(
        &self,
        limit: Duration,
        what: &str,
        request: impl Future<Output = opendal::Result<T>> + Send,
    ) -> Result<T, Fault> {
        let shown = &self.shown;
        let Ok(result) = tokio::time::timeout(limit, request).await else {
            let fault = Fault::storage(format!("{what}: {shown} did not answer within {limit:?}"));
            return Err(fault.with_unknown_outcome().transient_if(true));
        };
        result.map_err(|error| {
            let fault = Fault::storage(format!("{what}: {shown} {}", explain(&error)));
            let fault = fault.transient_if(is_transient(&error));
            if answered(&error) == Answered::No { fault.with_unknown_outcome() } else { fault }
        })
    }

    /// Same as [`within`](Self::within) for an idempotent request, whose fault never has an unknown outcome.
    async fn repeatable<T>(
        &self,
        what: &str,
        request: impl Future<Output = opendal::Result<T>> + Send,
    ) -> Result<T, Fault> {
        let result = self.within(self.limits.operation_timeout, what, request).await;
        result.map_err(|fault| Fault { outcome_unknown: false, ..fault })
    }

    fn published(&self, key: &FileKey) -> String {
        self.backend.published(key)
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
        let key = keys::object(hash);
        if bytes.len() > SMALL {
            let mut upload = MultipartWriter::begin(self, "put an object", key, None).await?;
            upload.write(bytes).await?;
            let limit = upload.timeout_for();
            return upload.finish(RetryPolicy::Always, limit).await;
        }
        self.repeatable("put an object", self.operators.retrying.write(&key, bytes.to_vec())).await?;
        Ok(())
    }

    async fn stage(&self) -> Result<Box<dyn Staging>, Fault> {
        Ok(Box::new(MultipartWriter::begin(self, "stage an object", keys::fresh_staging(), None).await?))
    }

    async fn stat(&self, hash: ContentHash) -> Result<Option<u64>, Fault> {
        let key = keys::object(hash);
        let found =
            self.repeatable("look for an object", absent_is_none(self.operators.retrying.stat(&key))).await?;
        Ok(found.map(|metadata| metadata.content_length()))
    }

    async fn get(&self, hash: ContentHash, range: Range<u64>) -> Result<Option<Vec<u8>>, Fault> {
        self.range("get an object", &keys::object(hash), range).await
    }

    async fn delete(&self, hash: ContentHash) -> Result<(), Fault> {
        // Sent once: a repeated deletion could take effect after the object was put again.
        self.within(
            self.limits.single_attempt_timeout,
            "delete an object",
            self.operators.single_attempt.delete(&keys::object(hash)),
        )
        .await
    }

    fn list_objects(&self) -> PageStream<ObjectEntry> {
        listing::list(self, vec![format!("{}/", keys::OBJECTS)])
    }
}

#[async_trait]
impl Tree for S3Storage {
    async fn put(&self, key: &FileKey, bytes: &[u8]) -> Result<(), Fault> {
        let (at, media_type) = (self.published(key), media::type_of(&key.path));
        let put = self.operators.single_attempt.write_with(&at, bytes.to_vec()).content_type(media_type);
        self.within(self.limits.single_attempt_timeout, "publish a file", put.into_future()).await?;
        Ok(())
    }

    async fn put_parts(&self, key: &FileKey, parts: ByteStream, size: u64) -> Result<(), Fault> {
        let (what, limit, began) = ("publish a large file", time_to_put(size), Instant::now());
        let written = tokio::time::timeout(limit, async {
            let media_type = Some(media::type_of(&key.path));
            let mut upload = MultipartWriter::begin(self, what, self.published(key), media_type).await?;
            let mut parts = ExactLength::new(size, parts);
            while let Some(part) = parts.next().await? {
                upload.write(&part).await?;
            }
            upload.flush().await?;
            Ok::<_, Fault>(upload)
        });
        let Ok(upload) = written.await else {
            return Err(Fault::storage(format!("{what}: it took longer than {limit:?}")));
        };
        upload?.finish(RetryPolicy::OnlyIfRefused, limit.saturating_sub(began.elapsed())).await
    }

    async fn remove(&self, key: &FileKey) -> Result<(), Fault> {
        let key = self.published(key);
        self.within(
            self.limits.single_attempt_timeout,
            "remove a published file",
            self.operators.single_attempt.delete(&key),
        )
        .await
    }

    /// No effect: a bucket's acknowledged writes are durable.
    async fn sync(&self) -> Result<(), Fault> {
        Ok(())
    }

    async fn open(&self, spot: &TreePath) -> Result<Option<ByteStream>, Fault> {
        self.stream("read a published file", keys::lying_in(self.backend, spot), None).await
    }

    /// Moves by a copy within the bucket and a deletion, because a bucket cannot rename.
    async fn set_aside(&self, spot: &TreePath, folder: &str) -> Result<bool, Fault> {
        let from = keys::lying_in(self.backend, spot);
        if !listing::is_asked_for_as_it_is(&from) {
            return Ok(false);
        }
        let to = keys::set_aside_in(self.backend, spot, folder);
        let what = "set a file aside";
        let found = absent_is_none(self.operators.retrying.stat(&from));
        let Some(found) = self.repeatable(what, found).await? else { return Ok(false) };
        if self.copied(what, &from, &to, found.content_length()).await?.is_none() {
            return Ok(false);
        }
        self.within(self.limits.single_attempt_timeout, what, self.operators.single_attempt.delete(&from))
            .await?;
        Ok(true)
    }

    fn list_files(&self, book: Option<&BookId>) -> PageStream<TreeEntry> {
        let prefix = book.map_or(format!("{}/", keys::BOOKS), |book| format!("{}/{book}/", keys::BOOKS));
        listing::list(self, vec![prefix])
    }

    async fn ping(&self) -> Result<(), Fault> {
        let found = absent_is_none(self.operators.single_attempt.read(keys::STORE_ID));
        let found = self.within(self.limits.single_attempt_timeout, "read the store id", found).await?;
        let found = found.map(|bytes| store_identity::id_in(&bytes.to_bytes()));
        store_identity::decide(found.as_deref(), &self.store_id, false, &self.shown).map(|_| ())
    }

    fn backend(&self) -> &'static str {
        self.backend.name()
    }
}
