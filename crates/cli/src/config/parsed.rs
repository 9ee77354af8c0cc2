//! The settings as types. A value that does not parse is refused with the name it was set under,
//! the allowed values, and the value itself unless it is a secret.

use std::net::IpAddr;
use std::time::Duration;

use panaversity_service::Limits;
use panaversity_service::limits::TaskTimes;
use panaversity_store::{Backend, DatabaseUrl, PoolOptions, RedisUrl};

use super::sources::Given;
use super::storage::StorageSettings;
use super::values::{optional, parse_u32, required, unset};
use super::{ConfigError, Key, Sources};
use crate::limits::StartPauses;
use panaversity_server::{KeyTimes, Origin, PublicUrl, RateLimit, TrustedProxies, WebhookLimits, host_of};

/// Settings of the database and its connection pool.
#[derive(Clone)]
pub(crate) struct DatabaseSettings {
    pub(crate) url: DatabaseUrl,
    pub(crate) pool: PoolOptions,
}

/// Settings of the store: database, file storage, limits and retention.
#[derive(Clone)]
pub(crate) struct StoreSettings {
    pub(crate) database: DatabaseSettings,
    pub(crate) storage: StorageSettings,
    pub(crate) limits: Limits,
    /// Time that replaced or deleted content is kept before `gc` removes it.
    pub(crate) retention: Duration,
    /// Redis that the servers of the store share.
    pub(crate) redis: Option<RedisUrl>,
    /// Times of the background tasks.
    pub(crate) tasks: TaskTimes,
    /// Times of reading the store's keys.
    pub(crate) keys: KeyTimes,
    /// Limits and times of the webhooks.
    pub(crate) webhooks: Box<WebhookLimits>,
    /// Pauses of the start.
    pub(crate) start_pauses: StartPauses,
}

/// Settings of the HTTP server.
#[derive(Debug)]
pub(crate) struct HttpSettings {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) public_url: Option<PublicUrl>,
    pub(crate) allowed_hosts: Vec<String>,
    /// Origins of web pages that may call this server.
    pub(crate) cors_origins: Vec<Origin>,
    /// Proxies whose word on the client's address is believed.
    pub(crate) proxies: TrustedProxies,
    pub(crate) production: bool,
    /// True if the pages for people are served.
    pub(crate) web: bool,
    /// Rate of MCP requests of one caller.
    pub(crate) rate: RateLimit,
    /// Longest time that the start waits for a database or bucket that is not up yet.
    pub(crate) startup_timeout: Duration,
    /// Time for which a server that stops goes on serving, and is not ready.
    pub(crate) shutdown_delay: Duration,
    /// Longest time for which running calls go on after that.
    pub(crate) shutdown_timeout: Duration,
}

impl DatabaseSettings {
    /// Parses the settings of the database.
    pub(crate) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let Given { text, name } = sources.text(Key::DatabaseUrl)?.ok_or_else(|| unset(Key::DatabaseUrl))?;
        let url = DatabaseUrl::parse(text.trim())
            .map_err(|why| ConfigError(format!("{name} is no database URL that can be used: {why}")))?;
        let pool = PoolOptions {
            size: parse_u32(sources, Key::PoolSize, 1, 1_000)?,
            overflow: parse_u32(sources, Key::MaxOverflow, 0, 1_000)?,
            timeout: Duration::from_secs(u64::from(parse_u32(sources, Key::PoolTimeout, 1, 3_600)?)),
        };
        Ok(Self { url, pool })
    }
}

impl StoreSettings {
    /// Parses the settings of the store.
    pub(crate) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let storage = StorageSettings::read(sources)?;
        let publish_overlays = optional(sources, Key::PublishOverlays, "true or false", parse_bool)?;
        let days = parse_u32(sources, Key::Retention, 0, 36_500)?;
        let kibibytes = parse_u32(sources, Key::InlineLimit, 0, 16_384)?;
        let mebibytes = |key, most| Ok(u64::from(parse_u32(sources, key, 1, most)?) << 20);
        Ok(Self {
            database: DatabaseSettings::read(sources)?,
            limits: Limits {
                inline_bytes: kibibytes as usize * 1024,
                direct_bytes: mebibytes(Key::MaxDirectUpload, 64)?,
                asset_bytes: mebibytes(Key::MaxAssetSize, 4_096)?,
                // A bucket's policy may make its content public.
                publish_overlays: publish_overlays.unwrap_or(storage.backend() == Backend::Fs),
            },
            storage,
            retention: Duration::from_hours(u64::from(days) * 24),
            redis: redis_url(sources)?,
            tasks: TaskTimes::default(),
            keys: KeyTimes::default(),
            webhooks: Box::default(),
            start_pauses: StartPauses::default(),
        })
    }
}

