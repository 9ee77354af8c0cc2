//! Objects in memory. Putting an object again heals a damaged one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use panaversity_model::drift::SeenObject;
use panaversity_model::ports::{Objects, Pages};
use panaversity_model::{ContentHash, Fault, Timestamp};

use super::AllAtOnce;

/// An object storage in memory.
#[derive(Debug, Default)]
pub struct MemoryObjects {
    objects: Mutex<BTreeMap<ContentHash, Vec<u8>>>,
}

impl MemoryObjects {
    /// An empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything it holds.
    pub fn contents(&self) -> BTreeMap<ContentHash, Vec<u8>> {
        self.with(|objects| objects.clone())
    }

    /// Replaces or drops an object behind the port's back, as a broken disk would.
    pub fn damage(&self, hash: ContentHash, bytes: Option<Vec<u8>>) {
        self.with(|objects| match bytes {
            Some(bytes) => objects.insert(hash, bytes),
            None => objects.remove(&hash),
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<ContentHash, Vec<u8>>) -> T) -> T {
        act(&mut self.objects.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Objects for MemoryObjects {
    async fn put(&self, hash: ContentHash, bytes: &[u8]) -> Result<(), Fault> {
        self.with(|objects| objects.insert(hash, bytes.to_vec()));
        Ok(())
    }

    async fn stat(&self, hash: ContentHash) -> Result<Option<u64>, Fault> {
        Ok(self.with(|objects| objects.get(&hash).map(|bytes| bytes.len() as u64)))
    }

    async fn get(&self, hash: ContentHash, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(self.with(|objects| objects.get(&hash).map(|bytes| bytes[..bytes.len().min(limit)].to_vec())))
    }

    async fn delete(&self, hash: ContentHash) -> Result<(), Fault> {
        self.with(|objects| objects.remove(&hash));
        Ok(())
    }

    fn list_objects(&self) -> Box<dyn Pages<SeenObject>> {
        let seen = |(hash, bytes): (&ContentHash, &Vec<u8>)| SeenObject {
            name: hash.to_string(),
            hash: Some(*hash),
            size: bytes.len() as u64,
            put_at: Some(Timestamp::default()),
        };
        Box::new(AllAtOnce::of(self.with(|objects| objects.iter().map(seen).collect())))
    }
}
