//! `mcp`: MCP over stdin and stdout, for one agent on this machine. stdout carries the protocol;
//! everything else goes to stderr.

use panaversity_server::serve_stdio;

use crate::config::Sources;
use crate::config::flags::McpFlags;
use crate::config::links::LinkSettings;
use crate::config::log::LogSettings;
use crate::config::parsed::StoreSettings;
use crate::failure::Failure;
use crate::logging;
use crate::runtime::Runtime;
use crate::signals::Signals;

/// Runs `mcp` until stdin ends or a signal arrives.
pub(crate) async fn run(flags: McpFlags) -> Result<(), Failure> {
    let sources = Sources::gather(flags.into_given())?;
    let (log, store, links) =
        (LogSettings::read(&sources)?, StoreSettings::read(&sources)?, LinkSettings::read(&sources)?);
    logging::start(log);
    sources.log_warnings();
    let mut signals = Signals::listen()?;
    let runtime = Runtime::start(store, links).await?;
    let served = tokio::select! {
        served = serve_stdio(runtime.state()) => served,
        signal = signals.next() => {
            tracing::info!(target: "panaversity_fs.server", signal, "stopping");
            Ok(())
        }
    };
    runtime.stop().await;
    served.map_err(|error| Failure::Failed(format!("MCP over stdio ended: {error}")))
}
