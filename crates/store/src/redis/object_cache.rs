//! Cache of small objects by their hash, in front of an object storage. Only objects are worth it: content up
//! to the inline limit comes with the row that names it.
//!
//! What is read from the cache is checked by its hash, so whoever can write to Redis cannot change what a
//! server serves.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use panaversity_model::ports::{Objects, PageStream, Staging};
use panaversity_model::storage_listing::ObjectEntry;
use panaversity_model::{ContentHash, Fault};
use redis::{AsyncCommands, Expiry};

use super::SharedRedis;

/// Most bytes of an object that is cached: the largest text.
const MOST_BYTES: u64 = 512 << 10;
/// Time after its last reading for which an object is kept.
const KEPT: Duration = Duration::from_hours(1);

/// Objects that are also kept in Redis once they were read.
pub struct CachedObjects {
    objects: Arc<dyn Objects>,
    redis: SharedRedis,
}

impl CachedObjects {
    /// A cache in front of these objects.
    pub fn new(objects: Arc<dyn Objects>, redis: SharedRedis) -> Arc<Self> {
        Arc::new(Self { objects, redis })
    }

    fn key(&self, hash: ContentHash) -> String {
        self.redis.key(&format!("object:{hash}"))
    }

    /// The cached object. Reading it keeps it longer.
    async fn cached(&self, hash: ContentHash) -> Option<Vec<u8>> {
        let mut connection = self.redis.connection();
        let read = connection.get_ex(self.key(hash), Expiry::EX(KEPT.as_secs()));
        let found: Option<Vec<u8>> = self.redis.ask(read).await?;
        found.filter(|bytes| ContentHash::of(bytes) == hash)
    }

    async fn keep(&self, hash: ContentHash, bytes: Vec<u8>) {
        let mut connection = self.redis.connection();
        let _: Option<()> = self.redis.ask(connection.set_ex(self.key(hash), bytes, KEPT.as_secs())).await;
    }
}

#[async_trait]
impl Objects for CachedObjects {
    async fn put(&self, hash: ContentHash, bytes: &[u8]) -> Result<(), Fault> {
        self.objects.put(hash, bytes).await
    }

    async fn stage(&self) -> Result<Box<dyn Staging>, Fault> {
        self.objects.stage().await
    }

    async fn stat(&self, hash: ContentHash) -> Result<Option<u64>, Fault> {
        self.objects.stat(hash).await
    }

    async fn get(&self, hash: ContentHash, range: Range<u64>) -> Result<Option<Vec<u8>>, Fault> {
        if range.start > 0 || range.end > MOST_BYTES {
            return self.objects.get(hash, range).await;
        }
        if let Some(mut bytes) = self.cached(hash).await {
            bytes.truncate(usize::try_from(range.end).unwrap_or(usize::MAX));
            return Ok(Some(bytes));
        }
        let found = self.objects.get(hash, range).await?;
        if let Some(bytes) = &found
            && self.redis.is_up()
            && ContentHash::of(bytes) == hash
        {
            self.keep(hash, bytes.clone()).await;
        }
        Ok(found)
    }

    async fn delete(&self, hash: ContentHash) -> Result<(), Fault> {
        self.objects.delete(hash).await
    }

    fn list_objects(&self) -> PageStream<ObjectEntry> {
        self.objects.list_objects()
    }
}
