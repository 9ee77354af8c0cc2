//! Decoding of received messages, over HTTP or stdio, before they are parsed: tells unreadable text from
//! text that is no message, and refuses each with its reason, under the message's own id if that can be
//! found.
//!
//! 1. A byte order mark before the text is dropped.
//! 2. Invalid UTF-8 and lone surrogates are found without parsing. A text without them, as nearly every
//!    one is, is passed on unchanged.
//! 3. Otherwise they are replaced by as many other bytes. If all of them lie in the arguments of a call,
//!    the call is passed on with the name of the argument, to be refused, recorded and logged like any
//!    other.
//!
//! Reasons and log lines contain no content of a message.

use axum::body::Bytes;
use panaversity_model::{ErrorCode, Refusal};
use serde_json::{Error, Value};

use super::envelope::Envelope;

pub(crate) const PARSE_ERROR: i32 = -32700;
pub(crate) const INVALID_REQUEST: i32 = -32600;
pub(crate) const INVALID_PARAMS: i32 = -32602;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Most repaired positions that are noted; the first ones suffice for the reason.
const MOST_PLACES: usize = 1_000;
/// Length of `\uXXXX`.
const ESCAPE_BYTES: usize = 6;

/// A received text.
pub(crate) enum ParsedText {
    /// Passed on unchanged.
    Sound(Bytes),
    /// A repaired call that must be refused.
    Unreadable(Bytes, Unreadable),
    /// Not passed on.
    Rejected(Rejection),
}

/// The unreadable argument of a call. It is passed on with the call, which is then refused in the
/// dispatch of all calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) argument: String,
    why: &'static str,
}

impl Unreadable {
    /// The arguments are no object.
    pub(crate) fn no_object() -> Self {
        let why = "it must be an object with the tool's arguments by name";
        Self { argument: "arguments".to_owned(), why }
    }

    pub(crate) fn log(&self) {
        tracing::warn!(target: "panaversity_fs.server", "an argument of a call could not be read: {}", self.why);
    }

    pub(crate) fn refusal(&self) -> Refusal {
        Refusal::argument(&self.argument, self.why)
    }
}

/// Refusal of a text before it is parsed as a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rejection {
    pub(crate) id: Value,
    pub(crate) code: i32,
    pub(crate) message: String,
    /// True if no client waits for an answer.
    pub(crate) is_silent: bool,
}

impl Rejection {
    /// Logs the refusal, answered or not.
    pub(crate) fn log(&self) {
        tracing::warn!(
            target: "panaversity_fs.server",
            rpc_code = self.code,
            answered = !self.is_silent,
            "a message could not be read: {}",
            self.message
        );
    }

    /// The JSON-RPC error.
    pub(crate) fn body(&self) -> Value {
        crate::error::rpc_error(&self.id, self.code, &self.message, ErrorCode::InvalidArgument)
    }
}

/// Reason for refusing a message that is too large.
pub(crate) fn too_large(most: usize) -> String {
    format!("The request has more than {most} bytes: upload_asset takes file_size instead of binary_data")
}

/// Checks a received text.
pub(crate) fn arrive(text: Bytes) -> ParsedText {
    let text = if text.starts_with(BYTE_ORDER_MARK) { text.slice(BYTE_ORDER_MARK.len()..) } else { text };
    let sound = std::str::from_utf8(&text);
    if sound.is_ok_and(|text| lone_surrogate(text, 0).is_none()) {
        return ParsedText::Sound(text);
    }
    let bad_byte = sound.err().map(|error| error.valid_up_to());
    let why = match bad_byte {
        Some(_) => "it has a byte that is not UTF-8",
        None => "it has half of a surrogate pair (\\ud800 to \\udfff), as a cut emoji leaves it",
    };
    let mut repaired = Vec::from(text);
    let places = repair(&mut repaired);
    let (envelope, read) = Envelope::locate(&repaired, &places);
    match (bad_byte, read) {
        // A syntax error after an invalid byte may be caused by it.
        (Some(at), Err(_)) => {
            let message = format!("The message is not UTF-8: see byte {}", at + 1);
            ParsedText::Rejected(rejection(&envelope, false, PARSE_ERROR, message))
        }
        (None, Err(error)) => ParsedText::Rejected(no_json(&repaired, &envelope, &error)),
        (_, Ok(_)) => located(repaired, &envelope, why),
    }
}

