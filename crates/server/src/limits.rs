//! Limits of a server: every semaphore, size and timeout of its transports, in one place. `config check`
//! shows them.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// Connections at once, where the process may open enough files.
const MOST_CONNECTIONS: usize = 10_000;
/// Descriptors that are left to the database, the storage and the log.
const OTHER_DESCRIPTORS: usize = 256;
/// Memory for bodies and answers, in assets of the largest size inside a call: four as they are received, or
/// two as they are sent. One caller has half of it.
const DIRECT_ASSETS_IN_MEMORY: u64 = 12;
/// Most bytes of an MCP request, unless an asset in base64 needs more.
const USUAL_REQUEST_BYTES: u64 = 16 << 20;
/// Bytes of all bodies of MCP requests, unless two of the largest need more.
const USUAL_BODIES_BYTES: u64 = 128 << 20;

/// Limits of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Limits of connections.
    pub connections: ConnectionLimits,
    /// Rate of requests to `/mcp` of one caller; none unless it is set.
    pub rate: RateLimit,
    /// Calls of one caller that run at once.
    pub calls_per_caller: usize,
    /// Longest time of a call of a tool or resource, from its body to its result.
    pub call_timeout: Duration,
    /// Longest time of a call that completes an upload or verifies the audit log.
    pub large_call_timeout: Duration,
    /// Bytes of all bodies of MCP requests that have arrived and are not answered yet.
    pub bodies_bytes: u64,
    /// Bytes of memory that large bodies and answers of all calls share.
    pub memory_bytes: u64,
    /// Most bytes of an MCP request: one that contains an asset of the largest size inside a call, in
    /// base64 and with line breaks.
    pub request_bytes: usize,
    /// Longest time for all of an MCP request's body, and for the answer to a call.
    pub request_timeout: Duration,
    /// Longest time for the next bytes of an MCP request's body.
    pub request_stall_timeout: Duration,
    /// Uploads received at once.
    pub uploads_at_once: usize,
    /// Longest time for the next bytes of an upload.
    pub upload_stall_timeout: Duration,
    /// Parts of large files in memory at once, for all downloads, of up to 1 MiB each.
    pub download_parts_at_once: usize,
    /// Longest time that a download waits for its first part, before the client is asked to come later.
    pub first_part_timeout: Duration,
    /// Longest time that a download waits for a permit for its next part.
    pub next_part_timeout: Duration,
    /// Longest time of one download of an archive.
    pub archive_timeout: Duration,
    /// Streams of changes at once.
    pub streams_at_once: usize,
    /// Streams of changes of one caller at once.
    pub streams_per_caller: usize,
    /// Longest time that a stream of changes sends nothing.
    pub stream_heartbeat: Duration,
    /// Time between two checks whether the caller of a stream may still read.
    pub stream_checked_every: Duration,
    /// Longest time that a health check waits for the database and the storage.
    pub probe_timeout: Duration,
    /// Longest time that a scrape of the metrics waits for the database and the storage.
    pub scrape_timeout: Duration,
    /// Books with metrics of their own; the others are counted together.
    pub books_with_metrics: usize,
}

/// Times of reading the keys of a store, which no setting sets.
#[derive(Debug, Clone, Copy)]
pub struct KeyTimes {
    /// Time between two readings of the API keys.
    pub api_keys_read_every: Duration,
    /// Longest time that a reading of the API keys is used.
    pub api_keys_used_for: Duration,
    /// Time between two readings of the signing keys of links; much less than the age from which on a key
    /// signs.
    pub link_keys_read_every: Duration,
}

impl Default for KeyTimes {
    fn default() -> Self {
        Self {
            api_keys_read_every: Duration::from_secs(1),
            api_keys_used_for: Duration::from_secs(5),
            link_keys_read_every: Duration::from_secs(5),
        }
    }
}

impl KeyTimes {
    /// Name and value of each time, as an operator reads them.
    pub fn shown(&self) -> Vec<(&'static str, String)> {
        let seconds = |time: Duration| format!("{} s", time.as_secs());
        vec![
            ("between two readings of the API keys", seconds(self.api_keys_read_every)),
            ("use of API keys that can't be read again", seconds(self.api_keys_used_for)),
            ("between two readings of the signing keys of links", seconds(self.link_keys_read_every)),
        ]
    }
}

