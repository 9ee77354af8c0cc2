//! `edit_content`, `apply_changes` and `restore_content`: changes of places in a file, of several files, and
//! back to former versions.

use panaversity_model::change::{Applied, ChangeMessage};
use panaversity_model::edit::{Edit, MAX_EDITS};
use panaversity_model::precondition::Effect;
use panaversity_model::{BookPath, Error, Layer, Refusal};
use panaversity_service::Call;
use panaversity_service::change_set::{ChangeAct, ChangeSetRequest, RequestedChange};
use panaversity_service::commit::AppliedSet;
use panaversity_service::edit::{EditContent, Edited};
use panaversity_service::restore::{RestoreBook, RestoreFile};
use serde_json::{Value, json};

use crate::AppState;
use crate::mcp::arguments::{Arguments, needed};
use crate::mcp::content::written_body;
use crate::mcp::tool_output::{ToolOutput, ToolResult};
use crate::mcp::write_metrics::{count_set, count_write};

/// Most files of a restore that an answer lists.
const FILES_LISTED: usize = 1_000;

/// Operations of a change in a set.
#[derive(Clone, Copy)]
enum Op {
    Write,
    Edit,
    Delete,
    Move,
}

const OPS: [(&str, Op); 4] =
    [("write", Op::Write), ("edit", Op::Edit), ("delete", Op::Delete), ("move", Op::Move)];

pub(super) async fn edit(app: &AppState, call: &mut Call, arguments: Arguments) -> ToolResult {
    let result = edit_now(call, arguments).await;
    let Edited { written, diff } = match result {
        Ok(edited) => edited,
        Err(error) => {
            count_write(app, call, Err(&error)).await;
            return Err(error);
        }
    };
    let Some(written) = written else { return Ok(json!({ "diff": diff }).into()) };
    count_write(app, call, Ok(&written)).await;
    let mut body = written_body(&written, &call.layer);
    body["diff"] = diff.into();
    Ok(ToolOutput { body, size: Some(written.size) })
}

async fn edit_now(call: &mut Call, mut arguments: Arguments) -> Result<Edited, Error> {
    let book = needed("book_id", arguments.book()?)?;
    let path = needed("path", arguments.path()?)?;
    let access = call.may_write(book, Layer::of(arguments.user()?))?;
    let edits = edits(&mut arguments)?;
    let (expected, dry_run) = (arguments.hash("expected_hash")?, arguments.flag("dry_run")?);
    call.edit_content(EditContent { access, path, edits, expected, dry_run }).await
}

/// The argument `edits`, of a call or of a change in a set.
fn edits(arguments: &mut Arguments) -> Result<Vec<Edit>, Refusal> {
    let edits = arguments.objects("edits", &["old_text", "new_text"], |fields| {
        let old = needed("old_text", fields.text("old_text")?)?;
        if old.is_empty() {
            return Err(Refusal::argument("old_text", "it is empty: name the text to replace"));
        }
        Ok(Edit { old, new: needed("new_text", fields.text("new_text")?)? })
    })?;
    let edits = needed("edits", edits)?;
    if edits.is_empty() || edits.len() > MAX_EDITS {
        let why = format!("it must have 1 to {MAX_EDITS} edits, not {}", edits.len());
        return Err(Refusal::argument("edits", why));
    }
    Ok(edits)
}

pub(super) async fn apply(app: &AppState, call: &mut Call, arguments: Arguments) -> ToolResult {
    let result = apply_now(call, arguments).await;
    answer_set(app, call, result).await
}

async fn apply_now(call: &mut Call, mut arguments: Arguments) -> Result<AppliedSet, Error> {
    let book = needed("book_id", arguments.book()?)?;
    let access = call.may_write(book, Layer::of(arguments.user()?))?;
    let known = ["op", "path", "content", "edits", "to", "expected_hash"];
    let changes = needed("changes", arguments.objects("changes", &known, requested)?)?;
    let message = arguments.text("message")?.map(|raw| ChangeMessage::parse(&raw)).transpose()?;
    let dry_run = arguments.flag("dry_run")?;
    call.apply_changes(ChangeSetRequest { access, changes, message, dry_run }).await
}

