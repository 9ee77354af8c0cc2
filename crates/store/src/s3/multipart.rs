//! Multipart upload of a large file to the bucket (a single put if there is only one part). Nothing is
//! visible under its key before the last request, which completes it. If dropped before that, it is
//! aborted; leftovers of a crashed process are removed by the bucket's lifecycle rules.

use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use opendal::options::{CopyOptions, WriteOptions};
use opendal::raw::{OpWrite, Service, oio};
use opendal::{Buffer, ErrorKind};
use panaversity_model::ports::{Staging, UploadWriter};
use panaversity_model::{ContentHash, Fault};
use tokio::sync::OwnedSemaphorePermit;

use super::error::{Answered, answered};
use super::{S3Storage, absent_is_none};
use crate::keys;
use crate::limits::BucketLimits;

/// Size of a part, the minimum of S3: one is in memory while the previous one is sent.
const PART: usize = 5 << 20;

/// Maximum size copied in one request: even a slow bucket completes it in time.
const COPIED: usize = 64 << 20;

/// Retry policy of the request that completes a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryPolicy {
    /// After any transient error: no other writer puts this key.
    Always,
    /// Only after the storage answered that it did not do it: without an answer it may arrive later.
    OnlyIfRefused,
}

/// A file being written.
pub(super) struct MultipartWriter {
    storage: S3Storage,
    what: &'static str,
    key: String,
    /// opendal's writer without its buffers, which lose their content if a write fails. `None`:
    /// completed.
    writer: Option<oio::Writer>,
    part: Vec<u8>,
    size: u64,
    permit: Option<OwnedSemaphorePermit>,
}

impl MultipartWriter {
    /// Begins a file, after acquiring a permit.
    pub(super) async fn begin(
        storage: &S3Storage,
        what: &'static str,
        key: String,
        media_type: Option<&str>,
    ) -> Result<Self, Fault> {
        let permit = storage.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|closed| Fault::internal(format!("{what}: {closed}")))?;
        let large = &storage.operators.multipart;
        let options = WriteOptions { content_type: media_type.map(str::to_owned), ..Default::default() };
        let writer = OpWrite::from_options(&large.service().capability(), options)
            .and_then(|(options, _)| large.service().write(large.context(), &key, options))
            .map_err(|error| Fault::internal(format!("{what}: {error}")))?;
        Ok(Self {
            storage: storage.clone(),
            what,
            key,
            writer: Some(writer),
            part: Vec::new(),
            size: 0,
            permit: Some(permit),
        })
    }

    /// Appends bytes.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let (here, later) = bytes.split_at(bytes.len().min(PART - self.part.len()));
            if !self.part.is_empty() || !later.is_empty() {
                self.part.reserve_exact(PART - self.part.len());
            }
            self.part.extend_from_slice(here);
            bytes = later;
            if self.part.len() == PART {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Sends the rest of the last part, so that only the completion remains.
    pub(super) async fn flush(&mut self) -> Result<(), Fault> {
        if self.part.is_empty() { Ok(()) } else { self.send().await }
    }

    /// Time limit of the completion.
    pub(super) fn timeout_for(&self) -> Duration {
        self.storage.limits.timeout_for(self.size + self.part.len() as u64)
    }

    /// Passes the part on. opendal keeps the last one until it knows that another follows.
    async fn send(&mut self) -> Result<(), Fault> {
        self.size += self.part.len() as u64;
        let part = Buffer::from(std::mem::take(&mut self.part));
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let sent = async {
            let mut backoff = Backoff::new(&self.storage.limits);
            loop {
                match writer.write_dyn(part.clone()).await {
                    Ok(()) => return Ok(()),
                    Err(error) => backoff.wait(RetryPolicy::Always, error).await?,
                }
            }
        };
        let limit = self.storage.limits.timeout_for(PART as u64);
        self.storage.within(limit, self.what, sent).await.map_err(nothing_shows)
    }

    /// Completes the file within a time limit, which makes it visible under its key.
    pub(super) async fn finish(mut self, policy: RetryPolicy, limit: Duration) -> Result<(), Fault> {
        self.complete(policy, limit).await
    }

    async fn complete(&mut self, policy: RetryPolicy, limit: Duration) -> Result<(), Fault> {
        self.flush().await?;
        let Self { storage, what, key, writer: Some(writer), size, .. } = self else { return Ok(()) };
        let completed = async {
            let mut backoff = Backoff::new(&storage.limits);
            loop {
                match writer.close_dyn().await {
                    Ok(_) => return Ok(()),
                    // An earlier attempt succeeded, and its answer was lost: no other writer puts this key.
                    Err(error) if policy == RetryPolicy::Always && error.kind() == ErrorKind::NotFound => {
                        let found = absent_is_none(storage.operators.retrying.stat(key)).await?;
                        return if found.is_some_and(|found| found.content_length() == *size) {
                            Ok(())
                        } else {
                            Err(error)
                        };
                    }
                    Err(error) => backoff.wait(policy, error).await?,
                }
            }
        };
        let completed = storage.within(limit, what, completed).await;
        if policy == RetryPolicy::Always {
            completed.map_err(nothing_shows)?;
        } else {
            completed?;
        }
        self.writer = None;
        Ok(())
    }
}

