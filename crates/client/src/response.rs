//! Classification of HTTP responses. Invariant: only a well-formed success is a result; everything
//! else is a refusal, a transient fault, or an unexpected response.

use std::fmt;
use std::time::Duration;

use panaversity_model::ErrorCode;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

/// Codes of transient faults.
const PASSING: [ErrorCode; 3] =
    [ErrorCode::StorageUnavailable, ErrorCode::DatabaseUnavailable, ErrorCode::Timeout];

/// A classified response.
#[derive(Debug)]
pub(super) enum Decoded {
    /// The tool's structured result.
    HttpAnswer(Value),
    /// A refusal; a retry would not help.
    ServerError(ServerError),
    /// A transient fault: retry.
    MayPass(String),
    /// The rate limit was exceeded: retry after `wait`.
    Limited { why: String, wait: Duration },
    /// Not the response of a `PanaversityFS` server.
    UnexpectedResponse(String),
}

/// A refusal in the server's words.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ServerError {
    /// Stable code, such as `CONFLICT`.
    pub code: String,
    /// Description of the error.
    pub message: String,
    /// Suggested next step.
    pub hint: String,
    /// `unknown` when the outcome of a commit could not be determined.
    pub outcome: String,
    /// The nearest admitted name.
    pub suggestion: Option<String>,
}

impl ServerError {
    /// Returns true if it has this code.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.code == code.as_str()
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct RpcResponse {
    result: Option<ToolResult>,
    error: Option<RpcError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolResult {
    #[serde(default)]
    structured_content: Value,
    #[serde(default)]
    is_error: bool,
}

#[derive(Deserialize)]
struct RpcError {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Value,
}

/// Classifies one HTTP response.
pub(super) fn judge(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Decoded {
    let passing = status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT;
    let limited = status == StatusCode::TOO_MANY_REQUESTS;
    let wait = retry_after.unwrap_or(Duration::from_secs(1));
    let refused = match serde_json::from_slice::<RpcResponse>(body) {
        Ok(RpcResponse { result: Some(result), .. }) if !result.is_error => {
            return match result.structured_content {
                value @ Value::Object(_) if status.is_success() => Decoded::HttpAnswer(value),
                _ if passing => Decoded::MayPass(format!("HTTP {status}")),
                _ => Decoded::UnexpectedResponse("the answer holds no result".to_owned()),
            };
        }
        Ok(RpcResponse { result: Some(result), .. }) => of_tool(&result.structured_content),
        Ok(RpcResponse { error: Some(error), .. }) => Some(of_rpc(error, status)),
        _ => None,
    };
    match refused {
        Some(refused) if limited || refused.is(ErrorCode::RateLimited) => {
            Decoded::Limited { why: refused.to_string(), wait }
        }
        None if limited => Decoded::Limited { why: format!("HTTP {status}"), wait },
        Some(refused)
            if passing || refused.outcome == "unknown" || PASSING.iter().any(|&code| refused.is(code)) =>
        {
            Decoded::MayPass(refused.to_string())
        }
        Some(refused) => Decoded::ServerError(refused),
        None if passing => Decoded::MayPass(format!("HTTP {status}")),
        None if status.is_success() => Decoded::UnexpectedResponse(
            "the answer is not one of a PanaversityFS server; check --url".to_owned(),
        ),
        None => Decoded::UnexpectedResponse(format!("HTTP {status}; check --url")),
    }
}

fn of_tool(structured: &Value) -> Option<ServerError> {
    ServerError::deserialize(structured.get("error")?).ok()
}

fn of_rpc(error: RpcError, status: StatusCode) -> ServerError {
    let data = error.data.get("error").unwrap_or(&error.data);
    let mut refused = ServerError::deserialize(data).unwrap_or_default();
    if refused.message.is_empty() {
        refused.message = error.message;
    }
    if refused.code.is_empty() {
        refused.code = if status.is_success() {
            format!("JSON-RPC {}", error.code)
        } else {
            format!("HTTP {}", status.as_u16())
        };
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judged(status: u16, body: &Value) -> Decoded {
        judge(StatusCode::from_u16(status).unwrap(), None, body.to_string().as_bytes())
    }

    fn refusal(code: &str, outcome: &str) -> Value {
        json!({"result": {"isError": true, "structuredContent":
            {"error": {"code": code, "message": "m", "hint": "h", "outcome": outcome}}}})
    }

    #[test]
    fn only_a_well_formed_success_is_an_answer() {
        let good = json!({"result": {"structuredContent": {"a": 1}, "content": [], "isError": false}});
        assert!(matches!(judged(200, &good), Decoded::HttpAnswer(_)));
        assert!(matches!(judged(500, &good), Decoded::MayPass(_)));
        assert!(matches!(judged(200, &json!({"result": {}})), Decoded::UnexpectedResponse(_)));
        assert!(matches!(judged(200, &json!({})), Decoded::UnexpectedResponse(_)));
        assert!(matches!(judged(404, &json!("no such page")), Decoded::UnexpectedResponse(_)));
        assert!(matches!(judged(502, &json!("bad gateway")), Decoded::MayPass(_)));
    }

    #[test]
    fn faults_of_the_moment_may_pass_and_refusals_do_not() {
        assert!(matches!(judged(200, &refusal("DATABASE_UNAVAILABLE", "")), Decoded::MayPass(_)));
        assert!(matches!(judged(200, &refusal("INTERNAL", "unknown")), Decoded::MayPass(_)));
        assert!(matches!(judged(200, &refusal("RATE_LIMITED", "")), Decoded::Limited { .. }));
        assert!(matches!(judged(429, &json!("slow down")), Decoded::Limited { .. }));
        let Decoded::ServerError(refused) = judged(200, &refusal("CONFLICT", "")) else { panic!() };
        assert_eq!(refused.to_string(), "CONFLICT: m (h)");
    }

    #[test]
    fn a_refusal_before_the_tool_is_known_keeps_its_code() {
        let body = json!({"error": {"code": -32001, "message": "who?", "data": {"code": "UNAUTHENTICATED"}}});
        let Decoded::ServerError(refused) = judged(401, &body) else { panic!() };
        assert_eq!(refused.to_string(), "UNAUTHENTICATED: who?");
        let Decoded::ServerError(refused) = judged(403, &json!({"error": {"message": "no"}})) else {
            panic!()
        };
        assert_eq!(refused.to_string(), "HTTP 403: no");
    }
}
