//! `config check`: shows the effective settings, with secrets masked, and tests that they work.
//! Invariant: it leaves no change behind; files that it puts into the storage are removed.
//!
//! 1. Every setting with its value and source; the limits of a server.
//! 2. Database: reachable, and its schema is that of this program.
//! 3. Authentication: there is one, by tokens or API keys; none is a failure in production.
//! 4. Storage: put, get, list, delete, in a bucket also copy; and it belongs to this database.
//! 5. Redis, if there is one: it answers. One that does not is no failure.
//! 6. Listening address: it can be bound on this machine.
//! 7. Public URL: a server answers there. One that is not started yet is no failure.
//! 8. CDN: an asset is visible through it, an overlay and an object are not.

use std::fmt::Write;
use std::time::Duration;

use clap::{Args, Subcommand};
use panaversity_model::ports::ApiKeys;
use panaversity_store::{Database, DatabaseIdentity, ProbeFiles, SqlApiKeys, StorageProbe, migrations};
use serde_json::{Value, json};

use crate::config::flags::ServeFlags;
use crate::config::links::LinkSettings;
use crate::config::log::LogSettings;
use crate::config::parsed::HttpSettings;
use crate::config::storage::StorageSettings;
use crate::config::{Key, SETTINGS, Setting, Sources};
use crate::failure::{Failure, print};
use crate::http_server::{NOBODY_AUTHENTICATES, ServerSettings, bind};
use crate::runtime::{connect, migration_failed, server_limits};

/// Timeout of a request over the network.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Arguments of `config`.
#[derive(Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    action: ConfigAction,
}

#[derive(Subcommand)]
enum ConfigAction {
    /// Show what the settings come to, and try them
    #[command(after_help = "Example: panaversity-fs config check --json")]
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        flags: ServeFlags,
    },
}

/// Result of one check.
enum CheckOutcome {
    Good(String),
    /// A remark that is no failure.
    Noted(String),
    Bad(String),
}

/// A check and its result.
struct Tried {
    what: &'static str,
    outcome: CheckOutcome,
}

/// Runs `config check`.
pub(crate) async fn run(args: ConfigArgs) -> Result<(), Failure> {
    let ConfigAction::Check { json, flags } = args.action;
    let sources = Sources::gather(flags.into_given())?;
    let settings = effective(&sources)?;
    LogSettings::read(&sources)?;
    let ServerSettings { store, http, links, auth } = ServerSettings::read(&sources)?;
    let mut limits = server_limits(&store, &links).shown();
    limits.extend(panaversity_service::limits::shown(store.tasks));
    limits.extend(panaversity_server::auth::shown_limits());
    limits.extend(store.keys.shown());
    limits.extend(store.webhooks.shown());
    limits.extend(store.start_pauses.shown());
    let bucket = match &store.storage {
        StorageSettings::Folder(_) => None,
        StorageSettings::Bucket(bucket) => Some(bucket.limits),
    };
    limits.extend(panaversity_store::limits::shown(&store.database.url, store.database.pool, bucket));
    let mut tried: Vec<Tried> = sources.warnings().into_iter().map(|why| noted("settings", why)).collect();
    let database = try_database(store.database, &mut tried).await;
    if auth.tokens.is_none() {
        try_api_keys(database.as_ref(), http.production, &mut tried).await;
    }
    try_storage(&store.storage, database.as_ref(), &mut tried).await;
    if let Some(database) = database {
        database.close().await;
    }
    if let Some(redis) = &store.redis {
        tried.push(match redis.ping().await {
            Ok(()) => good("Redis", "answers"),
            Err(why) => noted(
                "Redis",
                format!("{why}; servers work without it, each for itself (see PANAVERSITY_REDIS_URL)"),
            ),
        });
    }
    try_address(&http, &mut tried).await;
    try_public_url(&http, &mut tried).await;
    try_cdn(&links, &store.storage, &mut tried).await;
    let failed = tried.iter().filter(|one| matches!(one.outcome, CheckOutcome::Bad(_))).count();
    print(&if json { as_json(&settings, &limits, &tried) } else { as_text(&settings, &limits, &tried) })?;
    match failed {
        0 => Ok(()),
        n => Err(Failure::Failed(format!("{n} of {} checks failed; see above", tried.len()))),
    }
}

/// Name, value as shown, and source of each effective setting.
fn effective(sources: &Sources) -> Result<Vec<(&'static str, String, String)>, Failure> {
    let mut shown = Vec::with_capacity(SETTINGS.len());
    for setting in SETTINGS {
        let given = sources.given(setting.key)?;
        let from = given.as_ref().map_or_else(|| "default".to_owned(), |given| given.name.clone());
        let value = match (&given, setting.default) {
            (Some(given), _) if setting.secret => masked(setting, &given.text),
            (Some(given), _) => given.text.clone(),
            (None, Some(default)) => default.to_owned(),
            (None, None) => continue,
        };
        shown.push((setting.names[0], value, from));
    }
    Ok(shown)
}

