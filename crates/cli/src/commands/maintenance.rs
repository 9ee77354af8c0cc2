//! Arguments and settings of the commands that inspect or mend a store.

use std::collections::BTreeMap;

use clap::Args;
use panaversity_model::{Fault, Timestamp};
use panaversity_store::Database;
use ring::rand::{SecureRandom, SystemRandom};
use time::macros::format_description;

use crate::config::Sources;
use crate::config::flags::MigrateFlags;
use crate::config::log::LogSettings;
use crate::config::parsed::DatabaseSettings;
use crate::failure::Failure;
use crate::logging;
use crate::runtime::connect_current;

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

/// Runs an act on the database of these settings; if it fails, `what` can't be used.
pub(super) async fn with_database<T>(
    flags: MigrateFlags,
    what: &str,
    act: impl AsyncFnOnce(Database) -> Result<T, Fault>,
) -> Result<T, Failure> {
    let settings = DatabaseSettings::read(&gather(flags.into_given())?)?;
    let database = connect_current(settings).await?;
    let result = act(database.clone()).await;
    database.close().await;
    result.map_err(|fault| Failure::Failed(format!("{what} can't be used: {fault}")))
}

/// Strong random bytes, for a secret or an id.
pub(super) fn random<const BYTES: usize>() -> Result<[u8; BYTES], Failure> {
    let mut random = [0; BYTES];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| Failure::Failed("the operating system gives no random bytes".to_owned()))?;
    Ok(random)
}

/// A time in RFC 3339, or the midnight in UTC with which a date begins.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).or_else(|| {
        let date = time::Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
        Some(Timestamp::from_micros(date.midnight().assume_utc().unix_timestamp() * 1_000_000))
    })
}
