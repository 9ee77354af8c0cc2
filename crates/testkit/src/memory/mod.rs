//! Fakes of the storage in memory, as small as possible, for tests of the use cases. They pass the same
//! contract suites as the engines (I11).

mod objects;
mod tree;
mod upload_store;

use futures::{StreamExt, stream};
use panaversity_model::ports::{ByteStream, PageStream};

pub use objects::MemoryObjects;
pub use tree::{MemoryTree, listed, location, lying, set_aside};
pub use upload_store::MemoryUploadStore;

/// A list of these entries, with pages of three.
pub fn in_pages<T: Send + 'static>(entries: Vec<T>) -> PageStream<T> {
    stream::iter(entries).chunks(3).map(Ok).boxed()
}

/// These bytes, in parts of a few KiB.
pub fn in_parts(bytes: &[u8]) -> ByteStream {
    const PART: usize = 5_000;
    let parts: Vec<_> = bytes.chunks(PART).map(|part| Ok(part.to_vec())).collect();
    stream::iter(parts).boxed()
}
