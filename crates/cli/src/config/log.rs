//! Settings of the log.

use std::io::IsTerminal;

use super::values::{optional, required};
use super::{ConfigError, Key, Sources};

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Text,
}

/// Lowest level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
}

impl LogLevel {
    /// Parses the name of a level, case-insensitively. `WARN` is an alias of `WARNING`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_uppercase().as_str() {
            "DEBUG" => Some(Self::Debug),
            "INFO" => Some(Self::Info),
            "WARNING" | "WARN" => Some(Self::Warning),
            "ERROR" => Some(Self::Error),
            _ => None,
        }
    }
}

/// Settings of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogSettings {
    pub(crate) level: LogLevel,
    pub(crate) form: Form,
}

impl LogSettings {
    /// Parses the settings of the log.
    pub(crate) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let level = required(sources, Key::LogLevel, "DEBUG, INFO, WARNING or ERROR", LogLevel::parse)?;
        let form = optional(sources, Key::LogFormat, "json or text", |text| match text {
            "json" => Some(Form::Json),
            "text" => Some(Form::Text),
            _ => None,
        })?;
        let usual = || if std::io::stderr().is_terminal() { Form::Text } else { Form::Json };
        Ok(Self { level, form: form.unwrap_or_else(usual) })
    }
}
