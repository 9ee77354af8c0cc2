//! Places for streams of changes: a bounded number in all, and of each caller. So clients that open streams
//! and leave them open keep nobody else from theirs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::http::middleware::client_address::CallerKey;
use crate::limits::ServerLimits;

/// Places of a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct StreamSlots {
    at_once: usize,
    per_caller: usize,
    taken: Arc<Mutex<HashMap<CallerKey, usize>>>,
}

/// A place, free again when it is dropped.
pub(crate) struct StreamSlot {
    slots: StreamSlots,
    caller: CallerKey,
}

impl StreamSlots {
    /// The places that the limits allow.
    pub(crate) fn new(limits: &ServerLimits) -> Self {
        Self { at_once: limits.streams_at_once, per_caller: limits.streams_per_caller, taken: Arc::default() }
    }

    /// Takes a place, if there is one for this caller.
    pub(crate) fn take(&self, caller: CallerKey) -> Option<StreamSlot> {
        let mut taken = self.taken();
        let own = taken.get(&caller).copied().unwrap_or_default();
        if own >= self.per_caller || taken.values().sum::<usize>() >= self.at_once {
            return None;
        }
        taken.insert(caller.clone(), own + 1);
        Some(StreamSlot { slots: self.clone(), caller })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<CallerKey, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        match taken.get_mut(&self.caller) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.caller)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: u32) -> CallerKey {
        CallerKey::Address(Ipv4Addr::from(last).into())
    }

    #[test]
    fn a_caller_has_its_places_and_all_have_no_more_than_there_are() {
        let slots = StreamSlots { at_once: 3, per_caller: 2, taken: Arc::default() };
        let first = slots.take(address(1)).unwrap();
        let _second = slots.take(address(1)).unwrap();
        assert!(slots.take(address(1)).is_none());
        let third = slots.take(address(2)).unwrap();
        assert!(slots.take(address(3)).is_none());
        drop(third);
        assert!(slots.take(address(3)).is_some(), "a place is free again");
        drop(first);
        assert!(slots.take(address(1)).is_some());
        assert_eq!(slots.taken().len(), 1, "who has none is forgotten");
    }
}
