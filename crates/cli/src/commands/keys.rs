//! `keys`: API keys of agents that get no tokens from an authorization server, and the key that signs links.
//! It also ends the sessions of browsers. An API key is shown once, when it is created; the database keeps its hash. Running servers accept a new
//! one, and refuse a revoked one, within 5 seconds.

use clap::{Args, Subcommand};
use panaversity_model::api_key::{
    API_KEY_RANDOM_BYTES, ApiKey, ApiKeyId, ApiKeyList, ApiKeySecret, NewApiKey,
};
use panaversity_model::permission::{Permission, Scope};
use panaversity_model::ports::{ApiKeys, LinkKeys, WebSessions};
use panaversity_model::{AgentId, BookId, Fault, Timestamp};
use panaversity_store::{Database, SqlApiKeys, SqlLinkKeys, SqlWebSessions};
use serde_json::{Value, json};

use super::maintenance::{DatabaseArgs, moment, random, with_database};
use crate::config::flags::MigrateFlags;
use crate::failure::{Failure, print};
use crate::logging;

const MICROS_PER_DAY: i64 = 24 * 3_600 * 1_000_000;

/// Arguments of `keys`.
#[derive(Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    action: KeysAction,
}

#[derive(Subcommand)]
enum KeysAction {
    /// Create a key and print it, once
    #[command(
        after_help = "Example: panaversity-fs keys create --agent writer-7 --scope write --book ai-python --expires 90d\n\n\
        The first key turns authentication on: from then on every caller needs a key or a token."
    )]
    Create {
        /// Name of the agent, as the audit log will have it
        #[arg(long, value_name = "NAME")]
        agent: String,
        /// `read`, `write`, `admin` or `overlay:any`; may be repeated
        #[arg(long, value_name = "SCOPE", required = true)]
        scope: Vec<String>,
        /// Only in this book; may be repeated
        #[arg(long, value_name = "BOOK_ID")]
        book: Vec<String>,
        /// End of the key: days from now (`90d`), a date (`2027-01-31`), or a time (RFC 3339)
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
        #[command(flatten)]
        shared: DatabaseArgs,
    },
    /// Sign browsers out, on all servers at once
    #[command(after_help = "Example: panaversity-fs keys end-sessions --agent writer-7")]
    EndSessions {
        /// Only those of this agent
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        #[command(flatten)]
        shared: DatabaseArgs,
    },
    /// List the keys, without their secrets
    #[command(after_help = "Example: panaversity-fs keys list --json")]
    List {
        #[command(flatten)]
        shared: DatabaseArgs,
    },
    /// Replace the key that signs links; links of the old one work until they expire
    #[command(after_help = "Example: panaversity-fs keys rotate-signing-key --now")]
    RotateSigningKey {
        /// Refuse links of the old key within 5 seconds, as after a leak
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        shared: DatabaseArgs,
    },
    /// Revoke a key: servers refuse it within 5 seconds
    #[command(after_help = "Example: panaversity-fs keys revoke 3f9c0a1b2d4e")]
    Revoke {
        /// The id that `keys list` shows
        id: String,
        #[command(flatten)]
        shared: DatabaseArgs,
    },
}

/// Runs `keys`.
pub(crate) async fn run(args: KeysArgs) -> Result<(), Failure> {
    match args.action {
        KeysAction::Create { agent, scope, book, expires, shared } => {
            let agent = AgentId::parse(&agent).map_err(|refusal| usage("--agent", &refusal))?;
            let scopes = scopes(&scope, &book)?;
            let expires_at = expires.as_deref().map(|text| end(text, logging::now())).transpose()?;
            let secret = ApiKeySecret::from_random(random::<API_KEY_RANDOM_BYTES>()?);
            let new = NewApiKey { hash: secret.hash(), agent, scopes, expires_at };
            let created = with_keys(shared.flags, async |keys| keys.create_api_key(&new).await).await?;
            print(&if shared.json {
                let mut shown = as_json(&created, "active");
                shown["key"] = json!(secret.expose());
                shown.to_string()
            } else {
                format!("{}\n\nKeep it now: it is shown only once. {}", secret.expose(), described(&created))
            })
        }
        KeysAction::EndSessions { agent, shared } => {
            let agent = agent.as_deref().map(AgentId::parse).transpose();
            let agent = agent.map_err(|refusal| usage("--agent", &refusal))?;
            let end = async |database: Database| {
                SqlWebSessions::new(database).end_web_sessions(agent.as_ref()).await
            };
            let ended = with_database(shared.flags, "the keys", end).await?;
            print(&if shared.json {
                json!({ "status": "success", "ended": ended }).to_string()
            } else {
                format!("{ended} sessions of browsers have ended")
            })
        }
        KeysAction::List { shared } => {
            let ApiKeyList { now, keys } =
                with_keys(shared.flags, async |keys| keys.api_keys().await).await?;
            let shown = keys.iter().map(|key| (key, key.status(now).as_str()));
            print(&if shared.json {
                json!({ "keys": shown.map(|(key, status)| as_json(key, status)).collect::<Vec<_>>() })
                    .to_string()
            } else if keys.is_empty() {
                "there are no API keys; `panaversity-fs keys create` makes one".to_owned()
            } else {
                shown.map(|(key, status)| line(key, status)).collect::<Vec<_>>().join("\n")
            })
        }
        KeysAction::RotateSigningKey { now, shared } => {
            let rotated = async |database: Database| SqlLinkKeys::new(database).rotate_link_key(now).await;
            with_database(shared.flags, "the keys", rotated).await?;
            print(if shared.json {
                "{\"status\":\"success\"}"
            } else if now {
                "rotated; links that were signed before are refused within 5 seconds"
            } else {
                "rotated; servers sign with the new key after 30 seconds, and accept links of the old one until they expire"
            })
        }
        KeysAction::Revoke { id, shared } => {
            let id = ApiKeyId::parse(&id).map_err(|refusal| Failure::Usage(refusal.to_string()))?;
            let revoked = with_keys(shared.flags, async |keys| keys.revoke_api_key(&id).await).await?;
            let Some(revoked) = revoked else {
                let id = id.as_str();
                return Err(Failure::Failed(format!(
                    "there is no key {id}; `panaversity-fs keys list` lists them"
                )));
            };
            print(&if shared.json {
                as_json(&revoked, "revoked").to_string()
            } else {
                format!("revoked; servers refuse it within 5 seconds. {}", described(&revoked))
            })
        }
    }
}

