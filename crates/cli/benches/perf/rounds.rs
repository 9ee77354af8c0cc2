//! Loads measured in rounds: rate, latencies, and CPU time per call.

use std::time::Duration;

use panaversity_testkit::load::load;

use crate::server::BenchServer;
use crate::table::{Table, median};

/// Rounds of a measurement, whose median counts.
pub(crate) const ROUNDS: usize = 5;
/// Clients of a concurrent load.
pub(crate) const CLIENTS: usize = 32;
const WARM_UP: Duration = Duration::from_secs(1);
const LASTING: Duration = Duration::from_secs(3);
/// Most times that the slowest hundredth may take longer than the median.
const SPREAD: f64 = 4.0;

/// Figures of one load.
pub(crate) struct Figures {
    /// Calls per second.
    pub(crate) rate: f64,
    /// Latencies in milliseconds.
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    /// CPU time per call in microseconds: of the server, and of PostgreSQL.
    cpu: (f64, f64),
}

/// Runs a short load whose figures do not count.
pub(crate) async fn warm_up(
    server: &BenchServer,
    body: impl Fn(usize, usize) -> String + Send + Sync + Clone + 'static,
) {
    load(&server.address, CLIENTS, WARM_UP, body).await;
}

/// Runs a load and measures it.
pub(crate) async fn measure(
    server: &BenchServer,
    clients: usize,
    body: impl Fn(usize, usize) -> String + Send + Sync + Clone + 'static,
) -> Figures {
    let before = server.cpu();
    let load = load(&server.address, clients, LASTING, body).await;
    let after = server.cpu();
    let a_call = |before: f64, after: f64| (after - before) * 1e6 / load.calls() as f64;
    Figures {
        rate: load.rate,
        p50: load.quantile(0.5),
        p95: load.quantile(0.95),
        p99: load.quantile(0.99),
        cpu: (a_call(before.0, after.0), a_call(before.1, after.1)),
    }
}

/// Adds the rows on latencies and CPU time; `cpu` is the bar of the server's CPU time per call.
pub(crate) fn add_costs(table: &mut Table, work: &str, rounds: &[Figures], cpu: Option<f64>) {
    let of = |figure: fn(&Figures) -> f64| median(rounds.iter().map(figure));
    let spread = of(|round| round.p99 / round.p50);
    table.add(
        &format!("{work}, p99 / p50"),
        format!("{spread:.1}"),
        format!("p50: {:.2} ms, p99: {:.2} ms", of(|round| round.p50), of(|round| round.p99)),
        format!("{SPREAD}"),
        spread <= SPREAD,
    );
    let server = of(|round| round.cpu.0);
    table.add(
        &format!("{work}, CPU of the server per call"),
        format!("{server:.0} us"),
        format!("CPU of PostgreSQL: {:.0} us", of(|round| round.cpu.1)),
        cpu.map_or(String::new(), |cpu| format!("{cpu} us")),
        cpu.is_none_or(|cpu| server <= cpu),
    );
}
