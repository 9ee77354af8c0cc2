//! Parser of the `.env` file, in which this program's `NAME=value` lines stand among those of other
//! programs.
//!
//! # What is read
//! A line is empty, a `#` comment, or `NAME=value`, optionally after `export`; a BOM and CRLF are
//! accepted. See [`value`] for values. A value in quotes may span several lines. In another
//! program's value, a line that looks like a setting of this program is part of that value: it sets
//! nothing, and a warning reports it. A value of this program may not span such a line. A quote
//! without a closing quote opens nothing.
//!
//! # What is not
//! Programs differ in how they read anything else, so nothing is guessed. A line with a name of
//! this program is refused with its number and the remedy. Any other is skipped, with the lines
//! inside its quotes; its number is reported once, and the lines after it are read. Invariant: a
//! message quotes nothing of a line but names of this program, because any line may contain a
//! secret.

#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use super::ConfigError;
use value::{Opened, Value};

/// Maximum number of skipped lines that a warning lists.
const NAMED: usize = 10;

/// Result of reading a `.env` file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DotEnv {
    /// Values by name, of this program's names only; of several lines with one name the last
    /// counts.
    pub(super) values: BTreeMap<String, String>,
    /// Warnings for the operator.
    pub(super) warnings: Vec<String>,
}

/// Classifier of variable names.
#[derive(Clone, Copy)]
pub(super) struct Names {
    pub(super) is_ours: fn(&str) -> bool,
    /// Names whose values may be shown. For any other name, warnings do not even show the variables
    /// that its value references.
    pub(super) is_public: fn(&str) -> bool,
}

/// Reads a file, if it exists. `inherited` looks up the process's environment, which takes
/// precedence over earlier lines where a value references a variable.
pub(super) fn read(
    path: &Path,
    names: Names,
    inherited: impl Fn(&str) -> Option<String>,
) -> Result<DotEnv, ConfigError> {
    let shown = path.display();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(DotEnv::default()),
        Err(error) if error.kind() == ErrorKind::IsADirectory => {
            return Err(ConfigError(format!(
                "{shown} is a folder: remove it, or put the file there that was meant"
            )));
        }
        Err(error) => return Err(ConfigError(format!("{shown} cannot be read: {error}"))),
    };
    parse(&shown.to_string(), &bytes, names, inherited)
}

/// Parses the bytes of a file; `shown` is its name in messages. See [`read`].
pub(super) fn parse(
    shown: &str,
    bytes: &[u8],
    names: Names,
    inherited: impl Fn(&str) -> Option<String>,
) -> Result<DotEnv, ConfigError> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(ConfigError(format!("{shown} is UTF-16: save it as UTF-8")));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lines =
        bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    let mut reader = Reader {
        shown: shown.to_owned(),
        lines,
        names,
        all: BTreeMap::new(),
        skipped: Vec::new(),
        found: DotEnv::default(),
    };
    reader.run(&inherited)?;
    Ok(reader.finish())
}

struct Reader<'a> {
    shown: String,
    lines: Vec<&'a [u8]>,
    names: Names,
    /// All values read so far, for the values that reference them.
    all: BTreeMap<String, String>,
    /// Numbers of the skipped lines, from 1.
    skipped: Vec<usize>,
    found: DotEnv,
}