/// Runs an act on the API keys of these settings' database.
async fn with_keys<T>(
    flags: MigrateFlags,
    act: impl AsyncFnOnce(&SqlApiKeys) -> Result<T, Fault>,
) -> Result<T, Failure> {
    with_database(flags, "the keys", async |database| act(&SqlApiKeys::new(database)).await).await
}

/// The scopes, each in all books or in each of the given ones.
fn scopes(names: &[String], books: &[String]) -> Result<Vec<Scope>, Failure> {
    let books = books.iter().map(|book| BookId::parse(book).map_err(|refusal| usage("--book", &refusal)));
    let books = books.collect::<Result<Vec<_>, _>>()?;
    let mut scopes = Vec::new();
    for name in names {
        let scope = Scope::parse(name).ok_or_else(|| {
            let all = Permission::ALL.map(Permission::as_str).join(", ");
            Failure::Usage(format!("--scope {name}: allowed are {all} and overlay:any"))
        })?;
        match scope {
            Scope::Books(permission, None) if !books.is_empty() => {
                scopes.extend(books.iter().map(|book| Scope::Books(permission, Some(book.clone()))));
            }
            other => scopes.push(other),
        }
    }
    Ok(scopes)
}

/// The end of a key.
fn end(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let end = match days {
        Some(days) => Some(Timestamp::from_micros(
            now.micros().saturating_add(i64::from(days).saturating_mul(MICROS_PER_DAY)),
        )),
        None => moment(text),
    };
    let end = end.ok_or_else(|| {
        Failure::Usage(format!(
            "--expires {text}: allowed are days from now such as 90d, a date such as 2027-01-31, or a time such as \
             2027-01-31T12:00:00Z"
        ))
    })?;
    if end <= now {
        return Err(Failure::Usage(format!("--expires {text}: that is over already")));
    }
    Ok(end)
}

fn usage(flag: &str, why: &impl std::fmt::Display) -> Failure {
    Failure::Usage(format!("{flag}: {why}"))
}

fn described(key: &ApiKey) -> String {
    let until =
        key.granted.expires_at.map_or_else(|| "without an end".to_owned(), |end| format!("until {end}"));
    let scopes = Scope::format_list(&key.granted.scopes);
    format!(
        "Its id is {}; it acts as {}, with {scopes}, {until}.",
        key.granted.hash.id().as_str(),
        key.granted.agent.as_str()
    )
}

fn line(key: &ApiKey, status: &str) -> String {
    let NewApiKey { hash, agent, scopes, expires_at } = &key.granted;
    let until = expires_at.map_or_else(|| "-".to_owned(), |end| end.to_string());
    let (id, scopes) = (hash.id(), Scope::format_list(scopes));
    format!(
        "{}  {status:<7}  created {}  expires {until:<27}  {}  {scopes}",
        id.as_str(),
        key.created_at,
        agent.as_str()
    )
}

fn as_json(key: &ApiKey, status: &str) -> Value {
    let NewApiKey { hash, agent, scopes, expires_at } = &key.granted;
    let moment = |at: &Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "id": hash.id().as_str(),
        "status": status,
        "agent_id": agent.as_str(),
        "scopes": scopes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "created_at": key.created_at.to_string(),
        "expires_at": moment(expires_at),
        "revoked_at": moment(&key.revoked_at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_hold_in_the_books_that_are_named() {
        let of = |names: &[&str], books: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
            scopes(&owned(names), &owned(books)).map(|scopes| Scope::format_list(&scopes)).ok()
        };
        assert_eq!(of(&["write"], &[]).as_deref(), Some("write"));
        assert_eq!(
            of(&["write", "overlay:any"], &["ai-python", "ai-rust"]).as_deref(),
            Some("write:ai-python write:ai-rust overlay:any")
        );
        assert_eq!(of(&["read:ai-python"], &[]).as_deref(), Some("read:ai-python"));
        assert_eq!((of(&["root"], &[]), of(&["read"], &["../x"])), (None, None));
    }

    #[test]
    fn a_key_ends_after_days_or_at_a_date_or_a_time_that_is_still_to_come() {
        let now = Timestamp::parse("2026-11-29T10:00:00Z").unwrap();
        let ends = |text: &str| end(text, now).ok().map(|end| end.to_string());
        assert_eq!(ends("90d").as_deref(), Some("2027-02-27T10:00:00.000000Z"));
        assert_eq!(ends("2027-01-31").as_deref(), Some("2027-01-31T00:00:00.000000Z"));
        assert_eq!(ends("2027-01-31T12:00:00+01:00").as_deref(), Some("2027-01-31T11:00:00.000000Z"));
        for wrong in ["", "d", "0d", "-1d", "soon", "2026-11-29", "2026-02-30", "99999999999d"] {
            assert_eq!(ends(wrong), None, "{wrong}");
        }
    }
}