/// Clears the unknown outcome: a part is not visible, so a missing answer has no consequences.
fn nothing_shows(fault: Fault) -> Fault {
    Fault { outcome_unknown: false, ..fault }
}

impl Drop for MultipartWriter {
    fn drop(&mut self) {
        let (Some(mut writer), Ok(runtime)) = (self.writer.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let permit = self.permit.take();
        runtime.spawn(async move {
            // If aborting fails, the bucket's lifecycle rules remove the parts.
            let _ = writer.abort_dyn().await;
            drop(permit);
        });
    }
}

#[async_trait]
impl Staging for MultipartWriter {
    async fn write(&mut self, part: &[u8]) -> Result<(), Fault> {
        MultipartWriter::write(self, part).await
    }

    async fn promote(mut self: Box<Self>, hash: ContentHash) -> Result<(), Fault> {
        let limit = self.timeout_for();
        self.complete(RetryPolicy::Always, limit).await?;
        let copied = self.storage.copied(self.what, &self.key, &keys::object(hash), self.size).await;
        // If this fails, the leftover is swept later.
        let _ = self.storage.operators.retrying.delete(&self.key).await;
        match copied? {
            Some(()) => Ok(()),
            None => {
                Err(Fault::storage(format!("{}: {} lost what was staged", self.what, self.storage.shown)))
            }
        }
    }
}

#[async_trait]
impl UploadWriter for MultipartWriter {
    async fn write(&mut self, part: &[u8]) -> Result<(), Fault> {
        MultipartWriter::write(self, part).await
    }

    async fn finish(self: Box<Self>) -> Result<(), Fault> {
        let limit = self.timeout_for();
        MultipartWriter::finish(*self, RetryPolicy::Always, limit).await
    }
}

impl S3Storage {
    /// Copies the object at a key, of `size` bytes, within the bucket, in parts if it is large; `None`:
    /// there is none.
    pub(super) async fn copied(
        &self,
        what: &str,
        from: &str,
        to: &str,
        size: u64,
    ) -> Result<Option<()>, Fault> {
        let copied = async {
            let mut backoff = Backoff::new(&self.limits);
            loop {
                match absent_is_none(self.copy(from, to, size)).await {
                    Ok(copied) => return Ok(copied),
                    Err(error) => backoff.wait(RetryPolicy::Always, error).await?,
                }
            }
        };
        self.within(self.limits.timeout_for(size), what, copied).await.map_err(nothing_shows)
    }

    /// Copies with the time limit of one request per step; opendal's own copy applies it to all steps
    /// together.
    async fn copy(&self, from: &str, to: &str, size: u64) -> opendal::Result<()> {
        let hint = Some(size);
        let options =
            CopyOptions { source_content_length_hint: hint, chunk: Some(COPIED), ..Default::default() };
        let mut copier = self.operators.multipart.copier_options(from, to, options).await?;
        loop {
            match copier.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(error) => {
                    // If aborting fails, the bucket's lifecycle rules remove the parts.
                    let _ = copier.abort().await;
                    return Err(error);
                }
            }
        }
    }
}

/// Pauses before the retries that are left.
struct Backoff(ExponentialBackoff);

impl Backoff {
    fn new(limits: &BucketLimits) -> Self {
        let (shortest, longest) = limits.retry_delays;
        let pauses = ExponentialBuilder::new().with_min_delay(shortest).with_max_delay(longest);
        Self(pauses.with_max_times(limits.retries).with_jitter().build())
    }

    /// Waits before the next retry, or returns the error if there is none.
    async fn wait(&mut self, policy: RetryPolicy, error: opendal::Error) -> opendal::Result<()> {
        let is_unsafe = policy == RetryPolicy::OnlyIfRefused && answered(&error) == Answered::No;
        let pause = self.0.next().filter(|_| error.is_temporary() && !is_unsafe);
        let Some(pause) = pause else { return Err(error) };
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
