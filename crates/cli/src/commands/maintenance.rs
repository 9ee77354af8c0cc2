//! Settings of the commands that inspect or mend a store.

use std::collections::BTreeMap;

use crate::config::Sources;
use crate::config::log::LogSettings;
use crate::failure::Failure;
use crate::logging;

/// Reads the settings, starts the log and logs warnings about the settings.
pub(super) fn gather(flags: BTreeMap<String, String>) -> Result<Sources, Failure> {
    let sources = Sources::gather(flags)?;
    logging::start(LogSettings::read(&sources)?);
    sources.log_warnings();
    Ok(sources)
}
