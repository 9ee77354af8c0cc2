//! JSON schemas of the tools: flat inputs with their limits, minimal outputs. An input schema lists all
//! arguments that its tool accepts; `dispatch` refuses others by it, though `additionalProperties` is
//! not given.
//!
//! Inputs use only keywords that the function calling of every large provider accepts (`portable`); a
//! limit without such a keyword is stated in a description.
//!
//! The output schema of every tool is the same, an object: agents pay for each word of the list on every
//! turn, and no model is shown output schemas. What answers have is shown by the examples in the reference.

use panaversity_model::asset::AssetType;
use panaversity_model::change::ChangeMessage;
use panaversity_model::file::MAX_TEXT_BYTES;
use panaversity_model::path::MAX_BYTES as MAX_PATH_BYTES;
use panaversity_service::grep::{MAX_PATTERN_BYTES, MOST_CONTEXT, MOST_MATCHES};
use rmcp::model::JsonObject;
use serde_json::{Value, json};

use crate::mcp::audit::{ENTRIES_A_PAGE, MOST_ENTRIES};
use crate::mcp::search::MATCHES_AN_ANSWER;

pub(super) fn read() -> JsonObject {
    input(
        &["book_id"],
        json!({
            "book_id": book(),
            "path": described("A file; for a wider scope its folder or any file in it"),
            "scope": one_of(&["file", "chapter", "part", "book"], "file"),
            "outline": { "type": "boolean", "description": "Headings instead of content" },
            "section": { "type": "string", "description": "Only that section: slug or title of a heading" },
            "lines": line_range(),
            "user_id": user(),
            "hash": described("Read that version"),
            "if_none_match": described("No content if it still has this hash"),
            "cursor": text(),
        }),
    )
}

pub(super) fn write() -> JsonObject {
    input(
        &["book_id", "path", "content"],
        json!({
            "book_id": book(),
            "path": described(&format!("content/NN-Part/NN-Chapter/NN-lesson.md; at most {MAX_PATH_BYTES} bytes")),
            "content": {
                "type": "string",
                "description": format!("Kept byte for byte; at most {MAX_TEXT_BYTES} bytes"),
            },
            "expected_hash": text(),
            "on_conflict": one_of(&["fail", "merge"], "fail"),
            "user_id": user(),
        }),
    )
}

pub(super) fn edit() -> JsonObject {
    input(
        &["book_id", "path", "edits"],
        json!({
            "book_id": book(), "path": described("A text file"), "edits": edits(),
            "expected_hash": text(), "dry_run": flag(), "user_id": user(),
        }),
    )
}

pub(super) fn apply() -> JsonObject {
    // Providers limit the depth of a schema.
    let edits =
        json!({ "type": "array", "items": { "type": "object" }, "description": "As of edit_content" });
    let change = json!({
        "op": { "type": "string", "enum": ["write", "edit", "delete", "move"] },
        "path": text(), "content": text(), "edits": edits, "to": text(), "expected_hash": text(),
    });
    let change = json!({ "type": "object", "properties": change, "required": ["op", "path"] });
    let message = format!("Why; at most {} bytes", ChangeMessage::MAX_BYTES);
    input(
        &["book_id", "changes"],
        json!({
            "book_id": book(),
            "changes": { "type": "array", "items": change },
            "message": { "type": "string", "description": message },
            "dry_run": flag(), "user_id": user(),
        }),
    )
}

pub(super) fn restore() -> JsonObject {
    input(
        &["book_id"],
        json!({
            "book_id": book(), "path": described("A file"), "hash": described("Its version"),
            "manifest_hash": described("A state of the base"), "expected_hash": text(),
            "dry_run": flag(), "user_id": user(),
        }),
    )
}

pub(super) fn history() -> JsonObject {
    input(
        &["book_id", "path"],
        json!({ "book_id": book(), "path": described("A file"), "user_id": user(), "cursor": text() }),
    )
}

pub(super) fn blame() -> JsonObject {
    input(
        &["book_id", "path"],
        json!({
            "book_id": book(), "path": described("A text file"), "lines": line_range(),
            "user_id": user(), "cursor": text(),
        }),
    )
}

pub(super) fn delete() -> JsonObject {
    input(
        &["book_id", "path"],
        json!({
            "book_id": book(), "path": described("A file"), "user_id": user(),
            "expected_hash": text(),
        }),
    )
}

pub(super) fn upload_asset() -> JsonObject {
    input(
        &["book_id", "asset_type", "filename"],
        json!({
            "book_id": book(), "asset_type": asset_type(), "filename": filename(),
            "binary_data": { "type": "string", "description": "base64" },
            "file_size": { "type": "integer", "minimum": 0 },
            "sha256": described("Of file_size bytes"),
            "expected_hash": text(),
        }),
    )
}

pub(super) fn complete_upload() -> JsonObject {
    input(&["book_id", "upload_id"], json!({ "book_id": book(), "upload_id": text() }))
}

pub(super) fn get_asset() -> JsonObject {
    input(
        &["book_id", "asset_type", "filename"],
        json!({
            "book_id": book(), "asset_type": asset_type(), "filename": filename(),
            "include_binary": flag(),
        }),
    )
}

