//! Registration of metrics: constructors that prefix the name and register the metric at once, so that
//! one which exists is also exported.

use prometheus::core::Collector;
use prometheus::{
    Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// Buckets of durations, from half a millisecond to the minute that an archive may take and beyond, in
/// seconds.
const SECONDS: [f64; 17] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

/// Buckets of file counts, from one file to a whole large book.
const FILES: [f64; 10] = [0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0];

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("panaversityfs")
}

fn histogram_opts(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help).namespace("panaversityfs").buckets(buckets.to_vec())
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> Result<C, Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

pub(super) fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, Error> {
    registered(registry, IntCounter::with_opts(opts(name, help))?)
}

pub(super) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, Error> {
    registered(registry, IntCounterVec::new(opts(name, help), labels)?)
}

/// Histogram of durations in seconds.
pub(super) fn seconds(registry: &Registry, name: &str, help: &str) -> Result<Histogram, Error> {
    registered(registry, Histogram::with_opts(histogram_opts(name, help, &SECONDS))?)
}

/// Histograms of durations in seconds.
pub(super) fn seconds_by(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<HistogramVec, Error> {
    registered(registry, HistogramVec::new(histogram_opts(name, help, &SECONDS), labels)?)
}

/// Histograms of file counts.
pub(super) fn files_by(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<HistogramVec, Error> {
    registered(registry, HistogramVec::new(histogram_opts(name, help, &FILES), labels)?)
}

pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, Error> {
    registered(registry, IntGauge::with_opts(opts(name, help))?)
}

pub(super) fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, Error> {
    registered(registry, IntGaugeVec::new(opts(name, help), labels)?)
}
