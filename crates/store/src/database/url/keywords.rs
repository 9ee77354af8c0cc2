//! libpq's `keyword=value` connection strings: `host=/run/pg dbname=books user=pfs password='a b'`.

use super::parameters::UrlParameters;
use super::postgres::PostgresUrl;

/// True if a text begins like `keyword = value`.
pub(super) fn is_keyword_form(text: &str) -> bool {
    let name = text.trim_start().split_once('=').map_or("", |(name, _)| name.trim_end());
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Parses the pairs. A value ends at a space unless it is quoted by `'...'`; a backslash escapes the next
/// character.
pub(super) fn parse(text: &str) -> Result<PostgresUrl, String> {
    const SPACES: &str = "in `keyword=value` form, a value with spaces must stand in '...'";
    let mut draft = UrlParameters::default();
    let (mut rest, mut previous) = (text.trim_start(), "");
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or(SPACES)?;
        let name = name.trim_end();
        let (value, after) = value(after.trim_start())?;
        let is_name = !name.contains(char::is_whitespace);
        // The text after a password may be the rest of it, and is not shown.
        let explain = |why| if is_name && previous != "password" { why } else { SPACES.to_owned() };
        draft.set(name, &value).map_err(explain)?;
        (rest, previous) = (after.trim_start(), name);
    }
    draft.finish()
}

fn value(text: &str) -> Result<(String, &str), String> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, character)) = characters.next() {
        match character {
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            _ if !quoted && character.is_whitespace() => return Ok((value, &text[at..])),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    if quoted { Err("a value in '...' does not end".to_owned()) } else { Ok((value, "")) }
}
