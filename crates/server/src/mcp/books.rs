//! `list_books` and `create_book`.

use panaversity_model::{BookId, Layer, Schema};
use panaversity_service::Call;
use panaversity_service::books::{BookPosition, BookSummary, FolderNames, Structure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::AppState;
use crate::mcp::arguments::{Arguments, needed};
use crate::mcp::cursor::{bad_cursor, cursor};
use crate::mcp::tool_output::ToolResult;

const STRUCTURES: [(&str, Structure); 4] = [
    ("none", Structure::Nothing),
    ("content", Structure::Content),
    ("assets", Structure::Assets),
    ("all", Structure::All),
];
const SCHEMAS: [(&str, Schema); 2] = [("strict", Schema::Strict), ("docusaurus", Schema::Docusaurus)];

/// Cursor of a list.
#[derive(Serialize, Deserialize)]
struct BookCursor {
    book: String,
    folder: Option<String>,
}

pub(super) async fn list(app: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let access = call.may_search(arguments.book()?, Layer::Base)?;
    let structure = arguments.choice("include_structure", &STRUCTURES)?.unwrap_or_default();
    let after = match arguments.cursor::<BookCursor>()? {
        None => None,
        Some(after) => {
            let book = BookId::parse(&after.book).map_err(|_| bad_cursor())?;
            Some(BookPosition { book, folder: after.folder })
        }
    };
    let page = call.list_books(&access, structure, after).await?;
    let storage = app.service.storage_backend();
    let books: Vec<_> = page.books.into_iter().map(|book| rendered(book, structure, storage)).collect();
    let mut body = json!({ "books": books });
    if let Some(next) = page.next {
        let after = BookCursor { book: next.book.as_str().to_owned(), folder: next.folder };
        body["next_cursor"] = cursor(&after);
    }
    Ok(body.into())
}

fn rendered(summary: BookSummary, structure: Structure, storage: &str) -> Value {
    let mut body = json!({
        "book_id": summary.book.id.as_str(),
        "schema": summary.book.schema.as_str(),
        "files": summary.files,
        "bytes": summary.bytes,
        "manifest_hash": summary.manifest.to_string(),
        "updated_at": summary.updated_at.to_string(),
        "storage_backend": storage,
    });
    let is_static = |folder: &FolderNames| folder.folder == "static" || folder.folder.starts_with("static/");
    let (assets, content): (Vec<_>, Vec<_>) = summary.folders.into_iter().partition(is_static);
    if matches!(structure, Structure::Content | Structure::All) {
        body["content"] = content.iter().map(folder).collect();
    }
    if matches!(structure, Structure::Assets | Structure::All) {
        body["assets"] = assets.iter().map(folder).collect();
    }
    body
}

fn folder(names: &FolderNames) -> Value {
    json!({ "folder": names.folder, "files": names.names })
}

pub(super) async fn create(_: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let access = call.may_write(needed("book_id", arguments.book()?)?, Layer::Base)?;
    let schema = arguments.choice("schema", &SCHEMAS)?;
    let (book, created) = call.create_book(&access, schema).await?;
    let body = json!({
        "status": "success",
        "book_id": book.id.as_str(),
        "schema": book.schema.as_str(),
        "created": created,
    });
    Ok(body.into())
}
