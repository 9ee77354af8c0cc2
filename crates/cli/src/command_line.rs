//! The command line: arguments, dispatch, and exit codes. Results go to stdout only through
//! [`print`](crate::failure::print), everything else to stderr: over stdio, stdout carries the
//! protocol.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{
    audit, backup, book, completions, config, gc, health, hooks, hydrate, ingest, keys, mcp, migrate,
    reconcile, serve, slo, validate, watch,
};
use crate::config::flags::{McpFlags, ServeFlags};
use crate::config::{SETTINGS, Setting};
use crate::failure::{Failure, NotYet};

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
    #[command(after_help = "Example: panaversity-fs serve --server-port 9000 --storage-root ./data")]
    Serve(ServeFlags),
    /// Serve MCP over stdin and stdout, for one local agent
    #[command(
        after_help = "Example: panaversity-fs mcp --database-url sqlite:notes.db --storage-root ./notes"
    )]
    Mcp(McpFlags),
    /// Move the database's schema up or down, or tell where it is
    Migrate(migrate::MigrateArgs),
    /// Show and try the configuration
    Config(config::ConfigArgs),
    /// Create, list and delete books
    Book(book::BookArgs),
    /// Put a folder into a book, through a running server
    #[command(
        after_help = "Example: panaversity-fs ingest --book-id ai-python --source-dir ./docs --schema docusaurus"
    )]
    Ingest(ingest::IngestArgs),
    /// Get a book into a folder, through a running server
    #[command(after_help = "Example: panaversity-fs hydrate --book-id ai-python --output-dir ./site/docs")]
    Hydrate(hydrate::HydrateArgs),
    /// Follow the changes of a book, through a running server
    Watch(watch::WatchArgs),
    /// Create, list and revoke API keys of agents; rotate the key that signs links
    Keys(keys::KeysArgs),
    /// Create, list and delete webhooks, to which the changes of a book are sent
    Hooks(hooks::HooksArgs),
    /// Compare the storage with the database, and mend or adopt what differs
    #[command(
        after_help = "Examples:\n  panaversity-fs reconcile\n  panaversity-fs reconcile --repair --book-id ai-python"
    )]
    Reconcile(reconcile::ReconcileArgs),
    /// Delete what nobody can ask for any more
    #[command(after_help = "Examples:\n  panaversity-fs gc --dry-run\n  panaversity-fs gc")]
    Gc(gc::GcArgs),
    /// Ask a running server how it is
    Health(health::HealthArgs),
    /// Measure the success criteria of a running installation
    Slo(slo::SloArgs),
    /// Print the completions of a shell
    Completions(completions::CompletionsArgs),
    /// Query, verify and export the audit log
    Audit(audit::AuditArgs),
    /// Copy a store on SQLite and a folder, while servers serve it
    Backup(backup::BackupArgs),
    /// Check books for what would break a build: links, front matter, paths, lost files
    Validate(validate::ValidateArgs),
}

/// Parses the command line and runs the command.
pub fn run() -> ExitCode {
    let matches = command_line().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    crate::use_ring();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ended(Err(Failure::Failed(format!("cannot start threads: {error}")))),
    };
    let code = runtime.block_on(async {
        match cli.command.unwrap_or(Command::Serve(cli.serve)) {
            Command::Serve(flags) => ended(logged(serve::run(flags).await)),
            Command::Mcp(flags) => ended(logged(Box::pin(mcp::run(flags)).await)),
            Command::Migrate(args) => ended(migrate::run(args).await),
            Command::Config(args) => ended(config::run(args).await),
            Command::Ingest(args) => ingest::run(args).await,
            Command::Hydrate(args) => hydrate::run(args).await,
            Command::Watch(args) => ended(watch::run(args).await),
            Command::Keys(args) => ended(keys::run(args).await),
            Command::Hooks(args) => ended(hooks::run(args).await),
            Command::Reconcile(args) => ended(reconcile::run(args).await),
            Command::Gc(args) => ended(gc::run(args).await),
            Command::Book(args) => ended(book::run(args).await),
            Command::Health(args) => ended(health::run(args).await),
            Command::Slo(args) => ended(slo::run(args).await),
            Command::Completions(args) => ended(completions::run(&args, command_line())),
            Command::Audit(args) => ended(audit::run(args).await),
            Command::Backup(args) => ended(backup::run(args).await),
            Command::Validate(args) => ended(validate::run(args).await),
        }
    });
    // A thread blocked on stdin would keep a graceful shutdown from ending.
    runtime.shutdown_background();
    code
}

/// The parser. The top level accepts the flags of `serve` too, but its help does not list them.
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
        // A write error is ignored: there is no other place to report it.
        let _ = writeln!(std::io::stderr(), "panaversity-fs: {why}");
    }
    ExitCode::from(code)
}

/// Logs the failure if a log was started: a server's stderr is its log, and log collectors expect
/// nothing but log lines.
fn logged(result: Result<(), Failure>) -> Result<(), Failure> {
    result.map_err(|failure| match failure {
        Failure::Failed(why) | Failure::NotYet(NotYet { why, .. }) if tracing::dispatcher::has_been_set() => {
            tracing::error!(target: "panaversity_fs.server", "{why}");
            Failure::Logged
        }
        other => other,
    })
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
    fn the_help_of_every_command_shows_an_example() {
        fn walk(command: &clap::Command, path: &str) {
            for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
                walk(inner, &format!("{path} {}", inner.get_name()));
            }
            if command.get_subcommands().next().is_none() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(
                    help.contains(&format!("{path} "))
                        || help.contains(&format!("{path}\n"))
                        || help.ends_with(path),
                    "{path}: {help}"
                );
            }
        }
        walk(&command_line(), "panaversity-fs");
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
