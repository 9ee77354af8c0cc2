//! `serve`: an HTTP server that runs until a signal ends it.
//!
//! 1. Read the settings, start logging, log warnings about the settings.
//! 2. Start the server ([`HttpServer`]); a signal ends the wait for engines that are not up yet.
//! 3. On a signal stop the server: running calls are finished. A second signal ends the process at
//!    once.

use crate::config::Sources;
use crate::config::flags::ServeFlags;
use crate::config::log::LogSettings;
use crate::failure::Failure;
use crate::http_server::{HttpServer, ServerSettings};
use crate::logging;
use crate::signals::Signals;

/// Runs `serve`.
pub(crate) async fn run(flags: ServeFlags) -> Result<(), Failure> {
    let sources = Sources::gather(flags.into_given())?;
    let (log, settings) = (LogSettings::read(&sources)?, ServerSettings::read(&sources)?);
    logging::start(log);
    sources.log_warnings();
    let mut signals = Signals::listen()?;
    let mut server = tokio::select! {
        opened = HttpServer::open(settings) => opened?,
        signal = signals.next() => {
            tracing::info!(target: "panaversity_fs.server", signal, "stopping: the start was not finished");
            return Ok(());
        }
    };
    tokio::select! {
        signal = signals.next() => {
            tracing::info!(target: "panaversity_fs.server", signal, "stopping: running calls are finished");
        }
        failure = server.broken() => {
            server.stop().await;
            return Err(failure);
        }
    }
    tokio::select! {
        () = server.stop() => tracing::info!(target: "panaversity_fs.server", "stopped"),
        signal = signals.next() => at_once(signal),
    }
    Ok(())
}

/// Ends the process without finishing running calls. Acknowledged writes are durable already.
fn at_once(signal: &str) -> ! {
    tracing::warn!(target: "panaversity_fs.server", signal, "asked a second time: ending at once");
    std::process::exit(1)
}
