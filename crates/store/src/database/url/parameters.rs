//! The parameters of a PostgreSQL URL: libpq's, of which each is understood, harmless to leave out,
//! or refused; and those that asyncpg and poolers add. Invariant: nothing that would make a
//! connection safer is left out without a word.

use std::time::Duration;

use panaversity_model::suggestion::nearest_name;

use super::hosts::HostLists;
use super::postgres::{PostgresUrl, TargetSession, Tls};

/// What we understand, ours and others'.
#[rustfmt::skip]
const UNDERSTOOD: &[&str] = &[
    "host", "hostaddr", "port", "dbname", "user", "password", "target_session_attrs", "connect_timeout",
    "application_name", "fallback_application_name", "options", "sslmode", "ssl", "requiressl",
    "sslrootcert", "sslcert", "sslkey", "channel_binding", "gssencmode", "pgbouncer",
    "prepared_statement_cache_size", "statement_cache_size",
];
/// libpq's, which change nothing that we do: how long a dead connection is noticed after, how
/// passwords of other kinds are asked for, what the TLS library does by itself.
#[rustfmt::skip]
const HARMLESS: &[&str] = &[
    "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
    "client_encoding", "load_balance_hosts", "sslcompression", "sslsni", "sslnegotiation", "sslkeylogfile",
    "sslcertmode", "krbsrvname", "gsslib", "gssdelegation", "min_protocol_version", "max_protocol_version",
    "ssl_max_protocol_version", "servicefile", "scram_client_key", "scram_server_key", "oauth_issuer",
    "oauth_client_id", "oauth_client_secret", "oauth_scope",
];
/// libpq's, which ask for something that is not done here, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("service", "write the host, user and database of the service into the URL"),
    ("passfile", "name the file in PGPASSFILE"),
    ("sslpassword", "give a key without a password"),
    ("sslcrl", "use a short-lived certificate"),
    ("sslcrldir", "use a short-lived certificate"),
    ("requirepeer", "use `sslmode=verify-full` over TCP"),
    ("require_auth", "use `sslmode=verify-full`"),
    ("replication", "leave it out"),
];

/// What has been read of a URL so far.
#[derive(Default)]
pub(super) struct UrlParameters {
    pub(super) lists: HostLists,
    /// The hosts stand before the path of a URI: a `host` parameter takes their place.
    pub(super) hosts_may_be_replaced: bool,
    pub(super) url: PostgresUrl,
}

impl UrlParameters {
    /// Takes in a parameter. `Err`: a message without the value.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let url = &mut self.url;
        let given = || (!value.is_empty()).then(|| value.to_owned());
        match name {
            "host" => {
                if std::mem::take(&mut self.hosts_may_be_replaced) {
                    self.lists.hosts.clear();
                }
                self.lists.hosts.extend(list(value));
            }
            "hostaddr" => self.lists.addresses = list(value).collect(),
            "port" => self.lists.ports = list(value).collect(),
            "dbname" => url.database = given(),
            "user" => url.user = given(),
            "password" => url.password = given(),
            "application_name" => url.application_name = given(),
            "fallback_application_name" => url.application_name = url.application_name.take().or(given()),
            "options" => url.options = given(),
            "target_session_attrs" => url.target = target_session(value)?,
            "connect_timeout" => url.connect_timeout = connect_timeout(value)?,
            "sslmode" | "ssl" => url.tls.mode = Some(ssl_mode(value)?),
            "requiressl" if value == "1" => url.tls.mode = Some("require"),
            "sslrootcert" => url.tls.root = given(),
            "sslcert" => url.tls.certificate = given(),
            "sslkey" => url.tls.key = given(),
            "pgbouncer" => url.pooler = matches!(value, "true" | "1" | ""),
            // asyncpg's own: prepared statements are ours to decide.
            "prepared_statement_cache_size" | "statement_cache_size" => url.pooler |= value == "0",
            "channel_binding" if value == "require" => url.warnings.push(
                "`channel_binding=require` in the database URL is not done; \
                 `sslmode=verify-full` makes sure of the server"
                    .to_owned(),
            ),
            "gssencmode" if value == "require" => return Err(
                "`gssencmode=require` is not supported: use `sslmode=require`, or better `verify-full`".to_owned(),
            ),
            "ssl_min_protocol_version" if value == "TLSv1.3" => return Err(
                "`ssl_min_protocol_version=TLSv1.3` is not supported: TLS 1.2 is always asked for; set it at the server"
                    .to_owned(),
            ),
            "requiressl" | "channel_binding" | "gssencmode" | "ssl_min_protocol_version" => {}
            _ => return other(name, value),
        }
        Ok(())
    }

    /// The whole, once all is read.
    pub(super) fn finish(self) -> Result<PostgresUrl, String> {
        let mut url = self.url;
        url.hosts = self.lists.servers()?;
        url.tls = as_libpq_does(url.tls);
        Ok(url)
    }
}

