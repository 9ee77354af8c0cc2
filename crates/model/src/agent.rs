//! Agents: the callers named in the audit log. Keeps R7: every audit entry has a real agent.

use crate::refusal::Refusal;

/// Name used for a caller that gave none.
const NOBODY_IN_PARTICULAR: &str = "dev-mode-agent";

/// Name of a caller as recorded in the audit log: 1–200 bytes, no control characters, never
/// `system`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AgentId(String);

impl AgentId {
    /// Maximum length of a name in bytes.
    pub const MAX_BYTES: usize = 200;

    /// Parses a claimed or authenticated name. Surrounding white space is removed.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        let name = raw.trim();
        let why = if name.is_empty() {
            "it is empty"
        } else if name.eq_ignore_ascii_case("system") {
            "`system` is nobody: the log must name a real agent"
        } else if name.len() > Self::MAX_BYTES {
            "it is longer than 200 bytes"
        } else if name.chars().any(char::is_control) {
            "it contains control characters"
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(Refusal::argument("X-Agent-Id", why))
    }

    /// Agent of a caller that gave no name and need not authenticate.
    pub fn unnamed() -> Self {
        Self(NOBODY_IN_PARTICULAR.to_owned())
    }

    /// Name as stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r7_an_agent_is_never_empty_nor_system() {
        for bad in ["", "  ", "system", "System ", "a\nb", &"x".repeat(201)] {
            assert!(AgentId::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(AgentId::parse(" writer-7 ").unwrap().as_str(), "writer-7");
    }
}
