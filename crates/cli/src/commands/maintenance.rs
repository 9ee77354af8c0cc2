//! Arguments and settings of the commands that inspect or mend a store.

use std::collections::BTreeMap;

use clap::Args;
use panaversity_model::Timestamp;
use time::macros::format_description;

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

/// A time in RFC 3339, or the midnight in UTC with which a date begins.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).or_else(|| {
        let date = time::Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
        Some(Timestamp::from_micros(date.midnight().assume_utc().unix_timestamp() * 1_000_000))
    })
}
