//! Parameters of a PostgreSQL URL: each of libpq's is supported, ignored as harmless, or refused; those
//! of asyncpg and poolers are supported too. Invariant: nothing that would make a connection safer is
//! silently ignored.

use std::time::Duration;

use panaversity_model::suggestion::nearest_name;

use super::hosts::HostLists;
use super::postgres::{PostgresUrl, TargetSession, Tls, TlsMode};

/// Supported parameters.
#[rustfmt::skip]
const UNDERSTOOD: &[&str] = &[
    "host", "hostaddr", "port", "dbname", "user", "password", "target_session_attrs", "connect_timeout",
    "application_name", "fallback_application_name", "options", "sslmode", "ssl", "requiressl",
    "sslrootcert", "sslcert", "sslkey", "channel_binding", "gssencmode", "pgbouncer",
    "prepared_statement_cache_size", "statement_cache_size",
];
/// libpq's parameters without effect here: detection of dead connections, other methods of asking for a
/// password, automatic behaviour of the TLS library.
#[rustfmt::skip]
const HARMLESS: &[&str] = &[
    "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
    "client_encoding", "load_balance_hosts", "sslcompression", "sslsni", "sslnegotiation", "sslkeylogfile",
    "sslcertmode", "krbsrvname", "gsslib", "gssdelegation", "min_protocol_version", "max_protocol_version",
    "ssl_max_protocol_version", "servicefile", "scram_client_key", "scram_server_key", "oauth_issuer",
    "oauth_client_id", "oauth_client_secret", "oauth_scope",
];
/// libpq's parameters that ask for something unsupported, each with an alternative.
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

/// Parameters read so far.
#[derive(Default)]
pub(super) struct UrlParameters {
    pub(super) lists: HostLists,
    /// The hosts come from the authority of a URI: a `host` parameter replaces them.
    pub(super) hosts_may_be_replaced: bool,
    pub(super) url: PostgresUrl,
}

impl UrlParameters {
    /// Sets a parameter. `Err`: a message without the value.
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
            "requiressl" if value == "1" => url.tls.mode = Some(TlsMode::Require),
            "sslrootcert" => url.tls.root = given(),
            "sslcert" => url.tls.certificate = given(),
            "sslkey" => url.tls.key = given(),
            "pgbouncer" => url.pooler = matches!(value, "true" | "1" | ""),
            // asyncpg's own. Of prepared statements only "none" (0) is adopted, as for a pooler.
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

    /// Completes the URL after all parameters were set.
    pub(super) fn finish(self) -> Result<PostgresUrl, String> {
        let mut url = self.url;
        url.hosts = self.lists.servers()?;
        url.tls = as_libpq_does(url.tls);
        Ok(url)
    }
}

/// Splits a list as libpq does: entries may be empty, and then stand for the default.
pub(super) fn list(value: &str) -> impl Iterator<Item = String> {
    value.split(',').map(|entry| entry.trim().to_owned())
}

/// Ignores or refuses a parameter that is not supported.
fn other(name: &str, value: &str) -> Result<(), String> {
    if HARMLESS.contains(&name) || value.is_empty() && REFUSED.iter().any(|(refused, _)| *refused == name) {
        return Ok(());
    }
    if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Err(format!("the parameter `{name}` is not supported: {instead}"));
    }
    // Longer text, or other characters, may be the rest of a password.
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

/// Timeout in seconds; as for libpq, 0 or less means no separate limit, and 1 means 2.
fn connect_timeout(value: &str) -> Result<Option<Duration>, String> {
    let bad = |_| "`connect_timeout` must be a number of seconds".to_owned();
    let seconds: i32 = if value.is_empty() { 0 } else { value.parse().map_err(bad)? };
    let seconds = u64::try_from(seconds).unwrap_or(0);
    Ok((seconds > 0).then(|| Duration::from_secs(seconds.max(2))))
}

pub(super) fn ssl_mode(value: &str) -> Result<TlsMode, String> {
    match value {
        "true" | "1" | "on" => Ok(TlsMode::Require),
        "false" | "0" | "off" => Ok(TlsMode::Disable),
        _ => TlsMode::ALL.into_iter().find(|mode| mode.name() == value).ok_or_else(|| {
            "`sslmode` is not one of disable, allow, prefer, require, verify-ca, verify-full".to_owned()
        }),
    }
}

/// Applies libpq's rules: with a root certificate `require` verifies the server's; `system` is no file,
/// and implies full verification.
pub(super) fn as_libpq_does(tls: Tls) -> Tls {
    match (tls.root.as_deref(), tls.mode) {
        (Some("system"), mode) => Tls { root: None, mode: Some(mode.unwrap_or(TlsMode::VerifyFull)), ..tls },
        (Some(_), Some(TlsMode::Require)) => Tls { mode: Some(TlsMode::VerifyCa), ..tls },
        _ => tls,
    }
}
