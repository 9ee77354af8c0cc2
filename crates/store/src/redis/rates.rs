//! Rates of callers, counted for all servers together.
//!
//! The generic cell rate algorithm: a key holds the moment, in microseconds, at which its bucket would be
//! full again. One script reads and moves it, by the clock of Redis, so that servers need not agree on one.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use panaversity_model::ports::SharedRates;
use redis::Script;

use super::SharedRedis;

/// Takes one from a bucket: `ARGV` holds the microseconds that one takes, and the burst. Returns 0, or the
/// microseconds until there is one.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local full_at = tonumber(redis.call('GET', KEYS[1]) or now) or now
-- No bucket is ever emptier than empty, whatever the key holds.
full_at = math.min(math.max(full_at, now), now + ARGV[1] * ARGV[2]) + ARGV[1]
local wait = full_at - now - ARGV[1] * ARGV[2]
if wait > 0 then return math.ceil(wait) end
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
return 0
",
    )
});

#[async_trait]
impl SharedRates for SharedRedis {
    async fn take(&self, caller: &str, per_second: u32, burst: u32) -> Option<Result<(), Duration>> {
        let mut call = TAKE.key(self.key(&format!("rate:{caller}")));
        call.arg(f64::from(1_000_000) / f64::from(per_second.max(1))).arg(burst.max(1));
        let mut connection = self.connection();
        let wait: u64 = self.ask(call.invoke_async(&mut connection)).await?;
        Some(if wait == 0 { Ok(()) } else { Err(Duration::from_micros(wait)) })
    }

    fn is_up(&self) -> bool {
        Self::is_up(self)
    }
}
