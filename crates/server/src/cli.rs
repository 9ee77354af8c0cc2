//! The command line: what can be asked of the binary. Exit codes are those of the contract: 0
//! done, 1 failed, 2 wrong usage. Results go to stdout through [`print()`] alone, everything else to
//! stderr: over stdio, stdout belongs to the protocol.

mod config;
mod gc;
mod mcp;
mod migrate;
mod reconcile;
mod runtime;
mod serve;
mod signals;
mod startup;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use panaversity_model::fault::FaultKind;

use crate::config::flags::{McpFlags, ServeFlags};
use crate::config::settings::LogSettings;
use crate::config::{ConfigError, SETTINGS, Setting, Sources};
use crate::logging;
use crate::pipeline::hydrate::{self, HydrateArgs};
use crate::pipeline::ingest::{self, IngestArgs};

/// The store where AI agents write books together and nothing is lost.
#[derive(Parser)]
#[command(
    name = "panaversity-fs",
    version,
    override_usage = "panaversity-fs [COMMAND] [SETTINGS]",
    args_conflicts_with_subcommands = true,
    after_help = "Without a command it serves, and takes the settings of `serve`. Settings are read from flags, \
                  else from the environment, else from `.env`."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeFlags,
}

#[derive(Subcommand)]
enum Command {
    /// Serve MCP, health and metrics over HTTP (the default)
    Serve(ServeFlags),
    /// Serve MCP over stdin and stdout, for one local agent
    Mcp(McpFlags),
    /// Move the database's schema up or down, or tell where it is
    Migrate(migrate::MigrateArgs),
    /// Show and try the configuration
    Config(config::ConfigArgs),
    /// Put a folder into a book, through a running server
    Ingest(IngestArgs),
    /// Get a book into a folder, through a running server
    Hydrate(HydrateArgs),
    /// Compare the storage with the database, and mend or adopt what differs
    Reconcile(reconcile::ReconcileArgs),
    /// Let go of what nobody can ask for any more
    Gc(gc::GcArgs),
}

/// Why a command did not do what it was asked.
pub(crate) enum Failure {
    /// It was asked wrongly: exit code 2.
    Usage(String),
    /// It went wrong: exit code 1.
    Failed(String),
    /// It went wrong because something was not up yet: exit code 1, unless it is waited for.
    NotYet(NotYet),
    /// It went wrong, and the log says why.
    Logged,
}

impl Failure {
    /// What the operator is told, unless the log says it.
    fn why(self) -> Option<String> {
        match self {
            Self::Usage(why) | Self::Failed(why) | Self::NotYet(NotYet { why, .. }) => Some(why),
            Self::Logged => None,
        }
    }
}

/// Something that may be up later.
pub(crate) struct NotYet {
    /// What broke, by the kind of its fault.
    kind: FaultKind,
    /// What came back.
    reason: String,
    /// What the operator is told who does not wait.
    why: String,
}

impl From<ConfigError> for Failure {
    fn from(ConfigError(why): ConfigError) -> Self {
        Self::Usage(why)
    }
}

/// Runs what the command line asks for.
pub(crate) fn run() -> ExitCode {
    let matches = command_line().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ended(Err(Failure::Failed(format!("cannot start threads: {error}")))),
    };
    let code = runtime.block_on(async {
        match cli.command.unwrap_or(Command::Serve(cli.serve)) {
            Command::Serve(flags) => ended(logged(serve::run(flags).await)),
            Command::Mcp(flags) => ended(logged(mcp::run(flags).await)),
            Command::Migrate(args) => ended(migrate::run(args).await),
            Command::Config(args) => ended(config::run(args).await),
            Command::Ingest(args) => ingest::run(args).await,
            Command::Hydrate(args) => hydrate::run(args).await,
            Command::Reconcile(args) => ended(reconcile::run(args).await),
            Command::Gc(args) => ended(gc::run(args).await),
        }
    });
    // A thread that waits for stdin would keep the process from ending.
    runtime.shutdown_background();
    code
}

/// The top level takes the flags of `serve` too, but lists them only there.
fn command_line() -> clap::Command {
    Cli::command().mut_args(|arg| {
        let name = arg.get_id().as_str();
        let is_setting =
            SETTINGS.iter().map(Setting::flag).any(|flag| name.strip_suffix("-file").unwrap_or(name) == flag);
        if is_setting { arg.hide(true) } else { arg }
    })
}

fn ended(result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else { return ExitCode::SUCCESS };
    let code = if matches!(failure, Failure::Usage(_)) { 2 } else { 1 };
    if let Some(why) = failure.why() {
        // Without a stderr there is nobody left to tell.
        let _ = writeln!(std::io::stderr(), "panaversity-fs: {why}");
    }
    ExitCode::from(code)
}

/// A server's stderr is its log, and whoever collects it expects nothing but log lines.
fn logged(result: Result<(), Failure>) -> Result<(), Failure> {
    result.map_err(|failure| match failure {
        Failure::Failed(why) | Failure::NotYet(NotYet { why, .. }) if tracing::dispatcher::has_been_set() => {
            tracing::error!(target: "panaversity_fs.server", "{why}");
            Failure::Logged
        }
        other => other,
    })
}

/// Gathers the settings of a command that works beside a server, and starts its log with what is odd
/// about them.
fn gather(flags: BTreeMap<String, String>) -> Result<Sources, Failure> {
    let sources = Sources::gather(flags)?;
    logging::start(LogSettings::read(&sources)?);
    warn_of(&sources);
    Ok(sources)
}

/// Logs which lines of `.env` were skipped, and which names set nothing.
fn warn_of(sources: &Sources) {
    for warning in sources.warnings() {
        tracing::warn!(target: "panaversity_fs.config", "{warning}");
    }
}

/// Prints a result. A reader that went away, as `head` does, is no failure; a result that cannot be
/// written, as on a full disk, is one.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write the result: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        let matches = command_line().try_get_matches_from(line.split(' '))?;
        Cli::from_arg_matches(&matches)
    }

    #[test]
    fn the_command_line_is_well_formed() {
        command_line().debug_assert();
    }

    #[test]
    fn without_a_command_it_serves_with_the_settings_of_serve() {
        let cli = parsed("panaversity-fs --server-port 9000").unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.into_given()["server-port"], "9000");
        let Some(Command::Serve(flags)) = parsed("panaversity-fs serve --server-port 9000").unwrap().command
        else {
            panic!("serve was not understood")
        };
        assert_eq!(flags.into_given()["server-port"], "9000");
        assert!(parsed("panaversity-fs --server-port 9000 mcp").is_err());
        assert!(parsed("panaversity-fs mcp --server-port 9000").is_err());
        assert!(parsed("panaversity-fs mcp --storage-root x --database-url-file y").is_ok());
    }

    #[test]
    fn a_revision_may_be_counted_down_from_where_it_is() {
        assert!(parsed("panaversity-fs migrate downgrade -1 --destroy-audit --json").is_ok());
        assert!(parsed("panaversity-fs migrate upgrade").is_ok());
        assert!(parsed("panaversity-fs migrate upgrade head --database-url sqlite:x").is_ok());
        assert!(parsed("panaversity-fs migrate downgrade").is_err());
    }
}