/// Limits and times of the webhooks, which no setting sets.
#[derive(Debug, Clone, Copy)]
pub struct WebhookLimits {
    /// Most webhooks of a store.
    pub webhooks: usize,
    /// Time after which a server looks for webhooks that nobody sends for.
    pub poll: Duration,
    /// Time of a lease: more than an attempt takes, and more than three times as long as a reader of the feed
    /// waits for a signal.
    pub lease: Duration,
    /// Longest time of an attempt, from the connection to the head of the answer.
    pub attempt_timeout: Duration,
    /// Least pause after the first failure; it doubles with each.
    pub first_retry: Duration,
    /// Pause beyond which it does not double. Up to as much again is added, at random.
    pub longest_retry: Duration,
    /// Attempts after which a change set is a dead letter: those of about a day.
    pub attempts: u32,
    /// Dead letters of a webhook that are kept, the newest.
    pub dead_letters: usize,
    /// Most files that a delivery names.
    pub files: usize,
    /// Time for which a delivery goes on when the server stops.
    pub stop_grace: Duration,
}

impl Default for WebhookLimits {
    fn default() -> Self {
        Self {
            webhooks: 100,
            poll: Duration::from_secs(2),
            lease: Duration::from_secs(15),
            attempt_timeout: Duration::from_secs(10),
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_mins(30),
            attempts: 43,
            dead_letters: 100,
            files: 1_000,
            stop_grace: Duration::from_secs(2),
        }
    }
}

impl WebhookLimits {
    /// Pause after so many failures of one change set.
    pub(crate) fn retry_after(&self, failures: u32) -> Duration {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(self.first_retry)
            .with_max_delay(self.longest_retry)
            .without_max_times()
            .with_jitter();
        let earlier = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
        pauses.build().nth(earlier).unwrap_or(self.longest_retry)
    }

    /// Name and value of each limit, as an operator reads them.
    pub fn shown(&self) -> Vec<(&'static str, String)> {
        let seconds = |time: Duration| format!("{} s", time.as_secs());
        vec![
            ("webhooks of a store", self.webhooks.to_string()),
            ("between two looks for webhooks that nobody sends for", seconds(self.poll)),
            ("lease of a webhook", seconds(self.lease)),
            ("delivery to a webhook", seconds(self.attempt_timeout)),
            ("first pause of a delivery that failed", seconds(self.first_retry)),
            ("longest pause of a delivery that failed", seconds(self.longest_retry * 2)),
            ("attempts of a delivery", self.attempts.to_string()),
            ("dead letters of a webhook", self.dead_letters.to_string()),
            ("files that a delivery names", self.files.to_string()),
            ("end of a delivery when the server stops", seconds(self.stop_grace)),
        ]
    }
}

impl ServerLimits {
    /// The limits of a process that may have so many descriptors open, for assets of at most
    /// `direct_bytes` inside a call.
    pub fn new(descriptors: usize, direct_bytes: u64, archive_timeout: Duration) -> Self {
        let request_bytes = (direct_bytes / 2 * 3 + (64 << 10)).max(USUAL_REQUEST_BYTES);
        Self {
            connections: ConnectionLimits::for_descriptors(descriptors),
            rate: RateLimit { per_second: 0, burst: 0 },
            calls_per_caller: 512,
            call_timeout: Duration::from_mins(1),
            large_call_timeout: Duration::from_mins(15),
            bodies_bytes: USUAL_BODIES_BYTES.max(2 * request_bytes),
            memory_bytes: direct_bytes.saturating_mul(DIRECT_ASSETS_IN_MEMORY).max(4 * request_bytes),
            request_bytes: usize::try_from(request_bytes).unwrap_or(usize::MAX),
            request_timeout: Duration::from_mins(3),
            request_stall_timeout: Duration::from_secs(15),
            uploads_at_once: 32,
            upload_stall_timeout: Duration::from_secs(30),
            download_parts_at_once: 64,
            first_part_timeout: Duration::from_secs(5),
            next_part_timeout: Duration::from_mins(1),
            archive_timeout,
            streams_at_once: 256,
            streams_per_caller: 32,
            stream_heartbeat: Duration::from_secs(15),
            stream_checked_every: Duration::from_secs(2),
            probe_timeout: Duration::from_secs(3),
            scrape_timeout: Duration::from_secs(2),
            books_with_metrics: 200,
        }
    }

