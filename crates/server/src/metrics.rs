//! Metrics: the names, types and labels of the contract, all of them present from the first scrape.
//! Label values are bounded: a known tool, a known route, an existing book or `unknown`.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use panaversity_service::Service;
use panaversity_service::archive::ArchiveScope;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

/// Label of a book or a tool that does not exist.
pub(crate) const UNKNOWN: &str = "unknown";

/// Buckets of durations, from half a millisecond to half a minute, in seconds.
const BUCKETS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Buckets of file counts, from one file to a whole large book.
const COUNT_BUCKETS: [f64; 10] = [0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0];

/// Values of the `status` label of a write.
const WRITE_STATUSES: [&str; 6] =
    ["success", "conflict", "schema_violation", "hash_required", "not_found", "error"];

/// Values of the `status` label of a download: all requested bytes were sent; the same of an archive
/// that leaves files out; the client disconnected; it timed out; bytes were found corrupt; they could
/// not be read.
const ARCHIVE_STATUSES: [&str; 6] = ["success", "partial", "cut", "timeout", "corrupt", "failed"];

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
    /// The books shown with a count; locked while one scrape updates the gauges.
    shown: tokio::sync::Mutex<BTreeSet<String>>,
}

impl Metrics {
    /// All metrics, at zero, for this kind of storage and its operations.
    ///
    /// # Errors
    /// Never, unless a name below is misspelt or used twice.
    pub fn new(backend: &str, operations: &[&str]) -> Result<Self, Error> {
        let registry = Registry::new();
        let into = &registry;
        let metrics = Self {
            writes: counters(into, "write_total", "Writes, by outcome", &["book_id", "status", "mode"])?,
            write_seconds: histograms(into, "write_duration_seconds", "Time a write takes", &["book_id"])?,
            archives: counters(
                into,
                "archive_total",
                "Downloads of archives, by how they ended",
                &["book_id", "scope", "status"],
            )?,
            archive_seconds: histograms(
                into,
                "archive_duration_seconds",
                "Time a download takes",
                &["scope"],
            )?,
            archive_memory: gauge(into, "archive_memory_bytes", "Bytes that archives hold in memory")?,
            tool_calls: counters(into, "tool_calls_total", "Tool calls, by outcome", &["tool", "status"])?,
            tool_seconds: histograms(into, "tool_duration_seconds", "Time a tool call takes", &["tool"])?,
            overlay_seconds: histogram(into, "overlay_latency_seconds", "Time a read with user_id takes")?,
            delta_files: {
                let opts = histogram_opts("delta_files_count", "Files that a delta names");
                registered(into, HistogramVec::new(opts.buckets(COUNT_BUCKETS.to_vec()), &["book_id"])?)?
            },
            http_requests: counters(into, "http_requests_total", "HTTP requests", &["route", "status"])?,
            journal_entries: {
                let opts = opts("journal_entries_total", "Files in the journal, overlays included");
                registered(into, IntGaugeVec::new(opts, &["book_id"])?)?
            },
            pending_publications: gauge(into, "pending_publications", "Paths the tree does not show yet")?,
            chain_valid: gauge(
                into,
                "audit_chain_valid",
                "1 while no audit chain is known to be broken, else 0",
            )?,
            rollbacks: {
                let help = "Commits that failed or were refused after a blob was staged";
                registered(into, IntCounter::with_opts(opts("storage_rollback_total", help))?)?
            },
            storage_operations: counters(
                into,
                "storage_operations_total",
                "What was asked of the storage, by outcome",
                &["backend", "operation", "status"],
            )?,
            shown: tokio::sync::Mutex::default(),
            registry,
        };
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
        self.chain_valid.set(1);
    }

    /// Counts a finished tool call.
    pub(crate) fn tool_called(&self, tool: &'static str, status: &'static str, elapsed: Duration) {
        self.tool_calls.with_label_values(&[tool, status]).inc();
        self.tool_seconds.with_label_values(&[tool]).observe(elapsed.as_secs_f64());
    }

