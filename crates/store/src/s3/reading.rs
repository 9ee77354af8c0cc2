//! Reads from the bucket: a range of a file, or all of it at the reader's pace.

use std::ops::Range;
use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use opendal::{BufferStream, ErrorKind};
use panaversity_model::Fault;
use panaversity_model::ports::ByteStream;

use super::{S3Storage, absent_is_none};

/// Size of a part that is read.
const PART: u64 = 1 << 20;

/// Response body with the number of bytes still expected. The stream must not be polled beyond them: it
/// treats a range that ends after the file as a broken response.
struct Coming {
    stream: BufferStream,
    left: u64,
}

impl Coming {
    /// Reads at least `enough` bytes, or all that are left.
    async fn bytes(&mut self, enough: u64) -> opendal::Result<Vec<u8>> {
        let due = self.left.min(enough);
        let mut bytes = Vec::with_capacity(usize::try_from(due).unwrap_or(0));
        while (bytes.len() as u64) < due {
            let Some(slices) = self.stream.try_next().await? else {
                return Err(opendal::Error::new(ErrorKind::Unexpected, "it ended too early"));
            };
            for slice in slices {
                bytes.extend_from_slice(&slice);
            }
        }
        self.left = self.left.saturating_sub(bytes.len() as u64);
        Ok(bytes)
    }
}

impl S3Storage {
    /// Bytes of a range of the file at a key; fewer if it ends before the range does; `None`: there is no
    /// file.
    pub(super) async fn range(
        &self,
        what: &str,
        key: &str,
        range: Range<u64>,
    ) -> Result<Option<Vec<u8>>, Fault> {
        // No file is larger, and storages parse the end as 63 bits.
        let range = range.start..range.end.min(i64::MAX as u64);
        if range.is_empty() {
            let found = absent_is_none(self.operators.retrying.stat(key));
            return Ok(self.repeatable(what, found).await?.map(|_| Vec::new()));
        }
        let began = Instant::now();
        let opened = async {
            let mut stream = self.operators.retrying.reader(key).await?.into_stream(range.clone()).await?;
            let end = match stream.metadata().await {
                Ok(metadata) => metadata.content_length().min(range.end),
                // The file has no bytes in that range; so it is for any range of an empty file.
                Err(error) if error.kind() == ErrorKind::RangeNotSatisfied => 0,
                Err(error) => return Err(error),
            };
            Ok(Coming { stream, left: end.saturating_sub(range.start) })
        };
        let Some(mut coming) = self.repeatable(what, absent_is_none(opened)).await? else { return Ok(None) };
        let limit = self.limits.timeout_for(coming.left).saturating_sub(began.elapsed());
        let read = self.within(limit, what, coming.bytes(u64::MAX)).await;
        read.map(Some).map_err(|fault| Fault { outcome_unknown: false, ..fault })
    }

    /// Reads the whole file at a key, part by part; `None`: there is no file. With a version (an `ETag`),
    /// only while the file has that version.
    pub(super) async fn stream(
        &self,
        what: &'static str,
        key: String,
        version: Option<&str>,
    ) -> Result<Option<ByteStream>, Fault> {
        let opened = async {
            let reader = self.operators.streaming.reader_with(&key);
            let reader = match version {
                Some(version) => reader.if_match(version).await?,
                None => reader.await?,
            };
            let mut stream = reader.into_stream(..).await?;
            let left = stream.metadata().await?.content_length();
            Ok(Coming { stream, left })
        };
        let coming = self.repeatable(what, absent_is_none(opened)).await?;
        Ok(coming.map(|coming| self.parts(what, coming)))
    }

    /// The rest of a response, at the reader's pace. After a fault it only repeats that a part was lost: a
    /// reader that goes on never takes it for a whole.
    fn parts(&self, what: &'static str, coming: Coming) -> ByteStream {
        let storage = self.clone();
        let read = move |coming: Option<Coming>| {
            let storage = storage.clone();
            async move {
                let Some(mut coming) = coming else {
                    return Some((Err(Fault::storage(format!("{what}: a part was lost"))), None));
                };
                match storage.repeatable(what, coming.bytes(PART)).await {
                    Ok(part) => (!part.is_empty()).then_some((Ok(part), Some(coming))),
                    Err(fault) => Some((Err(fault), None)),
                }
            }
        };
        stream::unfold(Some(coming), read).boxed()
    }
}
