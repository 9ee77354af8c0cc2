//! Reader of blobs, from the database or the object storage. Keeps R2: every returned byte was checked,
//! and a blob that differs from what was stored is marked and never served.
//!
//! A small blob is read as a whole and checked by its hash. A large one is read chunk by chunk, each
//! checked by its stored hash, so that a range costs no more than the chunks that it touches.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::{StreamExt, TryStreamExt, stream};
use panaversity_model::blob::{Blob, BlobHasher, BlobLocation, BlobState, CHUNK_BYTES, StoredBlob};
use panaversity_model::fault::FaultKind;
use panaversity_model::file::FileMetadata;
use panaversity_model::hash::HashedBytes;
use panaversity_model::ids::StagingId;
use panaversity_model::ports::ByteStream;
use panaversity_model::{ContentHash, Fault};

use crate::service::Service;

/// Lookups after which an object counts as missing.
pub(crate) const LOOKUP_RETRIES: usize = 3;

/// Most bytes of a blob that is kept in memory as a whole while it is transferred.
pub(crate) const WHOLE_BYTES: u64 = CHUNK_BYTES as u64;

/// Result of reading an object.
enum Object {
    There(Vec<u8>),
    Purged,
    Missing,
}

impl Service {
    /// The checked bytes of a blob; `None`: nothing names it any more, and it was purged since it was
    /// found.
    pub(crate) async fn bytes_of(&self, stored: &StoredBlob) -> Result<Option<Vec<u8>>, Fault> {
        let hash = stored.blob.hash;
        let result = match &stored.blob.location {
            BlobLocation::Inline(deflated) => stored.unpack(deflated),
            // One byte more than the blob's size detects an object that is too long.
            BlobLocation::Object(_) => match self.object_of(stored, 0..stored.blob.size + 1).await? {
                Object::There(bytes) => stored.check(bytes),
                Object::Purged => return Ok(None),
                Object::Missing => {
                    self.damaged(stored, BlobState::Missing).await;
                    return Err(Fault::corrupt(format!("the object {hash} is missing")));
                }
            },
        };
        match &result {
            Err(fault) if fault.kind == FaultKind::Corrupt => self.damaged(stored, BlobState::Corrupt).await,
            Ok(_) if matches!(stored.state, BlobState::Missing | BlobState::Corrupt) => {
                self.mark(stored, BlobState::Live).await;
            }
            _ => {}
        }
        result.map(Some)
    }

    /// The checked bytes of one chunk of a blob, counted from 0; an inline blob is one chunk. `None`: it
    /// was purged.
    pub(crate) async fn chunk_of(&self, stored: &StoredBlob, number: u64) -> Result<Option<Vec<u8>>, Fault> {
        if matches!(stored.blob.location, BlobLocation::Inline(_)) {
            return self.bytes_of(stored).await;
        }
        let begin = number * CHUNK_BYTES as u64;
        let range = begin..(begin + CHUNK_BYTES as u64).min(stored.blob.size);
        let bytes = match self.object_of(stored, range).await? {
            Object::There(bytes) => bytes,
            Object::Purged => return Ok(None),
            Object::Missing => {
                self.damaged(stored, BlobState::Missing).await;
                return Err(Fault::corrupt(format!("the object {} is missing", stored.blob.hash)));
            }
        };
        let checked = stored.check_chunk(usize::try_from(number).unwrap_or(usize::MAX), &bytes);
        if checked.is_err() {
            self.damaged(stored, BlobState::Corrupt).await;
        }
        checked.map(|()| Some(bytes))
    }

    /// The checked bytes of a range of a blob, part by part. The range is cut to the blob's size.
    pub(crate) fn parts_of(&self, stored: StoredBlob, range: Range<u64>) -> ByteStream {
        let (service, stored) = (self.clone(), Arc::new(stored));
        let end = range.end.min(stored.blob.size);
        let read = move |at| {
            let (service, stored) = (service.clone(), stored.clone());
            async move { service.part_of(&stored, at..end).await }
        };
        stream::try_unfold(range.start, read).boxed()
    }

    /// The beginning of a range, up to the end of its chunk, and where the rest begins; `None`: the range
    /// is empty.
    async fn part_of(&self, stored: &StoredBlob, range: Range<u64>) -> Result<Option<(Vec<u8>, u64)>, Fault> {
        if range.is_empty() {
            return Ok(None);
        }
        let chunk = match stored.blob.location {
            BlobLocation::Inline(_) => 0,
            BlobLocation::Object(_) => range.start / CHUNK_BYTES as u64,
        };
        let Some(mut bytes) = self.chunk_of(stored, chunk).await? else {
            return Err(Fault::storage(format!(
                "the blob {} was deleted while it was read",
                stored.blob.hash
            )));
        };
        let begin = chunk * CHUNK_BYTES as u64;
        let within = |at: u64| usize::try_from(at - begin).unwrap_or(usize::MAX).min(bytes.len());
        let (from, to) = (within(range.start), within(range.end));
        bytes.truncate(to);
        bytes.drain(..from);
        Ok(Some((bytes, begin + to as u64)))
    }