    /// Counts a finished write; `book` is an existing book or [`UNKNOWN`].
    pub(crate) fn written(&self, book: &str, status: &'static str, mode: &'static str, took: Duration) {
        self.writes.with_label_values(&[book, status, mode]).inc();
        self.write_seconds.with_label_values(&[book]).observe(took.as_secs_f64());
    }

    /// Counts a finished download of an archive of an existing book.
    pub(crate) fn archive_sent(&self, book: &str, scope: &'static str, status: &'static str, took: Duration) {
        self.archives.with_label_values(&[book, scope, status]).inc();
        self.archive_seconds.with_label_values(&[scope]).observe(took.as_secs_f64());
    }

    /// Counts an operation of the storage, and whether it succeeded.
    pub fn storage_asked(&self, backend: &str, operation: &'static str, answered: bool) {
        let status = if answered { "success" } else { "error" };
        self.storage_operations.with_label_values(&[backend, operation, status]).inc();
    }

    /// Observes a finished read that had an overlay to check.
    pub(crate) fn overlay_read(&self, took: Duration) {
        self.overlay_seconds.observe(took.as_secs_f64());
    }

    /// Observes the number of files in a delta of an existing book.
    pub(crate) fn delta_built(&self, book: &str, files: usize) {
        // No book has more files than a float counts exactly.
        let files = u32::try_from(files).unwrap_or(u32::MAX);
        self.delta_files.with_label_values(&[book]).observe(f64::from(files));
    }

    /// Counts an answered request; `route` is one of the route table.
    pub(crate) fn http_answered(&self, route: &str, status: u16) {
        self.http_requests.with_label_values(&[route, status_text(status, &mut [0; 5])]).inc();
    }

    /// All metrics, in Prometheus' text format. Never fails: without the database, or after `timeout`,
    /// it shows the last known values.
    pub(crate) async fn scrape(&self, service: &Service, timeout: Duration) -> Vec<u8> {
        if let Ok(mut shown) = self.shown.try_lock() {
            self.refresh(service, timeout, &mut shown).await;
        }
        let mut text = Vec::with_capacity(16 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics could not be written");
        }
        text
    }

    async fn refresh(&self, service: &Service, timeout: Duration, shown: &mut BTreeSet<String>) {
        let rollbacks = service.stats().rollbacks.load(Ordering::Relaxed);
        self.rollbacks.inc_by(rollbacks.saturating_sub(self.rollbacks.get()));
        self.archive_memory.set(i64::try_from(service.archive_memory()).unwrap_or(i64::MAX));
        self.chain_valid.set(i64::from(service.verified().breaks.is_empty()));
        let asked = async { tokio::join!(service.pending_publications(), service.journal_counts()) };
        let Ok((pending, counts)) = tokio::time::timeout(timeout, asked).await else { return };
        if let Ok(pending) = pending {
            self.pending_publications.set(pending);
        }
        if let Ok(counts) = counts {
            for (book, rows) in &counts {
                self.journal_entries.with_label_values(&[book.as_str()]).set(*rows);
            }
            let now: BTreeSet<_> = counts.iter().map(|(book, _)| book.as_str().to_owned()).collect();
            for gone in shown.difference(&now) {
                let _ = self.journal_entries.remove_label_values(&[gone]);
            }
            *shown = now;
        }
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

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("panaversityfs")
}

fn histogram_opts(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::new(name, help).namespace("panaversityfs").buckets(BUCKETS.to_vec())
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> Result<C, Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
    registered(registry, IntCounterVec::new(opts(name, help), labels)?)
}

fn histograms(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, Error> {
    registered(registry, HistogramVec::new(histogram_opts(name, help), labels)?)
}

fn histogram(registry: &Registry, name: &str, help: &str) -> Result<Histogram, Error> {
    registered(registry, Histogram::with_opts(histogram_opts(name, help))?)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, Error> {
    registered(registry, IntGauge::with_opts(opts(name, help))?)
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
        let text = text(&Metrics::new("fs", &["put", "publish"]).unwrap());
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
    fn what_happens_is_counted() {
        let metrics = Metrics::new("fs", &["put", "publish"]).unwrap();
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