impl Reader<'_> {
    fn run(&mut self, inherited: &dyn Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
        let mut at = 0;
        while at < self.lines.len() {
            let line = self.lines[at].trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                at += 1;
                continue;
            }
            let name = name_of(line).to_owned();
            match self.value_at(at, inherited) {
                Ok((value, count)) => {
                    self.tell_held(at, count);
                    self.take(name, value, at + 1);
                    at += count;
                }
                Err(why) if (self.names.is_ours)(&name) => {
                    return Err(ConfigError(format!(
                        "{} line {}: {name} cannot be read: {why}",
                        self.shown,
                        at + 1
                    )));
                }
                Err(_) => {
                    let count = self.quoted_lines(at).unwrap_or(1);
                    self.tell_held(at, count);
                    self.skipped.push(at + 1);
                    at += count;
                }
            }
        }
        Ok(())
    }

    /// The value that begins in a line, and the number of lines it spans.
    fn value_at(
        &self,
        at: usize,
        inherited: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Value, usize), &'static str> {
        let first = text(self.lines[at])?;
        let (before, given) = first.split_once('=').ok_or("it must read NAME=value")?;
        let name = name_of(before.as_bytes());
        if name.is_empty() || name.as_bytes() != without_export(before.trim().as_bytes()) {
            return Err("it must read NAME=value");
        }
        let lookup = |name: &str| inherited(name).or_else(|| self.all.get(name).cloned());
        let Some(mut opened) = Opened::in_quotes(given, &['\'', '"']) else {
            return Ok((Value::unquoted(given, &lookup)?, 1));
        };
        let is_ours = (self.names.is_ours)(name);
        let mut count = 1;
        loop {
            if let Some(value) = opened.closed(&lookup)? {
                return Ok((value, count));
            }
            let next = self.lines.get(at + count);
            let next = next.filter(|line| !(is_ours && (self.names.is_ours)(assigned_in(line))));
            opened.go_on(text(next.ok_or("its quote does not end")?)?);
            count += 1;
        }
    }

    /// The number of lines that a quoted value spans which other programs may read and this one
    /// does not: one that is not UTF-8, or in backticks. `None` if its quote does not end, or not
    /// at a line's end.
    fn quoted_lines(&self, at: usize) -> Option<usize> {
        let first = String::from_utf8_lossy(self.lines[at]);
        let mut opened = Opened::in_quotes(first.split_once('=')?.1, &['\'', '"', '`'])?;
        for (more, line) in self.lines[at + 1..].iter().enumerate() {
            match opened.end() {
                Some(end) => return opened.is_whole(end).then_some(more + 1),
                None => opened.go_on(&String::from_utf8_lossy(line)),
            }
        }
        opened.end().filter(|end| opened.is_whole(*end)).map(|_| self.lines.len() - at)
    }

    /// Warns about lines that look like settings of this program but are part of the value that
    /// begins at `at`.
    fn tell_held(&mut self, at: usize, count: usize) {
        for (number, line) in self.lines.iter().enumerate().take(at + count).skip(at + 1) {
            let name = assigned_in(line);
            if (self.names.is_ours)(name) {
                self.found.warnings.push(format!(
                    "{} line {}: {name} is not set, for it stands in the quotes that line {} opens; if it should be, \
                     close them before it",
                    self.shown,
                    number + 1,
                    at + 1
                ));
            }
        }
    }

    fn take(&mut self, name: String, value: Value, number: usize) {
        self.all.insert(name.clone(), value.text.clone());
        if !(self.names.is_ours)(&name) {
            return;
        }
        for variable in value.unset {
            let what = if (self.names.is_public)(&name) {
                format!("names ${variable}, which is not set,")
            } else {
                "names a variable that is not set,".to_owned()
            };
            self.found.warnings.push(format!(
                "{} line {number}: {name} {what} and reads as empty there; for a $ as it is, write \\$ or put the value in single quotes",
                self.shown
            ));
        }
        self.found.values.insert(name, value.text);
    }

    fn finish(mut self) -> DotEnv {
        let numbers: Vec<_> = self.skipped.iter().take(NAMED).map(ToString::to_string).collect();
        let (lines, are) = if self.skipped.len() == 1 { ("line", "is") } else { ("lines", "are") };
        let more = match self.skipped.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        if !numbers.is_empty() {
            let numbers = numbers.join(", ");
            self.found.warnings.push(format!(
                "{} {lines} {numbers}{more} cannot be read and {are} skipped: no setting of this program is there",
                self.shown
            ));
        }
        self.found
    }
}

fn text(line: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8")?;
    if text.contains('\0') { Err("it holds a NUL") } else { Ok(text) }
}

/// A line, or part of one, without a leading `export`.
fn without_export(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii_start();
    let rest = line.strip_prefix(b"export").filter(|rest| rest.starts_with(b" ") || rest.starts_with(b"\t"));
    rest.map_or(line, <[u8]>::trim_ascii_start)
}

/// The name that a line begins with; no `=` needs to follow it.
fn name_of(line: &[u8]) -> &str {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let rest = without_export(line);
    let end = rest.iter().take_while(|byte| is_part(byte)).count();
    std::str::from_utf8(&rest[..end]).unwrap_or_default()
}

/// The name that a line assigns to, or an empty text if it does not look like an assignment.
fn assigned_in<'a>(line: &&'a [u8]) -> &'a str {
    let name = name_of(line);
    let after = line.iter().position(|byte| *byte == b'=');
    let before = after.map_or(&b""[..], |at| line[..at].trim_ascii_end());
    if before.ends_with(name.as_bytes()) { name } else { "" }
}
