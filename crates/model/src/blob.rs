//! Blobs: bytes addressed by their hash, in their stored form.
//!
//! # Format
//! An inline blob is one raw deflate stream (RFC 1951), so an archive can copy it into a ZIP entry
//! unchanged; size and CRC-32 (IEEE, as in ZIP) are stored beside it. An object is the bytes
//! themselves, with CRC-32 and the SHA-256 of each 1 MiB chunk, so that a range can be checked without
//! reading the whole.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use sha2::{Digest, Sha256};

use crate::fault::Fault;
use crate::hash::{ContentHash, HashedBytes};
use crate::timestamp::Timestamp;

/// Size in bytes of a separately hashed chunk of an object.
pub const CHUNK_BYTES: usize = 1 << 20;

/// Location of a blob's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobLocation {
    /// In the database, as raw deflate stream.
    Inline(Vec<u8>),
    /// In the object storage; the SHA-256 of each 1 MiB chunk, in order.
    Object(Vec<ContentHash>),
}

/// A blob ready to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// SHA-256 of the bytes, its name.
    pub hash: ContentHash,
    /// Size in bytes before compression.
    pub size: u64,
    /// CRC-32 of the bytes before compression.
    pub crc32: u32,
    /// Location of its bytes.
    pub location: BlobLocation,
}

impl Blob {
    /// True if so many bytes go into the database: at most `inline_limit`; with a limit of 0 nothing does.
    pub fn is_inline(bytes: usize, inline_limit: usize) -> bool {
        bytes <= inline_limit && inline_limit > 0
    }

    /// Packs bytes: inline ones go into the database, others into an object.
    pub fn pack(bytes: &HashedBytes, inline_limit: usize) -> Self {
        let (hash, bytes) = (bytes.hash(), bytes.as_slice());
        let location = if Self::is_inline(bytes.len(), inline_limit) {
            BlobLocation::Inline(deflate(bytes))
        } else {
            BlobLocation::Object(match bytes.len() {
                1..=CHUNK_BYTES => vec![hash],
                _ => bytes.chunks(CHUNK_BYTES).map(ContentHash::of).collect(),
            })
        };
        Self { hash, size: bytes.len() as u64, crc32: crc32fast::hash(bytes), location }
    }
}

/// Incremental hasher that computes everything a row records about an object, from bytes in parts.
pub struct BlobHasher {
    whole: Sha256,
    crc: crc32fast::Hasher,
    size: u64,
    chunk: Sha256,
    chunks: Vec<ContentHash>,
}

impl Default for BlobHasher {
    fn default() -> Self {
        Self {
            whole: Sha256::new(),
            crc: crc32fast::Hasher::new(),
            size: 0,
            chunk: Sha256::new(),
            chunks: Vec::new(),
        }
    }
}

impl BlobHasher {
    /// Adds the next part, of any length.
    pub fn add(&mut self, part: &[u8]) {
        self.whole.update(part);
        self.crc.update(part);
        let mut rest = part;
        while !rest.is_empty() {
            let room = CHUNK_BYTES as u64 - self.size % CHUNK_BYTES as u64;
            let fits = usize::try_from(room).unwrap_or(CHUNK_BYTES).min(rest.len());
            let (here, later) = rest.split_at(fits);
            self.chunk.update(here);
            self.size += here.len() as u64;
            if self.size.is_multiple_of(CHUNK_BYTES as u64) {
                self.chunks.push(ContentHash::from_bytes(self.chunk.finalize_reset().into()));
            }
            rest = later;
        }
    }

    /// Number of bytes added so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Finishes after the last part; returns the blob, placed in an object.
    pub fn finish(mut self) -> Blob {
        if !self.size.is_multiple_of(CHUNK_BYTES as u64) {
            self.chunks.push(ContentHash::from_bytes(self.chunk.finalize().into()));
        }
        Blob {
            hash: ContentHash::from_bytes(self.whole.finalize().into()),
            size: self.size,
            crc32: self.crc.finalize(),
            location: BlobLocation::Object(self.chunks),
        }
    }
}

/// State of a blob as recorded in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobState {
    /// Intact, as far as known.
    Live,
    /// `gc` is about to delete it; no new reference is permitted.
    Condemned,
    /// Its object was not found when it was read.
    Missing,
    /// Its bytes differ from those stored.
    Corrupt,
}

impl BlobState {
    /// Name as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Condemned => "condemned",
            Self::Missing => "missing",
            Self::Corrupt => "corrupt",
        }
    }

    /// Parses the stored name.
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Live, Self::Condemned, Self::Missing, Self::Corrupt].into_iter().find(|h| h.as_str() == text)
    }
}

/// A blob as found in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlob {
    /// The blob.
    pub blob: Blob,
    /// Its state.
    pub state: BlobState,
}

