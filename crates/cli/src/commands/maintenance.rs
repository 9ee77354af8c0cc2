//! Arguments and settings of the commands that inspect or mend a store.

use std::collections::BTreeMap;

use clap::Args;

use crate::config::Sources;
use crate::config::flags::MigrateFlags;
use crate::config::log::LogSettings;
use crate::failure::Failure;
use crate::logging;

/// Arguments of a command that uses the database alone.
#[derive(Args)]
pub(super) struct DatabaseArgs {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) flags: MigrateFlags,
}

/// Reads the settings, starts the log and logs warnings about the settings.
pub(super) fn gather(flags: BTreeMap<String, String>) -> Result<Sources, Failure> {
    let sources = Sources::gather(flags)?;
    logging::start(LogSettings::read(&sources)?);
    sources.log_warnings();
    Ok(sources)
}
