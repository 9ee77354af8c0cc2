//! Benchmarks: the real server against yardsticks measured in the same minute.
//!
//! `cargo bench -p panaversity-fs --bench perf [-- ROW...]`, where a ROW is one of `write`, `read`, `plan`,
//! `pipeline`, `search`, `archive`, `start`, `concurrent_clients`, `authentication`, `attacks`, and `large`, which
//! runs only if it is named: books of 100,000 files, or of as many as `PANAVERSITY_BENCH_FILES` says.
//! `PANAVERSITY_REAL_BOOK` names a folder to use as the book of the pipeline and search rows instead of a
//! generated one. Ratios are comparable across machines, absolute figures are not.

#![allow(
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a benchmark ends by panicking, and rounds"
)]

mod archives;
mod attacks;
mod authentication;
mod concurrent_clients;
mod large;
mod pipeline;
mod requests;
mod rounds;
mod search;
mod server;
mod states;
mod table;

use panaversity_testkit::postgres::Postgres;
use table::Table;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // Fails if a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let runs = |row: &str| wanted.is_empty() || wanted.iter().any(|name| name == row);
    let (mut table, cluster, _root) = (Table::default(), Postgres::durable(), server::root());
    if runs("start") {
        states::start_and_idle(&mut table).await;
    }
    if runs("write") {
        requests::writes(&mut table, &cluster).await;
    }
    if runs("read") {
        requests::reads(&mut table, &cluster).await;
    }
    if runs("plan") {
        states::large_book(&mut table, &cluster).await;
    }
    if runs("pipeline") {
        pipeline::ingest_and_hydrate(&mut table).await;
    }
    if runs("search") {
        search::beside_rg_and_fd(&mut table).await;
    }
    if runs("archive") {
        archives::archives(&mut table).await;
    }
    if runs("concurrent_clients") {
        concurrent_clients::large_files(&mut table).await;
    }
    if runs("authentication") {
        authentication::cost(&mut table).await;
    }
    if runs("attacks") {
        attacks::beside_each(&mut table).await;
    }
    if wanted.iter().any(|name| name == "large") {
        large::books(&mut table, &cluster).await;
    }
    table.print();
}
