//! Response bodies of files, in bounded memory for clients of any speed. Invariant: a semaphore bounds
//! the parts of large files in memory, however slow the clients are; a file that fits in one part never
//! waits for others; and one caller has at most half of the parts.
//!
//! A part keeps its permit while any of its bytes are in memory. A client that takes no bytes for long
//! loses the connection, which frees the permit: see [`connection`](crate::http::connection).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::{TryStreamExt, stream};
use panaversity_model::Fault;
use panaversity_model::blob::CHUNK_BYTES;
use panaversity_model::fault::FaultKind;
use panaversity_model::ports::ByteStream;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::http::middleware::client_address::CallerKey;
use crate::limits::ServerLimits;
use crate::memory_budget::with_guard;

/// Largest frame of a part that is passed on.
const FRAME_BYTES: usize = 256 << 10;

/// Number of callers from which on those without downloads are forgotten.
const LEAST_FORGOTTEN: usize = 1_024;

/// Semaphores over parts of large files: of all callers, and of each.
#[derive(Clone)]
pub(crate) struct DownloadLimiter {
    permits: Arc<Semaphore>,
    shares: Arc<Mutex<HashMap<CallerKey, Weak<Semaphore>>>>,
    share_size: usize,
    first_part_timeout: Duration,
    next_part_timeout: Duration,
}

/// Stream of a file.
struct FileBody {
    rest: Bytes,
    /// Source of the parts; `None`: it failed.
    parts: Option<ByteStream>,
    /// Semaphores of the parts, the caller's and that of all; `None`: the file needs no permits.
    permits: Option<[Arc<Semaphore>; 2]>,
    next_part_timeout: Duration,
}

impl DownloadLimiter {
    /// A limiter with all permits free.
    pub(crate) fn new(limits: &ServerLimits) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limits.download_parts_at_once)),
            shares: Arc::default(),
            share_size: limits.download_parts_at_once.div_ceil(2),
            first_part_timeout: limits.first_part_timeout,
            next_part_timeout: limits.next_part_timeout,
        }
    }

    /// Body with `bytes` bytes of a file. The first part is read before it is returned, so that damage
    /// at the start is an error and not a broken download.
    ///
    /// # Errors
    /// A timeout when no permit became free in time.
    pub(crate) async fn body(
        &self,
        caller: &CallerKey,
        parts: ByteStream,
        bytes: u64,
    ) -> Result<Body, Fault> {
        let permits = (bytes > CHUNK_BYTES as u64).then(|| [self.share_of(caller), self.permits.clone()]);
        let next_part_timeout = self.next_part_timeout;
        let mut file = FileBody { rest: Bytes::new(), parts: Some(parts), permits, next_part_timeout };
        file.rest = file.part(self.first_part_timeout).await?.unwrap_or_default();
        Ok(Body::from_stream(stream::unfold(file, |mut file| async move {
            let frame = file.next().await?;
            Some((frame, file))
        })))
    }
}

impl DownloadLimiter {
    /// The caller's semaphore, which lives as long as its downloads.
    fn share_of(&self, caller: &CallerKey) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(caller).and_then(Weak::upgrade) {
            return share;
        }
        if shares.len() >= LEAST_FORGOTTEN {
            shares.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Semaphore::new(self.share_size));
        shares.insert(caller.clone(), Arc::downgrade(&share));
        share
    }
}

impl FileBody {
    async fn next(&mut self) -> Option<Result<Bytes, Fault>> {
        if self.rest.is_empty() {
            match self.part(self.next_part_timeout).await {
                Ok(next) => self.rest = next?,
                Err(fault) => {
                    tracing::warn!(target: "panaversity_fs.http", error = %fault, "a download was cut off");
                    self.parts = None;
                    return Some(Err(fault));
                }
            }
        }
        Some(Ok(self.rest.split_to(self.rest.len().min(FRAME_BYTES))))
    }

    /// The next part, after acquiring its permit; `None`: the end, or an earlier failure.
    async fn part(&mut self, timeout: Duration) -> Result<Option<Bytes>, Fault> {
        let Some(parts) = &mut self.parts else { return Ok(None) };
        let permit = match &self.permits {
            Some(permits) => Some(acquire(permits, timeout).await?),
            None => None,
        };
        let Some(part) = parts.try_next().await? else { return Ok(None) };
        let part = Bytes::from(fitted(part));
        Ok(Some(match permit {
            Some(permit) => with_guard(part, Arc::new(permit)),
            None => part,
        }))
    }
}