/// One of the changes of a set.
fn requested(fields: &mut Arguments) -> Result<RequestedChange, Refusal> {
    let op = needed("op", fields.choice("op", &OPS)?)?;
    let path = needed("path", fields.path()?)?;
    let expected = fields.hash("expected_hash")?;
    let act = match op {
        Op::Write => ChangeAct::Write(needed("content", fields.text("content")?)?),
        Op::Edit => ChangeAct::Edit(edits(fields)?),
        Op::Delete => ChangeAct::Delete,
        Op::Move => {
            let to = needed("to", fields.text("to")?)?;
            ChangeAct::Move(BookPath::parse(&to)?)
        }
    };
    for name in ["content", "edits", "to"] {
        if fields.names().iter().any(|given| given == name) {
            return Err(Refusal::argument(name, "it does not go with this op"));
        }
    }
    Ok(RequestedChange { path, expected, act })
}

pub(super) async fn restore(app: &AppState, call: &mut Call, arguments: Arguments) -> ToolResult {
    let result = restore_now(call, arguments).await;
    answer_set(app, call, result).await
}

async fn restore_now(call: &mut Call, mut arguments: Arguments) -> Result<AppliedSet, Error> {
    let book = needed("book_id", arguments.book()?)?;
    let layer = Layer::of(arguments.user()?);
    let (path, version) = (arguments.path()?, arguments.hash("hash")?);
    let manifest = arguments.hash("manifest_hash")?;
    let (expected, dry_run) = (arguments.hash("expected_hash")?, arguments.flag("dry_run")?);
    match (path, version, manifest) {
        (Some(path), Some(version), None) => {
            let access = call.may_write(book, layer)?;
            call.restore_file(RestoreFile { access, path, version, expected, dry_run }).await
        }
        (None, None, Some(_)) if layer != Layer::Base => {
            let why = "a manifest names the base: leave it out, or give path and hash";
            Err(Refusal::argument("user_id", why).into())
        }
        (None, None, Some(manifest)) => {
            let access = call.may_write(book, layer)?;
            call.restore_book(RestoreBook { access, manifest, expected, dry_run }).await
        }
        (_, _, Some(_)) => {
            let why = "give either path and hash, for one file, or manifest_hash, for the book";
            Err(Refusal::argument("manifest_hash", why).into())
        }
        (Some(_), None, None) => Err(needed::<()>("hash", None).err().unwrap_or_else(nothing_named).into()),
        (None, _, None) => Err(nothing_named().into()),
    }
}

fn nothing_named() -> Refusal {
    Refusal::argument("path", "give path and hash, for one file, or manifest_hash, for the book")
}

async fn answer_set(app: &AppState, call: &Call, result: Result<AppliedSet, Error>) -> ToolResult {
    let set = match result {
        Ok(set) => set,
        Err(error) => {
            count_write(app, call, Err(&error)).await;
            return Err(error);
        }
    };
    let effects = set.files.iter().map(|file| file.effect);
    if set.change.is_some() {
        count_set(app, call, effects.clone()).await;
    }
    let changed = effects.filter(|effect| *effect != Effect::Unchanged).count();
    let mut body = json!({ "status": "success", "namespace": call.layer.kind(), "changed_count": changed });
    if let Some(change) = set.change {
        body["change_id"] = change.to_string().into();
    }
    body["changes"] = set.files.iter().take(FILES_LISTED).map(rendered).collect();
    Ok(body.into())
}

fn rendered(file: &Applied) -> Value {
    let mut body = json!({ "path": file.path.as_str(), "mode": file.mode() });
    if let Some(hash) = file.hash {
        body["file_hash"] = hash.to_string().into();
    }
    if let Some(from) = &file.moved_from {
        body["from"] = from.as_str().into();
    }
    body
}
