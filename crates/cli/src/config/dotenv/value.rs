//! Parser of the value of a `.env` line.
//!
//! - `'...'` is used literally.
//! - In `"..."`, `\n`, `\r`, `\t`, `\"`, `\\` and `\$` are escapes; any other backslash is literal.
//! - Without quotes a value ends at the line's end or at a `#` after a space. One with spaces,
//!   quotes or backslashes (except `\$`) is refused: a shell, Compose and the dotenv libraries each
//!   read another value there.
//! - Except in `'...'`, `$NAME` and `${NAME}` are replaced by the variable's value, or by nothing
//!   if it is not set; `${NAME:-default}` and `${NAME-default}` then by the default.

/// A parsed value.
#[derive(Debug, Default)]
pub(super) struct Value {
    pub(super) text: String,
    /// Variables that it references and that are not set.
    pub(super) unset: Vec<String>,
}

/// Lookup of a variable by name.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A value in quotes whose closing quote may be on a later line.
pub(super) struct Opened {
    quote: char,
    /// The text after the opening quote.
    text: String,
    /// Offset in bytes up to which no closing quote was found.
    looked_at: usize,
}

impl Opened {
    /// Starts with the text after the `=`, if that begins with one of `quotes`.
    pub(super) fn in_quotes(given: &str, quotes: &[char]) -> Option<Self> {
        let given = given.trim_start();
        let quote = given.chars().next().filter(|first| quotes.contains(first))?;
        Some(Self { quote, text: given[1..].to_owned(), looked_at: 0 })
    }

    /// Appends the next line.
    pub(super) fn go_on(&mut self, line: &str) {
        self.text.push('\n');
        self.text.push_str(line);
    }

    /// Offset of the closing quote, if the text so far contains it.
    pub(super) fn end(&mut self) -> Option<usize> {
        let mut is_escaped = false;
        for (at, character) in self.text[self.looked_at..].char_indices() {
            match character {
                _ if is_escaped => is_escaped = false,
                '\\' if self.quote == '"' => is_escaped = true,
                _ if character == self.quote => return Some(self.looked_at + at),
                _ => {}
            }
        }
        // A backslash at the very end escapes the line break that may follow, so the next search
        // starts after it.
        self.looked_at = self.text.len();
        None
    }

    /// Returns true if only a comment or nothing follows the closing quote at `end`.
    pub(super) fn is_whole(&self, end: usize) -> bool {
        let after = self.text[end + 1..].trim_start();
        after.is_empty() || after.starts_with('#')
    }

    /// The value, if the text so far contains the closing quote.
    pub(super) fn closed(&mut self, lookup: Lookup) -> Result<Option<Value>, &'static str> {
        let Some(at) = self.end() else { return Ok(None) };
        if !self.is_whole(at) {
            return Err("something follows its quotes; put the whole value in them");
        }
        let inside = &self.text[..at];
        if self.quote == '\'' {
            return Ok(Some(Value { text: inside.to_owned(), unset: Vec::new() }));
        }
        replaced(inside, true, lookup).map(Some)
    }
}

impl Value {
    /// Parses a value without quotes.
    pub(super) fn unquoted(given: &str, lookup: Lookup) -> Result<Self, &'static str> {
        let is_comment = |(at, _): &(usize, &str)| given[..*at].ends_with([' ', '\t']);
        let end = given.match_indices('#').find(is_comment).map_or(given.len(), |(at, _)| at);
        let given = given[..end].trim();
        let plain = given.replace("\\$", "");
        if plain.contains(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '`' | '\\')) {
            return Err("put the value in single quotes, or in double quotes if it holds a single one");
        }
        replaced(given, false, lookup)
    }
}

/// The text with its escapes and variables replaced.
fn replaced(text: &str, quoted: bool, lookup: Lookup) -> Result<Value, &'static str> {
    let mut value = Value::default();
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '$']) {
        value.text.push_str(&rest[..at]);
        let (mark, after) = rest[at..].split_at(1);
        rest = if mark == "\\" {
            let (meant, taken) = escape(after, quoted);
            value.text.push_str(meant);
            &after[taken..]
        } else {
            variable(after, lookup, &mut value)?
        };
    }
    value.text.push_str(rest);
    Ok(value)
}

/// The text that an escape stands for, and how many bytes of `after` belong to it. `after` is the
/// text after the backslash.
fn escape(after: &str, quoted: bool) -> (&'static str, usize) {
    match after.bytes().next() {
        Some(b'$') => ("$", 1),
        Some(b'n') if quoted => ("\n", 1),
        Some(b'r') if quoted => ("\r", 1),
        Some(b't') if quoted => ("\t", 1),
        Some(b'"') if quoted => ("\"", 1),
        Some(b'\\') if quoted => ("\\", 1),
        _ => ("\\", 0),
    }
}

/// Replaces the variable reference whose `$` was just read; returns the text after it. A `$` that
/// no name follows is literal.
fn variable<'a>(after: &'a str, lookup: Lookup, value: &mut Value) -> Result<&'a str, &'static str> {
    const BAD: &str = "after ${ a name and } must stand; for a $ as it is, use single quotes";
    let length = |text: &str| {
        let is_digit = |c: char| c.is_ascii_digit();
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        if text.starts_with(is_digit) { 0 } else { end }
    };
    let (name, default, rest) = if let Some(inside) = after.strip_prefix('{') {
        let (inside, rest) = inside.split_once('}').ok_or(BAD)?;
        let (name, more) = inside.split_at(length(inside));
        let default = match (more.strip_prefix(":-"), more.strip_prefix('-')) {
            (Some(default), _) => Some((default, true)),
            (_, Some(default)) => Some((default, false)),
            _ if more.is_empty() => None,
            _ => return Err(BAD),
        };
        if name.is_empty() {
            return Err(BAD);
        }
        (name, default, rest)
    } else {
        let (name, rest) = after.split_at(length(after));
        if name.is_empty() {
            value.text.push('$');
            return Ok(rest);
        }
        (name, None, rest)
    };
    match (lookup(name), default) {
        (Some(found), Some((default, true))) if found.is_empty() => value.text.push_str(default),
        (Some(found), _) => value.text.push_str(&found),
        (None, Some((default, _))) => value.text.push_str(default),
        (None, None) => value.unset.push(name.to_owned()),
    }
    Ok(rest)
}
