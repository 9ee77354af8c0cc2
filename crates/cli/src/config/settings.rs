//! Table of settings: the one place that defines every name an operator can set, its flag, its default
//! and its help line.

/// Key of a setting. The order is that of [`SETTINGS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    DatabaseUrl,
    PoolSize,
    MaxOverflow,
    PoolTimeout,
    LogLevel,
    LogFormat,
    StorageBackend,
    StorageRoot,
    S3Bucket,
    S3Region,
    S3Endpoint,
    S3AccessKeyId,
    S3Secret,
    SupabaseUrl,
    SupabaseBucket,
    SupabaseAccessKeyId,
    SupabaseSecret,
    InlineLimit,
    PublishOverlays,
    Retention,
    MaxDirectUpload,
    MaxAssetSize,
    PublicUrl,
    CdnBaseUrl,
    Signing,
    PresignExpiry,
    ArchiveTimeout,
    Host,
    Port,
    AllowedHosts,
    CorsOrigins,
    TrustedProxies,
    Web,
    StartupTimeout,
    ShutdownDelay,
    ShutdownTimeout,
    JwtSecret,
    JwtAlgorithm,
    AuthIssuer,
    AuthAudience,
    AuthServerUrl,
    AuthJwksPath,
    JwksCacheTtl,
    WebClientId,
    WebClientSecret,
    ResourceServerUrl,
    RatePerSecond,
    RateBurst,
    RedisUrl,
    Env,
}

/// Smallest command that reads a setting. Each command also reads the settings of the scopes before
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CommandScope {
    Migrate,
    Mcp,
    Serve,
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) key: Key,
    pub(crate) scope: CommandScope,
    /// Names in the environment, by descending precedence; the flag is made from the first.
    pub(crate) names: &'static [&'static str],
    pub(crate) default: Option<&'static str>,
    pub(crate) value: &'static str,
    pub(crate) help: &'static str,
    /// Never shown, and readable from the file that `NAME_FILE` names.
    pub(crate) secret: bool,
}

