//! Metrics: the names, types and labels of the contract, all of them present from the first scrape.
//! Label values are bounded: a known tool, a known route, an existing book or `unknown`.

mod book_labels;
pub(crate) mod criteria;
mod registration;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use panaversity_service::Service;
use panaversity_service::archive::ArchiveScope;
use panaversity_service::health::Probe;
use prometheus::{
    Encoder, Error, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    TextEncoder,
};

use self::book_labels::BookLabels;
use self::registration::{counter, counters, files_by, gauge, gauges, seconds, seconds_by};

/// Label of a book or a tool that does not exist.
pub(crate) const UNKNOWN: &str = "unknown";

/// Values of the `status` label of a write.
const WRITE_STATUSES: [&str; 6] =
    ["success", "conflict", "schema_violation", "hash_required", "not_found", "error"];

/// Values of the `status` label of a download: all requested bytes were sent; the same of an archive
/// that leaves files out; the client disconnected; it timed out; bytes were found corrupt; they could
/// not be read.
const ARCHIVE_STATUSES: [&str; 6] = ["success", "partial", "cut", "timeout", "corrupt", "failed"];

/// Values of the `mode` label of a write.
const WRITE_MODES: [&str; 5] = ["created", "updated", "unchanged", "merged", "none"];

/// Values of the `status` label of a delivery to a webhook: it was accepted; it failed and is tried again; it
/// failed too often; the receiver wants no more.
const WEBHOOK_STATUSES: [&str; 4] = ["success", "failed", "dead", "gone"];

/// All metrics.
pub struct Metrics {
    registry: Registry,
    writes: IntCounterVec,
    write_seconds: HistogramVec,
    archives: IntCounterVec,
    archive_seconds: HistogramVec,
    archive_memory: IntGauge,
    tool_calls: IntCounterVec,
    tool_seconds: HistogramVec,
    overlay_seconds: Histogram,
    delta_files: HistogramVec,
    http_requests: IntCounterVec,
    journal_entries: IntGaugeVec,
    pending_publications: IntGauge,
    chain_valid: IntGauge,
    rollbacks: IntCounter,
    storage_operations: IntCounterVec,
    database_up: IntGauge,
    storage_up: IntGauge,
    connections: IntGaugeVec,
    connections_max: IntGauge,
    webhook_deliveries: IntCounterVec,
    books: BookLabels,
    /// Locked while one scrape updates the gauges.
    refreshing: tokio::sync::Mutex<()>,
}

impl Metrics {
    /// All metrics, at zero, for this kind of storage and its operations. At most `books` books have
    /// series of their own.
    ///
    /// # Errors
    /// Never, unless a name below is misspelt or used twice.
    pub fn new(backend: &str, operations: &[&str], books: usize) -> Result<Self, Error> {
        let registry = Registry::new();
        let into = &registry;
        let write = ["book_id", "status", "mode"];
        let archive = ["book_id", "scope", "status"];
        let operation = ["backend", "operation", "status"];
        let metrics = Self {
            writes: counters(into, "write_total", "Writes, by outcome", &write)?,
            write_seconds: seconds_by(into, "write_duration_seconds", "Time a write takes", &["book_id"])?,
            archives: counters(into, "archive_total", "Downloads of archives, by how they ended", &archive)?,
            archive_seconds: seconds_by(
                into,
                "archive_duration_seconds",
                "Time a download takes",
                &["scope"],
            )?,
            archive_memory: gauge(into, "archive_memory_bytes", "Bytes that archives hold in memory")?,
            tool_calls: counters(into, "tool_calls_total", "Tool calls, by outcome", &["tool", "status"])?,
            tool_seconds: seconds_by(into, "tool_duration_seconds", "Time a tool call takes", &["tool"])?,
            overlay_seconds: seconds(into, "overlay_latency_seconds", "Time a read with user_id takes")?,
            delta_files: files_by(into, "delta_files_count", "Files that a delta names", &["book_id"])?,
            http_requests: counters(into, "http_requests_total", "HTTP requests", &["route", "status"])?,
            journal_entries: gauges(
                into,
                "journal_entries_total",
                "Files in the journal, overlays included",
                &["book_id"],
            )?,
            pending_publications: gauge(into, "pending_publications", "Paths the tree does not show yet")?,
            chain_valid: gauge(
                into,
                "audit_chain_valid",
                "1 while no audit chain is known to be broken, else 0",
            )?,
            rollbacks: counter(
                into,
                "storage_rollback_total",
                "Commits that failed or were refused after a blob was staged",
            )?,
            storage_operations: counters(
                into,
                "storage_operations_total",
                "Operations of the storage, by outcome",
                &operation,
            )?,
            database_up: gauge(into, "database_up", "1 if the database answered this scrape, else 0")?,
            storage_up: gauge(into, "storage_up", "1 if the storage answered this scrape, else 0")?,
            connections: gauges(into, "database_connections", "Open connections, by use", &["state"])?,
            connections_max: gauge(into, "database_connections_max", "Most connections that may be open")?,
            webhook_deliveries: counters(
                into,
                "webhook_deliveries_total",
                "Change sets sent to webhooks, by outcome",
                &["status"],
            )?,
            books: BookLabels::new(books),
            refreshing: tokio::sync::Mutex::default(),
            registry,
        };
        gauges(&metrics.registry, "build_info", "1, for the version of this server", &["version"])?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        metrics.show_all(backend, operations);
        Ok(metrics)
    }

