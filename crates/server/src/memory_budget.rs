//! Memory budget of large bodies and answers: a semaphore over bytes that all calls share. Calls above
//! [`SMALL`] wait for a permit for their size; smaller ones bypass it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most bytes of a call that needs no permit.
pub(crate) const SMALL: u64 = 1 << 20;
/// Bytes per permit of the semaphore.
const UNIT: u64 = 1 << 10;

/// Semaphore over bytes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct MemoryBudget {
    units: Arc<Semaphore>,
    total: u32,
}

impl MemoryBudget {
    /// A budget of so many bytes.
    pub(crate) fn of(bytes: u64) -> Self {
        let total = units(bytes);
        Self { units: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Acquires a permit for so many bytes, or for the whole budget where it has fewer. `None`: at most
    /// [`SMALL`] bytes, which need none.
    pub(crate) async fn acquire(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
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

/// Memory permit of one call, kept until its answer is sent. Clones share it.
#[derive(Clone)]
pub(crate) struct MemoryPermit {
    budget: MemoryBudget,
    permit: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl MemoryPermit {
    /// A call without a permit yet.
    pub(crate) fn new(budget: MemoryBudget) -> Self {
        Self { budget, permit: Arc::default() }
    }

    /// Acquires a permit for so many bytes. The one it had is released first: no call waits for a permit
    /// while it has one, so none deadlock.
    pub(crate) async fn take(&self, bytes: u64) {
        drop(self.permit().take());
        let permit = self.budget.acquire(bytes).await;
        *self.permit() = permit;
    }

    /// Takes the permit out, to pass it on with bytes that need it still; see [`with_guard`].
    pub(crate) fn transfer(&self) -> Option<Arc<OwnedSemaphorePermit>> {
        self.permit().take().map(Arc::new)
    }

    fn permit(&self) -> std::sync::MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same bytes; every slice of them keeps `kept` alive until the last is dropped.
pub(crate) fn with_guard<T: Send + Sync + 'static>(bytes: Bytes, kept: Arc<T>) -> Bytes {
    Bytes::from_owner(Guarded { bytes, _kept: kept })
}

struct Guarded<T> {
    bytes: Bytes,
    _kept: Arc<T>,
}

impl<T> AsRef<[u8]> for Guarded<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_needs_much_waits_and_who_needs_little_does_not() {
        let budget = MemoryBudget::of(10 << 20);
        let (first, second) = (MemoryPermit::new(budget.clone()), MemoryPermit::new(budget.clone()));
        first.take(8 << 20).await;
        let mut waiting = Box::pin(second.take(8 << 20));
        assert!(futures::poll!(&mut waiting).is_pending());
        assert!(budget.acquire(SMALL).await.is_none());
        let mut answer = with_guard(Bytes::from_static(b"an answer"), first.transfer().unwrap());
        drop(answer.split_to(3));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(answer);
        waiting.await;
    }

    #[tokio::test]
    async fn who_needs_more_than_there_is_gets_all_of_it() {
        let budget = MemoryBudget::of(2 << 20);
        let all = budget.acquire(1 << 40).await;
        assert!(all.is_some());
        assert_eq!(budget.units.available_permits(), 0);
        drop(all);
        let hold = MemoryPermit::new(budget);
        hold.take(2 << 20).await;
        hold.take(2 << 20).await;
        assert!(hold.transfer().is_some() && hold.transfer().is_none());
    }
}