/// Id for the answer to a text that is refused for another reason.
pub(crate) fn answerable_id(text: Bytes) -> Value {
    match arrive(text) {
        ParsedText::Sound(text) | ParsedText::Unreadable(text, _) => Envelope::read(&text).0.answerable_id(),
        ParsedText::Rejected(rejection) => rejection.id,
    }
}

/// Passes a repaired text on if the repair affects only an argument.
fn located(repaired: Vec<u8>, envelope: &Envelope, why: &'static str) -> ParsedText {
    let is_call =
        envelope.method.as_ref().is_some_and(|method| method == "tools/call") && envelope.id.is_some();
    match (&envelope.repaired.elsewhere, &envelope.repaired.argument) {
        (None, Some(argument)) if is_call => {
            let unreadable = Unreadable { argument: argument.clone(), why };
            ParsedText::Unreadable(repaired.into(), unreadable)
        }
        (elsewhere, argument) => {
            let argument = argument.as_ref().map(|name| format!("params.arguments.{name}"));
            let place = elsewhere.clone().or(argument).unwrap_or_else(|| "the message".to_owned());
            let code = if place.starts_with("params") { INVALID_PARAMS } else { PARSE_ERROR };
            ParsedText::Rejected(rejection(envelope, true, code, format!("{place}: {why}")))
        }
    }
}

/// Reason why a text is no message.
pub(crate) fn reject(text: &[u8]) -> Rejection {
    let (envelope, read) = Envelope::read(text);
    match read {
        Err(error) => no_json(text, &envelope, &error),
        Ok(kind) => no_message(&envelope, kind),
    }
}

fn no_json(text: &[u8], envelope: &Envelope, error: &Error) -> Rejection {
    let message = if text.trim_ascii().is_empty() {
        "The message is empty".to_owned()
    } else {
        format!("The message is not JSON: {error}")
    };
    rejection(envelope, false, PARSE_ERROR, message)
}

/// Reason why JSON of this kind is no message.
pub(crate) fn no_message(envelope: &Envelope, kind: &str) -> Rejection {
    let (code, message) = shape_fault(envelope, kind);
    rejection(envelope, true, code, message)
}

fn shape_fault(envelope: &Envelope, kind: &str) -> (i32, String) {
    let invalid = |message: &str| (INVALID_REQUEST, message.to_owned());
    if kind == "a list" {
        return invalid("batches are not supported: send each message by itself");
    }
    if kind != "an object" {
        return invalid(&format!("A message is an object, not {kind}"));
    }
    if let Some(name) = envelope.twice {
        return invalid(&format!("`{name}` is there twice"));
    }
    if envelope.version.as_ref().is_none_or(|version| version != "2.0") {
        return invalid("`jsonrpc` must be \"2.0\"");
    }
    match &envelope.method {
        None if envelope.is_answer => return invalid("It is no answer to anything that was asked"),
        None => return invalid("`method` is missing"),
        Some(_) if envelope.is_answer => {
            return invalid("A message has `method`, `result` or `error`, and only one of them");
        }
        Some(Value::String(_)) => {}
        Some(_) => return invalid("`method` must be text"),
    }
    if envelope.id.as_ref().is_some_and(|id| !id.is_string() && !id.is_i64()) {
        return invalid("`id` must be text or a whole number");
    }
    let invalid_params =
        |name: &str, kind: &str| (INVALID_PARAMS, format!("`{name}` must be an object, not {kind}"));
    match (envelope.params, envelope.meta) {
        (Some(kind), _) if kind != "an object" && kind != "null" => invalid_params("params", kind),
        (_, Some(kind)) if kind != "an object" && kind != "null" => invalid_params("params._meta", kind),
        _ => invalid("It is no message of this protocol"),
    }
}