impl HttpSettings {
    /// Parses the settings of the HTTP server.
    pub(crate) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let seconds = |key, most| Ok(Duration::from_secs(u64::from(parse_u32(sources, key, 0, most)?)));
        Ok(Self {
            host: required(sources, Key::Host, "an IP address or a host name", listening_host)?,
            port: required(sources, Key::Port, "a port from 0 to 65535", |text| text.parse().ok())?,
            public_url: public_url(sources)?,
            allowed_hosts: optional(
                sources,
                Key::AllowedHosts,
                "host names separated by commas, like books.example.com,10.0.0.5",
                host_list,
            )?
            .unwrap_or_default(),
            cors_origins: optional(
                sources,
                Key::CorsOrigins,
                "origins separated by commas, like https://app.example.com,http://localhost:3000",
                origin_list,
            )?
            .unwrap_or_default(),
            proxies: optional(
                sources,
                Key::TrustedProxies,
                "addresses and networks separated by commas, like 10.0.0.0/8,192.168.7.1",
                TrustedProxies::parse,
            )?
            .unwrap_or_default(),
            production: required(sources, Key::Env, "development or production", |text| match text {
                "development" => Some(false),
                "production" => Some(true),
                _ => None,
            })?,
            web: required(sources, Key::Web, "on or off", parse_bool)?,
            rate: RateLimit {
                per_second: parse_u32(sources, Key::RatePerSecond, 0, 1_000_000)?,
                burst: parse_u32(sources, Key::RateBurst, 0, 1_000_000)?,
            },
            startup_timeout: seconds(Key::StartupTimeout, 86_400)?,
            shutdown_delay: seconds(Key::ShutdownDelay, 3_600)?,
            shutdown_timeout: seconds(Key::ShutdownTimeout, 3_600)?,
        })
    }
}

/// The address of Redis. It may contain a password, so an error never shows it.
fn redis_url(sources: &Sources) -> Result<Option<RedisUrl>, ConfigError> {
    let Some(given) = sources.text(Key::RedisUrl)? else { return Ok(None) };
    let allowed =
        "redis://host:6379/0, with user:password@ before the host if there are such, or rediss:// for TLS";
    let url = RedisUrl::parse(given.text.trim());
    url.map(Some)
        .ok_or_else(|| ConfigError(format!("{} is no address of a Redis; allowed is {allowed}", given.name)))
}

/// The URL under which clients reach this server, if set.
pub(super) fn public_url(sources: &Sources) -> Result<Option<PublicUrl>, ConfigError> {
    let allowed = "a URL like https://books.example.com, without user, query or fragment, letters beyond ASCII in its \
                   host as xn--...";
    optional(sources, Key::PublicUrl, allowed, PublicUrl::parse)
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn listening_host(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<IpAddr>().is_ok() {
        return Some(bare.to_owned());
    }
    (!text.contains(':')).then(|| host_of(text)).flatten()
}

fn host_list(text: &str) -> Option<Vec<String>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| if part.contains('*') { None } else { host_of(part) }).collect()
}

