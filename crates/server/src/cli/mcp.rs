//! `mcp`: the same tools over stdin and stdout, for one agent on this machine. stdout belongs to
//! the protocol; everything else goes to stderr.

use super::runtime::Runtime;
use super::signals::Signals;
use super::{Failure, warn_of};
use crate::config::Sources;
use crate::config::flags::McpFlags;
use crate::config::links::LinkSettings;
use crate::config::settings::{LogSettings, StoreSettings};
use crate::logging;

/// Runs `mcp`, until stdin ends or a signal comes.
pub(super) async fn run(flags: McpFlags) -> Result<(), Failure> {
    let sources = Sources::gather(flags.into_given())?;
    let (log, store, links) =
        (LogSettings::read(&sources)?, StoreSettings::read(&sources)?, LinkSettings::read(&sources)?);
    logging::start(log);
    warn_of(&sources);
    let mut signals = Signals::listen()?;
    let running = Runtime::start(store, links).await?;
    let served = tokio::select! {
        served = crate::mcp::serve_stdio(running.app.clone()) => served,
        signal = signals.next() => {
            tracing::info!(target: "panaversity_fs.server", signal, "stopping");
            Ok(())
        }
    };
    running.stop().await;
    served.map_err(|error| Failure::Failed(format!("MCP over stdio ended: {error}")))
}