/// libpq's list: entries may be empty, and then stand for the default.
pub(super) fn list(value: &str) -> impl Iterator<Item = String> {
    value.split(',').map(|entry| entry.trim().to_owned())
}

/// What we do not act on.
fn other(name: &str, value: &str) -> Result<(), String> {
    if HARMLESS.contains(&name) || value.is_empty() && REFUSED.iter().any(|(refused, _)| *refused == name) {
        return Ok(());
    }
    if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Err(format!("the parameter `{name}` is not supported: {instead}"));
    }
    // Something longer, or with other characters, may be the rest of a password.
    let is_name = name.len() <= 40 && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.[]".contains(c));
    if !is_name || name.is_empty() {
        return Err("it has a parameter that PostgreSQL does not know".to_owned());
    }
    let known = UNDERSTOOD.iter().chain(HARMLESS).copied();
    Err(match nearest_name(name, known) {
        Some(nearest) => format!("PostgreSQL knows no parameter `{name}`; did you mean `{nearest}`?"),
        None => format!("PostgreSQL knows no parameter `{name}`; leave it out"),
    })
}

fn target_session(value: &str) -> Result<TargetSession, String> {
    Ok(match value {
        "any" | "" => TargetSession::Any,
        "read-write" => TargetSession::ReadWrite,
        "read-only" => TargetSession::ReadOnly,
        "primary" => TargetSession::Primary,
        "standby" => TargetSession::Standby,
        "prefer-standby" => TargetSession::PreferStandby,
        _ => {
            return Err(
                "`target_session_attrs` is not one of any, read-write, read-only, primary, standby, \
                        prefer-standby"
                    .to_owned(),
            );
        }
    })
}

/// Seconds; as for libpq, none or less is no limit of its own, and one is two.
fn connect_timeout(value: &str) -> Result<Option<Duration>, String> {
    let bad = |_| "`connect_timeout` must be a number of seconds".to_owned();
    let seconds: i32 = if value.is_empty() { 0 } else { value.parse().map_err(bad)? };
    let seconds = u64::try_from(seconds).unwrap_or(0);
    Ok((seconds > 0).then(|| Duration::from_secs(seconds.max(2))))
}

fn ssl_mode(value: &str) -> Result<&'static str, String> {
    const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
    match value {
        "true" | "1" | "on" => Ok("require"),
        "false" | "0" | "off" => Ok("disable"),
        _ => MODES.into_iter().find(|mode| *mode == value).ok_or_else(|| {
            "`sslmode` is not one of disable, allow, prefer, require, verify-ca, verify-full".to_owned()
        }),
    }
}

/// A root certificate makes `require` check it; `system` is no file, and asks for the full check.
fn as_libpq_does(tls: Tls) -> Tls {
    match (tls.root.as_deref(), tls.mode) {
        (Some("system"), mode) => Tls { root: None, mode: Some(mode.unwrap_or("verify-full")), ..tls },
        (Some(_), Some("require")) => Tls { mode: Some("verify-ca"), ..tls },
        _ => tls,
    }
}