fn masked(setting: &Setting, text: &str) -> String {
    let address =
        (setting.key == Key::DatabaseUrl).then(|| panaversity_store::DatabaseUrl::parse(text.trim()).ok());
    address.flatten().map_or_else(|| "***".to_owned(), |url| url.masked())
}

async fn try_database(
    settings: crate::config::parsed::DatabaseSettings,
    tried: &mut Vec<Tried>,
) -> Option<Database> {
    for warning in settings.url.warnings() {
        tried.push(noted("database", warning.as_str()));
    }
    if settings.url.is_new_file() {
        tried.push(noted("database", "the file is not there yet; the first start creates it"));
        return None;
    }
    let database = match connect(settings).await {
        Ok(database) => database,
        Err(failure) => {
            tried.extend(failure.why().map(|why| bad("database", why)));
            return None;
        }
    };
    let newest = migrations::newest();
    match migrations::current(&database).await.map_err(migration_failed) {
        Ok(Some(at)) if at == newest => {
            tried.push(good("database", format!("answers; its schema is at revision {at}, the newest")));
            return Some(database);
        }
        Ok(at) => {
            let at = at.map_or_else(|| "empty".to_owned(), |at| format!("at revision {at}"));
            let then = "the next start migrates it, or `panaversity-fs migrate upgrade`";
            tried.push(noted("database", format!("answers; its schema is {at} of {newest}: {then}")));
        }
        Err(failure) => tried.extend(failure.why().map(|why| bad("database", why))),
    }
    database.close().await;
    None
}

/// Without tokens, callers authenticate only by API keys.
async fn try_api_keys(database: Option<&Database>, production: bool, tried: &mut Vec<Tried>) {
    let keys = match database {
        Some(database) => SqlApiKeys::new(database.clone()).api_keys().await.map(|list| list.keys.len()),
        None => Ok(0),
    };
    tried.push(match keys {
        Ok(0) if production => bad("authentication", NOBODY_AUTHENTICATES),
        Ok(0) => {
            noted("authentication", "there is none: everyone who reaches the server can change all books")
        }
        Ok(keys) => good("authentication", format!("by API keys; the database has {keys}")),
        Err(fault) => bad("authentication", format!("the API keys can't be read: {fault}")),
    });
}

async fn try_storage(storage: &StorageSettings, database: Option<&Database>, tried: &mut Vec<Tried>) {
    let trial = match trial(storage) {
        Ok(trial) => trial,
        Err(why) => return tried.push(bad("storage", why)),
    };
    let steps = trial.steps().await;
    let failed = steps.iter().any(|(_, result)| result.is_err());
    for (step, result) in steps {
        tried.push(match result {
            Ok(()) => good(step, storage.shown()),
            Err(fault) => bad(step, format!("{fault} (see {})", storage.names())),
        });
    }
    if let (Some(database), false) = (database, failed) {
        tried.push(Tried { what: "pair", outcome: pair(&trial, database).await });
    }
}

fn trial(storage: &StorageSettings) -> Result<StorageProbe, String> {
    match storage {
        StorageSettings::Folder(root) => Ok(StorageProbe::of_folder(root)),
        StorageSettings::Bucket(bucket) => StorageProbe::of_bucket(bucket).map_err(|fault| fault.to_string()),
    }
}

/// Checks that database and storage belong together.
async fn pair(trial: &StorageProbe, database: &Database) -> CheckOutcome {
    let asked = async {
        let found = trial.store_id().await?;
        Ok::<_, panaversity_model::Fault>((found, DatabaseIdentity::of(database).await?))
    };
    match asked.await {
        Err(fault) => CheckOutcome::Bad(fault.to_string()),
        Ok((Some(found), own)) if own.store_id.as_ref() == Some(&found) => {
            CheckOutcome::Good("the storage is this database's".to_owned())
        }
        Ok((Some(_), _)) => CheckOutcome::Bad("the storage belongs to another database".to_owned()),
        Ok((None, own)) if own.is_paired => {
            CheckOutcome::Bad("this is not the storage that the database is kept with".to_owned())
        }
        Ok((None, _)) => CheckOutcome::Noted("both are new; the first start pairs them".to_owned()),
    }
}

/// Binds the address of `serve`, then releases it.
async fn try_address(http: &HttpSettings, tried: &mut Vec<Tried>) {
    let HttpSettings { host, port, .. } = http;
    tried.push(match bind(http).await {
        Ok((_, address)) => good("address", format!("can listen on {address}")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            noted("address", format!("{host} port {port} is in use, perhaps by the server itself"))
        }
        Err(error) => bad(
            "address",
            format!("cannot listen on {host} port {port}: {error} (check PANAVERSITY_SERVER_HOST and PANAVERSITY_SERVER_PORT)"),
        ),
    });
}

