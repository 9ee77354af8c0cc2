//! Files on their way to clients of any speed. Invariant: of large files only so many parts are in
//! memory at once, whoever takes how long; a file that fits in one part never waits for others.
//!
//! A part has its turn while any of its bytes are there. Whose client takes none of them for long
//! loses the connection, and the turn is free: see [`abort`](super::listener).

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use panaversity_model::Fault;
use panaversity_model::blob::CHUNK_BYTES;
use panaversity_model::fault::FaultKind;
use panaversity_model::ports::Parts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::memory_budget::with_guard;

/// Parts of large files in memory at once.
const AT_ONCE: usize = 64;
/// What of a part is handed on at once.
const FRAME_BYTES: usize = 256 << 10;
/// How long a file may wait for its first turn before the client is asked to come again.
const FIRST_TURN: Duration = Duration::from_secs(5);
/// How long one that has begun may wait for its next.
const NEXT_TURN: Duration = Duration::from_mins(1);

/// The turns of parts.
#[derive(Clone)]
pub(crate) struct DownloadLimiter {
    turns: Arc<Semaphore>,
    first_turn: Duration,
}

/// A file that has begun.
struct FileBody {
    rest: Bytes,
    /// `None`: it broke off.
    parts: Option<Parts>,
    /// `None`: it needs no turns.
    turns: Option<Arc<Semaphore>>,
}

impl DownloadLimiter {
    /// All turns are free.
    pub(crate) fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)), first_turn: FIRST_TURN }
    }

    /// So many bytes of a file as a body. The first part is read before it begins, so that what is
    /// damaged from its start on is an error and no broken download.
    ///
    /// # Errors
    /// A timeout when no turn came soon.
    pub(crate) async fn body(&self, parts: Parts, bytes: u64) -> Result<Body, Fault> {
        let turns = (bytes > CHUNK_BYTES as u64).then(|| self.turns.clone());
        let mut moving = FileBody { rest: Bytes::new(), parts: Some(parts), turns };
        moving.rest = moving.part(self.first_turn).await?.unwrap_or_default();
        Ok(Body::from_stream(stream::unfold(moving, |mut moving| async move {
            let frame = moving.next().await?;
            Some((frame, moving))
        })))
    }
}

impl FileBody {
    async fn next(&mut self) -> Option<Result<Bytes, Fault>> {
        if self.rest.is_empty() {
            match self.part(NEXT_TURN).await {
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

    /// The next part, when it has its turn; `None`: that was all, or it broke off.
    async fn part(&mut self, patience: Duration) -> Result<Option<Bytes>, Fault> {
        let Some(parts) = &mut self.parts else { return Ok(None) };
        let turn = match &self.turns {
            Some(turns) => Some(turn_of(turns, patience).await?),
            None => None,
        };
        let Some(part) = parts.next().await? else { return Ok(None) };
        let part = Bytes::from(fitted(part));
        Ok(Some(match turn {
            Some(turn) => with_guard(part, Arc::new(turn)),
            None => part,
        }))
    }
}

async fn turn_of(turns: &Arc<Semaphore>, patience: Duration) -> Result<OwnedSemaphorePermit, Fault> {
    let turn = tokio::time::timeout(patience, turns.clone().acquire_owned()).await;
    let turn = turn.map_err(|_| Fault::new(FaultKind::Timeout, "too many files are under way"))?;
    turn.map_err(|closed| Fault::internal(closed.to_string()))
}

/// A small range of a chunk must not hold the memory of all of it.
fn fitted(mut part: Vec<u8>) -> Vec<u8> {
    if part.len() < part.capacity() / 2 {
        part.shrink_to_fit();
    }
    part
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use futures::StreamExt;
    use panaversity_model::ports::Pages;

    use super::*;

    /// So many parts.
    struct Some1Mib(usize);

    #[async_trait]
    impl Pages<u8> for Some1Mib {
        async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
            let left = self.0;
            self.0 = left.saturating_sub(1);
            Ok((left > 0).then(|| vec![7; 1 << 20]))
        }
    }

    async fn file(limiter: &DownloadLimiter, parts: usize) -> Result<Body, Fault> {
        limiter.body(Box::new(Some1Mib(parts)), (parts as u64) << 20).await
    }

    #[tokio::test]
    async fn who_takes_all_of_it_gets_it_in_frames() {
        let limiter = DownloadLimiter::new();
        let mut frames = file(&limiter, 2).await.unwrap().into_data_stream();
        for _ in 0..8 {
            assert_eq!(frames.next().await.unwrap().unwrap().len(), FRAME_BYTES);
        }
        assert!(frames.next().await.is_none());
        assert_eq!(limiter.turns.available_permits(), AT_ONCE);
    }

    #[tokio::test]
    async fn a_part_has_its_turn_until_the_last_of_it_is_dropped() {
        let limiter = DownloadLimiter::new();
        let mut frames = file(&limiter, 2).await.unwrap().into_data_stream();
        let mut first = Vec::new();
        for _ in 0..4 {
            first.push(frames.next().await.unwrap().unwrap());
        }
        assert_eq!(limiter.turns.available_permits(), AT_ONCE - 1);
        first.truncate(1);
        drop(frames);
        assert_eq!(limiter.turns.available_permits(), AT_ONCE - 1, "the connection has it still");
        drop(first);
        assert_eq!(limiter.turns.available_permits(), AT_ONCE);
    }

    #[tokio::test]
    async fn slow_clients_stop_no_small_file_and_no_large_one_for_long() {
        let limiter = DownloadLimiter { first_turn: Duration::from_millis(1), ..DownloadLimiter::new() };
        let mut slow = Vec::new();
        for _ in 0..AT_ONCE {
            slow.push(file(&limiter, 2).await.unwrap());
        }
        assert!(file(&limiter, 1).await.is_ok());
        assert_eq!(file(&limiter, 2).await.unwrap_err().kind, FaultKind::Timeout);
        slow.pop();
        assert!(file(&limiter, 2).await.is_ok());
    }

    #[test]
    fn a_small_range_holds_little() {
        let mut part = vec![7; 1 << 20];
        part.truncate(10);
        assert!(fitted(part).capacity() < 1 << 10);
        assert_eq!(fitted(vec![7; 1 << 20]).capacity(), 1 << 20);
    }
}
