//! Bodies of MCP requests before they are dispatched, and the arguments in them. Laws: a sound text is
//! passed on byte for byte; a repaired one is JSON of the same length; a rejection is a JSON-RPC error whose
//! code tells syntax from shape exactly as the parser of messages does; a count lies within its limits.

#![no_main]

use libfuzzer_sys::fuzz_target;
use panaversity_server::fuzzing::{ParsedMessage, count_argument, is_message, parse_message, rejection};
use serde_json::Value;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fuzz_target!(|text: &[u8]| {
    let bare = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    match parse_message(text) {
        ParsedMessage::Sound(passed) => {
            assert_eq!(&passed[..], bare);
            assert!(std::str::from_utf8(&passed).is_ok());
            if !is_message(&passed) {
                let error = rejection(&passed);
                let is_syntax = check_error(&error) == -32700;
                assert_eq!(is_syntax, serde_json::from_slice::<Value>(&passed).is_err(), "{error}");
            }
            if let Ok(message) = serde_json::from_slice(&passed) {
                read_arguments(&message);
            }
        }
        ParsedMessage::Unreadable(passed, argument) => {
            assert_eq!(passed.len(), bare.len());
            let message: Value = serde_json::from_slice(&passed).expect("a repaired text is JSON");
            assert_eq!(message["method"], "tools/call");
            // Arguments of older clients stand one level deeper, and a name that was repaired is not told.
            let arguments = &message["params"]["arguments"];
            let inner = &arguments["params"];
            let is_there = |at: &Value| at.get(&argument).is_some();
            assert!(
                argument == "arguments" || is_there(arguments) || is_there(inner),
                "{argument:?} {message}"
            );
        }
        ParsedMessage::Rejected(error) => drop(check_error(&error)),
    }
});

/// Checks the form of a JSON-RPC error; returns its code.
fn check_error(error: &Value) -> i64 {
    assert_eq!(error["jsonrpc"], "2.0");
    assert!(error["id"].is_null() || error["id"].is_string() || error["id"].is_number(), "{error}");
    assert!(error["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
    let code = error["error"]["code"].as_i64().expect("a code");
    assert!([-32700, -32600, -32602].contains(&code), "{error}");
    code
}

fn read_arguments(message: &Value) {
    for arguments in [message, &message["params"], &message["params"]["arguments"]] {
        let Value::Object(arguments) = arguments else { continue };
        let tool = arguments.len()
            + message["id"].as_u64().and_then(|id| usize::try_from(id).ok()).unwrap_or(0) % 97;
        if let Some(count) = count_argument(tool, arguments.clone(), 1, 1_000) {
            assert!((1..=1_000).contains(&count));
        }
    }
}
