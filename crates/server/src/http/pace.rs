//! Files on their way to clients of any speed. Invariant: only so many are under way at once, each
//! holds a part of its file at most, and a client that takes nothing for [`PATIENCE`] loses its
//! connection.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use panaversity_model::Fault;
use panaversity_model::ports::Parts;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Files under way at once; others wait.
const AT_ONCE: usize = 64;
/// What of a part is handed on at once; a part is held until all of it is gone.
const FRAME_BYTES: usize = 256 << 10;
/// How long a client may take nothing.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The turns of files.
#[derive(Clone)]
pub(super) struct Pace {
    turns: Arc<Semaphore>,
    patience: Duration,
}

/// A file that has its turn.
struct Moving {
    rest: Bytes,
    /// `None`: it broke off.
    parts: Option<Parts>,
    moved: Arc<Notify>,
    _watch: AbortOnDropHandle<()>,
    _turn: OwnedSemaphorePermit,
}

impl Pace {
    /// All turns are free. A client may take nothing for so long.
    pub(super) fn new(patience: Duration) -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)), patience }
    }

    /// A file as a body. The first part is read before it begins, so that what is damaged from its
    /// start on is an error and no broken download. `hangup` ends the connection.
    pub(super) async fn body(&self, mut parts: Parts, hangup: CancellationToken) -> Result<Body, Fault> {
        let turn = self.turns.clone().acquire_owned().await;
        let turn = turn.map_err(|closed| Fault::internal(closed.to_string()))?;
        let rest = Bytes::from(parts.next().await?.unwrap_or_default());
        let moved = Arc::new(Notify::new());
        let watch = AbortOnDropHandle::new(tokio::spawn(watch(moved.clone(), self.patience, hangup)));
        let moving = Moving { rest, parts: Some(parts), moved, _watch: watch, _turn: turn };
        Ok(Body::from_stream(stream::unfold(moving, |mut moving| async move {
            let frame = moving.next().await?;
            Some((frame, moving))
        })))
    }
}

/// Ends the connection when nothing has moved for too long.
async fn watch(moved: Arc<Notify>, patience: Duration, hangup: CancellationToken) {
    while tokio::time::timeout(patience, moved.notified()).await.is_ok() {}
    hangup.cancel();
}

impl Moving {
    /// It is asked for when the client has taken what came before.
    async fn next(&mut self) -> Option<Result<Bytes, Fault>> {
        self.moved.notify_one();
        if self.rest.is_empty() {
            match self.parts.as_mut()?.next().await {
                Ok(next) => self.rest = Bytes::from(next?),
                Err(fault) => {
                    tracing::warn!(target: "panaversity_fs.http", error = %fault, "a download was cut off");
                    self.parts = None;
                    return Some(Err(fault));
                }
            }
        }
        Some(Ok(self.rest.split_to(self.rest.len().min(FRAME_BYTES))))
    }
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
            self.0 = self.0.saturating_sub(1);
            Ok((self.0 > 0).then(|| vec![7; 1 << 20]))
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_for_long_loses_the_connection() {
        let (pace, hangup) = (Pace::new(Duration::from_millis(1)), CancellationToken::new());
        let mut frames = pace.body(Box::new(Some1Mib(3)), hangup.clone()).await.unwrap().into_data_stream();
        assert_eq!(frames.next().await.unwrap().unwrap().len(), FRAME_BYTES);
        hangup.cancelled().await;
    }

    #[tokio::test]
    async fn who_takes_all_of_it_gets_it_in_frames() {
        let (pace, hangup) = (Pace::new(PATIENCE), CancellationToken::new());
        let mut frames = pace.body(Box::new(Some1Mib(3)), hangup.clone()).await.unwrap().into_data_stream();
        for _ in 0..8 {
            assert_eq!(frames.next().await.unwrap().unwrap().len(), FRAME_BYTES);
        }
        assert!(frames.next().await.is_none() && !hangup.is_cancelled());
    }

    #[tokio::test]
    async fn a_turn_is_given_back_with_the_body() {
        let (pace, hangup) = (Pace::new(PATIENCE), CancellationToken::new());
        let mut bodies = Vec::new();
        for _ in 0..AT_ONCE {
            bodies.push(pace.body(Box::new(Some1Mib(2)), hangup.clone()).await.unwrap());
        }
        let mut next = Box::pin(pace.body(Box::new(Some1Mib(2)), hangup.clone()));
        assert!(futures::poll!(&mut next).is_pending());
        bodies.pop();
        drop(next.await.unwrap());
    }
}