fn origin_list(text: &str) -> Option<Vec<Origin>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(Origin::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::super::links::LinkSettings;
    use super::super::log::{LogLevel, LogSettings};
    use super::*;

    fn refused<T>(read: fn(&Sources) -> Result<T, ConfigError>, name: &str, value: &str) -> String {
        match read(&Sources::of(&[], &[(name, value)], &[])) {
            Ok(_) => panic!("{name}={value} was admitted"),
            Err(ConfigError(why)) => why,
        }
    }

    #[test]
    fn nothing_need_be_set() {
        let none = Sources::of(&[], &[], &[]);
        let http = HttpSettings::read(&none).unwrap();
        assert_eq!((http.host.as_str(), http.port, http.production), ("127.0.0.1", 8000, false));
        assert_eq!(http.startup_timeout, Duration::from_mins(1));
        let store = StoreSettings::read(&none).unwrap();
        assert_eq!(store.storage.shown(), "the storage folder ./panaversity-data");
        assert_eq!((store.limits.inline_bytes, store.limits.publish_overlays), (131_072, true));
        assert_eq!(store.database.url.backend(), "sqlite");
        assert_eq!((store.database.pool.size, store.database.pool.overflow), (20, 10));
        assert_eq!(store.database.pool.timeout, Duration::from_secs(30));
        assert_eq!(LogSettings::read(&none).unwrap().level, LogLevel::Info);
    }

    #[test]
    fn a_bad_value_is_named_with_what_is_allowed() {
        assert_eq!(
            refused(HttpSettings::read, "PORT", "eighty"),
            "PORT is \"eighty\"; allowed is a port from 0 to 65535"
        );
        assert_eq!(
            refused(LogSettings::read, "PANAVERSITY_LOG_LEVEL", "loud"),
            "PANAVERSITY_LOG_LEVEL is \"loud\"; allowed is DEBUG, INFO, WARNING or ERROR"
        );
        assert_eq!(
            refused(DatabaseSettings::read, "DATABASE_POOL_SIZE", "0"),
            "DATABASE_POOL_SIZE is \"0\"; allowed is a whole number from 1 to 1000"
        );
        for (name, value) in [
            ("PANAVERSITY_SERVER_HOST", "a b"),
            ("PANAVERSITY_SERVER_HOST", "localhost:80"),
            ("PANAVERSITY_PUBLIC_URL", "books.example.com"),
            ("PANAVERSITY_ALLOWED_HOSTS", "a.example.com,*"),
            ("PANAVERSITY_ENV", "prod"),
        ] {
            assert!(refused(HttpSettings::read, name, value).starts_with(name));
        }
        let flag = Sources::of(&[("server-port", "x")], &[], &[]);
        let ConfigError(why) = HttpSettings::read(&flag).unwrap_err();
        assert!(why.starts_with("--server-port is \"x\""), "{why}");
    }

    #[test]
    fn a_password_in_an_address_is_never_shown() {
        for (name, value) in [
            ("PANAVERSITY_PUBLIC_URL", "https://user:hunter2@books.example.com"),
            ("PANAVERSITY_PUBLIC_URL", "https://user:hunter2@x@books.example.com/?q"),
            ("PANAVERSITY_PUBLIC_URL", "user:hunter2@books.example.com"),
            ("PANAVERSITY_SERVER_HOST", "http://user:hunter2@host"),
            ("PANAVERSITY_ALLOWED_HOSTS", "user:hunter2@host"),
        ] {
            let why = refused(HttpSettings::read, name, value);
            assert!(why.starts_with(name) && !why.contains("hunter2"), "{why}");
        }
        let links = [("PANAVERSITY_CDN_BASE_URL", "https://user:hunter2@cdn.example.com")];
        let Err(ConfigError(why)) = LinkSettings::read(&Sources::of(&[], &links, &[])) else {
            panic!("admitted")
        };
        assert!(why.contains("https://***@cdn.example.com"), "{why}");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let why = refused(DatabaseSettings::read, "DATABASE_URL", "oracle://user:hunter2@host/db");
        assert!(why.starts_with("DATABASE_URL is no database URL"), "{why}");
        assert!(!why.contains("hunter2"), "{why}");
    }

    #[test]
    fn hosts_are_read_as_the_guard_compares_them() {
        let given = [
            ("PANAVERSITY_ALLOWED_HOSTS", "Books.example.com:443, 10.0.0.5,"),
            ("PANAVERSITY_SERVER_HOST", "[::1]"),
        ];
        let http = HttpSettings::read(&Sources::of(&[], &given, &[])).unwrap();
        assert_eq!(http.allowed_hosts, ["books.example.com", "10.0.0.5"]);
        assert_eq!(http.host, "::1");
    }
}
