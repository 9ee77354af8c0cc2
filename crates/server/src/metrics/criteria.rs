//! The success criteria as this server alone measures them, since its start. All servers together are
//! measured by `panaversity-fs slo`, from Prometheus.

use prometheus::proto::{Histogram, MetricFamily};

use super::Metrics;

/// A criterion with what was measured.
pub(crate) struct CriterionReading {
    /// Its number.
    pub(crate) id: &'static str,
    /// What is measured.
    pub(crate) name: &'static str,
    /// The target, in words.
    pub(crate) target: &'static str,
    /// The value, with its unit; `None`: nothing of the kind happened.
    pub(crate) value: Option<String>,
    /// Whether the target is met.
    pub(crate) is_met: bool,
    /// Number of observations by bucket, for a graph; empty if it has none.
    pub(crate) buckets: Vec<u64>,
}

impl Metrics {
    /// Measures the criteria.
    pub(crate) fn criteria(&self) -> Vec<CriterionReading> {
        let families = self.registry.gather();
        let named = |name: &str| families.iter().find(|family| family.name().ends_with(name));
        let archives = merged(named("_archive_duration_seconds"));
        let overlays = merged(named("_overlay_latency_seconds"));
        let writes = merged(named("_write_duration_seconds"));
        let is_conflict = |name: &str, value: &str| name == "status" && value == "conflict";
        let conflicts = sum(named("_write_total"), is_conflict);
        let asked = sum(named("_storage_operations_total"), |_, _| true);
        let answered =
            sum(named("_storage_operations_total"), |name, value| name == "status" && value == "success");
        let percent = (asked > 0.0).then(|| 100.0 * answered / asked);
        let is_valid = self.chain_valid.get() == 1;
        vec![
            timed("SC-001", "archive downloads, 99th percentile", "< 60 s", &archives, (0.99, 60.0)),
            timed("", "writes, 99th percentile", "", &writes, (0.99, f64::INFINITY)),
            plain("SC-003", "conflicting writes are counted", "counted", Some(format!("{conflicts}")), true),
            plain(
                "SC-004",
                "audit chains valid",
                "yes",
                Some(if is_valid { "yes" } else { "no" }.to_owned()),
                is_valid,
            ),
            timed("SC-006", "overlay reads, 95th percentile", "< 10 ms", &overlays, (0.95, 0.010)),
            plain(
                "SC-010",
                "operations of the storage that succeed",
                ">= 99.9 %",
                percent.map(|percent| format!("{percent:.3} %")),
                percent.is_none_or(|percent| percent >= 99.9),
            ),
        ]
    }
}

fn plain(
    id: &'static str,
    name: &'static str,
    target: &'static str,
    value: Option<String>,
    is_met: bool,
) -> CriterionReading {
    CriterionReading { id, name, target, value, is_met, buckets: Vec::new() }
}

/// A criterion about a quantile of durations, in seconds.
fn timed(
    id: &'static str,
    name: &'static str,
    target: &'static str,
    buckets: &[(f64, u64)],
    (quantile, limit): (f64, f64),
) -> CriterionReading {
    let value = self::quantile(buckets, quantile);
    let shown = value.map(|seconds| format!("up to {:.1} ms", seconds * 1_000.0));
    let is_met = value.is_none_or(|seconds| seconds <= limit);
    let mut last = 0;
    let counts = buckets.iter().map(|(_, below)| {
        let count = below - last;
        last = *below;
        count
    });
    CriterionReading { id, name, target, value: shown, is_met, buckets: counts.collect() }
}

/// The bound of the bucket in which the quantile lies; `None`: there are no observations.
fn quantile(buckets: &[(f64, u64)], quantile: f64) -> Option<f64> {
    let total = buckets.last().map_or(0, |(_, below)| *below);
    if total == 0 {
        return None;
    }
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a quantile of counts far below 2^52"
    )]
    let rank = ((total as f64 * quantile).ceil() as u64).max(1);
    buckets.iter().find(|(_, below)| *below >= rank).map(|(bound, _)| *bound)
}

/// The buckets of all series of a histogram together: upper bound, and observations up to it.
fn merged(family: Option<&MetricFamily>) -> Vec<(f64, u64)> {
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    let series = family.into_iter().flat_map(MetricFamily::get_metric);
    for histogram in series.map(prometheus::proto::Metric::get_histogram) {
        let own = all_buckets(histogram);
        if buckets.is_empty() {
            buckets = own;
        } else {
            for (sum, (_, below)) in buckets.iter_mut().zip(own) {
                sum.1 += below;
            }
        }
    }
    buckets
}

fn all_buckets(histogram: &Histogram) -> Vec<(f64, u64)> {
    let bounded =
        histogram.get_bucket().iter().map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    bounded.chain([(f64::INFINITY, histogram.get_sample_count())]).collect()
}

/// Sum of the series of a counter of which a label is meant.
fn sum(family: Option<&MetricFamily>, is_meant: impl Fn(&str, &str) -> bool) -> f64 {
    let series = family.into_iter().flat_map(MetricFamily::get_metric);
    let meant =
        series.filter(|metric| metric.get_label().iter().any(|label| is_meant(label.name(), label.value())));
    meant.map(|metric| metric.get_counter().get_value()).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn criteria_are_judged_by_what_happened() {
        let metrics = Metrics::new("fs", &["put"], 200).unwrap();
        let of = |metrics: &Metrics, id: &str| {
            let reading = metrics.criteria().into_iter().find(|reading| reading.id == id).unwrap();
            (reading.value, reading.is_met)
        };
        assert_eq!(of(&metrics, "SC-006"), (None, true));
        for _ in 0..19 {
            metrics.overlay_read(Duration::from_micros(700));
        }
        metrics.overlay_read(Duration::from_secs(1));
        assert_eq!(of(&metrics, "SC-006"), (Some("up to 1.0 ms".to_owned()), true));
        metrics.overlay_read(Duration::from_secs(1));
        assert!(!of(&metrics, "SC-006").1);
        metrics.storage_asked("fs", "put", true);
        assert_eq!(of(&metrics, "SC-010"), (Some("100.000 %".to_owned()), true));
        metrics.storage_asked("fs", "put", false);
        assert!(!of(&metrics, "SC-010").1);
    }
}
