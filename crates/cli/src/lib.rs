//! The program `panaversity-fs`: commands, configuration, and the composition root that opens engines
//! and starts servers over them.
//!
//! The binary is [`run`] and nothing else. [`HttpServer`] starts a whole server in the calling process, which
//! logs through `tracing`; [`log_subscriber`] writes the lines that the binary writes.
//!
//! ```no_run
//! # async fn example() -> Result<(), String> {
//! let settings = [("DATABASE_URL", "sqlite:journal.db"), ("PANAVERSITY_SERVER_PORT", "0")];
//! let server = panaversity_fs::HttpServer::start(&settings).await.map_err(|failure| failure.to_string())?;
//! println!("listening on {}", server.address());
//! server.stop().await;
//! # Ok(())
//! # }
//! ```

mod clock;
mod command_line;
mod commands;
mod config;
mod failure;
mod http_server;
mod limits;
mod logging;
mod progress;
mod report;
mod runtime;
mod signals;
mod startup;

pub use command_line::run;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use config::fuzzing;
pub use failure::Failure;
pub use http_server::HttpServer;
pub use limits::{RuntimeLimits, StartPauses};
pub use logging::log_subscriber;

/// Selects ring as the process's TLS provider, before any connection: rustls uses the installed
/// provider.
fn use_ring() {
    // An error means that one is installed already, by an earlier call.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
