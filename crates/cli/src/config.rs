//! Configuration: the table of [`settings`], from which [`flags`] are generated, by which values are
//! looked up in their [`sources`], and which are [`parsed`] into types. Invariant: a flag takes precedence
//! over the environment, the environment over `.env`, and a value that does not parse stops the program
//! before it does anything.

pub(crate) mod auth;
mod dotenv;
pub(crate) mod flags;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub(crate) mod links;
pub(crate) mod log;
pub(crate) mod parsed;
mod settings;
pub(crate) mod sources;
pub(crate) mod storage;
mod values;

pub(crate) use settings::{CommandScope, Key, NAMES_ELSEWHERE, SETTINGS, Setting};
pub(crate) use sources::Sources;

/// Wrong configuration, with the message for the operator.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigError(pub(crate) String);
