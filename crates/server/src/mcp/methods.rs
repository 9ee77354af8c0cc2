//! The supported methods of the protocol, and errors for others: they name the problem and the supported
//! values, which rmcp's errors don't.

use panaversity_model::ErrorCode;
use panaversity_model::suggestion::nearest_name;
use rmcp::ErrorData;
use rmcp::model::{
    CallToolRequestParams, CompleteRequestParams, ErrorCode as RpcErrorCode, GetPromptRequestParams,
    InitializeRequestParams, PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams,
    SubscriptionsListenRequestParams,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

const METHODS: [&str; 12] = [
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    LISTEN,
];
/// Methods that 2026-07-28 has removed.
const HANDSHAKE: [&str; 2] = ["initialize", "ping"];
/// The method that it has added.
const LISTEN: &str = "subscriptions/listen";
/// Most characters of a caller's text that an error repeats.
const MOST_SAID_BACK: usize = 200;

/// True if there is such a method, in 2026-07-28 or before it.
pub(super) fn is_known(method: &str, is_modern: bool) -> bool {
    let is_of_the_other_era = if is_modern { HANDSHAKE.contains(&method) } else { method == LISTEN };
    METHODS.contains(&method) && !is_of_the_other_era
}

/// The error for a method that is unknown, or not part of the client's revision.
pub(super) fn not_found(method: &str) -> ErrorData {
    let others: Vec<_> = METHODS.into_iter().filter(|known| *known != method).collect();
    let (near, said) = (nearest_name(method, others.iter().copied()), start_of(method));
    let message = match near {
        _ if METHODS.contains(&method) => {
            format!("There is no method `{said}` in this revision of the protocol")
        }
        Some(near) => format!("There is no method `{said}`; did you mean `{near}`?"),
        None => format!("There is no method `{said}`"),
    };
    let data = json!({ "code": ErrorCode::InvalidArgument.as_str(), "suggestion": near, "methods": others });
    ErrorData::new(RpcErrorCode::METHOD_NOT_FOUND, message, Some(data))
}

/// The error for a known method with invalid params.
pub(super) fn invalid_params(method: &str, params: Option<&Value>) -> ErrorData {
    let none = Map::new();
    let params = params.and_then(Value::as_object).unwrap_or(&none);
    let why = match method {
        "initialize" => {
            fault::<InitializeRequestParams>(params, &["protocolVersion", "capabilities", "clientInfo"])
        }
        "tools/call" => {
            fault::<CallToolRequestParams>(params, &["name", "arguments", "inputResponses", "requestState"])
        }
        "resources/read" => {
            fault::<ReadResourceRequestParams>(params, &["uri", "inputResponses", "requestState"])
        }
        "prompts/get" => {
            fault::<GetPromptRequestParams>(params, &["name", "arguments", "inputResponses", "requestState"])
        }
        LISTEN => fault::<SubscriptionsListenRequestParams>(params, &["notifications"]),
        "completion/complete" => fault::<CompleteRequestParams>(params, &["ref", "argument", "context"]),
        _ => fault::<PaginatedRequestParams>(params, &["cursor"]),
    };
    let why = why.unwrap_or_else(|| "the params are not those of this method".to_owned());
    ErrorData::invalid_params(
        format!("{method}: {why}"),
        Some(json!({ "code": ErrorCode::InvalidArgument.as_str() })),
    )
}

/// The completion request without null arguments, which count as not chosen.
pub(super) fn completion_without_nulls(params: &Value) -> Option<CompleteRequestParams> {
    let mut params = params.clone();
    params.pointer_mut("/context/arguments")?.as_object_mut()?.retain(|_, value| !value.is_null());
    serde_json::from_value(params).ok()
}

/// The error in the params, with the name of the parameter. Only fields that the method knows are
/// examined, so that the work does not grow with other fields.
fn fault<P: DeserializeOwned>(params: &Map<String, Value>, fields: &[&str]) -> Option<String> {
    let parse =
        |params| serde_json::from_value::<P>(Value::Object(params)).err().map(|error| error.to_string());
    let known = fields.iter().copied().chain(["_meta"]);
    let params: Map<String, Value> =
        known.filter_map(|name| Some((name.to_owned(), params.get(name)?.clone()))).collect();
    let why = parse(params.clone())?;
    let guilty = params.keys().find(|name| {
        let mut others = params.clone();
        others.remove(*name);
        parse(others).is_none_or(|error| error.contains(&format!("missing field `{name}`")))
    });
    let why = start_of(&why);
    Some(guilty.map_or_else(|| why.clone(), |name| format!("params.{}: {why}", start_of(name))))
}

/// Adds to an error of rmcp's what it leaves out; returns true if it was changed.
pub(super) fn clarify(error: &mut ErrorData) -> bool {
    match error.code {
        // Its message is the method's name.
        RpcErrorCode::METHOD_NOT_FOUND if error.data.is_none() => *error = not_found(&error.message),
        RpcErrorCode::UNSUPPORTED_PROTOCOL_VERSION => {
            let requested = error.data.as_ref().and_then(|data| data["requested"].as_str());
            *error = unsupported_version(requested.unwrap_or_default());
        }
        _ => return false,
    }
    true
}

/// The error for an unsupported revision of the protocol.
pub(super) fn unsupported_version(requested: &str) -> ErrorData {
    let supported: Vec<_> = ProtocolVersion::KNOWN_VERSIONS.iter().map(ProtocolVersion::as_str).collect();
    let (said, all) = (start_of(requested), supported.join(", "));
    let message = format!("Protocol version `{said}` is not supported; supported are {all}");
    let data = json!({ "requested": said, "supported": supported });
    ErrorData::new(RpcErrorCode::UNSUPPORTED_PROTOCOL_VERSION, message, Some(data))
}

/// True if this server supports the revision.
pub(super) fn speaks(version: &str) -> bool {
    ProtocolVersion::KNOWN_VERSIONS.iter().any(|known| known.as_str() == version)
}

fn start_of(text: &str) -> String {
    text.chars().take(MOST_SAID_BACK).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_method_is_told_the_nearest_and_all_there_are() {
        let error = not_found("tools/lst");
        assert_eq!(error.message, "There is no method `tools/lst`; did you mean `tools/list`?");
        assert_eq!(error.data.unwrap()["methods"].as_array().unwrap().len(), METHODS.len());
        let error = not_found("ping");
        assert_eq!(error.message, "There is no method `ping` in this revision of the protocol");
        assert!(not_found(&"x".repeat(1_000_000)).message.len() < 300);
    }

    #[test]
    fn many_strange_params_cost_no_more_than_a_few() {
        let mut params: Map<String, Value> = (0..300_000).map(|n| (format!("k{n}"), n.into())).collect();
        let error = invalid_params("resources/read", Some(&Value::Object(params.clone())));
        assert!(error.message.contains("missing field `uri`"), "{}", error.message);
        params.insert("uri".to_owned(), 5.into());
        let error = invalid_params("resources/read", Some(&Value::Object(params)));
        assert!(error.message.contains("params.uri: invalid type"), "{}", error.message);
    }

    #[test]
    fn params_that_do_not_fit_are_named() {
        for (method, params, says) in [
            ("resources/read", json!({}), "missing field `uri`"),
            ("resources/read", json!({ "uri": 5 }), "params.uri: invalid type"),
            ("prompts/get", json!({ "name": ["x"] }), "params.name: invalid type"),
            ("prompts/get", json!({ "name": "x", "arguments": "y" }), "params.arguments: invalid type"),
            ("tools/call", json!({ "name": "x", "requestState": 5 }), "params.requestState: invalid type"),
            (
                "tools/call",
                json!({ "name": "x", "inputResponses": 5 }),
                "params.inputResponses: invalid type",
            ),
            ("tools/list", json!({ "cursor": 5 }), "params.cursor: invalid type"),
            (
                "completion/complete",
                json!({ "ref": { "type": "ref/prompt", "name": "x" } }),
                "missing field `argument`",
            ),
            ("initialize", json!({ "protocolVersion": "2025-06-18" }), "missing field"),
        ] {
            let error = invalid_params(method, Some(&params));
            assert!(error.message.contains(says), "{method} {params}: {}", error.message);
            assert!(error.message.starts_with(method), "{}", error.message);
        }
    }
}
