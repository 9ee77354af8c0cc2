//! Values of single settings: looked up, parsed, and refused with the name they were set under.

use panaversity_model::masked_url;

use super::sources::Given;
use super::{ConfigError, Key, Setting, Sources};

/// The value of a setting that has no default; `allowed` describes the values that `parse` admits.
pub(super) fn optional<T>(
    sources: &Sources,
    key: Key,
    allowed: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, ConfigError> {
    let Some(given) = sources.text(key)? else { return Ok(None) };
    parse(given.text.trim()).map(Some).ok_or_else(|| bad(&given, allowed))
}

/// The value of a setting that is set or has a default.
pub(super) fn required<T>(
    sources: &Sources,
    key: Key,
    allowed: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, ConfigError> {
    optional(sources, key, allowed, parse)?.ok_or_else(|| unset(key))
}

/// The value of a setting that is a number within bounds.
pub(super) fn parse_u32(sources: &Sources, key: Key, least: u32, most: u32) -> Result<u32, ConfigError> {
    let allowed = format!("a whole number from {least} to {most}");
    required(sources, key, &allowed, |text| {
        text.parse().ok().filter(|number| (least..=most).contains(number))
    })
}

/// The error for a value that does not parse. Secrets are not reported through it, but an address
/// may contain one and is masked.
pub(super) fn bad(given: &Given, allowed: &str) -> ConfigError {
    let text = &given.text;
    let shown =
        if text.contains("://") || text.contains('@') { masked_url::mask(text) } else { text.clone() };
    ConfigError(format!("{} is {shown:?}; allowed is {allowed}", given.name))
}

/// The error for a setting that must be set.
pub(super) fn unset(key: Key) -> ConfigError {
    ConfigError(format!("{} is not set", Setting::of(key).names[0]))
}
