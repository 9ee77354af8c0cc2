//! Reports of runs: one line per file and a summary, or the fields of a JSON object.

use serde::Serialize;

/// A problem with one file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file, as the command's lines name files.
    pub path: String,
    /// Description of the problem.
    pub reason: String,
    /// An admissible name to use instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

impl Problem {
    pub(crate) fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into(), suggestion: None }
    }

    /// `refused content/x.md: why; suggested name: content/y.md`
    pub fn line(&self, verb: &str) -> String {
        let suggestion = self.suggestion.as_ref().map(|name| format!("; suggested name: {name}"));
        format!("{verb} {}: {}{}", printable(&self.path), self.reason, suggestion.unwrap_or_default())
    }
}

/// A name with control characters escaped, safe to print to a terminal.
pub(crate) fn printable(name: &str) -> String {
    name.chars().fold(String::with_capacity(name.len()), |mut shown, c| {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
        shown
    })
}

/// Result of a command that ran to its end.
pub trait Report: Serialize {
    /// One line per file, then the summary.
    fn lines(&self) -> Vec<String>;
    /// Returns true if nothing was refused and nothing failed.
    fn is_success(&self) -> bool;
}
