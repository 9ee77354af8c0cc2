//! What a pipeline command says at its end: lines or one JSON object on stdout, and an exit code.
//! The one place here that writes to stdout. Invariant: exit code 0 only for a run in which
//! nothing was refused and nothing failed.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::Failure;

/// A file and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Problem {
    /// The file, as the command's lines name files.
    pub(crate) path: String,
    /// What is wrong.
    pub(crate) reason: String,
    /// A name that would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) suggestion: Option<String>,
}

impl Problem {
    pub(crate) fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into(), suggestion: None }
    }

    /// `refused content/x.md: why; suggested name: content/y.md`
    pub(crate) fn line(&self, verb: &str) -> String {
        let suggestion = self.suggestion.as_ref().map(|name| format!("; suggested name: {name}"));
        format!("{verb} {}: {}{}", printable(&self.path), self.reason, suggestion.unwrap_or_default())
    }
}

/// A name as a terminal may show it: a file's name may hold line breaks and worse.
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

/// The result of a command that ran to its end.
pub(crate) trait Report: Serialize {
    /// One line per file, then the summary.
    fn lines(&self) -> Vec<String>;
    /// Nothing was refused, nothing failed.
    fn is_success(&self) -> bool;
}

/// Says how the command ended.
pub(crate) fn finish<R: Report>(command: &str, as_json: bool, outcome: Result<R, Failure>) -> ExitCode {
    let (text, code) = match outcome {
        Ok(report) => (render(&report, as_json), u8::from(!report.is_success())),
        Err(failure) => {
            say(&format!("{command}: {}", failure.message));
            for problem in &failure.files {
                say(&format!("  {}", problem.line("-")));
            }
            let value = json!({"command": command, "status": "failed",
                               "error": failure.message, "files": failure.files});
            let text = if as_json { format!("{value}\n") } else { String::new() };
            (text, if failure.is_usage { 2 } else { 1 })
        }
    };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            say(&format!("{command}: cannot write the result: {error}"));
            ExitCode::from(code.max(1))
        }
        _ => ExitCode::from(code),
    }
}

fn render<R: Report>(report: &R, as_json: bool) -> String {
    if as_json {
        let mut value = serde_json::to_value(report).unwrap_or_default();
        value["status"] = if report.is_success() { "success" } else { "failed" }.into();
        format!("{value}\n")
    } else {
        report.lines().into_iter().map(|line| line + "\n").collect()
    }
}

/// One line on stderr, for people. A closed stderr stops nothing.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