impl StoredBlob {
    /// Unpacks an inline blob and checks every byte; fault `CORRUPT` if they differ from those stored.
    pub fn unpack(&self, deflated: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.blob.size).unwrap_or(0).min(CHUNK_BYTES));
        // One byte more than expected suffices to detect that it is too long.
        let mut stream = DeflateDecoder::new(deflated).take(self.blob.size + 1);
        stream
            .read_to_end(&mut bytes)
            .map_err(|error| Fault::corrupt(format!("blob {}: {error}", self.blob.hash)))?;
        self.check(bytes)
    }

    /// Checks one chunk of an object, counted from 0, against its stored hash.
    pub fn check_chunk(&self, number: usize, bytes: &[u8]) -> Result<(), Fault> {
        let BlobLocation::Object(chunks) = &self.blob.location else {
            return Err(Fault::internal(format!("the inline blob {} has no chunks", self.blob.hash)));
        };
        if chunks.get(number) == Some(&ContentHash::of(bytes)) {
            return Ok(());
        }
        Err(Fault::corrupt(format!("chunk {number} of the object {} is not what was stored", self.blob.hash)))
    }

    /// Checks all bytes of a blob against its hash.
    pub fn check(&self, bytes: Vec<u8>) -> Result<Vec<u8>, Fault> {
        if ContentHash::of(&bytes) == self.blob.hash {
            Ok(bytes)
        } else {
            Err(Fault::corrupt(format!("blob {}: {} bytes of another hash", self.blob.hash, bytes.len())))
        }
    }
}

/// Sizes and state of a version's blob: everything that an archive needs before it reads the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobMetadata {
    /// Size in bytes before compression.
    pub size: u64,
    /// CRC-32 of the bytes before compression.
    pub crc32: u32,
    /// Size in bytes of the raw deflate stream of an inline blob; `None`: the blob is placed in an object.
    pub deflated: Option<u64>,
    /// State; *missing* also if the blob has no row.
    pub state: BlobState,
    /// Time until which the version is kept at least, even if it was superseded long ago.
    pub kept_until: Option<Timestamp>,
}

/// Compresses the bytes into one raw deflate stream.
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut stream = DeflateEncoder::new(Vec::with_capacity(bytes.len() / 2 + 16), Compression::default());
    // Writing into memory cannot fail.
    let written = stream.write_all(bytes).and_then(|()| stream.finish());
    written.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stored(blob: Blob) -> StoredBlob {
        StoredBlob { blob, state: BlobState::Live }
    }

    #[test]
    fn what_is_said_to_be_inline_is_packed_inline_also_without_bytes_or_limit() {
        for (bytes, limit, inline) in
            [(0, 0, false), (1, 0, false), (0, 1, true), (2, 2, true), (3, 2, false)]
        {
            let blob = Blob::pack(&HashedBytes::new(vec![7; bytes]), limit);
            assert_eq!(Blob::is_inline(bytes, limit), inline, "{bytes} of {limit}");
            assert_eq!(matches!(blob.location, BlobLocation::Inline(_)), inline, "{bytes} of {limit}");
        }
    }

    proptest! {
        #[test]
        fn r2_what_was_packed_unpacks_byte_for_byte(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let blob = Blob::pack(&HashedBytes::new(bytes.clone()), 4096);
            let BlobLocation::Inline(deflated) = blob.location.clone() else { panic!("inline") };
            prop_assert_eq!(stored(blob).unpack(&deflated).unwrap(), bytes);
        }

        #[test]
        fn r2_a_changed_byte_is_never_served(
            bytes in prop::collection::vec(any::<u8>(), 1..2048), at: prop::sample::Index, flip in 1u8..=255,
        ) {
            let blob = Blob::pack(&HashedBytes::new(bytes.clone()), 4096);
            let BlobLocation::Inline(mut deflated) = blob.location.clone() else { panic!("inline") };
            let at = at.index(deflated.len());
            deflated[at] ^= flip;
            // Some flips change no decoded byte (padding bits); then the decoded bytes are right.
            if let Ok(read) = stored(blob).unpack(&deflated) {
                prop_assert_eq!(read, bytes);
            }
        }
    }

    #[test]
    fn bytes_in_parts_measure_as_the_whole() {
        for size in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let bytes: Vec<u8> = (0..size).map(|n| u8::try_from(n % 253).unwrap()).collect();
            for part in [CHUNK_BYTES / 3 + 1, 2 * CHUNK_BYTES + 7] {
                let mut measure = BlobHasher::default();
                bytes.chunks(part).for_each(|part| measure.add(part));
                assert_eq!(
                    measure.finish(),
                    Blob::pack(&HashedBytes::new(bytes.clone()), 0),
                    "{size} in parts of {part}"
                );
            }
        }
    }

    #[test]
    fn a_blob_beyond_the_inline_limit_is_an_object_with_chunk_hashes() {
        let bytes = vec![7; CHUNK_BYTES + 1];
        let blob = Blob::pack(&HashedBytes::new(bytes.clone()), 1024);
        let BlobLocation::Object(chunks) = blob.location else { panic!("object") };
        assert_eq!(chunks, [ContentHash::of(&bytes[..CHUNK_BYTES]), ContentHash::of(&[7])]);
        assert!(
            matches!(Blob::pack(&HashedBytes::new(Vec::new()), 0).location, BlobLocation::Object(_)),
            "a limit of 0 keeps nothing inline"
        );
    }
}