fn rejection(envelope: &Envelope, is_whole: bool, code: i32, message: String) -> Rejection {
    Rejection { id: envelope.answerable_id(), code, message, is_silent: envelope.wants_no_answer(is_whole) }
}

/// Replaces unreadable bytes by as many readable ones; returns the first offsets.
fn repair(text: &mut [u8]) -> Vec<usize> {
    let mut places = Vec::new();
    let mut from = 0;
    while let Err(error) = std::str::from_utf8(&text[from..]) {
        let at = from + error.valid_up_to();
        let bytes = error.error_len().unwrap_or(text.len() - at);
        text[at..at + bytes].fill(b'?');
        if places.len() < MOST_PLACES {
            places.push(at);
        }
        from = at + bytes;
    }
    let mut halves = Vec::new();
    if let Ok(text) = std::str::from_utf8(text) {
        let next = |from| lone_surrogate(text, from);
        halves.extend(std::iter::successors(next(0), |at| next(at + ESCAPE_BYTES)));
    }
    for at in &halves {
        text[*at..at + ESCAPE_BYTES].copy_from_slice(b"\\ufffd");
    }
    places.extend(halves.into_iter().take(MOST_PLACES));
    places.sort_unstable();
    places
}

/// Position of the next escaped surrogate without its other half. Backslashes occur only in strings, so
/// no parser is needed.
fn lone_surrogate(text: &str, mut from: usize) -> Option<usize> {
    loop {
        let at = from + text.get(from..)?.find('\\')?;
        match escaped_unit(text, at) {
            Some(0xd800..=0xdbff) => match escaped_unit(text, at + ESCAPE_BYTES) {
                Some(0xdc00..=0xdfff) => from = at + 2 * ESCAPE_BYTES,
                _ => return Some(at),
            },
            Some(0xdc00..=0xdfff) => return Some(at),
            Some(_) => from = at + ESCAPE_BYTES,
            None => from = at + 1 + usize::from(text[at + 1..].starts_with('\\')),
        }
    }
}

