//! Migrations: numbered pairs of scripts, one pair per database, up and down.
//!
//! All pending revisions run in one transaction under a lock, so that several servers starting at once
//! migrate once, and a failed migration leaves no trace.

use panaversity_model::Fault;

use crate::database::{Database, Dialect, Durability, Row, Session, Sql, SqlError, fault, foreign_schema};

/// A schema revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision {
    /// Its number, from 1.
    pub number: u32,
    /// Name of the revision.
    pub name: &'static str,
    /// True if its downgrade drops the audit log.
    pub destroys_audit: bool,
}

struct Scripts {
    revision: Revision,
    sqlite: Pair,
    postgres: Pair,
}

struct Pair {
    up: &'static str,
    down: &'static str,
}

macro_rules! pair {
    ($database:literal, $file:literal) => {
        Pair {
            up: include_str!(concat!("../migrations/", $database, "/", $file, ".up.sql")),
            down: include_str!(concat!("../migrations/", $database, "/", $file, ".down.sql")),
        }
    };
}

static ALL: &[Scripts] = &[
    Scripts {
        revision: Revision { number: 1, name: "initial", destroys_audit: true },
        sqlite: pair!("sqlite", "0001_initial"),
        postgres: pair!("postgres", "0001_initial"),
    },
    Scripts {
        revision: Revision { number: 2, name: "changes_by_time", destroys_audit: false },
        sqlite: pair!("sqlite", "0002_changes_by_time"),
        postgres: pair!("postgres", "0002_changes_by_time"),
    },
    Scripts {
        revision: Revision { number: 3, name: "garbage", destroys_audit: false },
        sqlite: pair!("sqlite", "0003_garbage"),
        postgres: pair!("postgres", "0003_garbage"),
    },
    Scripts {
        revision: Revision { number: 4, name: "uploads", destroys_audit: false },
        sqlite: pair!("sqlite", "0004_uploads"),
        postgres: pair!("postgres", "0004_uploads"),
    },
    Scripts {
        revision: Revision { number: 5, name: "api_keys", destroys_audit: false },
        sqlite: pair!("sqlite", "0005_api_keys"),
        postgres: pair!("postgres", "0005_api_keys"),
    },
    Scripts {
        revision: Revision { number: 6, name: "signing_keys", destroys_audit: false },
        sqlite: pair!("sqlite", "0006_signing_keys"),
        postgres: pair!("postgres", "0006_signing_keys"),
    },
    Scripts {
        revision: Revision { number: 7, name: "change_messages", destroys_audit: false },
        sqlite: pair!("sqlite", "0007_change_messages"),
        postgres: pair!("postgres", "0007_change_messages"),
    },
    Scripts {
        revision: Revision { number: 8, name: "steady_plans", destroys_audit: false },
        sqlite: pair!("sqlite", "0008_steady_plans"),
        postgres: pair!("postgres", "0008_steady_plans"),
    },
    Scripts {
        revision: Revision { number: 9, name: "web_sessions", destroys_audit: false },
        sqlite: pair!("sqlite", "0009_web_sessions"),
        postgres: pair!("postgres", "0009_web_sessions"),
    },
    Scripts {
        revision: Revision { number: 10, name: "hooks", destroys_audit: false },
        sqlite: pair!("sqlite", "0010_hooks"),
        postgres: pair!("postgres", "0010_hooks"),
    },
];

/// The revision that adds API keys.
const API_KEYS: u32 = 5;

/// Tables required for serving.
const TABLES: [&str; 15] = [
    "store",
    "books",
    "chains",
    "blobs",
    "file_journal",
    "versions",
    "manifests",
    "publications",
    "audit_log",
    "uploads",
    "api_keys",
    "signing_keys",
    "web_sessions",
    "hooks",
    "hook_dead_letters",
];

