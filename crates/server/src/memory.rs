//! Memory for what is large inside one call: bodies with whole assets in them, and answers. Keeps
//! it bounded: whoever needs much waits for a turn, whoever needs little never waits.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls that need no more than this many bytes need no turn.
pub(crate) const SMALL: u64 = 1 << 20;
/// The unit turns are counted in, in bytes.
const UNIT: u64 = 1 << 10;

/// The memory that all calls share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    total: u32,
}

impl Budget {
    /// So many bytes.
    pub(crate) fn of(bytes: u64) -> Self {
        let total = units(bytes);
        Self { units: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// A turn for so many bytes, as soon as they are free; all of the budget where it has fewer.
    /// `None`: few enough to need none.
    pub(crate) async fn turn(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        if bytes <= SMALL {
            return None;
        }
        // It is never closed.
        self.units.clone().acquire_many_owned(units(bytes).min(self.total)).await.ok()
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

/// The turn of one call, kept until its answer has gone. Clones share it.
#[derive(Clone)]
pub(crate) struct Hold {
    budget: Budget,
    turn: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Hold {
    /// A call that has no turn yet.
    pub(crate) fn new(budget: Budget) -> Self {
        Self { budget, turn: Arc::default() }
    }

    /// Takes a turn for so many bytes. What it had is given back first: nobody who has one ever
    /// waits for another.
    pub(crate) async fn take(&self, bytes: u64) {
        drop(self.turn().take());
        let turn = self.budget.turn(bytes).await;
        *self.turn() = turn;
    }

    /// The turn, to go with what needs it still; see [`keeping`].
    pub(crate) fn given_on(&self) -> Option<Arc<OwnedSemaphorePermit>> {
        self.turn().take().map(Arc::new)
    }

    fn turn(&self) -> std::sync::MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same bytes; whatever is made of them keeps `kept` until the last of it is dropped.
pub(crate) fn keeping<T: Send + Sync + 'static>(bytes: Bytes, kept: Arc<T>) -> Bytes {
    Bytes::from_owner(Keeping { bytes, _kept: kept })
}

struct Keeping<T> {
    bytes: Bytes,
    _kept: Arc<T>,
}

impl<T> AsRef<[u8]> for Keeping<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_needs_much_waits_and_who_needs_little_does_not() {
        let budget = Budget::of(10 << 20);
        let (first, second) = (Hold::new(budget.clone()), Hold::new(budget.clone()));
        first.take(8 << 20).await;
        let mut waiting = Box::pin(second.take(8 << 20));
        assert!(futures::poll!(&mut waiting).is_pending());
        assert!(budget.turn(SMALL).await.is_none());
        let mut answer = keeping(Bytes::from_static(b"an answer"), first.given_on().unwrap());
        drop(answer.split_to(3));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(answer);
        waiting.await;
    }

    #[tokio::test]
    async fn who_needs_more_than_there_is_gets_all_of_it() {
        let budget = Budget::of(2 << 20);
        let all = budget.turn(1 << 40).await;
        assert!(all.is_some());
        assert_eq!(budget.units.available_permits(), 0);
        drop(all);
        let hold = Hold::new(budget);
        hold.take(2 << 20).await;
        hold.take(2 << 20).await;
        assert!(hold.given_on().is_some() && hold.given_on().is_none());
    }
}