    /// Size and hashes of the stored object, read to its end part by part. `Some(None)`: it is missing.
    /// `None`: it was purged.
    pub(crate) async fn measured(&self, stored: &StoredBlob) -> Result<Option<Option<Blob>>, Fault> {
        let (mut measure, step) = (BlobHasher::default(), CHUNK_BYTES as u64);
        // One byte more than the blob's size detects an object that is too long.
        while measure.size() <= stored.blob.size {
            let range = measure.size()..measure.size() + step;
            match self.object_of(stored, range).await? {
                Object::There(bytes) if bytes.is_empty() => break,
                Object::There(bytes) => measure.add(&bytes),
                Object::Purged => return Ok(None),
                Object::Missing => return Ok(Some(None)),
            }
        }
        Ok(Some(Some(measure.finish())))
    }

    /// True if a blob's row says that its bytes are missing or corrupt.
    pub(crate) async fn is_damaged(&self, hash: ContentHash) -> Result<bool, Fault> {
        let found = self.inner.journal.blobs(&[hash]).await?;
        Ok(found.iter().any(|stored| matches!(stored.state, BlobState::Missing | BlobState::Corrupt)))
    }

    /// True if the content of a file is live, and its object exists with its size. Its bytes are not
    /// checked.
    pub(crate) async fn is_whole(&self, file: &FileMetadata) -> Result<bool, Fault> {
        let FileMetadata { record, state, in_object } = file;
        Ok(*state == BlobState::Live
            && (!in_object || self.inner.objects.stat(record.hash).await? == Some(record.size)))
    }

    /// Reads a range of an object. An absent object counts as missing only while a version names it and
    /// repeated reads don't find it: between two reads, `gc` may have deleted it and a writer put it
    /// again.
    async fn object_of(&self, stored: &StoredBlob, range: Range<u64>) -> Result<Object, Fault> {
        for _ in 0..LOOKUP_RETRIES {
            if let Some(bytes) = self.inner.objects.get(stored.blob.hash, range.clone()).await? {
                return Ok(Object::There(bytes));
            }
            if !self.inner.journal.is_referenced(stored.blob.hash).await? {
                return Ok(Object::Purged);
            }
        }
        Ok(Object::Missing)
    }

    /// Makes the bytes of a file present: an object counts only if its row is live and a stat shows its
    /// size. Used when an answer is *unchanged*, so that a repeated write repairs damage.
    pub(crate) async fn make_present(&self, file: &FileMetadata, bytes: &HashedBytes) -> Result<(), Fault> {
        if self.is_whole(file).await? {
            return Ok(());
        }
        if file.in_object {
            // A file references the blob, so gc leaves it alone. If the row became live before the put,
            // a failure in between would lose the record of the damage: the next write would find a live
            // row and the right size, and answer *unchanged* over wrong bytes. If the file was deleted
            // meanwhile and its row is gone, `mark` creates none.
            self.inner.objects.put(bytes.hash(), bytes.as_slice()).await?;
            return self.inner.journal.mark(bytes.hash(), BlobState::Live).await;
        }
        let blob = Blob::pack(bytes, usize::MAX);
        let staging = StagingId::new(self.inner.ids.new_id());
        self.inner.journal.stage(&blob, staging).await.map(drop)
    }

    async fn damaged(&self, stored: &StoredBlob, state: BlobState) {
        self.inner.stats.damaged_reads.fetch_add(1, Ordering::Relaxed);
        self.mark(stored, state).await;
    }

    async fn mark(&self, stored: &StoredBlob, state: BlobState) {
        if let Err(fault) = self.inner.journal.mark(stored.blob.hash, state).await {
            tracing::warn!(blob = %stored.blob.hash, error = %fault, "a blob's state could not be marked");
        }
    }
}

/// Size and hashes of all parts, as a blob; reading stops as soon as there are more than `most` bytes.
pub(crate) async fn measure(parts: &mut ByteStream, most: u64) -> Result<Blob, Fault> {
    let mut measure = BlobHasher::default();
    while measure.size() <= most
        && let Some(part) = parts.try_next().await?
    {
        measure.add(&part);
    }
    Ok(measure.finish())
}
