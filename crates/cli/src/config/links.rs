//! Settings of download and upload links: base URLs, signing key, lifetimes.

use std::time::Duration;

use super::parsed::public_url;
use super::values::{optional, parse_u32};
use super::{ConfigError, Key, Sources};
use panaversity_server::PublicUrl;
use secrecy::{ExposeSecret, SecretString};

/// Minimum length of a configured signing key, in bytes.
const SHORTEST_KEY: usize = 16;
/// Most configured keys: the current one, and another while it is rotated.
const MOST_KEYS: usize = 2;
/// Maximum lifetime of a link, in seconds: a week.
const LONGEST_LIFE: u32 = 7 * 24 * 3600;

/// Settings of links.
#[derive(Clone)]
pub(crate) struct LinkSettings {
    /// URL under which clients reach this server.
    pub(crate) public_url: Option<PublicUrl>,
    /// Public URL of a bucket's assets.
    pub(crate) cdn_base_url: Option<PublicUrl>,
    /// Keys of links: the first signs, all are accepted. `None`: the keys in the database.
    pub(crate) signing_keys: Option<Vec<SecretString>>,
    /// Lifetime of a link.
    pub(crate) valid_for: Duration,
    /// Longest time that one download of an archive may take.
    pub(crate) archive_timeout: Duration,
}

impl LinkSettings {
    /// Parses the settings of links.
    pub(crate) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let cdn_base_url = optional(
            sources,
            Key::CdnBaseUrl,
            "a URL like https://cdn.example.com, without user, query or fragment",
            PublicUrl::parse,
        )?;
        let seconds = |key, most| Ok(Duration::from_secs(u64::from(parse_u32(sources, key, 1, most)?)));
        Ok(Self {
            public_url: public_url(sources)?,
            cdn_base_url,
            signing_keys: signing_keys(sources)?,
            valid_for: seconds(Key::PresignExpiry, LONGEST_LIFE)?,
            archive_timeout: seconds(Key::ArchiveTimeout, 24 * 3600)?,
        })
    }
}

fn signing_keys(sources: &Sources) -> Result<Option<Vec<SecretString>>, ConfigError> {
    let Some(given) = sources.text(Key::Signing)? else { return Ok(None) };
    let keys: Vec<_> = given.text.split_whitespace().map(SecretString::from).collect();
    if keys.is_empty() || keys.len() > MOST_KEYS {
        return Err(ConfigError(format!("{} holds {} keys; allowed are one or two", given.name, keys.len())));
    }
    if keys.iter().any(|key| key.expose_secret().len() < SHORTEST_KEY) {
        return Err(ConfigError(format!(
            "{} is too short: at least {SHORTEST_KEY} characters, best from a random generator",
            given.name
        )));
    }
    Ok(Some(keys))
}
