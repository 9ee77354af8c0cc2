//! The operator who runs a command, as the audit log names whoever changes something (R7).

use std::process::Command;

use panaversity_model::AgentId;

use crate::failure::Failure;

/// The agent of this name, else of the operating system's user who runs this process.
pub(super) fn operator(name: Option<&str>) -> Result<AgentId, Failure> {
    let name = name.map(str::to_owned).or_else(user_name).unwrap_or_default();
    AgentId::parse(&name).map_err(|_| {
        Failure::Usage(format!("{name:?} is no name for the audit log: say who you are with --agent-id"))
    })
}

fn user_name() -> Option<String> {
    let output = Command::new("id").arg("-un").output().ok()?;
    String::from_utf8(output.stdout)
        .ok()
        .map(|name| name.trim().to_owned())
        .filter(|_| output.status.success())
}
