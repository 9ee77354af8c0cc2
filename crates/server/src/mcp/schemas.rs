//! JSON schemas of the tools: flat inputs with their limits, minimal outputs. An input schema lists all
//! arguments that its tool accepts; `dispatch` refuses others by it, though `additionalProperties` is
//! not given.
//!
//! Inputs use only keywords that the function calling of every large provider accepts (`portable`); a
//! limit without such a keyword is stated in a description.
//!
//! An output schema lists the fields that callers rely on; answers have more. Every one also allows
//! `error` in place of the others, because some clients validate refused calls against it too.

use panaversity_model::agent::AgentId;
use panaversity_model::asset::AssetType;
use panaversity_model::file::MAX_TEXT_BYTES;
use panaversity_model::path::MAX_BYTES as MAX_PATH_BYTES;
use panaversity_service::grep::{MAX_PATTERN_BYTES, MOST_CONTEXT, MOST_MATCHES};
use rmcp::model::JsonObject;
use serde_json::{Value, json};

use crate::mcp::audit::{ENTRIES_A_PAGE, MOST_ENTRIES};
use crate::mcp::search::MATCHES_AN_ANSWER;

/// Input and output schema of a tool.
pub(super) struct Shape {
    pub(super) input: JsonObject,
    pub(super) output: JsonObject,
}

pub(super) fn read() -> Shape {
    Shape {
        input: input(
            &["book_id"],
            json!({
                "book_id": book(),
                "path": path("A file; for a wider scope its folder or any file in it"),
                "scope": one_of(&["file", "chapter", "part", "book"], "file"),
                "outline": { "type": "boolean", "description": "Headings instead of content" },
                "section": { "type": "string", "description": "Only that section: slug or title of a heading" },
                "lines": { "type": "string", "description": "Only these: 120-180, 120- or 120" },
                "user_id": user(),
                "hash": hash("Read that version"),
                "if_none_match": hash("No content if it still has this hash"),
                "cursor": cursor(),
            }),
        ),
        output: output(json!({
            "content": text(), "file_hash_sha256": text(), "last_modified": text(), "source": layer(),
            "headings": list(), "first_line": number(), "last_line": number(), "total_lines": number(),
            "base_changed": flag(), "base_hash_then": text(), "base_hash_now": text(),
            "unchanged": flag(), "exists": flag(), "mime_type": text(), "download_url": text(), "files": list(), "next_cursor": text(),
        })),
    }
}

pub(super) fn write() -> Shape {
    Shape {
        input: input(
            &["book_id", "path", "content"],
            json!({
                "book_id": book(),
                "path": path("content/NN-Part/NN-Chapter/NN-lesson.md"),
                "content": {
                    "type": "string",
                    "description": format!("Kept byte for byte; at most {MAX_TEXT_BYTES} bytes"),
                },
                "expected_hash": current_hash(),
                "user_id": user(),
            }),
        ),
        output: output(json!({
            "mode": { "enum": ["created", "updated", "unchanged"] }, "file_hash": text(), "namespace": layer(),
        })),
    }
}

pub(super) fn delete() -> Shape {
    Shape {
        input: input(
            &["book_id", "path"],
            json!({
                "book_id": book(), "path": path("A file"), "user_id": user(),
                "expected_hash": current_hash(),
            }),
        ),
        output: output(json!({ "existed": flag(), "namespace": layer() })),
    }
}

pub(super) fn upload_asset() -> Shape {
    Shape {
        input: input(
            &["book_id", "asset_type", "filename"],
            json!({
                "book_id": book(), "asset_type": asset_type(), "filename": filename(),
                "binary_data": { "type": "string", "description": "base64" },
                "file_size": { "type": "integer", "minimum": 0 },
                "sha256": hash("Of file_size bytes"),
                "expected_hash": current_hash(),
            }),
        ),
        output: output(json!({
            "status": { "enum": ["success", "skipped", "presigned_url"] }, "cdn_url": text(), "download_url": text(),
            "file_hash_sha256": text(), "upload_id": text(), "upload_url": text(),
            "headers": { "type": "object" },
        })),
    }
}