/// A permit of each semaphore, in their order.
async fn acquire(
    [share, all]: &[Arc<Semaphore>; 2],
    timeout: Duration,
) -> Result<[OwnedSemaphorePermit; 2], Fault> {
    let permits = async { Ok([share.clone().acquire_owned().await?, all.clone().acquire_owned().await?]) };
    let permits = tokio::time::timeout(timeout, permits).await;
    let permits = permits.map_err(|_| Fault::new(FaultKind::Timeout, "too many files are under way"))?;
    permits.map_err(|closed: AcquireError| Fault::internal(closed.to_string()))
}

/// Frees the rest of a chunk's memory if only a small range of it is used.
fn fitted(mut part: Vec<u8>) -> Vec<u8> {
    if part.len() < part.capacity() / 2 {
        part.shrink_to_fit();
    }
    part
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    fn limits() -> ServerLimits {
        ServerLimits::new(1_024, 10 << 20, Duration::from_mins(1))
    }

    async fn file(limiter: &DownloadLimiter, parts: usize) -> Result<Body, Fault> {
        file_for(0, limiter, parts).await
    }

    async fn file_for(caller: u8, limiter: &DownloadLimiter, parts: usize) -> Result<Body, Fault> {
        let caller = CallerKey::Address(std::net::Ipv4Addr::new(10, 0, 0, caller).into());
        let all = stream::repeat_with(|| Ok(vec![7; 1 << 20])).take(parts);
        limiter.body(&caller, all.boxed(), (parts as u64) << 20).await
    }

    #[tokio::test]
    async fn who_takes_all_of_it_gets_it_in_frames() {
        let limiter = DownloadLimiter::new(&limits());
        let mut frames = file(&limiter, 2).await.unwrap().into_data_stream();
        for _ in 0..8 {
            assert_eq!(frames.next().await.unwrap().unwrap().len(), FRAME_BYTES);
        }
        assert!(frames.next().await.is_none());
        assert_eq!(limiter.permits.available_permits(), limits().download_parts_at_once);
    }

    #[tokio::test]
    async fn a_part_has_its_turn_until_the_last_of_it_is_dropped() {
        let limiter = DownloadLimiter::new(&limits());
        let mut frames = file(&limiter, 2).await.unwrap().into_data_stream();
        let mut first = Vec::new();
        for _ in 0..4 {
            first.push(frames.next().await.unwrap().unwrap());
        }
        assert_eq!(limiter.permits.available_permits(), limits().download_parts_at_once - 1);
        first.truncate(1);
        drop(frames);
        assert_eq!(
            limiter.permits.available_permits(),
            limits().download_parts_at_once - 1,
            "the connection has it still"
        );
        drop(first);
        assert_eq!(limiter.permits.available_permits(), limits().download_parts_at_once);
    }

    #[tokio::test]
    async fn slow_clients_stop_no_small_file_and_no_large_one_for_long() {
        let limiter = DownloadLimiter {
            first_part_timeout: Duration::from_millis(1),
            ..DownloadLimiter::new(&limits())
        };
        let mut slow = Vec::new();
        for n in 0..limits().download_parts_at_once {
            slow.push(file_for(u8::from(n % 2 == 0), &limiter, 2).await.unwrap());
        }
        assert!(file(&limiter, 1).await.is_ok());
        assert_eq!(file(&limiter, 2).await.unwrap_err().kind, FaultKind::Timeout);
        slow.pop();
        assert!(file(&limiter, 2).await.is_ok());
    }

    #[tokio::test]
    async fn one_caller_who_reads_nothing_leaves_half_of_the_parts_to_others() {
        let limiter = DownloadLimiter {
            first_part_timeout: Duration::from_millis(1),
            ..DownloadLimiter::new(&limits())
        };
        let mut unread = Vec::new();
        for _ in 0..limits().download_parts_at_once / 2 {
            unread.push(file_for(1, &limiter, 2).await.unwrap());
        }
        assert_eq!(file_for(1, &limiter, 2).await.unwrap_err().kind, FaultKind::Timeout);
        assert!(file_for(2, &limiter, 2).await.is_ok());
        drop(unread);
        assert!(file_for(1, &limiter, 2).await.is_ok());
        for n in 0..=255 {
            drop(file_for(n, &limiter, 2).await.unwrap());
        }
        assert!(limiter.shares.lock().unwrap().values().all(|share| share.strong_count() == 0));
    }

    #[test]
    fn a_small_range_holds_little() {
        let mut part = vec![7; 1 << 20];
        part.truncate(10);
        assert!(fitted(part).capacity() < 1 << 10);
        assert_eq!(fitted(vec![7; 1 << 20]).capacity(), 1 << 20);
    }
}
