//! Limit of the parts of large files in memory. Invariant: a semaphore bounds them, however slow the
//! clients are; a file that fits in one part never waits for others; and one caller has at most half of
//! the parts.
//!
//! A part keeps its permit while any of its bytes are in memory. A client that takes no bytes for long
//! loses the connection, which frees the permit: see [`connection`](crate::http::connection).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::body::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use panaversity_model::Fault;
use panaversity_model::blob::CHUNK_BYTES;
use panaversity_model::fault::FaultKind;
use panaversity_model::ports::ByteStream;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::DownloadBody;
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

/// Parts of a file, whose frames are passed on.
struct ThrottledParts {
    rest: Bytes,
    parts: ByteStream,
    /// Semaphores of the parts, the caller's and that of all; `None`: the file needs no permits.
    permits: Option<[Arc<Semaphore>; 2]>,
    /// Longest time that the next part waits for its permit.
    timeout: Duration,
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

    /// Body with `bytes` bytes of a file.
    ///
    /// # Errors
    /// A timeout when no permit became free in time for the first part.
    pub(crate) async fn body(
        &self,
        caller: &CallerKey,
        parts: ByteStream,
        bytes: u64,
    ) -> Result<DownloadBody, Fault> {
        let permits = (bytes > CHUNK_BYTES as u64).then(|| [self.share_of(caller), self.permits.clone()]);
        let (timeout, next_part_timeout) = (self.first_part_timeout, self.next_part_timeout);
        let parts = ThrottledParts { rest: Bytes::new(), parts, permits, timeout, next_part_timeout };
        let frames = stream::try_unfold(parts, |mut parts| async move {
            parts.next().await.map(|next| next.map(|frame| (frame, parts)))
        });
        DownloadBody::begin(frames.boxed(), None).await
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

impl ThrottledParts {
    /// The next frame; `None`: the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.rest.is_empty() {
            let Some(part) = self.part().await? else { return Ok(None) };
            (self.rest, self.timeout) = (part, self.next_part_timeout);
        }
        Ok(Some(self.rest.split_to(self.rest.len().min(FRAME_BYTES))))
    }

    /// The next part, after acquiring its permit.
    async fn part(&mut self) -> Result<Option<Bytes>, Fault> {
        let permit = match &self.permits {
            Some(permits) => Some(acquire(permits, self.timeout).await?),
            None => None,
        };
        let Some(part) = self.parts.try_next().await? else { return Ok(None) };
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
    use super::*;

    fn limits() -> ServerLimits {
        ServerLimits::new(1_024, 10 << 20, Duration::from_mins(1))
    }

    async fn file(limiter: &DownloadLimiter, parts: usize) -> Result<DownloadBody, Fault> {
        file_for(0, limiter, parts).await
    }

    async fn file_for(caller: u8, limiter: &DownloadLimiter, parts: usize) -> Result<DownloadBody, Fault> {
        let caller = CallerKey::Address(std::net::Ipv4Addr::new(10, 0, 0, caller).into());
        let all = stream::repeat_with(|| Ok(vec![7; 1 << 20])).take(parts);
        limiter.body(&caller, all.boxed(), (parts as u64) << 20).await
    }

    #[tokio::test]
    async fn who_takes_all_of_it_gets_it_in_frames() {
        let limiter = DownloadLimiter::new(&limits());
        let mut frames = file(&limiter, 2).await.unwrap().into_body().into_data_stream();
        for _ in 0..8 {
            assert_eq!(frames.next().await.unwrap().unwrap().len(), FRAME_BYTES);
        }
        assert!(frames.next().await.is_none());
        assert_eq!(limiter.permits.available_permits(), limits().download_parts_at_once);
    }

    #[tokio::test]
    async fn a_part_has_its_turn_until_the_last_of_it_is_dropped() {
        let limiter = DownloadLimiter::new(&limits());
        let mut frames = file(&limiter, 2).await.unwrap().into_body().into_data_stream();
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
        assert_eq!(file(&limiter, 2).await.err().unwrap().kind, FaultKind::Timeout);
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
        assert_eq!(file_for(1, &limiter, 2).await.err().unwrap().kind, FaultKind::Timeout);
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
