//! `migrate`: migrations of the database's schema by hand. A server migrates up by itself at its
//! start; downgrading, showing and stamping are operator commands.

use clap::{Args, Subcommand};
use panaversity_store::Database;
use panaversity_store::migrations::{self, DowngradeConsent, Revision};
use serde_json::{Value, json};

use super::maintenance::{DatabaseArgs, gather};
use crate::config::parsed::DatabaseSettings;
use crate::failure::{Failure, print};
use crate::runtime::{connect, connect_existing, migration_failed};

/// Arguments of `migrate`.
#[derive(Args)]
pub(crate) struct MigrateArgs {
    #[command(subcommand)]
    action: MigrateAction,
}

#[derive(Subcommand)]
enum MigrateAction {
    /// Move up to the newest revision, or to REV
    #[command(after_help = "Example: panaversity-fs migrate upgrade --database-url postgresql://fs@db/fs")]
    Upgrade {
        /// `head`, or a revision's number
        #[arg(value_name = "REV", default_value = "head")]
        to: String,
        #[command(flatten)]
        shared: DatabaseArgs,
    },
    /// Move down to REV, or by so many revisions
    #[command(
        after_help = "Examples:\n  panaversity-fs migrate downgrade -1\n  panaversity-fs migrate downgrade 4"
    )]
    Downgrade {
        /// A revision's number (0: an empty database), or -1, -2, ... counted from the current one
        #[arg(value_name = "REV", allow_negative_numbers = true)]
        to: String,
        /// Go down even where that drops the audit log
        #[arg(long)]
        destroy_audit: bool,
        /// Go down even where that drops API keys
        #[arg(long)]
        drop_api_keys: bool,
        #[command(flatten)]
        shared: DatabaseArgs,
    },
    /// Show the database's revision
    #[command(after_help = "Example: panaversity-fs migrate current --json")]
    Current {
        #[command(flatten)]
        shared: DatabaseArgs,
    },
    /// List the revisions this program knows
    #[command(after_help = "Example: panaversity-fs migrate history")]
    History {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Record REV as the database's revision, changing nothing else
    #[command(after_help = "Example: panaversity-fs migrate stamp head")]
    Stamp {
        /// `head`, or a revision's number
        #[arg(value_name = "REV")]
        to: String,
        #[command(flatten)]
        shared: DatabaseArgs,
    },
}

/// Runs `migrate`.
pub(crate) async fn run(args: MigrateArgs) -> Result<(), Failure> {
    match args.action {
        MigrateAction::Upgrade { to, shared } => {
            let to = if to == "head" { None } else { Some(number(&to)?) };
            let (database, json) = open(shared).await?;
            let result = migrations::upgrade(&database, to).await;
            moved("upgraded to", result.map_err(migration_failed), &database, json).await
        }
        MigrateAction::Downgrade { to, destroy_audit, drop_api_keys, shared } => {
            let consent = DowngradeConsent { audit_log: destroy_audit, api_keys: drop_api_keys };
            let target = Target::parse(&to)?;
            let (settings, json) = read(shared)?;
            let database = connect_existing(settings).await?;
            let result = match target.from(current(&database).await?) {
                Ok(to) => migrations::downgrade(&database, to, consent).await.map_err(migration_failed),
                Err(failure) => Err(failure),
            };
            moved("took back", result, &database, json).await
        }
        MigrateAction::Current { shared } => {
            let (settings, json) = read(shared)?;
            if settings.url.is_new_file() {
                return show_no_database(&settings.url.masked(), json);
            }
            let database = connect_existing(settings).await?;
            let at = current(&database).await;
            database.close().await;
            show_current(at?, json)
        }
        MigrateAction::History { json } => show_history(json),
        MigrateAction::Stamp { to, shared } => {
            let to = if to == "head" { migrations::newest() } else { number(&to)? };
            let (database, json) = open(shared).await?;
            let result = migrations::stamp(&database, to).await.map_err(migration_failed);
            database.close().await;
            result?;
            show_current(Some(to), json)
        }
    }
}