    /// Creates a combination of labels for each metric: without one, a metric is not shown.
    fn show_all(&self, backend: &str, operations: &[&str]) {
        for status in WRITE_STATUSES {
            let mode = if status == "success" { "created" } else { "none" };
            self.writes.with_label_values(&[UNKNOWN, status, mode]);
        }
        self.write_seconds.with_label_values(&[UNKNOWN]);
        for scope in ArchiveScope::ALL {
            for status in ARCHIVE_STATUSES {
                self.archives.with_label_values(&[UNKNOWN, scope.as_str(), status]);
            }
            self.archive_seconds.with_label_values(&[scope.as_str()]);
        }
        for status in ["success", "refused", "failed"] {
            self.tool_calls.with_label_values(&[UNKNOWN, status]);
        }
        self.tool_seconds.with_label_values(&[UNKNOWN]);
        self.delta_files.with_label_values(&[UNKNOWN]);
        self.http_requests.with_label_values(&["/mcp", "200"]);
        self.journal_entries.with_label_values(&[UNKNOWN]);
        for operation in operations {
            for status in ["success", "error"] {
                self.storage_operations.with_label_values(&[backend, operation, status]);
            }
        }
        for state in ["in_use", "idle"] {
            self.connections.with_label_values(&[state]);
        }
        for status in WEBHOOK_STATUSES {
            self.webhook_deliveries.with_label_values(&[status]);
        }
        self.chain_valid.set(1);
    }

    /// Counts a finished tool call.
    pub(crate) fn tool_called(&self, tool: &'static str, status: &'static str, elapsed: Duration) {
        self.tool_calls.with_label_values(&[tool, status]).inc();
        self.tool_seconds.with_label_values(&[tool]).observe(elapsed.as_secs_f64());
    }

    /// Counts a finished write; `book` is an existing book or [`UNKNOWN`].
    pub(crate) fn written(&self, book: &str, status: &'static str, mode: &'static str, took: Duration) {
        let book = self.books.label(book);
        self.writes.with_label_values(&[book, status, mode]).inc();
        self.write_seconds.with_label_values(&[book]).observe(took.as_secs_f64());
    }

    /// Counts the files that a change set has written, and the time of the set once.
    pub(crate) fn set_written(&self, book: &str, modes: impl Iterator<Item = &'static str>, took: Duration) {
        let book = self.books.label(book);
        for mode in modes {
            self.writes.with_label_values(&[book, "success", mode]).inc();
        }
        self.write_seconds.with_label_values(&[book]).observe(took.as_secs_f64());
    }

    /// Counts a finished download of an archive of an existing book.
    pub(crate) fn archive_sent(&self, book: &str, scope: &'static str, status: &'static str, took: Duration) {
        self.archives.with_label_values(&[self.books.label(book), scope, status]).inc();
        self.archive_seconds.with_label_values(&[scope]).observe(took.as_secs_f64());
    }

    /// Counts an operation of the storage, and whether it succeeded.
    pub fn storage_asked(&self, backend: &str, operation: &'static str, answered: bool) {
        let status = if answered { "success" } else { "error" };
        self.storage_operations.with_label_values(&[backend, operation, status]).inc();
    }

    /// Counts an attempt to send a change set to a webhook; `status` is one of [`WEBHOOK_STATUSES`].
    pub(crate) fn webhook_sent(&self, status: &'static str) {
        self.webhook_deliveries.with_label_values(&[status]).inc();
    }

    /// Observes a finished read that had an overlay to check.
    pub(crate) fn overlay_read(&self, took: Duration) {
        self.overlay_seconds.observe(took.as_secs_f64());
    }

