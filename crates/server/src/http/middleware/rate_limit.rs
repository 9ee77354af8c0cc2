//! Rate limit of requests to `/mcp`: per agent where callers authenticate, else per address.
//!
//! Where servers share the counting, a caller has one bucket for all of them; else, and while the shared state
//! is away, one on each server.
//!
//! Each caller has a bucket of `burst` requests that fills by `per_second` (GCRA). A request beyond it gets
//! 429 with `Retry-After`, before its body is read, and costs its caller nothing more. The answer closes its
//! connection: a client that sends request after request without reading the answers is refused once for each
//! connection, and not as often as it can write.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use panaversity_model::ErrorCode;
use panaversity_model::ports::SharedRates;
use serde_json::json;

use super::client_address::{CallerKey, TrustedProxies};
use crate::error;
use crate::http::discard::discard;
use crate::limits::RateLimit;

/// Requests after which callers whose buckets are full again are forgotten, so that memory stays bounded by
/// the callers of the last moments.
const FORGOTTEN_EVERY: u32 = 10_000;

/// The buckets of all callers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RateLimiter {
    buckets: Arc<DefaultKeyedRateLimiter<CallerKey>>,
    clock: DefaultClock,
    checked: Arc<AtomicU32>,
    limit: RateLimit,
    shared: Option<Arc<dyn SharedRates>>,
    proxies: TrustedProxies,
}

impl RateLimiter {
    /// A limiter; `None` if there is no limit.
    pub(crate) fn new(
        limit: RateLimit,
        shared: Option<Arc<dyn SharedRates>>,
        proxies: TrustedProxies,
    ) -> Option<Self> {
        let per_second = NonZeroU32::new(limit.per_second)?;
        let burst = NonZeroU32::new(limit.burst).unwrap_or(per_second);
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Some(Self {
            buckets: Arc::new(DefaultKeyedRateLimiter::keyed(quota)),
            clock: DefaultClock::default(),
            checked: Arc::default(),
            limit: RateLimit { per_second: per_second.get(), burst: burst.get() },
            shared,
            proxies,
        })
    }

    /// Seconds after which the caller may try again, if it may not now.
    async fn check(&self, key: &CallerKey) -> Result<(), u64> {
        let RateLimit { per_second, burst } = self.limit;
        let shared = match &self.shared {
            Some(shared) => shared.take(&key.to_string(), per_second, burst).await,
            None => None,
        };
        shared.map_or_else(|| self.check_here(key), |taken| taken.map_err(|wait| wait.as_secs() + 1))
    }

    /// The same, of this server alone.
    fn check_here(&self, key: &CallerKey) -> Result<(), u64> {
        if self.checked.fetch_add(1, Ordering::Relaxed) % FORGOTTEN_EVERY == FORGOTTEN_EVERY - 1 {
            self.buckets.retain_recent();
        }
        let checked = self.buckets.check_key(key);
        // A whole number of seconds, and never too early.
        checked.map_err(|until| until.wait_time_from(self.clock.now()).as_secs() + 1)
    }
}

/// Passes a request on if its caller is within its rate.
pub(crate) async fn limit_rate(State(limiter): State<RateLimiter>, request: Request, next: Next) -> Response {
    match limiter.check(&limiter.proxies.caller(request.extensions(), request.headers())).await {
        Ok(()) => next.run(request).await,
        Err(seconds) => {
            discard(request.into_body()).await;
            let hint = "Wait for the seconds of Retry-After, then repeat the request; call several files at once with wider scopes and searches";
            refused("Too many requests of this caller", hint, seconds)
        }
    }
}

/// The answer to a request of a caller that has sent too many; it closes the connection.
pub(super) fn refused(message: &str, hint: &str, seconds: u64) -> Response {
    let data =
        json!({ "code": ErrorCode::RateLimited.as_str(), "hint": hint, "retry_after_seconds": seconds });
    let mut response = error::refused_request(StatusCode::TOO_MANY_REQUESTS, message, &data);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn address(last: u8) -> CallerKey {
        CallerKey::Address(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)))
    }

    #[test]
    fn a_caller_beyond_its_burst_waits_and_others_do_not() {
        let limiter =
            RateLimiter::new(RateLimit { per_second: 1, burst: 3 }, None, TrustedProxies::default()).unwrap();
        let taken = (0..5).filter(|_| limiter.check_here(&address(1)).is_ok()).count();
        assert_eq!(taken, 3);
        assert_eq!(limiter.check_here(&address(1)), Err(1));
        assert_eq!(limiter.check_here(&address(2)), Ok(()));
        assert!(
            RateLimiter::new(RateLimit { per_second: 0, burst: 3 }, None, TrustedProxies::default())
                .is_none()
        );
    }

    #[test]
    fn callers_who_went_away_are_forgotten() {
        let limiter =
            RateLimiter::new(RateLimit { per_second: 1_000_000, burst: 1 }, None, TrustedProxies::default())
                .unwrap();
        for n in 0..FORGOTTEN_EVERY {
            let [.., high, low] = n.to_be_bytes();
            let key = CallerKey::Address(IpAddr::V4(Ipv4Addr::new(10, 0, high, low)));
            let _ = limiter.check_here(&key);
        }
        assert!(limiter.buckets.len() < 5_000, "{}", limiter.buckets.len());
    }
}
