//! Results of `ingest` and `hydrate`: lines or one JSON object on stdout, and an exit code.
//! Invariant: exit code 0 only for a run in which nothing was refused and nothing failed.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use panaversity_client::SyncError;
use panaversity_client::report::Report;
use serde_json::json;

/// Prints the outcome of the command and returns its exit code.
pub(crate) fn finish<R: Report>(command: &str, as_json: bool, outcome: Result<R, SyncError>) -> ExitCode {
    let (text, code) = match outcome {
        Ok(report) => (render(&report, as_json), u8::from(!report.is_success())),
        Err(failure) => {
            say(&format!("{command}: {failure}"));
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

/// Writes one line for people to stderr. A closed stderr is ignored.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