/// SQL for the revision and the number of existing [`TABLES`]. Read from the catalogue, so that it does
/// not wait for a lock on a table.
pub(crate) fn shape_sql(dialect: Dialect) -> String {
    let revision = "SELECT coalesce(max(revision), 0) AS revision FROM schema_migrations";
    match dialect {
        Dialect::Sqlite => {
            let names = TABLES.join("', '");
            format!(
                "SELECT ({revision}) AS revision, count(*) AS tables FROM sqlite_schema WHERE type = 'table' AND name IN ('{names}')"
            )
        }
        Dialect::Postgres => {
            let names = TABLES.join("'), ('");
            format!(
                "SELECT ({revision}) AS revision, count(to_regclass(name)) AS tables FROM (VALUES ('{names}')) t (name)"
            )
        }
    }
}

/// Refuses a database whose schema does not fit. A newer one fits: another server was upgraded first.
pub(crate) fn require_shape(row: Option<&Row>) -> Result<(), Fault> {
    let read = || -> Sql<(i64, i64)> {
        let row = row.ok_or(SqlError::RowNotFound)?;
        Ok((row.int("revision")?, row.int("tables")?))
    };
    let (revision, tables) = read().map_err(|error| fault("look at the schema", &error))?;
    let missing = i64::try_from(TABLES.len()).unwrap_or_default() - tables;
    if missing > 0 {
        return Err(foreign_schema(&format!("{missing} tables are missing")));
    }
    if revision < i64::from(newest()) {
        return Err(foreign_schema(&format!("the database is at revision {revision}, not at {}", newest())));
    }
    Ok(())
}

/// Error of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MigrationError {
    /// The operator can correct it; the message says how.
    Refused(String),
    /// The database failed.
    Broken(Fault),
}

impl From<SqlError> for MigrationError {
    fn from(error: SqlError) -> Self {
        Self::Broken(fault("migrate", &error))
    }
}

/// All revisions known to this binary, oldest first.
pub fn all() -> Vec<Revision> {
    ALL.iter().map(|scripts| scripts.revision).collect()
}

/// Number of the newest revision known to this binary.
pub fn newest() -> u32 {
    ALL.last().map_or(0, |scripts| scripts.revision.number)
}

/// Data that a downgrade may drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DowngradeConsent {
    /// The audit log.
    pub audit_log: bool,
    /// API keys, if there are any.
    pub api_keys: bool,
}

/// Upgrades to `to`, or to the newest revision; returns the revisions that ran.
pub async fn upgrade(db: &Database, to: Option<u32>) -> Result<Vec<Revision>, MigrationError> {
    let to = to.unwrap_or_else(newest);
    known(to)?;
    let mut session = locked(db).await?;
    let from = number(&mut session).await?;
    refuse_newer(from)?;
    let mut ran = Vec::new();
    for scripts in ALL.iter().filter(|s| s.revision.number > from && s.revision.number <= to) {
        session.script(pair_of(db, scripts).up).await?;
        record(db, &mut session, scripts.revision).await?;
        ran.push(scripts.revision);
    }
    session.commit().await?;
    Ok(ran)
}

/// Downgrades to `to` (0: an empty database); returns the revisions that were undone.
pub async fn downgrade(
    db: &Database,
    to: u32,
    consent: DowngradeConsent,
) -> Result<Vec<Revision>, MigrationError> {
    if to > 0 {
        known(to)?;
    }
    let mut session = locked(db).await?;
    let from = number(&mut session).await?;
    refuse_newer(from)?;
    let mut ran = Vec::new();
    for scripts in ALL.iter().rev().filter(|s| s.revision.number <= from && s.revision.number > to) {
        refuse_loss(&mut session, scripts.revision, consent).await?;
        session.script(pair_of(db, scripts).down).await?;
        let number = i64::from(scripts.revision.number);
        session.execute("DELETE FROM schema_migrations WHERE revision = $1", vec![number.into()]).await?;
        ran.push(scripts.revision);
    }
    session.commit().await?;
    Ok(ran)
}

