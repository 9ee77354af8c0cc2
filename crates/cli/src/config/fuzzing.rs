//! The parser of `.env` files, as the fuzz targets call it. Built only with the feature `fuzzing`.

use std::collections::BTreeMap;

use super::ConfigError;
use super::dotenv::{Names, parse};

/// Values and warnings of a `.env` file with these bytes, or the error; names that begin with
/// `PANAVERSITY_` are this program's, and of these the values of those that end in `_PORT` may be shown.
///
/// # Errors
/// The text for the operator.
pub fn parse_dotenv(bytes: &[u8]) -> Result<(BTreeMap<String, String>, Vec<String>), String> {
    let names =
        Names { is_ours: |name| name.starts_with("PANAVERSITY_"), is_public: |name| name.ends_with("_PORT") };
    let parsed = parse(".env", bytes, names, |_| None);
    parsed.map(|file| (file.values, file.warnings)).map_err(|ConfigError(text)| text)
}
