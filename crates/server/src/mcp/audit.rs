//! `query_audit_log` and `verify_audit_chain`. Keeps R5: without `user_id` they cover the base, with it
//! that user's entries and nobody else's.

use panaversity_model::audit::{AuditEntry, EntryFilter, EntryPosition, Operation};
use panaversity_model::chain::ChainError;
use panaversity_model::{BookPath, Layer, Refusal, Timestamp};
use panaversity_service::Call;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::AppState;
use crate::mcp::arguments::Arguments;
use crate::mcp::cursor::{bad_cursor, cursor};
use crate::mcp::glob::Glob;
use crate::mcp::tool_output::ToolResult;

/// Default and largest number of entries on a page.
pub(super) const ENTRIES_A_PAGE: usize = 100;
pub(super) const MOST_ENTRIES: usize = 1_000;

const STATUSES: [(&str, &str); 3] = [("success", "success"), ("refused", "refused"), ("failed", "failed")];

/// Cursor of a query.
#[derive(Serialize, Deserialize)]
struct AuditCursor {
    at: i64,
    id: String,
}

pub(super) async fn query(_: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let book = arguments.book()?;
    let access = call.may_audit(book, Layer::of(arguments.user()?))?;
    let glob = arguments.text("path")?.map(|raw| Glob::parse("path", &raw)).transpose()?;
    let agent = arguments.text("agent_id")?;
    if agent.as_ref().is_some_and(|agent| agent.contains(char::is_control)) {
        return Err(Refusal::argument("agent_id", "no agent's name has control characters").into());
    }
    let operations = Operation::ALL.map(|operation| (operation.as_str(), operation.as_str()));
    let operation = arguments.choice("operation", &operations)?.map(str::to_owned);
    let status = arguments.choice("status", &STATUSES)?.map(str::to_owned);
    let from = moment(&mut arguments, "since", "from")?;
    let to = moment(&mut arguments, "until", "to")?;
    let after = arguments.cursor::<AuditCursor>()?;
    if after.as_ref().is_some_and(|after| after.id.contains(char::is_control)) {
        return Err(bad_cursor().into());
    }
    let after =
        after.map(|after| EntryPosition { timestamp: Timestamp::from_micros(after.at), id: after.id });
    let limit = arguments.count("limit", 1, MOST_ENTRIES)?.unwrap_or(ENTRIES_A_PAGE);
    let mut filter = EntryFilter { agent, operation, status, from, to, ..EntryFilter::default() };
    if let Some(glob) = &glob {
        filter = filter.below(&glob.prefix);
    }
    let keep = |entry: &AuditEntry| glob.as_ref().is_none_or(|glob| glob.accepts_text(&entry.path));
    let page = call.query_audit_log(&access, filter, after, limit, keep).await?;
    let mut body = json!({ "entries": page.entries });
    if let Some(next) = page.next {
        body["next_cursor"] = cursor(&AuditCursor { at: next.timestamp.micros(), id: next.id });
    }
    Ok(body.into())
}

/// A timestamp given by its current or its former name.
fn moment(arguments: &mut Arguments, name: &str, earlier: &str) -> Result<Option<Timestamp>, Refusal> {
    match (arguments.moment(name)?, arguments.moment(earlier)?) {
        (Some(_), Some(_)) => {
            Err(Refusal::argument(earlier, format!("it means the same as {name}: give {name} alone")))
        }
        (named, called_earlier) => Ok(named.or(called_earlier)),
    }
}

pub(super) async fn verify(_: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let book = arguments.book()?;
    let path = arguments.path()?;
    let layer = Layer::of(arguments.user()?);
    if path.is_some() && book.is_none() {
        return Err(Refusal::argument("book_id", "it is required together with path").into());
    }
    let access = call.may_verify(book, layer)?;
    let path = path.as_ref().map(BookPath::as_str);
    let report = call.verify_audit_chain(&access, path).await?;
    let body = json!({
        "valid": report.breaks.is_empty(),
        "entries_checked": report.entries_checked,
        "breaks": report.breaks.iter().map(broken).collect::<Vec<_>>(),
    });
    Ok(body.into())
}

fn broken(found: &ChainError) -> Value {
    let mut body = json!({ "path": found.key.path, "reason": found.reason });
    if let Some(id) = &found.id {
        body["id"] = id.as_str().into();
    }
    body
}
