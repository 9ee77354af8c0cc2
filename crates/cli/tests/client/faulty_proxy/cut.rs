//! Bodies that break off.

use axum::body::{Body, Bytes};
use futures::{StreamExt, stream};
use tokio::sync::oneshot;

/// Bytes that tell when nobody holds them any more.
struct Sent {
    bytes: Bytes,
    _gone: oneshot::Sender<()>,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The first `length` bytes of a body, then a cut. The connection lets go of bytes when it has written
/// them, so all of them arrive.
pub(super) fn after(body: &Bytes, length: usize) -> Body {
    let (gone, written) = oneshot::channel();
    let bytes = body.slice(..length.min(body.len()));
    let first = (!bytes.is_empty()).then(|| Ok(Bytes::from_owner(Sent { bytes, _gone: gone })));
    let cut = stream::once(async {
        let _ = written.await;
        Err(std::io::Error::other("cut"))
    });
    Body::from_stream(stream::iter(first).chain(cut))
}
