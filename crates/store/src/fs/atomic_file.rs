//! What is large, part by part: a file that is written beside and renamed into place when it is
//! complete, and a file that is read from beginning to end.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use panaversity_model::ports::{Pages, Parts, Staging};
use panaversity_model::{ContentHash, Fault};
use rustix::io::Errno;

use super::{Durable, Inner, errno, in_a_thread};
use crate::keys;

/// Bytes of a part that is read.
const PART: u64 = 1 << 20;

/// A temporary file that becomes a file of ours when it is complete; dropped before, it is removed.
pub(super) struct AtomicFile {
    inner: Arc<Inner>,
    temporary: String,
    file: Arc<File>,
    what: &'static str,
    in_place: bool,
}

impl AtomicFile {
    /// An empty one. `what` it is for is told when it fails.
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

    /// All parts are there: makes it the file of a key; not any more at `until`.
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
            // Nothing to do if that fails too: the next start sweeps it.
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

/// A file that was opened once: replaced meanwhile, it gives the older version to its end.
pub(super) struct FileParts {
    file: Arc<File>,
    at: u64,
    what: &'static str,
}

impl FileParts {
    /// All of a file.
    pub(super) fn of(file: File, what: &'static str) -> Parts {
        Box::new(Self { file: Arc::new(file), at: 0, what })
    }
}

#[async_trait]
impl Pages<u8> for FileParts {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let (file, range) = (self.file.clone(), self.at..self.at + PART);
        let part = in_a_thread(self.what, move || bytes_of(&file, range)).await?;
        self.at += part.len() as u64;
        Ok((!part.is_empty()).then_some(part))
    }
}

/// The bytes of a range of a file, as far as there are any.
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
