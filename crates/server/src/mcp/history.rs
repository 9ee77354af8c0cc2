//! `list_history` and `blame_content`.

use panaversity_model::version::FileVersion;
use panaversity_model::{BookPath, Layer};
use panaversity_service::Call;
use panaversity_service::history::{BlamedRun, HistoryPosition};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::AppState;
use crate::mcp::arguments::{Arguments, needed};
use crate::mcp::cursor::{bad_cursor, cursor};
use crate::mcp::tool_output::ToolResult;

/// Most runs of lines on a page.
const RUNS_A_PAGE: usize = 1_000;

/// Cursor of a history.
#[derive(Serialize, Deserialize)]
struct HistoryCursor {
    path: String,
    before: i64,
}

pub(super) async fn list(_: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let book = needed("book_id", arguments.book()?)?;
    let path = needed("path", arguments.path()?)?;
    let access = call.may_read(book, Layer::of(arguments.user()?))?;
    let after = arguments.cursor::<HistoryCursor>()?.map(|after| {
        let path = BookPath::parse(&after.path).map_err(|_| bad_cursor())?;
        Ok::<_, panaversity_model::Refusal>(HistoryPosition { path, before: after.before })
    });
    let page = call.list_history(&access, &path, after.transpose()?).await?;
    let versions: Vec<Value> = page.versions.iter().map(|version| rendered(version, &path)).collect();
    let mut body = json!({ "versions": versions, "namespace": page.layer.kind() });
    if let Some(next) = page.next {
        body["next_cursor"] =
            cursor(&HistoryCursor { path: next.path.as_str().to_owned(), before: next.before });
    }
    Ok(body.into())
}

fn rendered(version: &FileVersion, asked: &BookPath) -> Value {
    let mut body = json!({
        "at": version.at.to_string(),
        "agent_id": version.agent.as_str(),
        "operation": version.operation,
        "size": version.size,
        "change_id": version.change.to_string(),
    });
    body["hash"] = version.hash.map(|hash| hash.to_string()).into();
    if version.path != *asked {
        body["path"] = version.path.as_str().into();
    }
    if let Some(from) = &version.moved_from {
        body["from"] = from.as_str().into();
    }
    if let Some(message) = &version.message {
        body["message"] = message.as_str().into();
    }
    body
}

pub(super) async fn blame(_: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let book = needed("book_id", arguments.book()?)?;
    let path = needed("path", arguments.path()?)?;
    let access = call.may_read(book, Layer::of(arguments.user()?))?;
    let lines = arguments.lines()?;
    let first = arguments.cursor::<usize>()?.unwrap_or(0);
    let blamed = call.blame_content(&access, &path, lines).await?;
    let mut runs = blamed.runs.iter().filter(|run| run.lines.end > first).peekable();
    let page: Vec<Value> = runs.by_ref().take(RUNS_A_PAGE).map(rendered_run).collect();
    let mut body = json!({
        "lines": page,
        "total_lines": blamed.total_lines,
        "file_hash_sha256": blamed.hash.to_string(),
    });
    if let Some(next) = runs.peek() {
        body["next_cursor"] = cursor(&next.lines.start);
    }
    Ok(body.into())
}

fn rendered_run(run: &BlamedRun) -> Value {
    let version = &run.version;
    let mut body = json!({
        "first_line": run.lines.start + 1,
        "last_line": run.lines.end,
        "hash": version.hash.map(|hash| hash.to_string()),
        "at": version.at.to_string(),
        "agent_id": version.agent.as_str(),
        "change_id": version.change.to_string(),
    });
    if let Some(message) = &version.message {
        body["message"] = message.as_str().into();
    }
    if run.older {
        body["older"] = true.into();
    }
    body
}