pub(super) fn complete_upload() -> Shape {
    Shape {
        input: input(&["book_id", "upload_id"], json!({ "book_id": book(), "upload_id": text() })),
        output: output(json!({
            "status": { "enum": ["success", "skipped"] }, "cdn_url": text(), "download_url": text(),
            "file_hash_sha256": text(),
        })),
    }
}

pub(super) fn get_asset() -> Shape {
    Shape {
        input: input(
            &["book_id", "asset_type", "filename"],
            json!({
                "book_id": book(), "asset_type": asset_type(), "filename": filename(),
                "include_binary": flag(),
            }),
        ),
        output: output(json!({
            "cdn_url": text(), "download_url": text(), "file_size": number(), "mime_type": text(), "file_hash_sha256": text(),
            "binary_data": text(),
        })),
    }
}

pub(super) fn list_assets() -> Shape {
    Shape {
        input: input(
            &["book_id"],
            json!({ "book_id": book(), "asset_type": asset_type(), "cursor": cursor() }),
        ),
        output: output(json!({ "assets": list(), "next_cursor": text() })),
    }
}

pub(super) fn delete_asset() -> Shape {
    Shape {
        input: input(
            &["book_id", "asset_type", "filename"],
            json!({
                "book_id": book(), "asset_type": asset_type(), "filename": filename(),
                "expected_hash": current_hash(),
            }),
        ),
        output: output(json!({ "existed": flag() })),
    }
}

pub(super) fn list_books() -> Shape {
    Shape {
        input: input(
            &[],
            json!({
                "book_id": book(), "cursor": cursor(),
                "include_structure": one_of(&["none", "content", "assets", "all"], "none"),
            }),
        ),
        output: output(json!({ "books": list(), "next_cursor": text() })),
    }
}

pub(super) fn create_book() -> Shape {
    Shape {
        input: input(
            &["book_id"],
            json!({ "book_id": book(), "schema": { "type": "string", "enum": ["strict", "docusaurus"] } }),
        ),
        output: output(json!({ "schema": text(), "created": flag() })),
    }
}

pub(super) fn glob() -> Shape {
    Shape {
        input: input(
            &["pattern"],
            json!({
                "pattern": path("Such as content/**/*.summary.md"), "book_id": book(),
                "all_books": flag(), "user_id": user(), "cursor": cursor(),
            }),
        ),
        output: output(json!({ "matches": { "type": "array", "items": text() }, "next_cursor": text() })),
    }
}

pub(super) fn grep() -> Shape {
    let count = |least: usize, most: usize, default: usize| json!({ "type": "integer", "minimum": least, "maximum": most, "description": format!("Default {default}") });
    Shape {
        input: input(
            &["pattern"],
            json!({
                "pattern": { "type": "string", "description": format!("Tried on each line; at most {MAX_PATTERN_BYTES} bytes") },
                "book_id": book(), "all_books": flag(), "user_id": user(),
                "path_glob": path("Such as content/01-*/**"), "ignore_case": flag(),
                "context_lines": count(0, MOST_CONTEXT, 0),
                "max_results": count(1, MOST_MATCHES, MATCHES_AN_ANSWER),
            }),
        ),
        output: output(json!({
            "matches": list(), "truncated": flag(), "files_searched": number(), "unreadable": list(),
        })),
    }
}

pub(super) fn delta() -> Shape {
    Shape {
        input: input(
            &["book_id", "since"],
            json!({
                "book_id": book(), "since": moment("RFC 3339, inclusive"),
                "include_content": flag(), "user_id": user(), "cursor": cursor(),
            }),
        ),
        output: output(json!({
            "changed_count": number(), "next_since": text(),
            "changed_files": list(), "next_cursor": text(),
        })),
    }
}

