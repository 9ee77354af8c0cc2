//! Memory budgets: semaphores over bytes that all calls share.
//!
//! 1. Large bodies and answers: calls above [`SMALL`] wait for a permit for their size; smaller ones bypass
//!    it.
//! 2. All bodies that have arrived and are not answered yet: each takes permits as its bytes arrive, and is
//!    refused where there are none.
//!
//! One caller gets at most half of each, its [`share`](MemoryBudget::share), so that callers who send or
//! read slowly, or not at all, never hold up all others.

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

    /// The budget of one caller within this one.
    pub(crate) fn share(&self) -> Self {
        let total = self.total / 2;
        Self { units: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Bytes that there are in all.
    fn bytes(&self) -> u64 {
        u64::from(self.total) * UNIT
    }

    /// True if somebody holds a permit.
    pub(crate) fn is_used(&self) -> bool {
        self.units.available_permits() < self.total as usize
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
    share: Option<MemoryBudget>,
    permit: Arc<Mutex<Option<HeldMemory>>>,
}

/// Permits of a call's caller and of all calls.
pub(crate) struct HeldMemory {
    _of_caller: Option<OwnedSemaphorePermit>,
    _of_all: OwnedSemaphorePermit,
}

impl MemoryPermit {
    /// A call without a permit yet, within its caller's share if there are callers.
    pub(crate) fn new(budget: MemoryBudget, share: Option<MemoryBudget>) -> Self {
        Self { budget, share, permit: Arc::default() }
    }

    /// Acquires a permit for so many bytes, or for the caller's whole share where it has fewer. The one it had is released first: no call waits for a permit
    /// while it has one, so none deadlock.
    pub(crate) async fn take(&self, bytes: u64) {
        drop(self.permit().take());
        let most = self.share.as_ref().map_or(u64::MAX, MemoryBudget::bytes);
        let bytes = bytes.min(most);
        let of_caller = match &self.share {
            Some(share) => share.acquire(bytes).await,
            None => None,
        };
        let of_all = self.budget.acquire(bytes).await;
        *self.permit() = of_all.map(|of_all| HeldMemory { _of_caller: of_caller, _of_all: of_all });
    }

    /// Takes the permit out, to pass it on with bytes that need it still; see [`with_guard`].
    pub(crate) fn transfer(&self) -> Option<Arc<HeldMemory>> {
        self.permit().take().map(Arc::new)
    }

    fn permit(&self) -> std::sync::MutexGuard<'_, Option<HeldMemory>> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Budgets that a body's bytes are counted in as they arrive.
#[derive(Clone)]
pub(crate) struct BodyBudget {
    /// Of all bodies.
    pub(crate) all: MemoryBudget,
    /// Of this caller's bodies, if there are callers.
    pub(crate) share: Option<MemoryBudget>,
}

/// Reason why no more bytes of a body are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodiesFull {
    /// This caller's bodies have its share.
    OfCaller,
    /// All bodies together have all there is.
    OfAll,
}

/// Permits of one body, for what has arrived of it.
pub(crate) struct BodyPermits {
    budget: BodyBudget,
    held: Vec<OwnedSemaphorePermit>,
    units: u32,
}

impl BodyPermits {
    /// A body of which nothing has arrived.
    pub(crate) fn new(budget: BodyBudget) -> Self {
        Self { budget, held: Vec::with_capacity(2), units: 0 }
    }

    /// Gives all permits back.
    pub(crate) fn release(&mut self) {
        (self.held, self.units) = (Vec::new(), 0);
    }

    /// Acquires what is missing for so many bytes.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), BodiesFull> {
        let more = units(bytes as u64).saturating_sub(self.units);
        if more == 0 {
            return Ok(());
        }
        let share = self.budget.share.as_ref().map(|share| (share, BodiesFull::OfCaller));
        for (budget, full) in share.into_iter().chain([(&self.budget.all, BodiesFull::OfAll)]) {
            let permit = budget.units.clone().try_acquire_many_owned(more).map_err(|_| full)?;
            self.held.push(permit);
        }
        self.units += more;
        Ok(())
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
        let (first, second) =
            (MemoryPermit::new(budget.clone(), None), MemoryPermit::new(budget.clone(), None));
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
        let hold = MemoryPermit::new(budget, None);
        hold.take(2 << 20).await;
        hold.take(2 << 20).await;
        assert!(hold.transfer().is_some() && hold.transfer().is_none());
    }

    #[tokio::test]
    async fn no_caller_gets_more_than_half() {
        let budget = MemoryBudget::of(20 << 20);
        let share = budget.share();
        let of_one = || MemoryPermit::new(budget.clone(), Some(share.clone()));
        let (first, second) = (of_one(), of_one());
        first.take(8 << 20).await;
        let mut waiting = Box::pin(second.take(8 << 20));
        assert!(futures::poll!(&mut waiting).is_pending());
        let other = MemoryPermit::new(budget.clone(), Some(budget.share()));
        other.take(u64::MAX).await;
        drop(first.transfer());
        waiting.await;
        assert!(share.is_used());
        drop((second.transfer(), other.transfer()));
        assert!(!share.is_used() && !budget.is_used());
    }

    #[test]
    fn bodies_take_permits_as_they_arrive_and_none_beyond_a_caller_s_half() {
        let all = MemoryBudget::of(10 << 20);
        let share = all.share();
        let body = |share: &MemoryBudget| {
            BodyPermits::new(BodyBudget { all: all.clone(), share: Some(share.clone()) })
        };
        let (mut first, mut second, mut third) = (body(&share), body(&share), body(&all.share()));
        assert_eq!(first.grow(1), Ok(()));
        assert_eq!(first.grow(4 << 20), Ok(()));
        assert_eq!(second.grow(2 << 20), Err(BodiesFull::OfCaller));
        assert_eq!(third.grow(5 << 20), Ok(()));
        assert_eq!(body(&all.share()).grow(2 << 20), Err(BodiesFull::OfAll));
        drop((first, second, third));
        assert!(!share.is_used() && !all.is_used());
    }
}
