//! Streaming SHA-256 of files. Invariant: at most one chunk is in memory, whatever the size of the
//! file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use panaversity_model::ContentHash;
use sha2::{Digest as _, Sha256};

/// Size of a chunk, in bytes.
pub(super) const PART: usize = 64 * 1024;

/// Incremental SHA-256 and size.
#[derive(Default)]
pub(super) struct Digest {
    sha256: Sha256,
    size: u64,
}

impl Digest {
    /// Adds the next chunk.
    pub(super) fn add(&mut self, part: &[u8]) {
        self.sha256.update(part);
        self.size += part.len() as u64;
    }

    /// The hash and the size of all chunks.
    pub(super) fn finish(self) -> (ContentHash, u64) {
        (ContentHash::from_bytes(self.sha256.finalize().into()), self.size)
    }
}

/// Hash and size of a file.
pub(super) fn of_file(path: &Path) -> io::Result<(ContentHash, u64)> {
    let (mut file, mut digest) = (File::open(path)?, Digest::default());
    // Most pages are far smaller than a chunk.
    let size = usize::try_from(file.metadata()?.len()).unwrap_or(PART);
    let mut part = vec![0; size.clamp(1, PART)];
    loop {
        match file.read(&mut part)? {
            0 => return Ok(digest.finish()),
            length => digest.add(&part[..length]),
        }
    }
}