pub(super) fn list_assets() -> JsonObject {
    input(&["book_id"], json!({ "book_id": book(), "asset_type": asset_type(), "cursor": text() }))
}

pub(super) fn delete_asset() -> JsonObject {
    input(
        &["book_id", "asset_type", "filename"],
        json!({
            "book_id": book(), "asset_type": asset_type(), "filename": filename(),
            "expected_hash": text(),
        }),
    )
}

pub(super) fn list_books() -> JsonObject {
    input(
        &[],
        json!({
            "book_id": book(), "cursor": text(),
            "include_structure": one_of(&["none", "content", "assets", "all"], "none"),
        }),
    )
}

pub(super) fn create_book() -> JsonObject {
    input(
        &["book_id"],
        json!({ "book_id": book(), "schema": { "type": "string", "enum": ["strict", "docusaurus"] } }),
    )
}

pub(super) fn glob() -> JsonObject {
    input(
        &["pattern"],
        json!({
            "pattern": described("Such as content/**/*.summary.md"), "book_id": book(),
            "all_books": flag(), "user_id": user(), "cursor": text(),
        }),
    )
}

pub(super) fn grep() -> JsonObject {
    let count = |least: usize, most: usize, default: usize| json!({ "type": "integer", "minimum": least, "maximum": most, "description": format!("Default {default}") });
    input(
        &["pattern"],
        json!({
            "pattern": { "type": "string", "description": format!("Tried on each line; at most {MAX_PATTERN_BYTES} bytes") },
            "book_id": book(), "all_books": flag(), "user_id": user(),
            "path_glob": described("Such as content/01-*/**"), "ignore_case": flag(),
            "context_lines": count(0, MOST_CONTEXT, 0),
            "max_results": count(1, MOST_MATCHES, MATCHES_AN_ANSWER),
        }),
    )
}

pub(super) fn delta() -> JsonObject {
    input(
        &["book_id", "since"],
        json!({
            "book_id": book(), "since": text(),
            "include_content": flag(), "user_id": user(), "cursor": text(),
        }),
    )
}

pub(super) fn plan() -> JsonObject {
    input(
        &["book_id"],
        json!({
            "book_id": book(), "cursor": text(),
            "target_manifest_hash": described("manifest_hash of the build"),
        }),
    )
}

pub(super) fn archive() -> JsonObject {
    input(
        &["book_id"],
        json!({
            "book_id": book(),
            "scope": one_of(&["content", "assets", "all"], "all"),
            "manifest_hash": described("That state instead of the current one"),
        }),
    )
}

pub(super) fn validate() -> JsonObject {
    input(
        &["book_id"],
        json!({
            "book_id": book(),
            "strict": { "type": "boolean", "description": "Warnings make it invalid too" },
            "include_warnings": { "type": "boolean", "description": "Default true" },
        }),
    )
}

pub(super) fn query() -> JsonObject {
    let glob = "Glob: * stays within a folder, ** does not";
    let default = format!("Default {ENTRIES_A_PAGE}");
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": MOST_ENTRIES, "description": default });
    input(
        &[],
        json!({
            "book_id": book(), "path": described(glob), "user_id": user(), "cursor": text(), "limit": limit,
            "agent_id": text(), "operation": text(),
            "status": { "type": "string", "enum": ["success", "refused", "failed"] },
            "since": text(), "until": text(),
        }),
    )
}

pub(super) fn verify() -> JsonObject {
    input(&[], json!({ "book_id": book(), "path": described("A file; needs book_id"), "user_id": user() }))
}

fn input(required: &[&str], properties: Value) -> JsonObject {
    let mut schema = object(properties);
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

fn object(properties: Value) -> JsonObject {
    let mut schema = JsonObject::new();
    schema.insert("type".to_owned(), "object".into());
    schema.insert("properties".to_owned(), properties);
    schema
}

fn book() -> Value {
    json!({ "type": "string", "pattern": "^[a-z0-9-]{3,50}$" })
}

fn line_range() -> Value {
    json!({ "type": "string", "description": "Only these: 120-180, 120- or 120" })
}

fn edits() -> Value {
    let edit = json!({ "old_text": text(), "new_text": text() });
    let edit = json!({ "type": "object", "properties": edit, "required": ["old_text", "new_text"] });
    json!({ "type": "array", "items": edit })
}

/// A text with a meaning.
fn described(meaning: &str) -> Value {
    json!({ "type": "string", "description": meaning })
}

/// An enum with its default.
fn one_of(words: &[&str], default: &str) -> Value {
    json!({ "type": "string", "enum": words, "description": format!("Default {default}") })
}

fn asset_type() -> Value {
    json!({ "type": "string", "enum": AssetType::ALL.map(AssetType::as_str) })
}

fn filename() -> Value {
    json!({ "type": "string", "description": format!("At most {MAX_PATH_BYTES} bytes") })
}

fn user() -> Value {
    json!({ "type": "string", "pattern": r"^[\w-]{1,100}$" })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}
