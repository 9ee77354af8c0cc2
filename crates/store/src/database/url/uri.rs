//! A PostgreSQL connection URI: `postgresql://user:password@host1:5432,host2/database?name=value`.
//! Every part may be omitted.
//!
//! `/`, `?`, `#`, `@`, `%` and spaces in a password must be percent-encoded; otherwise parsers of URIs
//! disagree on the result. Each of them is refused by name. Invariant: no message shows text that may be
//! part of a password.

use percent_encoding::percent_decode_str;

use super::parameters::{UrlParameters, list};
use super::postgres::PostgresUrl;

/// Parses the part after the scheme's colon.
pub(super) fn parse(rest: &str) -> Result<PostgresUrl, String> {
    let body =
        rest.strip_prefix("//").ok_or("it must read `postgresql://user:password@host:5432/database`")?;
    let (authority, path, query) = parts(body);
    must_be_encoded(body, authority, path, query)?;
    let mut draft = UrlParameters::default();
    let (credentials, hosts) = match authority.split_once('@') {
        Some((credentials, hosts)) => (Some(credentials), hosts),
        None => (None, authority),
    };
    if let Some(credentials) = credentials {
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        draft.set("user", &decoded(user, "the user name")?)?;
        draft.set("password", &decoded(password, "the password")?)?;
    }
    if !hosts.is_empty() {
        for entry in list(hosts) {
            let (host, port) = host_and_port(&entry);
            draft.lists.hosts.push(decoded(host, "the host")?);
            draft.lists.ports.push(port.to_owned());
        }
        draft.hosts_may_be_replaced = true;
    }
    draft.set("dbname", &decoded(path.trim_start_matches('/'), "the database's name")?)?;
    let mut previous = "";
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
        let value = decoded(value, "a parameter")?;
        draft.set(&decoded(name, "a parameter")?, &value).map_err(|why| {
            // `u:123?4=5@h/d`: indistinguishable from parameters.
            let is_doubtful = credentials.is_none() && path.is_empty() && authority.contains(':');
            match previous {
                "password" => "in the parameter `password`, `&` must be written `%26`".to_owned(),
                _ if is_doubtful && query.contains('@') => encode('?', "%3F"),
                _ => why,
            }
        })?;
        previous = name;
    }
    draft.finish()
}

/// Splits into authority, path and query.
fn parts(body: &str) -> (&str, &str, &str) {
    let (before, query) = body.split_once('?').unwrap_or((body, ""));
    let (authority, path) = before.split_at(before.find('/').unwrap_or(before.len()));
    (authority, path, query)
}

/// Splits off the port, before decoding: a socket's folder may contain colons.
fn host_and_port(entry: &str) -> (&str, &str) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (entry, ""),
    }
}

/// Detects unencoded characters that break the URI if a password contains them.
fn must_be_encoded(body: &str, authority: &str, path: &str, query: &str) -> Result<(), String> {
    let last_at = body.rfind('@');
    let in_credentials = |at: usize| last_at.is_some_and(|last| at < last);
    for (at, character) in body.char_indices() {
        let code = match character {
            '#' => "%23".to_owned(),
            ' ' => "%20".to_owned(),
            _ if character.is_control() || character.is_whitespace() => {
                return Err(
                    "it holds a line break, a tab or another character that no URL may hold".to_owned()
                );
            }
            _ => continue,
        };
        return Err(if in_credentials(at) {
            encode(character, &code)
        } else {
            format!("{} must be written `{code}`", quoted(character))
        });
    }
    let (first, rest) = query.split_once('=').map_or((query, ""), |(name, rest)| (name, rest));
    match authority.matches('@').count() {
        0 if path.contains('@') => {
            Err(format!("{}, and `@` in the database's name `%40`", encode('/', "%2F")))
        }
        0 if first.contains('@') => Err(encode('?', "%3F")),
        0 if rest.contains('@') && path.is_empty() && !has_port(authority) => Err(encode('?', "%3F")),
        0 | 1 => Ok(()),
        _ => Err(encode('@', "%40")),
    }
}

/// True if the text after the last colon is a port or there is none.
fn has_port(authority: &str) -> bool {
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    authority.ends_with(']') || port.parse::<u16>().is_ok() || !authority.contains(':')
}

fn encode(character: char, code: &str) -> String {
    format!("in the user name or password, {} must be written `{code}`", quoted(character))
}

fn quoted(character: char) -> String {
    if character == ' ' { "a space".to_owned() } else { format!("`{character}`") }
}

/// Decodes percent escapes.
fn decoded(text: &str, what: &str) -> Result<String, String> {
    let is_escape = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if text.split('%').skip(1).any(|rest| !is_escape(rest)) {
        return Err(format!("in {what}, `%` must be written `%25`"));
    }
    let bytes = percent_decode_str(text).decode_utf8().map_err(|_| format!("{what} is not UTF-8"))?;
    if bytes.contains('\0') {
        return Err(format!("{what} must not hold `%00`"));
    }
    Ok(bytes.into_owned())
}
