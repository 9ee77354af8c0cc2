//! `plan_build` and `delta_build`.

use panaversity_model::delta::{ChangedFile, Shown};
use panaversity_model::manifest::Difference;
use panaversity_model::{BookPath, ContentHash, Layer, Refusal, Timestamp};
use panaversity_service::Call;
use panaversity_service::delta::DeltaPosition;
use panaversity_service::plan::PlanPosition;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::AppState;
use crate::mcp::arguments::{Arguments, needed};
use crate::mcp::cursor::{bad_cursor, cursor};
use crate::mcp::tool_output::ToolResult;

const TARGET_UNKNOWN: &str = "target_manifest_hash is not known (manifests are kept 30 days after they were last named): all files are listed";

/// Cursor of a plan: the next page belongs to the same plan, whatever was written since.
#[derive(Serialize, Deserialize)]
struct PlanCursor {
    manifest: String,
    path: String,
}

pub(super) async fn plan(_: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let access = call.may_read(needed("book_id", arguments.book()?)?, Layer::Base)?;
    let target = arguments.hash("target_manifest_hash")?;
    let after = match arguments.cursor::<PlanCursor>()? {
        None => None,
        Some(after) => {
            let manifest = ContentHash::from_hex(&after.manifest).ok_or_else(bad_cursor)?;
            Some(PlanPosition { manifest, path: after.path })
        }
    };
    let plan = call.plan_build(&access, target, after).await?;
    let mut body = json!({
        "status": if plan.changed == 0 { "unchanged" } else { "changed" },
        "manifest_hash": plan.manifest.to_string(),
        "files": plan.files.iter().map(rendered).collect::<Vec<_>>(),
        "changed_count": plan.changed,
        "total_files": plan.total,
    });
    if let Some(target) = target {
        body["target_manifest_hash"] = target.to_string().into();
    }
    if plan.target_unknown {
        body["warning"] = TARGET_UNKNOWN.into();
    }
    if let Some(next) = plan.next {
        body["next_cursor"] = cursor(&PlanCursor { manifest: next.manifest.to_string(), path: next.path });
    }
    Ok(body.into())
}

fn rendered(file: &Difference) -> Value {
    let change_type = match (file.current, file.target) {
        (_, None) => "added",
        (None, Some(_)) => "deleted",
        (Some(_), Some(_)) => "modified",
    };
    json!({
        "path": file.path,
        "current_hash": file.current.map(|item| item.hash.to_string()),
        "target_hash": file.target.map(|item| item.hash.to_string()),
        "change_type": change_type,
        "size": file.current.or(file.target).map(|item| item.size),
    })
}

/// Cursor of a delta: the next page has the end and the count of the first one.
#[derive(Serialize, Deserialize)]
struct Further {
    path: String,
    until: i64,
    total: usize,
}

pub(super) async fn delta(app: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let book = needed("book_id", arguments.book()?)?;
    let since = needed("since", arguments.moment("since")?)?;
    let access = call.may_read(book, Layer::of(arguments.user()?))?;
    let with_content = arguments.flag("include_content")?;
    let after = arguments.cursor::<Further>()?.map(|further| position(&further)).transpose()?;
    let is_first = after.is_none();
    let page = call.delta_build(&access, since, with_content, after).await?;
    if is_first {
        app.metrics.delta_built(access.book().as_str(), page.total);
    }
    let files = page.files.into_iter().map(|(file, text)| changed(&file, text));
    let mut body = json!({
        "changed_count": page.total,
        "since": since.to_string(),
        "next_since": page.until.to_string(),
        "changed_files": files.collect::<Vec<_>>(),
    });
    if let Some(next) = page.next {
        let path = next.path.as_str().to_owned();
        body["next_cursor"] = cursor(&Further { path, until: next.until.micros(), total: next.total });
    }
    Ok(body.into())
}

fn position(further: &Further) -> Result<DeltaPosition, Refusal> {
    let path = BookPath::parse(&further.path).map_err(|_| bad_cursor())?;
    Ok(DeltaPosition { path, until: Timestamp::from_micros(further.until), total: further.total })
}

/// A changed file as JSON. A file that is not text has no content here.
fn changed(file: &ChangedFile, text: Option<String>) -> Value {
    let (hash, at, layer) = match &file.now {
        Shown::File(record) => (Some(record.hash.to_string()), record.written_at, &record.layer),
        Shown::Gone { at, layer } => (None, *at, layer),
    };
    let mut body = json!({
        "path": file.path.as_str(),
        "sha256": hash,
        "last_modified": at.to_string(),
        "namespace": layer.kind(),
    });
    if body["sha256"].is_null() {
        body["deleted"] = true.into();
    }
    if let Some(text) = text {
        body["content"] = text.into();
    }
    body
}
