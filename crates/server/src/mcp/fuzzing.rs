//! Messages, arguments and globs, as the fuzz targets parse them.

use axum::body::Bytes;
use panaversity_model::path::Prefix;
use rmcp::model::{ClientJsonRpcMessage, JsonObject};
use serde_json::Value;

use super::arguments::Arguments;
use super::glob::Glob;
use super::message::{self, ParsedText};
use super::tools;

/// A glob.
pub struct ParsedGlob(Glob);

/// Result of decoding a received text.
#[derive(Debug)]
pub enum ParsedMessage {
    /// Passed on unchanged.
    Sound(Bytes),
    /// Repaired and passed on with the name of the argument that could not be read.
    Unreadable(Bytes, String),
    /// Refused with this JSON-RPC error.
    Rejected(Value),
}

/// Parses a glob.
pub fn parse_glob(raw: &str) -> Option<ParsedGlob> {
    Glob::parse("pattern", raw).ok().map(ParsedGlob)
}

impl ParsedGlob {
    /// True if the glob matches the path.
    pub fn accepts(&self, path: &str) -> bool {
        self.0.accepts_text(path)
    }

    /// Prefix of every matching path.
    pub fn prefix(&self) -> &Prefix {
        &self.0.prefix
    }
}

/// Decodes a received text.
pub fn parse_message(text: &[u8]) -> ParsedMessage {
    match message::arrive(Bytes::copy_from_slice(text)) {
        ParsedText::Sound(text) => ParsedMessage::Sound(text),
        ParsedText::Unreadable(text, unreadable) => ParsedMessage::Unreadable(text, unreadable.argument),
        ParsedText::Rejected(rejection) => ParsedMessage::Rejected(rejection.body()),
    }
}

/// True if a sound text is a message of the protocol.
pub fn is_message(text: &[u8]) -> bool {
    serde_json::from_slice::<ClientJsonRpcMessage>(text).is_ok()
}

/// The JSON-RPC error for a sound text that is no message.
pub fn rejection(text: &[u8]) -> Value {
    message::reject(text).body()
}

/// Reads these arguments as each type of argument of the tool with that number. Returns `limit`, if all
/// names are known and it is one from `least` to `most`.
pub fn count_argument(tool: usize, given: JsonObject, least: usize, most: usize) -> Option<usize> {
    let tool = &tools::ALL[tool % tools::ALL.len()];
    let signature = tool.signature();
    let mut arguments = Arguments::unwrapped(given, &signature);
    let is_known = arguments.refuse_unknown(&signature).is_ok();
    let is_sealed = arguments.continued(tool.name).is_ok();
    let _ = (arguments.book(), arguments.path(), arguments.user(), arguments.asset_type());
    let _ = (arguments.hash("hash"), arguments.flag("outline"), arguments.moment("since"));
    if is_sealed {
        let _ = arguments.cursor::<Value>();
    }
    arguments.count("limit", least, most).ok().flatten().filter(|_| is_known)
}