    /// Observes the number of files in a delta of an existing book.
    pub(crate) fn delta_built(&self, book: &str, files: usize) {
        // No book has more files than a float counts exactly.
        let files = u32::try_from(files).unwrap_or(u32::MAX);
        self.delta_files.with_label_values(&[self.books.label(book)]).observe(f64::from(files));
    }

    /// Counts an answered request; `route` is one of the route table.
    pub(crate) fn http_answered(&self, route: &str, status: u16) {
        self.http_requests.with_label_values(&[route, status_text(status, &mut [0; 5])]).inc();
    }

    /// All metrics, in Prometheus' text format. Never fails: what does not answer within `timeout` is
    /// down, and its other gauges keep their last values.
    pub(crate) async fn scrape(&self, service: &Service, timeout: Duration) -> Vec<u8> {
        if let Ok(_refreshing) = self.refreshing.try_lock() {
            self.refresh(service, timeout).await;
        }
        let mut text = Vec::with_capacity(16 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics could not be written");
        }
        text
    }

    async fn refresh(&self, service: &Service, timeout: Duration) {
        let rollbacks = service.stats().rollbacks.load(Ordering::Relaxed);
        self.rollbacks.inc_by(rollbacks.saturating_sub(self.rollbacks.get()));
        self.archive_memory.set(i64::try_from(service.archive_memory()).unwrap_or(i64::MAX));
        self.chain_valid.set(i64::from(service.verified().breaks.is_empty()));
        // Before this scrape's own queries.
        let pool = service.pool_usage();
        self.connections.with_label_values(&["in_use"]).set(pool.in_use.into());
        self.connections.with_label_values(&["idle"]).set(pool.idle.into());
        self.connections_max.set(pool.max.into());
        let counts = async { tokio::join!(service.pending_publications(), service.journal_counts()) };
        let ((database, storage), counts) =
            tokio::join!(service.readiness(timeout), tokio::time::timeout(timeout, counts));
        let up = |probe: Probe| i64::from(probe.up);
        self.database_up.set(up(database));
        self.storage_up.set(up(storage));
        let Ok((pending, counts)) = counts else { return };
        if let Ok(pending) = pending {
            self.pending_publications.set(pending);
        }
        if let Ok(counts) = counts {
            self.count_files(&counts.iter().map(|(book, rows)| (book.as_str(), *rows)).collect());
        }
    }

    /// Sets the number of files of each book; those without series of their own count together. A book
    /// that has no files any more loses its series when another one needs the room.
    fn count_files(&self, rows: &BTreeMap<&str, i64>) {
        for gone in self.books.evict(|book| !rows.contains_key(book)) {
            self.remove_series_of(&gone);
        }
        let mut others = 0;
        for (book, rows) in rows {
            match self.books.label(book) {
                UNKNOWN => others += rows,
                book => self.journal_entries.with_label_values(&[book]).set(*rows),
            }
        }
        self.journal_entries.with_label_values(&[UNKNOWN]).set(others);
        for empty in self.books.all().iter().filter(|book| !rows.contains_key(book.as_str())) {
            self.journal_entries.with_label_values(&[empty]).set(0);
        }
    }

    /// Removes all series of a book; each removal fails if there is no such series.
    fn remove_series_of(&self, book: &str) {
        for status in WRITE_STATUSES {
            for mode in WRITE_MODES {
                let _ = self.writes.remove_label_values(&[book, status, mode]);
            }
        }
        for scope in ArchiveScope::ALL {
            for status in ARCHIVE_STATUSES {
                let _ = self.archives.remove_label_values(&[book, scope.as_str(), status]);
            }
        }
        let _ = self.write_seconds.remove_label_values(&[book]);
        let _ = self.delta_files.remove_label_values(&[book]);
        let _ = self.journal_entries.remove_label_values(&[book]);
    }
}