async fn try_public_url(http: &HttpSettings, tried: &mut Vec<Tried>) {
    let Some(url) = &http.public_url else { return };
    let address = format!("{}/health/live", url.text);
    tried.push(match get(&address).await {
        Ok((200, _)) => good("public URL", format!("{address} answers")),
        Ok((status, _)) => {
            bad("public URL", format!("{address} answers with {status} (see PANAVERSITY_PUBLIC_URL)"))
        }
        Err(why) => noted("public URL", format!("{address} does not answer: {why}; is a server started?")),
    });
}

async fn try_cdn(links: &LinkSettings, storage: &StorageSettings, tried: &mut Vec<Tried>) {
    let (Some(base), StorageSettings::Bucket(_)) = (&links.cdn_base_url, storage) else { return };
    let put = async {
        let trial = trial(storage)?;
        let exposed = trial.expose().await.map_err(|fault| fault.to_string())?;
        Ok::<_, String>((trial, exposed))
    };
    let (trial, exposed) = match put.await {
        Ok(put) => put,
        Err(why) => return tried.push(bad("CDN", why)),
    };
    look(&base.text, &exposed, tried).await;
    if let Err(fault) = trial.withdraw(&exposed).await {
        tried.push(bad("CDN", format!("what was put for the check could not be removed: {fault}")));
    }
}

/// Requests the probe files through the CDN.
async fn look(base: &str, exposed: &ProbeFiles, tried: &mut Vec<Tried>) {
    let seen = async |key: &str| matches!(get(&format!("{base}/{key}")).await, Ok((200, bytes)) if StorageProbe::is_its_file(&bytes));
    tried.push(if seen(&exposed.asset).await {
        good("CDN", format!("shows {}", exposed.asset))
    } else {
        bad("CDN", format!("does not show {base}/{} (see PANAVERSITY_CDN_BASE_URL)", exposed.asset))
    });
    for (what, key) in [("overlays", &exposed.overlay), ("objects", &exposed.object)] {
        tried.push(if seen(key).await {
            bad("CDN", format!("shows {what} to everybody: expose books/*/static/ only, and not {key}"))
        } else {
            good("CDN", format!("hides {what}"))
        });
    }
}

async fn get(url: &str) -> Result<(u16, Vec<u8>), String> {
    let asked = async {
        let client = reqwest::Client::builder().timeout(PROBE_TIMEOUT).build()?;
        let answer = client.get(url).send().await?;
        let status = answer.status().as_u16();
        Ok::<_, reqwest::Error>((status, answer.bytes().await?.to_vec()))
    };
    asked.await.map_err(|error| error.without_url().to_string())
}

fn good(what: &'static str, why: impl Into<String>) -> Tried {
    Tried { what, outcome: CheckOutcome::Good(why.into()) }
}

fn noted(what: &'static str, why: impl Into<String>) -> Tried {
    Tried { what, outcome: CheckOutcome::Noted(why.into()) }
}

fn bad(what: &'static str, why: impl Into<String>) -> Tried {
    Tried { what, outcome: CheckOutcome::Bad(why.into()) }
}

impl CheckOutcome {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Good(why) => ("ok", why),
            Self::Noted(why) => ("note", why),
            Self::Bad(why) => ("FAILED", why),
        }
    }
}

fn as_text(settings: &[(&str, String, String)], limits: &[(&str, String)], tried: &[Tried]) -> String {
    let mut text = String::new();
    for (name, value, from) in settings {
        // Writing to a `String` does not fail.
        let _ = writeln!(text, "{name}={value}  ({from})");
    }
    text.push('\n');
    for (name, value) in limits {
        let _ = writeln!(text, "limit  {name}: {value}");
    }
    for Tried { what, outcome } in tried {
        let (word, why) = outcome.parts();
        let _ = write!(text, "\n{word:<6} {what}: {why}");
    }
    text
}

fn as_json(settings: &[(&str, String, String)], limits: &[(&str, String)], tried: &[Tried]) -> String {
    let settings: Vec<Value> = settings
        .iter()
        .map(|(name, value, from)| json!({ "name": name, "value": value, "from": from }))
        .collect();
    let checks: Vec<Value> = tried
        .iter()
        .map(|Tried { what, outcome }| {
            let (word, why) = outcome.parts();
            json!({ "check": what, "outcome": word.to_lowercase(), "detail": why })
        })
        .collect();
    let limits: Vec<Value> =
        limits.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    json!({ "settings": settings, "limits": limits, "checks": checks }).to_string()
}
