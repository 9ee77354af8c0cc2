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

use crate::fault::Fault;
use crate::hash::ContentHash;

/// Bytes per checked chunk of an object.
pub const CHUNK_BYTES: usize = 1 << 20;

/// Where a blob's bytes lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
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
    pub place: Place,
}

impl Blob {
    /// Packs bytes: up to `inline_limit` bytes they go into the database, beyond it into an
    /// object; a limit of 0 keeps nothing inline.
    pub fn pack(bytes: &[u8], inline_limit: usize) -> Self {
        let place = if bytes.len() <= inline_limit && inline_limit > 0 {
            Place::Inline(deflate(bytes))
        } else {
            Place::Object(bytes.chunks(CHUNK_BYTES).map(ContentHash::of).collect())
        };
        Self { hash: ContentHash::of(bytes), size: bytes.len() as u64, crc32: crc32fast::hash(bytes), place }
    }
}

/// What the database knows of a blob's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// As stored.
    Live,
    /// `gc` is about to delete it: nobody may refer to it any more.
    Condemned,
    /// Its object was not there when it was wanted.
    Missing,
    /// Its bytes were not what was stored.
    Corrupt,
}

impl Health {
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
    pub health: Health,
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

    /// Checks the whole bytes of a blob against its name.
    pub fn check(&self, bytes: Vec<u8>) -> Result<Vec<u8>, Fault> {
        if ContentHash::of(&bytes) == self.blob.hash {
            Ok(bytes)
        } else {
            Err(Fault::corrupt(format!("blob {}: {} bytes of another hash", self.blob.hash, bytes.len())))
        }
    }
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
        StoredBlob { blob, health: Health::Live }
    }

    proptest! {
        #[test]
        fn r2_what_was_packed_unpacks_byte_for_byte(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let blob = Blob::pack(&bytes, 4096);
            let Place::Inline(deflated) = blob.place.clone() else { panic!("inline") };
            prop_assert_eq!(stored(blob).unpack(&deflated).unwrap(), bytes);
        }

        #[test]
        fn r2_a_changed_byte_is_never_served(
            bytes in prop::collection::vec(any::<u8>(), 1..2048), at: prop::sample::Index, flip in 1u8..=255,
        ) {
            let blob = Blob::pack(&bytes, 4096);
            let Place::Inline(mut deflated) = blob.place.clone() else { panic!("inline") };
            let at = at.index(deflated.len());
            deflated[at] ^= flip;
            // Some flips change no decoded byte (padding bits); then the right bytes come out.
            if let Ok(read) = stored(blob).unpack(&deflated) {
                prop_assert_eq!(read, bytes);
            }
        }
    }

    #[test]
    fn a_blob_beyond_the_inline_limit_is_an_object_with_chunk_hashes() {
        let bytes = vec![7; CHUNK_BYTES + 1];
        let blob = Blob::pack(&bytes, 1024);
        let Place::Object(chunks) = blob.place else { panic!("object") };
        assert_eq!(chunks, [ContentHash::of(&bytes[..CHUNK_BYTES]), ContentHash::of(&[7])]);
        assert!(matches!(Blob::pack(b"", 0).place, Place::Object(_)), "a limit of 0 keeps nothing inline");
    }
}