/// The status as text, without an allocation per request.
fn status_text(status: u16, room: &mut [u8; 5]) -> &str {
    use std::io::Write;
    let mut rest = &mut room[..];
    let _ = write!(rest, "{status}");
    let left = rest.len();
    std::str::from_utf8(&room[..5 - left]).unwrap_or("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&metrics.registry.gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn every_metric_is_there_before_anything_happened() {
        let text = text(&Metrics::new("fs", &["put", "publish"], 200).unwrap());
        for series in [
            r#"panaversityfs_write_total{book_id="unknown",mode="none",status="error"} 0"#,
            r#"panaversityfs_write_total{book_id="unknown",mode="created",status="success"} 0"#,
            r#"panaversityfs_write_duration_seconds_bucket{book_id="unknown",le="0.0005"} 0"#,
            r#"panaversityfs_write_duration_seconds_count{book_id="unknown"} 0"#,
            r#"panaversityfs_tool_calls_total{status="success",tool="unknown"} 0"#,
            r#"panaversityfs_tool_duration_seconds_count{tool="unknown"} 0"#,
            r#"panaversityfs_journal_entries_total{book_id="unknown"} 0"#,
            r#"panaversityfs_archive_total{book_id="unknown",scope="all",status="success"} 0"#,
            r#"panaversityfs_archive_duration_seconds_count{scope="assets"} 0"#,
            "panaversityfs_archive_memory_bytes 0",
            "panaversityfs_pending_publications 0",
            "panaversityfs_audit_chain_valid 1",
            "panaversityfs_storage_rollback_total 0",
            r#"panaversityfs_storage_operations_total{backend="fs",operation="publish",status="error"} 0"#,
            "panaversityfs_overlay_latency_seconds_count 0",
            r#"panaversityfs_delta_files_count_bucket{book_id="unknown",le="0"} 0"#,
            "# TYPE panaversityfs_delta_files_count histogram",
            r#"panaversityfs_http_requests_total{route="/mcp",status="200"} 0"#,
            "# TYPE panaversityfs_write_total counter",
            "# TYPE panaversityfs_journal_entries_total gauge",
            "# TYPE panaversityfs_overlay_latency_seconds histogram",
        ] {
            assert!(text.lines().any(|line| line == series), "{series} is missing in\n{text}");
        }
    }

    #[test]
    fn ten_thousand_books_share_a_bounded_number_of_series() {
        let metrics = Metrics::new("fs", &["put"], 200).unwrap();
        let books: Vec<_> = (0..10_000).map(|number| format!("book-{number:05}")).collect();
        for book in &books {
            metrics.written(book, "success", "created", Duration::from_millis(3));
            metrics.written(book, "conflict", "none", Duration::from_millis(3));
            metrics.archive_sent(book, "all", "success", Duration::from_millis(3));
            metrics.delta_built(book, 3);
        }
        metrics.count_files(&books.iter().map(|book| (book.as_str(), 7)).collect());
        let full = text(&metrics);
        assert!(full.lines().count() < 200 * 38 + 300, "{} lines", full.lines().count());
        for series in [
            r#"panaversityfs_write_total{book_id="unknown",mode="created",status="success"} 9800"#,
            r#"panaversityfs_journal_entries_total{book_id="unknown"} 68600"#,
            r#"panaversityfs_journal_entries_total{book_id="book-00199"} 7"#,
        ] {
            assert!(full.lines().any(|line| line == series), "{series} is missing");
        }
        metrics.count_files(&BTreeMap::from([("book-09999", 7)]));
        let left = text(&metrics);
        assert!(!left.contains("book-00000"), "a book that is gone makes room");
        assert!(left.contains(r#"panaversityfs_journal_entries_total{book_id="book-09999"} 7"#));
    }

    #[test]
    fn what_happens_is_counted() {
        let metrics = Metrics::new("fs", &["put", "publish"], 200).unwrap();
        metrics.written("ai-python", "success", "updated", Duration::from_millis(3));
        metrics.tool_called("write_content", "success", Duration::from_millis(3));
        metrics.overlay_read(Duration::from_millis(1));
        metrics.delta_built("ai-python", 3);
        metrics.http_answered("/health", 503);
        let text = text(&metrics);
        for series in [
            r#"panaversityfs_write_total{book_id="ai-python",mode="updated",status="success"} 1"#,
            r#"panaversityfs_write_duration_seconds_bucket{book_id="ai-python",le="0.0025"} 0"#,
            r#"panaversityfs_write_duration_seconds_bucket{book_id="ai-python",le="0.005"} 1"#,
            r#"panaversityfs_tool_calls_total{status="success",tool="write_content"} 1"#,
            "panaversityfs_overlay_latency_seconds_count 1",
            r#"panaversityfs_delta_files_count_bucket{book_id="ai-python",le="1"} 0"#,
            r#"panaversityfs_delta_files_count_bucket{book_id="ai-python",le="3"} 1"#,
            r#"panaversityfs_http_requests_total{route="/health",status="503"} 1"#,
        ] {
            assert!(text.lines().any(|line| line == series), "{series} is missing in\n{text}");
        }
    }
}
