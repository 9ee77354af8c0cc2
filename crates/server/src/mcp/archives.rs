//! `get_book_archive`.

use panaversity_model::blob::BlobState;
use panaversity_model::{Layer, Refusal, Timestamp};
use panaversity_service::Call;
use panaversity_service::archive::{ArchiveScope, LeftOut};
use serde_json::{Value, json};

use crate::AppState;
use crate::mcp::arguments::{Arguments, needed};
use crate::mcp::tool_output::ToolResult;
use crate::signed_url::{ARCHIVE_FIELDS, archive_path};

/// Most files listed in the `error_manifest` of an answer.
const MOST_LISTED: usize = 1_000;

pub(super) async fn archive(app: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let access = call.may_read(needed("book_id", arguments.book()?)?, Layer::Base)?;
    let scope = arguments
        .choice("scope", &ArchiveScope::ALL.map(|scope| (scope.as_str(), scope)))?
        .unwrap_or(ArchiveScope::All);
    let manifest = arguments.hash("manifest_hash")?;
    if !app.links.are_served() {
        return Err(Refusal::NoLinks.into());
    }
    let valid_for = app.links.valid_for();
    let made = call.make_archive(&access, scope, manifest, valid_for).await?;
    let (state, layout) = (made.manifest.to_string(), made.archive.hash().to_string());
    let values = [state.as_str(), scope.as_str(), layout.as_str(), call.caller.principal.agent.as_str()];
    let fields: Vec<_> = ARCHIVE_FIELDS.into_iter().zip(values).collect();
    let (url, expires) = app.links.signed(&archive_path(access.book()), &fields)?;
    let left_out = made.archive.left_out();
    let mut body = json!({
        "status": if left_out.is_empty() { "success" } else { "partial" },
        "archive_url": url,
        "expires_at": moment(expires).to_string(),
        "valid_for_seconds": valid_for.as_secs(),
        "file_count": made.archive.files(),
        "total_size_bytes": made.archive.content_bytes(),
        "archive_size_bytes": made.archive.bytes(),
        "manifest_hash": state,
        "format": "zip",
        "scope": scope.as_str(),
    });
    if !left_out.is_empty() {
        body["error_count"] = left_out.len().into();
        body["error_manifest"] = left_out.iter().take(MOST_LISTED).map(rendered).collect();
    }
    Ok(body.into())
}

fn rendered(file: &LeftOut) -> Value {
    let error = match file.state {
        BlobState::Corrupt => "CORRUPT: its stored bytes are damaged",
        BlobState::Live | BlobState::Missing | BlobState::Condemned => {
            "CORRUPT: its stored bytes are missing"
        }
    };
    json!({ "path": file.path, "error": error })
}

fn moment(unix_seconds: u64) -> Timestamp {
    Timestamp::from_micros(i64::try_from(unix_seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX))
}