/// All settings, in the order of [`Key`].
#[rustfmt::skip]
pub(crate) const SETTINGS: &[Setting] = &[
    Setting { key: Key::DatabaseUrl, scope: CommandScope::Migrate, names: &["PANAVERSITY_DATABASE_URL", "DATABASE_URL"], default: Some("sqlite:./panaversity_fs.db"), value: "URL", help: "The database: sqlite:FILE or postgresql://USER:PASSWORD@HOST/NAME", secret: true },
    Setting { key: Key::PoolSize, scope: CommandScope::Migrate, names: &["DATABASE_POOL_SIZE"], default: Some("20"), value: "N", help: "Database connections kept open", secret: false },
    Setting { key: Key::MaxOverflow, scope: CommandScope::Migrate, names: &["DATABASE_MAX_OVERFLOW"], default: Some("10"), value: "N", help: "Database connections opened beyond those under load", secret: false },
    Setting { key: Key::PoolTimeout, scope: CommandScope::Migrate, names: &["DATABASE_POOL_TIMEOUT"], default: Some("30"), value: "SECONDS", help: "Longest wait for a database connection, and for an answer of PostgreSQL's (5 to 30)", secret: false },
    Setting { key: Key::LogLevel, scope: CommandScope::Migrate, names: &["PANAVERSITY_LOG_LEVEL"], default: Some("INFO"), value: "LEVEL", help: "DEBUG, INFO, WARNING or ERROR", secret: false },
    Setting { key: Key::LogFormat, scope: CommandScope::Migrate, names: &["PANAVERSITY_LOG_FORMAT"], default: None, value: "FORMAT", help: "json or text; json unless stderr is a terminal", secret: false },
    Setting { key: Key::StorageBackend, scope: CommandScope::Mcp, names: &["PANAVERSITY_STORAGE_BACKEND"], default: Some("fs"), value: "NAME", help: "Where files are kept: fs (a folder), s3 (a bucket) or supabase", secret: false },
    Setting { key: Key::StorageRoot, scope: CommandScope::Mcp, names: &["PANAVERSITY_STORAGE_ROOT"], default: Some("./panaversity-data"), value: "DIR", help: "The folder of the files", secret: false },
    Setting { key: Key::S3Bucket, scope: CommandScope::Mcp, names: &["PANAVERSITY_S3_BUCKET"], default: None, value: "NAME", help: "The bucket", secret: false },
    Setting { key: Key::S3Region, scope: CommandScope::Mcp, names: &["PANAVERSITY_S3_REGION"], default: Some("auto"), value: "REGION", help: "The bucket's region; auto where there are none", secret: false },
    Setting { key: Key::S3Endpoint, scope: CommandScope::Mcp, names: &["PANAVERSITY_S3_ENDPOINT"], default: None, value: "URL", help: "Where the bucket is reached; unset: AWS", secret: false },
    Setting { key: Key::S3AccessKeyId, scope: CommandScope::Mcp, names: &["PANAVERSITY_S3_ACCESS_KEY_ID"], default: None, value: "ID", help: "The access key to the bucket", secret: true },
    Setting { key: Key::S3Secret, scope: CommandScope::Mcp, names: &["PANAVERSITY_S3_SECRET_ACCESS_KEY"], default: None, value: "SECRET", help: "Its secret", secret: true },
    Setting { key: Key::SupabaseUrl, scope: CommandScope::Mcp, names: &["PANAVERSITY_SUPABASE_URL"], default: None, value: "URL", help: "The Supabase project's URL", secret: false },
    Setting { key: Key::SupabaseBucket, scope: CommandScope::Mcp, names: &["PANAVERSITY_SUPABASE_BUCKET"], default: None, value: "NAME", help: "Its bucket", secret: false },
    Setting { key: Key::SupabaseAccessKeyId, scope: CommandScope::Mcp, names: &["PANAVERSITY_SUPABASE_ACCESS_KEY_ID"], default: None, value: "ID", help: "The S3 access key of its storage", secret: true },
    Setting { key: Key::SupabaseSecret, scope: CommandScope::Mcp, names: &["PANAVERSITY_SUPABASE_SECRET_ACCESS_KEY"], default: None, value: "SECRET", help: "Its secret", secret: true },
    Setting { key: Key::InlineLimit, scope: CommandScope::Mcp, names: &["PANAVERSITY_INLINE_LIMIT_KB"], default: Some("128"), value: "KIB", help: "Files up to this size lie in the database; 0: none", secret: false },
    Setting { key: Key::PublishOverlays, scope: CommandScope::Mcp, names: &["PANAVERSITY_PUBLISH_OVERLAYS"], default: None, value: "BOOL", help: "Whether users' overlays are published too; true on fs, false in buckets", secret: false },
    Setting { key: Key::Retention, scope: CommandScope::Mcp, names: &["PANAVERSITY_RETENTION_DAYS"], default: Some("30"), value: "DAYS", help: "How long gc keeps what was replaced or deleted; longer than your oldest backup", secret: false },
    Setting { key: Key::MaxDirectUpload, scope: CommandScope::Mcp, names: &["PANAVERSITY_MAX_DIRECT_UPLOAD_MB"], default: Some("10"), value: "MIB", help: "Largest asset that comes and goes inside a tool call", secret: false },
    Setting { key: Key::MaxAssetSize, scope: CommandScope::Mcp, names: &["PANAVERSITY_MAX_ASSET_SIZE_MB"], default: Some("100"), value: "MIB", help: "Largest asset", secret: false },
    Setting { key: Key::PublicUrl, scope: CommandScope::Mcp, names: &["PANAVERSITY_PUBLIC_URL"], default: None, value: "URL", help: "The URL under which clients reach this server", secret: false },
    Setting { key: Key::CdnBaseUrl, scope: CommandScope::Mcp, names: &["PANAVERSITY_CDN_BASE_URL"], default: None, value: "URL", help: "Where the world sees books/{book}/static/ of the bucket", secret: false },
    Setting { key: Key::Signing, scope: CommandScope::Mcp, names: &["PANAVERSITY_SIGNING_KEY"], default: None, value: "KEY", help: "Signs links to archives and uploads, the same on every server; two while one replaces the other; unset: a key the database keeps", secret: true },
    Setting { key: Key::PresignExpiry, scope: CommandScope::Mcp, names: &["PANAVERSITY_PRESIGN_EXPIRY_SECONDS"], default: Some("3600"), value: "SECONDS", help: "How long links to archives and uploads are valid", secret: false },
    Setting { key: Key::ArchiveTimeout, scope: CommandScope::Mcp, names: &["PANAVERSITY_ARCHIVE_TIMEOUT", "PANAVERSITY_ARCHIVE_TIMEOUT_SECONDS"], default: Some("60"), value: "SECONDS", help: "Longest download of an archive; what is cut off is resumed", secret: false },
    Setting { key: Key::Host, scope: CommandScope::Serve, names: &["PANAVERSITY_SERVER_HOST"], default: Some("127.0.0.1"), value: "HOST", help: "The address to listen on", secret: false },
    Setting { key: Key::Port, scope: CommandScope::Serve, names: &["PANAVERSITY_SERVER_PORT", "PORT"], default: Some("8000"), value: "PORT", help: "The port to listen on; 0: any free one", secret: false },
    Setting { key: Key::AllowedHosts, scope: CommandScope::Serve, names: &["PANAVERSITY_ALLOWED_HOSTS"], default: None, value: "HOSTS", help: "Host names a request may be addressed to, separated by commas", secret: false },
    Setting { key: Key::CorsOrigins, scope: CommandScope::Serve, names: &["PANAVERSITY_CORS_ORIGINS"], default: None, value: "ORIGINS", help: "Origins of web pages that may call this server, separated by commas", secret: false },
    Setting { key: Key::TrustedProxies, scope: CommandScope::Serve, names: &["PANAVERSITY_TRUSTED_PROXIES"], default: None, value: "NETWORKS", help: "Addresses and networks of the proxies whose X-Forwarded-For names the client, separated by commas", secret: false },
    Setting { key: Key::Web, scope: CommandScope::Serve, names: &["PANAVERSITY_WEB"], default: Some("on"), value: "BOOL", help: "on or off: the pages for people, at / and below /ui/", secret: false },
    Setting { key: Key::StartupTimeout, scope: CommandScope::Serve, names: &["PANAVERSITY_STARTUP_TIMEOUT"], default: Some("60"), value: "SECONDS", help: "How long the start waits for a database or bucket that is not up yet; 0: not at all", secret: false },
    Setting { key: Key::ShutdownDelay, scope: CommandScope::Serve, names: &["PANAVERSITY_SHUTDOWN_DELAY"], default: Some("0"), value: "SECONDS", help: "How long a server that was told to stop goes on serving while /health/ready says 503, so that a load balancer sends no more requests", secret: false },
    Setting { key: Key::ShutdownTimeout, scope: CommandScope::Serve, names: &["PANAVERSITY_SHUTDOWN_TIMEOUT"], default: Some("20"), value: "SECONDS", help: "How long running calls may go on after that; then they are cancelled", secret: false },
    Setting { key: Key::JwtSecret, scope: CommandScope::Serve, names: &["PANAVERSITY_JWT_SECRET"], default: None, value: "SECRET", help: "Shared secret that signs the tokens of callers; a second one, after a space, while it is rotated", secret: true },
    Setting { key: Key::JwtAlgorithm, scope: CommandScope::Serve, names: &["PANAVERSITY_JWT_ALGORITHM"], default: Some("HS256"), value: "NAME", help: "Algorithm of tokens signed by the secret: HS256, HS384 or HS512", secret: false },
    Setting { key: Key::AuthIssuer, scope: CommandScope::Serve, names: &["PANAVERSITY_AUTH_ISSUER"], default: None, value: "ISSUER", help: "Issuer that tokens must name; unset: the authorization server, if there is one", secret: false },
    Setting { key: Key::AuthAudience, scope: CommandScope::Serve, names: &["PANAVERSITY_AUTH_AUDIENCE"], default: None, value: "AUDIENCE", help: "Audience that tokens must name; unset: the URL of this resource", secret: false },
    Setting { key: Key::AuthServerUrl, scope: CommandScope::Serve, names: &["PANAVERSITY_AUTH_SERVER_URL"], default: None, value: "URL", help: "Authorization server whose tokens are accepted, by the keys that it publishes", secret: false },
    Setting { key: Key::AuthJwksPath, scope: CommandScope::Serve, names: &["PANAVERSITY_AUTH_JWKS_PATH"], default: Some("/.well-known/jwks.json"), value: "PATH", help: "Path of its keys", secret: false },
    Setting { key: Key::JwksCacheTtl, scope: CommandScope::Serve, names: &["PANAVERSITY_JWKS_CACHE_TTL"], default: Some("3600"), value: "SECONDS", help: "How long its keys are used before they are fetched again", secret: false },
    Setting { key: Key::WebClientId, scope: CommandScope::Serve, names: &["PANAVERSITY_WEB_CLIENT_ID"], default: None, value: "ID", help: "Client of the authorization server as which readers of the pages sign in there", secret: false },
    Setting { key: Key::WebClientSecret, scope: CommandScope::Serve, names: &["PANAVERSITY_WEB_CLIENT_SECRET"], default: None, value: "SECRET", help: "Its secret; none for a public client", secret: true },
    Setting { key: Key::ResourceServerUrl, scope: CommandScope::Serve, names: &["PANAVERSITY_RESOURCE_SERVER_URL"], default: None, value: "URL", help: "URL of this server in tokens; unset: the public URL with /mcp", secret: false },
    Setting { key: Key::RatePerSecond, scope: CommandScope::Serve, names: &["PANAVERSITY_RATE_LIMIT_PER_SECOND"], default: Some("1000"), value: "N", help: "MCP requests per second of one agent, or of one address without authentication; 0: no limit", secret: false },
    Setting { key: Key::RateBurst, scope: CommandScope::Serve, names: &["PANAVERSITY_RATE_LIMIT_BURST"], default: Some("2000"), value: "N", help: "MCP requests at once after a pause", secret: false },
    Setting { key: Key::RedisUrl, scope: CommandScope::Mcp, names: &["PANAVERSITY_REDIS_URL"], default: None, value: "URL", help: "Redis in which servers share rates of callers and content that is read often; all works without it", secret: true },
    Setting { key: Key::Env, scope: CommandScope::Serve, names: &["PANAVERSITY_ENV"], default: Some("development"), value: "NAME", help: "development or production", secret: false },
];

