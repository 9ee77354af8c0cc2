//! Large files in parts: a writer to a temporary file that is renamed into place when complete, and a
//! reader from beginning to end.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use panaversity_model::ports::{ByteStream, Staging};
use panaversity_model::{ContentHash, Fault};
use rustix::io::Errno;

use super::{Durable, Inner, errno, in_a_thread};
use crate::keys;

/// Size of a part that is read.
const PART: u64 = 1 << 20;

/// Temporary file that is renamed to its key when complete; if dropped before, it is removed.
pub(super) struct AtomicFile {
    inner: Arc<Inner>,
    temporary: String,
    file: Arc<File>,
    what: &'static str,
    in_place: bool,
}

impl AtomicFile {
    /// Creates an empty temporary file. `what` names the operation in its faults.
    pub(super) async fn begin(inner: &Arc<Inner>, what: &'static str) -> Result<Self, Fault> {
        let (inner, temporary) = (inner.clone(), inner.instance.fresh_name());
        let act = move || {
            let file = Arc::new(inner.root.create(&temporary)?);
            Ok(Self { inner, temporary, file, what, in_place: false })
        };
        in_a_thread(what, act).await
    }

    /// Appends the next part.
    pub(super) async fn write(&mut self, part: Vec<u8>) -> Result<(), Fault> {
        let file = self.file.clone();
        in_a_thread(self.what, move || (&*file).write_all(&part).map_err(|error| errno(&error))).await
    }

    /// Renames the complete file to its key, but not after `until`.
    pub(super) async fn finish(
        mut self,
        key: String,
        durable: Durable,
        until: Option<Instant>,
    ) -> Result<(), Fault> {
        let what = self.what;
        let act = move || {
            self.inner.move_into_place(&self.temporary, &self.file, &key, durable, until)?;
            self.in_place = true;
            Ok(())
        };
        in_a_thread(what, act).await
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.in_place {
            // A failure here is ignored: the next start sweeps the file.
            let _ = self.inner.root.remove(&self.temporary);
        }
    }
}

#[async_trait]
impl Staging for AtomicFile {
    async fn write(&mut self, part: &[u8]) -> Result<(), Fault> {
        AtomicFile::write(self, part.to_vec()).await
    }

    async fn promote(self: Box<Self>, hash: ContentHash) -> Result<(), Fault> {
        self.finish(keys::object(hash), Durable::Yes, None).await
    }
}

/// Reads an open file: if it is replaced meanwhile, the older version is read to its end.
pub(super) fn stream_of(file: File, what: &'static str) -> ByteStream {
    let file = Arc::new(file);
    let read = move |at| {
        let file = file.clone();
        async move {
            let part = in_a_thread(what, move || bytes_of(&file, at..at + PART)).await?;
            let end = at + part.len() as u64;
            Ok((!part.is_empty()).then_some((part, end)))
        }
    };
    stream::try_unfold(0, read).boxed()
}

/// Bytes of a range of a file; fewer if it ends before the range does.
pub(super) fn bytes_of(file: &File, range: Range<u64>) -> Result<Vec<u8>, Errno> {
    let size = file.metadata().map_err(|error| errno(&error))?.len();
    let due = range.end.min(size).saturating_sub(range.start);
    let mut bytes = vec![0; usize::try_from(due).map_err(|_| Errno::FBIG)?];
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], range.start + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(errno(&error)),
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}
