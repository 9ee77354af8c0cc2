//! Failures of commands, and output of their results to stdout. Exit codes: 0 done, 1 failed, 2
//! wrong usage.

use std::fmt;
use std::io::{ErrorKind, Write};

use panaversity_model::fault::FaultKind;

use crate::config::ConfigError;

/// Reason why a command or a server failed.
pub enum Failure {
    /// Wrong usage: exit code 2.
    Usage(String),
    /// The command failed: exit code 1.
    Failed(String),
    /// A dependency is not up yet: exit code 1, unless the caller retries.
    NotYet(NotYet),
    /// The command failed, and the log contains the reason.
    Logged,
}

impl Failure {
    /// The message for the operator; `None` if the log contains it.
    pub(crate) fn why(self) -> Option<String> {
        match self {
            Self::Usage(why) | Self::Failed(why) | Self::NotYet(NotYet { why, .. }) => Some(why),
            Self::Logged => None,
        }
    }
}

/// Failure of a dependency that may be up later.
pub struct NotYet {
    /// Kind of the fault.
    pub(crate) kind: FaultKind,
    /// The error that the dependency returned.
    pub(crate) reason: String,
    /// The message for an operator if the start does not wait.
    pub(crate) why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) | Self::Failed(why) | Self::NotYet(NotYet { why, .. }) => out.write_str(why),
            Self::Logged => out.write_str("see the log"),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(ConfigError(why): ConfigError) -> Self {
        Self::Usage(why)
    }
}

/// Prints a result to stdout. A reader that closed the pipe, as `head` does, is no failure; a
/// result that cannot be written, as on a full disk, is one.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write the result: {error}")))
        }
        _ => Ok(()),
    }
}
