//! In-memory upload store, without signed URLs. A test that needs a storage with URLs of its own
//! uses a bucket.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use panaversity_model::ids::UploadId;
use panaversity_model::ports::{ByteStream, PageStream, UploadStore, UploadWriter};
use panaversity_model::upload::{Permit, SignedPut, UploadEntry};
use panaversity_model::{Fault, Timestamp};

use super::{in_pages, in_parts};

type Arrived = BTreeMap<UploadId, Vec<u8>>;

/// An upload store in memory.
#[derive(Debug, Default)]
pub struct MemoryUploadStore {
    arrived: Arc<Mutex<Arrived>>,
}

impl MemoryUploadStore {
    /// An empty upload store.
    pub fn new() -> Self {
        Self::default()
    }

    /// All uploads that have arrived.
    pub fn contents(&self) -> Arrived {
        self.with(|arrived| arrived.clone())
    }

    /// Adds an upload directly, bypassing the port, as a client with a URL would.
    pub fn plant(&self, id: UploadId, bytes: &[u8]) {
        self.with(|arrived| arrived.insert(id, bytes.to_vec()));
    }

    fn with<T>(&self, act: impl FnOnce(&mut Arrived) -> T) -> T {
        act(&mut self.arrived.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An upload that is being received.
struct ArrivedUpload {
    id: UploadId,
    bytes: Vec<u8>,
    arrived: Arc<Mutex<Arrived>>,
}

#[async_trait]
impl UploadWriter for ArrivedUpload {
    async fn write(&mut self, part: &[u8]) -> Result<(), Fault> {
        self.bytes.extend_from_slice(part);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<(), Fault> {
        let Self { id, bytes, arrived } = *self;
        arrived.lock().unwrap_or_else(PoisonError::into_inner).insert(id, bytes);
        Ok(())
    }
}

#[async_trait]
impl UploadStore for MemoryUploadStore {
    async fn presign(&self, _: UploadId, _: &Permit) -> Result<Option<SignedPut>, Fault> {
        Ok(None)
    }

    async fn receive(&self, id: UploadId) -> Result<Box<dyn UploadWriter>, Fault> {
        Ok(Box::new(ArrivedUpload { id, bytes: Vec::new(), arrived: self.arrived.clone() }))
    }

    async fn arrived(&self, id: UploadId) -> Result<Option<u64>, Fault> {
        Ok(self.with(|arrived| arrived.get(&id).map(|bytes| bytes.len() as u64)))
    }

    async fn open(&self, id: UploadId) -> Result<Option<ByteStream>, Fault> {
        Ok(self.with(|arrived| arrived.get(&id).map(|bytes| in_parts(bytes))))
    }

    async fn discard(&self, id: UploadId) -> Result<(), Fault> {
        self.with(|arrived| arrived.remove(&id));
        Ok(())
    }

    fn list_arrived(&self) -> PageStream<UploadEntry> {
        let seen = |(id, bytes): (&UploadId, &Vec<u8>)| UploadEntry {
            id: Some(*id),
            name: format!("uploads/{id}"),
            size: bytes.len() as u64,
            put_at: Some(Timestamp::default()),
        };
        in_pages(self.with(|arrived| arrived.iter().map(seen).collect()))
    }

    async fn sweep(&self, seen: &UploadEntry) -> Result<(), Fault> {
        match seen.id {
            Some(id) => self.discard(id).await,
            None => Ok(()),
        }
    }
}
