//! Output of a tool.

use panaversity_model::{Error, Refusal};
use serde_json::Value;

/// Hint of an answer without a link because no server is known to serve it.
const NO_LINKS: &str = "No link: over stdio nobody serves it. Set PANAVERSITY_PUBLIC_URL to the address of a running `panaversity-fs serve` on the same database and storage";

/// Result of a successful tool call.
pub(super) struct ToolOutput {
    /// The structured content.
    pub(super) body: Value,
    /// Bytes of content written or read, if known.
    pub(super) size: Option<u64>,
}

/// Result of a tool call.
pub(super) type ToolResult = Result<ToolOutput, Error>;

impl From<Value> for ToolOutput {
    fn from(body: Value) -> Self {
        Self { body, size: None }
    }
}

/// Adds a link to an answer; without one, a hint on how to get links.
pub(super) fn put_link(body: &mut Value, name: &str, link: Result<String, Refusal>) {
    match link {
        Ok(link) => body[name] = link.into(),
        Err(_) => body["hint"] = NO_LINKS.into(),
    }
}