/// Names that this program knows but that are not settings of the server.
pub(crate) const NAMES_ELSEWHERE: &[&str] = &[
    "PANAVERSITY_URL",
    "PANAVERSITY_TOKEN",
    "PANAVERSITY_TOKEN_FILE",
    "PANAVERSITY_BOOK_ID",
    "PANAVERSITY_CHANGE_ID",
    "PANAVERSITY_CURSOR",
];

impl Setting {
    /// The setting of a key.
    pub(crate) fn of(key: Key) -> &'static Self {
        let setting = &SETTINGS[key as usize];
        debug_assert_eq!(setting.key, key, "the table is in the order of the keys");
        setting
    }

    /// The flag, without its dashes.
    pub(crate) fn flag(&self) -> String {
        let name = self.names[0];
        name.strip_prefix("PANAVERSITY_").unwrap_or(name).to_lowercase().replace('_', "-")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_keys() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            assert_eq!(setting.key as usize, index, "{:?}", setting.key);
        }
        assert_eq!(SETTINGS.len(), Key::Env as usize + 1);
    }

    #[test]
    fn no_two_settings_share_a_name_or_a_flag() {
        let flags: BTreeSet<_> = SETTINGS.iter().map(Setting::flag).collect();
        assert_eq!(flags.len(), SETTINGS.len());
        let names: Vec<_> = SETTINGS.iter().flat_map(|setting| setting.names).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn flags_are_named_like_the_environment() {
        assert_eq!(Setting::of(Key::StorageRoot).flag(), "storage-root");
        assert_eq!(Setting::of(Key::PoolSize).flag(), "database-pool-size");
        assert_eq!(Setting::of(Key::DatabaseUrl).flag(), "database-url");
    }
}
