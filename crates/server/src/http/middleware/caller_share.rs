//! Shares of callers: how many calls of one run at once, and the memory that they hold together. So a caller
//! with slow calls, or many, leaves room for the others.
//!
//! 1. A request beyond [`calls_per_caller`](crate::limits::ServerLimits::calls_per_caller) gets 429 with
//!    `Retry-After`, before its body is read.
//! 2. The share goes on with the request; its body and its answer take their memory from it. The call counts
//!    until its answer is sent (`held_answer`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::client_address::{CallerKey, TrustedProxies};
use super::held_answer::held_until_sent;
use super::rate_limit;
use crate::AppState;
use crate::http::ConnectionAbort;
use crate::http::discard::discard;
use crate::memory_budget::MemoryBudget;

/// Seconds after which a caller with too many calls may try again.
const RETRY_AFTER_SECONDS: u64 = 1;
/// Number of callers from which on those without calls are forgotten.
const LEAST_FORGOTTEN: usize = 1_024;

/// What the calls of one caller share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct CallerShare {
    calls: Arc<Semaphore>,
    /// Permit of the call that this clone belongs to, kept until its answer is sent.
    _call: Option<Arc<OwnedSemaphorePermit>>,
    /// For large bodies and answers.
    pub(crate) memory: MemoryBudget,
    /// For all bodies.
    pub(crate) bodies: MemoryBudget,
}

/// The shares of all callers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct CallerShares {
    shares: Arc<Mutex<Shares>>,
    calls: usize,
    memory: MemoryBudget,
    bodies: MemoryBudget,
    proxies: TrustedProxies,
    /// Longest time in which an answer is sent.
    timeout: Duration,
}

struct Shares {
    of: HashMap<CallerKey, CallerShare>,
    /// Number of callers at which those without calls are forgotten next.
    forget_at: usize,
}

impl CallerShares {
    /// The shares of a server's callers.
    pub(crate) fn new(app: &AppState) -> Self {
        Self {
            shares: Arc::new(Mutex::new(Shares { of: HashMap::new(), forget_at: LEAST_FORGOTTEN })),
            calls: app.limits.calls_per_caller,
            memory: app.budget.clone(),
            bodies: app.bodies.clone(),
            proxies: app.proxies.clone(),
            timeout: app.limits.request_timeout,
        }
    }

    /// A caller's share with a permit for one more call, if there is one.
    fn admit(&self, key: CallerKey) -> Option<CallerShare> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if shares.of.len() >= shares.forget_at && !shares.of.contains_key(&key) {
            shares.of.retain(|_, share| share.is_used(self.calls));
            shares.forget_at = LEAST_FORGOTTEN.max(2 * shares.of.len());
        }
        let share = shares.of.entry(key).or_insert_with(|| CallerShare {
            calls: Arc::new(Semaphore::new(self.calls)),
            _call: None,
            memory: self.memory.share(),
            bodies: self.bodies.share(),
        });
        let permit = share.calls.clone().try_acquire_owned().ok()?;
        Some(CallerShare { _call: Some(Arc::new(permit)), ..share.clone() })
    }
}

impl CallerShare {
    fn is_used(&self, calls: usize) -> bool {
        self.calls.available_permits() < calls || self.memory.is_used() || self.bodies.is_used()
    }
}

/// Passes a request on with its caller's share, if the caller may have one more call.
pub(crate) async fn share(State(shares): State<CallerShares>, mut request: Request, next: Next) -> Response {
    let Some(share) = shares.admit(shares.proxies.caller(request.extensions(), request.headers())) else {
        discard(request.into_body()).await;
        let (message, hint) = (
            "Too many calls of this caller run at once",
            "Let some of the running calls end, then repeat the request",
        );
        return rate_limit::refused(message, hint, RETRY_AFTER_SECONDS);
    };
    let abort = request.extensions().get::<ConnectionAbort>().cloned();
    request.extensions_mut().insert(share.clone());
    held_until_sent(next.run(request).await, share, shares.timeout, abort)
}

#[cfg(test)]
pub(super) mod tests {
    use panaversity_testkit::Faults;

    use super::*;
    use crate::mcp::tests::app;

    fn address(last: u32) -> CallerKey {
        CallerKey::Address(std::net::Ipv4Addr::from(last).into())
    }

    impl CallerShares {
        /// True if the caller of [`one_call`] may have no more call.
        pub(in crate::http::middleware) fn is_full(&self) -> bool {
            self.admit(address(0)).is_none()
        }
    }

    /// The shares of a server on which a caller may have one call, and that call's.
    pub(in crate::http::middleware) fn one_call() -> (CallerShares, CallerShare) {
        let mut app = app(&Faults::new());
        app.limits.calls_per_caller = 1;
        let shares = CallerShares::new(&app);
        let share = shares.admit(address(0)).unwrap();
        (shares, share)
    }

    #[test]
    fn a_caller_has_so_many_calls_at_once_and_those_who_have_none_are_forgotten() {
        let mut app = app(&Faults::new());
        app.limits.calls_per_caller = 2;
        let shares = CallerShares::new(&app);
        let first = shares.admit(address(0)).unwrap();
        let _second = shares.admit(address(0)).unwrap();
        assert!(shares.admit(address(0)).is_none());
        assert!(shares.admit(address(1)).is_some());
        drop(first);
        assert!(shares.admit(address(0)).is_some());
        for n in 2..10_000 {
            shares.admit(address(n));
        }
        let kept = shares.shares.lock().unwrap().of.len();
        assert!(kept <= LEAST_FORGOTTEN, "{kept}");
        assert!(shares.shares.lock().unwrap().of.contains_key(&address(0)), "its call is still running");
    }
}
