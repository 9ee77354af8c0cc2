//! Content hashes: SHA-256, written as 64 lower-case hex digits.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::refusal::Refusal;

/// SHA-256 of content bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// Hashes the bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Wraps a finished digest.
    pub fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Bytes of the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses 64 hex digits of either case; anything else is `None`.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).ok()?;
        Some(Self(digest))
    }

    /// Parses the argument called `name`; refuses anything that is no SHA-256.
    pub fn parse(name: &'static str, text: &str) -> Result<Self, Refusal> {
        Self::from_hex(text).ok_or_else(|| {
            Refusal::argument(name, "it must be a SHA-256: 64 hexadecimal digits, as read_content returns it")
        })
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

/// Bytes with their hash, which is computed once, when they come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedBytes {
    hash: ContentHash,
    bytes: Vec<u8>,
}

impl HashedBytes {
    /// Hashes bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { hash: ContentHash::of(&bytes), bytes }
    }

    /// The hash.
    pub fn hash(&self) -> ContentHash {
        self.hash
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, without their hash.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_hash_reads_back_as_written(digest: [u8; 32]) {
            let hash = ContentHash::from_bytes(digest);
            prop_assert_eq!(ContentHash::from_hex(&hash.to_string()), Some(hash));
        }
    }

    #[test]
    fn what_is_no_sha_256_is_refused() {
        for bad in ["", "abc", &"g".repeat(64), &"a".repeat(63), &"é".repeat(32)] {
            assert!(ContentHash::parse("hash", bad).is_err(), "{bad:?}");
        }
    }
}
