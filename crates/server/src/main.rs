//! `panaversity-fs`: the doors of `PanaversityFS` in one binary. This file only wires the rooms
//! together; the commands stand in [`cli`].

mod app;
mod cli;
mod client;
mod clock;
mod config;
mod error;
mod http;
mod logging;
mod masking;
mod mcp;
mod memory_budget;
mod metered;
mod metrics;
mod pipeline;
mod signed_url;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before any connection: TLS asks for the provider the process has chosen. A second choice
    // would be refused, and there is none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cli::run()
}