    /// Name and value of each limit, as an operator reads them.
    pub fn shown(&self) -> Vec<(&'static str, String)> {
        let seconds = |limit: Duration| format!("{} s", limit.as_secs());
        let mebibytes = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
        let connections = &self.connections;
        vec![
            ("connections", connections.total.to_string()),
            ("connections per address", connections.per_address.to_string()),
            ("head of a request", seconds(connections.header_timeout)),
            ("idle connection", seconds(connections.idle_timeout)),
            ("write without progress", seconds(connections.write_timeout)),
            ("calls of one caller at once", self.calls_per_caller.to_string()),
            ("MCP call", seconds(self.call_timeout)),
            ("MCP call that completes an upload or verifies the log", seconds(self.large_call_timeout)),
            ("MCP request", mebibytes(self.request_bytes as u64)),
            ("bodies of all MCP requests", mebibytes(self.bodies_bytes)),
            ("bodies, memory, uploads and parts of downloads of one caller", "half".to_owned()),
            ("transfer of an MCP request, and of the answer to a call", seconds(self.request_timeout)),
            ("next bytes of an MCP request", seconds(self.request_stall_timeout)),
            ("memory for large bodies and answers", mebibytes(self.memory_bytes)),
            ("uploads at once", self.uploads_at_once.to_string()),
            ("next bytes of an upload", seconds(self.upload_stall_timeout)),
            ("parts of downloads in memory", self.download_parts_at_once.to_string()),
            ("wait for the first part of a download", seconds(self.first_part_timeout)),
            ("wait for the next part of a download", seconds(self.next_part_timeout)),
            ("download of an archive", seconds(self.archive_timeout)),
            ("streams of changes at once", self.streams_at_once.to_string()),
            ("streams of changes of one caller at once", self.streams_per_caller.to_string()),
            ("silence of a stream of changes", seconds(self.stream_heartbeat)),
            ("between two checks of a stream's caller", seconds(self.stream_checked_every)),
            ("answer of database and storage to a health check", seconds(self.probe_timeout)),
            ("answer of database and storage to a scrape", seconds(self.scrape_timeout)),
            ("books with metrics of their own", self.books_with_metrics.to_string()),
        ]
    }
}

/// Rate of requests that a caller may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests per second in the long run; 0: no limit.
    pub per_second: u32,
    /// Requests at once after a pause; 0: as many as per second.
    pub burst: u32,
}

/// Limits of connections. Whatever is beyond them, a client that reads and writes at a sensible pace
/// is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at once.
    pub total: usize,
    /// Connections at once from one address: half of all, as a load balancer is one address.
    pub per_address: usize,
    /// Longest time for the head of a request, from the start of a new connection or from the head's
    /// first byte.
    pub header_timeout: Duration,
    /// Longest time between two requests of a connection. Longer than the minute that load balancers
    /// keep idle connections, so that they close first.
    pub idle_timeout: Duration,
    /// Longest time that a client may read nothing of a response that waits for it.
    pub write_timeout: Duration,
}

impl ConnectionLimits {
    /// The limits of a process that may have so many descriptors open.
    pub fn for_descriptors(descriptors: usize) -> Self {
        let total = descriptors.saturating_sub(OTHER_DESCRIPTORS).clamp(64, MOST_CONNECTIONS);
        Self {
            total,
            per_address: total / 2,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour_and_attempts_end_after_about_a_day() {
        let limits = WebhookLimits::default();
        for (failures, least, most) in
            [(1, 1, 2), (2, 2, 4), (5, 16, 32), (12, 1_800, 3_600), (42, 1_800, 3_600)]
        {
            let pause = limits.retry_after(failures);
            let bounds = Duration::from_secs(least)..=Duration::from_secs(most);
            assert!(bounds.contains(&pause), "{failures}: {pause:?}");
        }
        let total: Duration = (1..limits.attempts).map(|failures| limits.retry_after(failures)).sum();
        assert!((16..=32).contains(&(total.as_secs() / 3_600)), "{total:?}");
    }
}