pub(super) fn plan() -> Shape {
    Shape {
        input: input(
            &["book_id"],
            json!({
                "book_id": book(), "cursor": cursor(),
                "target_manifest_hash": hash("manifest_hash of the build"),
            }),
        ),
        output: output(json!({
            "status": { "enum": ["unchanged", "changed"] }, "manifest_hash": text(),
            "files": list(), "changed_count": number(), "warning": text(), "next_cursor": text(),
        })),
    }
}

pub(super) fn archive() -> Shape {
    Shape {
        input: input(
            &["book_id"],
            json!({
                "book_id": book(),
                "scope": one_of(&["content", "assets", "all"], "all"),
                "manifest_hash": hash("That state instead of the current one"),
            }),
        ),
        output: output(json!({
            "status": { "enum": ["success", "partial"] }, "archive_url": text(), "expires_at": text(),
            "file_count": number(), "archive_size_bytes": number(), "manifest_hash": text(),
            "error_manifest": list(),
        })),
    }
}

pub(super) fn validate() -> Shape {
    Shape {
        input: input(
            &["book_id"],
            json!({
                "book_id": book(),
                "strict": { "type": "boolean", "description": "Warnings make it invalid too" },
                "include_warnings": { "type": "boolean", "description": "Default true" },
            }),
        ),
        output: output(json!({
            "valid": flag(), "summary": { "type": "object" }, "errors": list(), "warnings": list(),
        })),
    }
}

pub(super) fn query() -> Shape {
    let glob = "Glob: * stays within a folder, ** does not";
    let default = format!("Default {ENTRIES_A_PAGE}");
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": MOST_ENTRIES, "description": default });
    let agent = format!("At most {} bytes", AgentId::MAX_BYTES);
    Shape {
        input: input(
            &[],
            json!({
                "book_id": book(), "path": path(glob), "user_id": user(), "cursor": cursor(), "limit": limit,
                "agent_id": { "type": "string", "description": agent },
                "operation": { "type": "string", "pattern": "^[A-Z]{2,20}$" },
                "status": { "type": "string", "enum": ["success", "refused", "failed"] },
                "since": moment("RFC 3339, inclusive"), "until": moment("RFC 3339, inclusive"),
            }),
        ),
        output: output(json!({ "entries": list(), "next_cursor": text() })),
    }
}

pub(super) fn verify() -> Shape {
    Shape {
        input: input(
            &[],
            json!({ "book_id": book(), "path": path("A file; needs book_id"), "user_id": user() }),
        ),
        output: output(json!({ "valid": flag(), "entries_checked": number(), "breaks": list() })),
    }
}

fn input(required: &[&str], properties: Value) -> JsonObject {
    let mut schema = object(properties);
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

/// An output schema with these properties, and the `error` of a refused call. Other properties are
/// allowed and none is required, so that one schema fits both.
fn output(mut properties: Value) -> JsonObject {
    properties["error"] = json!({ "type": "object" });
    object(properties)
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

fn path(meaning: &str) -> Value {
    json!({ "type": "string", "description": format!("{meaning}; at most {MAX_PATH_BYTES} bytes") })
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
    json!({ "type": "string", "pattern": "^[a-zA-Z0-9_-]{1,100}$" })
}

fn hash(meaning: &str) -> Value {
    json!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$", "description": meaning })
}

fn current_hash() -> Value {
    json!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" })
}

fn cursor() -> Value {
    json!({ "type": "string", "description": "next_cursor of the page before" })
}

fn moment(meaning: &str) -> Value {
    json!({ "type": "string", "description": meaning })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn number() -> Value {
    json!({ "type": "integer" })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn layer() -> Value {
    json!({ "enum": ["base", "overlay"] })
}

fn list() -> Value {
    json!({ "type": "array", "items": { "type": "object" } })
}
