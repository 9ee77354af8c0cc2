//! What a request is called: its tool, or its route and where a download goes on.

use std::fmt::Write as _;

use axum::http::header::RANGE;
use axum::http::request::Parts;
use serde_json::Value;

/// Name, path and book of a request, as far as it has them: `write_content`, `archive.zip`,
/// `static from 9`.
pub(super) fn of(parts: &Parts, body: &[u8]) -> (String, String, String) {
    let path = decoded(parts.uri.path());
    let segments: Vec<&str> = path.trim_start_matches('/').splitn(3, '/').collect();
    let (name, path, book) = match segments[..] {
        ["mcp"] => {
            let request: Value = serde_json::from_slice(body).unwrap();
            let arguments = &request["params"]["arguments"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let name = text(&request["params"]["name"]);
            return (name, text(&arguments["path"]), text(&arguments["book_id"]));
        }
        ["books", book, "archive.zip"] => ("archive.zip", "", book),
        ["books", book, file] if file.starts_with("static/") => ("static", file, book),
        ["books", book, file] => ("content", file, book),
        ["uploads", id] | ["bucket", "uploads", id] => ("upload", id, ""),
        _ => panic!("no client asks for {path}"),
    };
    let mut name = name.to_owned();
    let range = parts.headers.get(RANGE).and_then(|range| range.to_str().ok());
    if let Some(from) = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')) {
        let _ = write!(name, " from {from}");
    }
    (name, path.to_owned(), book.to_owned())
}

/// A path without its escapes.
fn decoded(path: &str) -> String {
    let mut bytes = path.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(plain).unwrap()
}