/// The code unit that a `\uXXXX` at this position encodes.
fn escaped_unit(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at + ESCAPE_BYTES)?.strip_prefix("\\u")?;
    let digits = Some(digits).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn call(argument: &str) -> Vec<u8> {
        let head = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","arguments":{"book_id":"b","content":""#;
        [head, argument.as_bytes(), br#""}}}"#].concat()
    }

    fn rejected(text: &[u8]) -> Rejection {
        match arrive(Bytes::copy_from_slice(text)) {
            ParsedText::Rejected(rejection) => rejection,
            ParsedText::Sound(text) => reject(&text),
            ParsedText::Unreadable(_, unreadable) => panic!("{unreadable:?}"),
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_found_in_every_form_and_nothing_else_is() {
        for half in [r"\ud83d", r"\uDE00", r"a\ud83d\u0041", r"\ud83d\ud83d\ude00", r"\\\ud83d", r"\ud83dé"]
        {
            let ParsedText::Unreadable(text, unreadable) = arrive(call(half).into()) else {
                panic!("{half}")
            };
            assert_eq!(unreadable.argument, "content");
            assert!(serde_json::from_slice::<Value>(&text).is_ok(), "{half}");
            assert_eq!(text.len(), call(half).len());
        }
        for sound in [r"\ud83d\ude00", r"\\ud83d", r"\n\\", "😀", r"\ufffd", r"\u00e9", "ud83d"] {
            assert!(matches!(arrive(call(sound).into()), ParsedText::Sound(_)), "{sound}");
        }
    }

    #[test]
    fn what_is_no_message_is_told_from_what_is_no_json_and_both_know_their_id() {
        let called = r#"{"jsonrpc":"2.0","id":7,"method":"x","#;
        for (text, code, id, says) in [
            ("", PARSE_ERROR, json!(null), "is empty"),
            (&format!("{called}\"params\":{{\"a\":NaN}}}}"), PARSE_ERROR, json!(7), "expected value"),
            (&format!("{called}\"params\":"), PARSE_ERROR, json!(7), "EOF"),
            (&format!("{called}\"params\":{{}}}} x"), PARSE_ERROR, json!(7), "trailing"),
            ("[]", INVALID_REQUEST, json!(null), "batches are not supported"),
            ("7", INVALID_REQUEST, json!(null), "not a number"),
            (r#"{"id":"a","method":"x"}"#, INVALID_REQUEST, json!("a"), "jsonrpc"),
            (r#"{"jsonrpc":"2.0","id":1}"#, INVALID_REQUEST, json!(1), "`method` is missing"),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, INVALID_REQUEST, json!(1), "`method` must be text"),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"x"}"#, INVALID_REQUEST, json!(1.5), "`id` must be"),
            (r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#, INVALID_REQUEST, json!(null), "`id` must be"),
            (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}"#, INVALID_REQUEST, json!(2), "twice"),
            (&format!("{called}\"result\":1}}"), INVALID_REQUEST, json!(null), "only one"),
            (
                &format!("{called}\"params\":[]}}"),
                INVALID_PARAMS,
                json!(7),
                "`params` must be an object, not a list",
            ),
            (&format!("{called}\"params\":{{\"_meta\":5}}}}"), INVALID_PARAMS, json!(7), "params._meta"),
        ] {
            let rejection = rejected(text.as_bytes());
            assert_eq!((rejection.code, &rejection.id), (code, &id), "{text}: {rejection:?}");
            assert!(rejection.message.contains(says), "{text}: {rejection:?}");
            assert!(!rejection.is_silent, "{text}");
        }
    }

    #[test]
    fn a_byte_that_is_no_text_is_named_where_it_stands() {
        let rejection = rejected(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xe9\"}");
        assert_eq!((rejection.code, rejection.id), (PARSE_ERROR, json!(1)));
        assert!(rejection.message.starts_with("method: "), "{}", rejection.message);
        let rejection =
            rejected(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{\"uri\":\"\xe9\"}}");
        assert_eq!((rejection.code, rejection.id), (INVALID_PARAMS, json!(1)));
        assert!(rejection.message.starts_with("params.uri: "), "{}", rejection.message);
        let rejection = rejected(b"{\"jsonrpc\":\"2.0\",\"id\":\"\xe9\",\"method\":\"x\"}");
        assert_eq!((rejection.code, rejection.id), (PARSE_ERROR, Value::Null));
        let wide: Vec<u8> = "{\"id\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let rejection = rejected(&[b"\xff\xfe", wide.as_slice()].concat());
        assert_eq!((rejection.code, rejection.id), (PARSE_ERROR, Value::Null));
        assert!(rejection.message.contains("not UTF-8: see byte 1"), "{}", rejection.message);
    }

    #[test]
    fn answers_and_notifications_are_not_answered() {
        for text in [
            r#"{"jsonrpc":"2.0","method":"notifications/initialized","params":5}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"#,
            r#"{"jsonrpc":"2.0","method":"anything","params":[]}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"a":NaN}}"#,
            r#"{"id":1,"error":{"code":1,"message":"x"}}"#,
        ] {
            assert!(rejected(text.as_bytes()).is_silent, "{text}");
        }
    }

    proptest! {
        /// For any text: a text that is passed on is JSON or has no repaired position, and has the same
        /// length.
        #[test]
        fn a_repaired_text_is_as_long_and_as_sound_as_any(
            text in proptest::collection::vec(prop_oneof![
                Just(b"\\ud83d".to_vec()), Just(b"\\ude00".to_vec()), Just(b"\\".to_vec()), Just(b"\"".to_vec()),
                Just(vec![0xe9]), Just(vec![0xf0, 0x9f]), Just("é".as_bytes().to_vec()), Just(b"u12".to_vec()),
            ], 0..12)
        ) {
            let mut text = text.concat();
            let length = text.len();
            repair(&mut text);
            prop_assert_eq!(text.len(), length);
            prop_assert!(lone_surrogate(std::str::from_utf8(&text).unwrap(), 0).is_none());
            let quoted = [b"\"".as_slice(), &text, b"\""].concat();
            let error = serde_json::from_slice::<Value>(&quoted).err().map(|error| error.to_string());
            prop_assert!(!error.unwrap_or_default().contains("surrogate"));
        }
    }
}