/// Refuses to drop what is not in `consent`.
async fn refuse_loss(
    session: &mut Session,
    revision: Revision,
    consent: DowngradeConsent,
) -> Result<(), MigrationError> {
    let number = revision.number;
    if revision.destroys_audit && !consent.audit_log {
        return Err(MigrationError::Refused(format!(
            "going back from revision {number} drops the audit log; add --destroy-audit if that is meant"
        )));
    }
    if number != API_KEYS || consent.api_keys {
        return Ok(());
    }
    let row = session.row("SELECT count(*) AS keys FROM api_keys", Vec::new()).await?;
    match row.map_or(Ok(0), |row| row.int("keys"))? {
        0 => Ok(()),
        keys => Err(MigrationError::Refused(format!(
            "going back from revision {number} drops {keys} API key(s), after which a server without tokens lets \
             everybody in; add --drop-api-keys if that is meant"
        ))),
    }
}

/// Current revision of the database; `None`: it was never migrated. Writes nothing.
pub async fn current(db: &Database) -> Result<Option<u32>, MigrationError> {
    let mut session = db.read().await?;
    let is_migrated = match db.dialect() {
        Dialect::Sqlite => {
            "SELECT count(*) AS tables FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migrations'"
        }
        Dialect::Postgres => {
            "SELECT count(*) AS tables FROM pg_class WHERE oid = to_regclass('schema_migrations')"
        }
    };
    let row = session.row(is_migrated, Vec::new()).await?;
    if row.map_or(Ok(0), |row| row.int("tables"))? == 0 {
        return Ok(None);
    }
    let number = number(&mut session).await?;
    Ok((number > 0).then_some(number))
}

/// Sets the revision of the database to `to` without running anything.
pub async fn stamp(db: &Database, to: u32) -> Result<(), MigrationError> {
    if to > 0 {
        known(to)?;
    }
    let mut session = locked(db).await?;
    session.execute("DELETE FROM schema_migrations", Vec::new()).await?;
    for scripts in ALL.iter().filter(|s| s.revision.number <= to) {
        record(db, &mut session, scripts.revision).await?;
    }
    session.commit().await?;
    Ok(())
}

/// Transaction with exclusive access for migrations.
async fn locked(db: &Database) -> Sql<Session> {
    let mut session = db.begin(Durability::PowerCut).await?;
    if db.dialect() == Dialect::Postgres {
        // The lock id only has to be the same on every server.
        session.execute("SELECT pg_advisory_xact_lock(7026201801)", Vec::new()).await?;
    }
    let table = "CREATE TABLE IF NOT EXISTS schema_migrations \
                 (revision BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL)";
    session.execute(table, Vec::new()).await?;
    Ok(session)
}

async fn number(session: &mut Session) -> Sql<u32> {
    let row = session
        .row("SELECT coalesce(max(revision), 0) AS revision FROM schema_migrations", Vec::new())
        .await?;
    let number = row.map_or(Ok(0), |row| row.int("revision"))?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

async fn record(db: &Database, session: &mut Session, revision: Revision) -> Sql<()> {
    let sql = format!(
        "INSERT INTO schema_migrations (revision, name, applied_at) VALUES ($1, $2, CAST({} AS TEXT))",
        db.now_sql()
    );
    session.execute(sql, vec![i64::from(revision.number).into(), revision.name.into()]).await?;
    Ok(())
}

fn pair_of<'a>(db: &Database, scripts: &'a Scripts) -> &'a Pair {
    match db.dialect() {
        Dialect::Sqlite => &scripts.sqlite,
        Dialect::Postgres => &scripts.postgres,
    }
}

fn known(number: u32) -> Result<(), MigrationError> {
    if ALL.iter().any(|scripts| scripts.revision.number == number) {
        Ok(())
    } else {
        Err(MigrationError::Refused(format!("there is no revision {number}; the newest is {}", newest())))
    }
}

fn refuse_newer(current: u32) -> Result<(), MigrationError> {
    if current > newest() {
        return Err(MigrationError::Refused(format!(
            "the database is at revision {current}, newer than this binary knows ({}): run the newer binary",
            newest()
        )));
    }
    Ok(())
}
