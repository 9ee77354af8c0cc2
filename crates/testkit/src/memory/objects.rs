//! In-memory object storage. Putting an object again heals a damaged one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use panaversity_model::ports::{Objects, PageStream, Staging};
use panaversity_model::storage_listing::ObjectEntry;
use panaversity_model::{ContentHash, Fault, Timestamp};

use super::in_pages;

/// An object storage in memory.
#[derive(Debug, Default)]
pub struct MemoryObjects {
    objects: Arc<Mutex<ObjectMap>>,
}

type ObjectMap = BTreeMap<ContentHash, Vec<u8>>;

impl MemoryObjects {
    /// An empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    /// All its objects.
    pub fn contents(&self) -> ObjectMap {
        self.with(|objects| objects.clone())
    }

    /// Replaces or removes an object directly, bypassing the port, as a broken disk would.
    pub fn damage(&self, hash: ContentHash, bytes: Option<Vec<u8>>) {
        self.with(|objects| match bytes {
            Some(bytes) => objects.insert(hash, bytes),
            None => objects.remove(&hash),
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut ObjectMap) -> T) -> T {
        act(&mut self.objects.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The bytes of a range, as far as they exist.
fn in_range(bytes: &[u8], range: Range<u64>) -> Vec<u8> {
    let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
    bytes.get(at(range.start)..at(range.end)).unwrap_or_default().to_vec()
}

/// An object written in parts.
struct Staged {
    bytes: Vec<u8>,
    objects: Arc<Mutex<ObjectMap>>,
}

#[async_trait]
impl Staging for Staged {
    async fn write(&mut self, part: &[u8]) -> Result<(), Fault> {
        self.bytes.extend_from_slice(part);
        Ok(())
    }

    async fn promote(self: Box<Self>, hash: ContentHash) -> Result<(), Fault> {
        let Self { bytes, objects } = *self;
        objects.lock().unwrap_or_else(PoisonError::into_inner).insert(hash, bytes);
        Ok(())
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

    async fn get(&self, hash: ContentHash, range: Range<u64>) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.with(|objects| objects.get(&hash).map(|bytes| in_range(bytes, range))))
    }

    async fn stage(&self) -> Result<Box<dyn Staging>, Fault> {
        Ok(Box::new(Staged { bytes: Vec::new(), objects: self.objects.clone() }))
    }

    async fn delete(&self, hash: ContentHash) -> Result<(), Fault> {
        self.with(|objects| objects.remove(&hash));
        Ok(())
    }

    fn list_objects(&self) -> PageStream<ObjectEntry> {
        let seen = |(hash, bytes): (&ContentHash, &Vec<u8>)| ObjectEntry {
            name: hash.to_string(),
            hash: Some(*hash),
            size: bytes.len() as u64,
            put_at: Some(Timestamp::default()),
        };
        in_pages(self.with(|objects| objects.iter().map(seen).collect()))
    }
}
