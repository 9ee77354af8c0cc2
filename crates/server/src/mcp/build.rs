//! `plan_build`.

use panaversity_model::ContentHash;
use panaversity_model::manifest::Difference;
use panaversity_service::Call;
use panaversity_service::plan::PlanPosition;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::App;
use crate::mcp::arguments::{Arguments, bad_cursor, cursor, needed};
use crate::mcp::calls::Ending;

const TARGET_UNKNOWN: &str = "target_manifest_hash is not known (manifests are kept 30 days after they were last named): all files are listed";

/// A plan's cursor: the next page is of the same plan, whatever was written since.
#[derive(Serialize, Deserialize)]
struct After {
    manifest: String,
    path: String,
}

pub(super) async fn plan(app: &App, _: &mut Call, mut arguments: Arguments) -> Ending {
    let book = needed("book_id", arguments.book()?)?;
    let target = arguments.hash("target_manifest_hash")?;
    let after = match arguments.cursor::<After>()? {
        None => None,
        Some(after) => {
            let manifest = ContentHash::from_hex(&after.manifest).ok_or_else(bad_cursor)?;
            Some(PlanPosition { manifest, path: after.path })
        }
    };
    let plan = app.service.plan_build(&book, target, after).await?;
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
        body["next_cursor"] = cursor(&After { manifest: next.manifest.to_string(), path: next.path });
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
