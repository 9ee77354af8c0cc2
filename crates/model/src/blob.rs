//! Blobs: bytes named by their hash, in the form they are stored in.
//!
//! # Format
//! An inline blob is its bytes as one raw deflate stream (RFC 1951), so an archive can copy it
//! into a ZIP entry as it is; size and CRC-32 (IEEE, as in ZIP) are kept beside it. An object is
//! the bytes themselves, with CRC-32 and the SHA-256 of each 1 MiB chunk, so that a range can be
//! checked without reading the whole.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use sha2::{Digest, Sha256};

use crate::fault::Fault;
use crate::hash::ContentHash;
use crate::timestamp::Timestamp;

/// Bytes per checked chunk of an object.
pub const CHUNK_BYTES: usize = 1 << 20;

/// Where a blob's bytes lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobLocation {
    /// In the database: the raw deflate stream.
    Inline(Vec<u8>),
    /// In the object storage: the SHA-256 of each 1 MiB chunk, in order.
    Object(Vec<ContentHash>),
}

/// A blob ready to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its name.
    pub hash: ContentHash,
    /// Bytes before compression.
    pub size: u64,
    /// CRC-32 of the bytes before compression.
    pub crc32: u32,
    /// Where its bytes go.
    pub location: BlobLocation,
}

impl Blob {
    /// Packs bytes: up to `inline_limit` bytes they go into the database, beyond it into an
    /// object; a limit of 0 keeps nothing inline.
    pub fn pack(bytes: &[u8], inline_limit: usize) -> Self {
        let location = if bytes.len() <= inline_limit && inline_limit > 0 {
            BlobLocation::Inline(deflate(bytes))
        } else {
            BlobLocation::Object(bytes.chunks(CHUNK_BYTES).map(ContentHash::of).collect())
        };
        Self {
            hash: ContentHash::of(bytes),
            size: bytes.len() as u64,
            crc32: crc32fast::hash(bytes),
            location,
        }
    }
}

/// The measure of bytes that come part by part: all that a row says of an object.
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
    /// The next part, of any length.
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

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// All parts were there: the blob that they are, as an object.
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

/// What the database knows of a blob's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobState {
    /// As stored.
    Live,
    /// `gc` is about to delete it: nobody may refer to it any more.
    Condemned,
    /// Its object was not there when it was wanted.
    Missing,
    /// Its bytes were not what was stored.
    Corrupt,
}

impl BlobState {
    /// The name as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Condemned => "condemned",
            Self::Missing => "missing",
            Self::Corrupt => "corrupt",
        }
    }

    /// Reads the stored name.
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Live, Self::Condemned, Self::Missing, Self::Corrupt].into_iter().find(|h| h.as_str() == text)
    }
}

/// A blob as found in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlob {
    /// The blob.
    pub blob: Blob,
    /// Its health.
    pub state: BlobState,
}

impl StoredBlob {
    /// Unpacks an inline blob. Every byte is checked: `CORRUPT` if they are not what was stored.
    pub fn unpack(&self, deflated: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.blob.size).unwrap_or(0).min(CHUNK_BYTES));
        // One byte more than expected is enough to know that it is too long.
        let mut stream = DeflateDecoder::new(deflated).take(self.blob.size + 1);
        stream
            .read_to_end(&mut bytes)
            .map_err(|error| Fault::corrupt(format!("blob {}: {error}", self.blob.hash)))?;
        self.check(bytes)
    }

    /// Checks one chunk of an object, counted from 0, against the hash that was kept of it.
    pub fn check_chunk(&self, number: usize, bytes: &[u8]) -> Result<(), Fault> {
        let BlobLocation::Object(chunks) = &self.blob.location else {
            return Err(Fault::internal(format!("the inline blob {} has no chunks", self.blob.hash)));
        };
        if chunks.get(number) == Some(&ContentHash::of(bytes)) {
            return Ok(());
        }
        Err(Fault::corrupt(format!("chunk {number} of the object {} is not what was stored", self.blob.hash)))
    }

    /// Checks the whole bytes of a blob against its name.
    pub fn check(&self, bytes: Vec<u8>) -> Result<Vec<u8>, Fault> {
        if ContentHash::of(&bytes) == self.blob.hash {
            Ok(bytes)
        } else {
            Err(Fault::corrupt(format!("blob {}: {} bytes of another hash", self.blob.hash, bytes.len())))
        }
    }
}

/// What a version of a file weighs, and how its blob is: all that an archive must know of it before
/// its bytes are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobMetadata {
    /// Bytes before compression.
    pub size: u64,
    /// CRC-32 of the bytes before compression.
    pub crc32: u32,
    /// Bytes of the raw deflate stream, of a blob in the database; `None`: it lies in an object.
    pub deflated: Option<u64>,
    /// Its health; *missing* too if it has no row.
    pub state: BlobState,
    /// Until when the version is kept at least, however long ago it was superseded.
    pub kept_until: Option<Timestamp>,
}

/// The bytes as one raw deflate stream.
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

    proptest! {
        #[test]
        fn r2_what_was_packed_unpacks_byte_for_byte(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let blob = Blob::pack(&bytes, 4096);
            let BlobLocation::Inline(deflated) = blob.location.clone() else { panic!("inline") };
            prop_assert_eq!(stored(blob).unpack(&deflated).unwrap(), bytes);
        }

        #[test]
        fn r2_a_changed_byte_is_never_served(
            bytes in prop::collection::vec(any::<u8>(), 1..2048), at: prop::sample::Index, flip in 1u8..=255,
        ) {
            let blob = Blob::pack(&bytes, 4096);
            let BlobLocation::Inline(mut deflated) = blob.location.clone() else { panic!("inline") };
            let at = at.index(deflated.len());
            deflated[at] ^= flip;
            // Some flips change no decoded byte (padding bits); then the right bytes come out.
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
                assert_eq!(measure.finish(), Blob::pack(&bytes, 0), "{size} in parts of {part}");
            }
        }
    }

    #[test]
    fn a_blob_beyond_the_inline_limit_is_an_object_with_chunk_hashes() {
        let bytes = vec![7; CHUNK_BYTES + 1];
        let blob = Blob::pack(&bytes, 1024);
        let BlobLocation::Object(chunks) = blob.location else { panic!("object") };
        assert_eq!(chunks, [ContentHash::of(&bytes[..CHUNK_BYTES]), ContentHash::of(&[7])]);
        assert!(
            matches!(Blob::pack(b"", 0).location, BlobLocation::Object(_)),
            "a limit of 0 keeps nothing inline"
        );
    }
}
