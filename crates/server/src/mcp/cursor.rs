//! Cursors: opaque positions of pages. A cursor of a tool is bound to the call that returned it, because
//! with other arguments it would lead to a page of another list: it is accepted only with the same tool
//! and the same arguments, apart from itself and the page length.
//!
//! # Form
//! `{call}.{position}`: the first 12 hex digits of the SHA-256 of the tool's name and arguments, and the
//! position as JSON in base64url. Arguments are compared by value: spellings with the same meaning are
//! equal.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use panaversity_model::{ContentHash, Refusal};
use rmcp::model::JsonObject;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Longest accepted cursor.
pub(super) const MAX_CURSOR_BYTES: usize = 2_000;
/// Hex digits of the call's hash.
const CALL_DIGITS: usize = 12;
/// Arguments that may differ between pages.
const OF_THE_PAGE: [&str; 2] = ["cursor", "limit"];

/// Encodes a position as a cursor.
pub(super) fn cursor(position: &impl Serialize) -> Value {
    // Positions are plain structs of text and numbers, which always serialise.
    let bytes = serde_json::to_vec(position).unwrap_or_default();
    Value::String(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// Decodes a position that [`cursor`] encoded.
pub(super) fn position<T: DeserializeOwned>(raw: &str) -> Result<T, Refusal> {
    let short = Some(raw).filter(|raw| raw.len() <= MAX_CURSOR_BYTES);
    let bytes = short.and_then(|raw| BASE64_URL_SAFE_NO_PAD.decode(raw).ok());
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or_else(bad_cursor)
}

/// Refusal of a cursor that this server did not write, or for another call.
pub(super) fn bad_cursor() -> Refusal {
    let why = "it must be the next_cursor of the page before, with the same tool and the same arguments";
    Refusal::argument("cursor", why)
}

/// Identity of a call whose pages are read one after the other.
pub(super) struct Continued {
    call: String,
}

impl Continued {
    /// Identity of a call of this tool with these arguments.
    pub(super) fn of(tool: &str, arguments: &JsonObject) -> Self {
        let mut text = tool.to_owned();
        let mut named: Vec<_> =
            arguments.iter().filter(|(name, _)| !OF_THE_PAGE.contains(&name.as_str())).collect();
        named.sort_by_key(|(name, _)| *name);
        for (name, value) in named {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            // A flag that is false equals one left out.
            if value.eq_ignore_ascii_case("false") {
                continue;
            }
            // Writing to a string does not fail.
            let _ = write!(text, "\0{name}\0{value}");
        }
        let hash = ContentHash::of(text.as_bytes()).to_string();
        Self { call: hash[..CALL_DIGITS].to_owned() }
    }

    /// Position in a cursor that this call returned.
    pub(super) fn open(&self, cursor: &str) -> Result<String, Refusal> {
        let own = cursor.strip_prefix(&self.call).and_then(|rest| rest.strip_prefix('.'));
        own.map(str::to_owned).ok_or_else(bad_cursor)
    }

    /// Binds the `next_cursor` of an answer, if there is one, to this call.
    pub(super) fn seal(&self, body: &mut Value) {
        if let Some(Value::String(cursor)) = body.get_mut("next_cursor") {
            *cursor = format!("{}.{cursor}", self.call);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(tool: &str, arguments: &Value) -> Continued {
        Continued::of(tool, arguments.as_object().unwrap())
    }

    #[test]
    fn a_cursor_goes_on_with_the_same_call_however_it_is_spelled_and_with_no_other() {
        let given = json!({ "pattern": "content/**", "all_books": true });
        let mut body = json!({ "matches": [], "next_cursor": "abc" });
        call("glob_search", &given).seal(&mut body);
        let cursor = body["next_cursor"].as_str().unwrap();
        for same in [
            json!({ "all_books": true, "pattern": "content/**" }),
            json!({ "all_books": "true", "pattern": "content/**", "cursor": cursor, "limit": 5, "flag": "False" }),
        ] {
            assert_eq!(call("glob_search", &same).open(cursor).unwrap(), "abc");
        }
        for other in [
            json!({ "all_books": true, "pattern": "content/*" }),
            json!({ "all_books": true, "pattern": "content/**", "user_id": "eve" }),
            json!({ "pattern": "content/**" }),
        ] {
            assert!(call("glob_search", &other).open(cursor).is_err(), "{other}");
        }
        assert!(call("list_books", &given).open(cursor).is_err());
        for forged in ["", "abc", ".abc", &cursor[1..]] {
            assert!(call("glob_search", &given).open(forged).is_err(), "{forged}");
        }
    }
}