fn read(shared: DatabaseArgs) -> Result<(DatabaseSettings, bool), Failure> {
    let sources = gather(shared.flags.into_given())?;
    Ok((DatabaseSettings::read(&sources)?, shared.json))
}

/// Connects; a missing `SQLite` file is created.
async fn open(shared: DatabaseArgs) -> Result<(Database, bool), Failure> {
    let (settings, json) = read(shared)?;
    Ok((connect(settings).await?, json))
}

async fn current(database: &Database) -> Result<Option<u32>, Failure> {
    migrations::current(database).await.map_err(migration_failed)
}

async fn moved(
    how: &str,
    result: Result<Vec<Revision>, Failure>,
    database: &Database,
    json: bool,
) -> Result<(), Failure> {
    let at = if result.is_ok() { current(database).await } else { Ok(None) };
    database.close().await;
    let (revisions, at) = (result?, at?);
    if json {
        let revisions: Vec<_> = revisions.iter().map(|one| shown(one.number, one.name)).collect();
        return print(&json!({ "revisions": revisions, "current": at }).to_string());
    }
    for revision in &revisions {
        print(&format!("{how} {}", named(revision.number, revision.name)))?;
    }
    if revisions.is_empty() {
        print("nothing to do")?;
    }
    show_current(at, false)
}

fn show_current(at: Option<u32>, json: bool) -> Result<(), Failure> {
    if json {
        return print(&json!({ "current": at }).to_string());
    }
    match at {
        Some(at) => {
            let name = migrations::all().iter().find(|one| one.number == at).map(|one| one.name);
            print(&format!("current: {}", name.map_or_else(|| at.to_string(), |name| named(at, name))))
        }
        None => print("current: none, the database is empty"),
    }
}

fn show_no_database(named: &str, json: bool) -> Result<(), Failure> {
    if json {
        return show_current(None, json);
    }
    print(&format!("current: none, there is no database {named} yet"))
}

fn show_history(json: bool) -> Result<(), Failure> {
    let revisions: Vec<_> = migrations::all().iter().map(|one| (one.number, one.name)).collect();
    if json {
        let revisions: Vec<_> = revisions.iter().map(|(number, name)| shown(*number, name)).collect();
        return print(&json!({ "revisions": revisions }).to_string());
    }
    revisions.iter().try_for_each(|(number, name)| print(&named(*number, name)))
}

fn shown(number: u32, name: &str) -> Value {
    json!({ "number": number, "name": name })
}

fn named(number: u32, name: &str) -> String {
    format!("{number:04} {name}")
}

fn number(text: &str) -> Result<u32, Failure> {
    text.parse().map_err(|_| {
        Failure::Usage(format!(
            "{text:?} is no revision; `panaversity-fs migrate history` lists their numbers"
        ))
    })
}

/// Target of a downgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    To(u32),
    Down(u32),
}

impl Target {
    fn parse(text: &str) -> Result<Self, Failure> {
        match text.strip_prefix('-') {
            Some(steps) => number(steps).map(Self::Down),
            None => number(text).map(Self::To),
        }
    }

    /// Resolves the target to a revision, for a database at `current`.
    fn from(self, current: Option<u32>) -> Result<u32, Failure> {
        let steps = match self {
            Self::To(to) => return Ok(to),
            Self::Down(steps) => steps,
        };
        let at = current.unwrap_or(0);
        at.checked_sub(steps).ok_or_else(|| {
            Failure::Failed(format!("the database is at revision {at}; it cannot go down by {steps}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str, current: Option<u32>) -> Option<u32> {
        Target::parse(text).and_then(|target| target.from(current)).ok()
    }

    #[test]
    fn a_downgrade_names_its_target_or_counts_to_it() {
        assert_eq!(target("-1", Some(3)), Some(2));
        assert_eq!(target("-1", Some(1)), Some(0));
        assert_eq!(target("0001", Some(3)), Some(1));
        assert_eq!(target("-2", Some(1)), None);
        assert_eq!(target("-1", None), None);
        assert_eq!(target("first", Some(3)), None);
    }
}
