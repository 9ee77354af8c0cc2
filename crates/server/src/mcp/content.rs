//! `read_content`, `write_content` and `delete_content`.

use panaversity_model::change::Applied;
use panaversity_model::file::FileRecord;
use panaversity_model::path::Folder;
use panaversity_model::publication::FileKey;
use panaversity_model::{BookId, BookPath, ContentHash, Error, Layer, Refusal, media};
use panaversity_service::read::{FileContent, FileRead, ReadFile, ReadPart};
use panaversity_service::write::Write;
use panaversity_service::{Call, ReadAccess};
use rmcp::model::JsonObject;
use serde_json::{Value, json};

use crate::AppState;
use crate::mcp::arguments::{Arguments, needed};
use crate::mcp::cursor::{bad_cursor, cursor};
use crate::mcp::read_part;
use crate::mcp::tool_output::{ToolOutput, ToolResult, put_link};
use crate::mcp::write_metrics::count_write;

/// Scope of a read.
#[derive(Clone, Copy)]
enum Scope {
    File,
    /// All files below the folder with this many segments, `content` included.
    Folder(&'static str, usize),
}

const SCOPES: [(&str, Scope); 4] = [
    ("file", Scope::File),
    ("chapter", Scope::Folder("chapter", 3)),
    ("part", Scope::Folder("part", 2)),
    ("book", Scope::Folder("book", 1)),
];

pub(super) async fn read(app: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let book = needed("book_id", arguments.book()?)?;
    let user = arguments.user()?;
    let scope = arguments.choice("scope", &SCOPES)?.unwrap_or(Scope::File);
    let is_overlaid = user.is_some();
    let access = call.may_read(book, Layer::of(user))?;
    let ending = match scope {
        Scope::File => read_file(app, call, access, arguments).await,
        Scope::Folder(name, depth) => read_folder(call, &access, arguments, name, depth).await,
    };
    if is_overlaid && ending.is_ok() {
        app.metrics.overlay_read(call.elapsed());
    }
    ending
}

async fn read_file(app: &AppState, call: &Call, access: ReadAccess, mut arguments: Arguments) -> ToolResult {
    let path = needed("path", arguments.path()?)?;
    let (version, unless) = (arguments.hash("hash")?, arguments.hash("if_none_match")?);
    if version.is_some() && unless.is_some() {
        return Err(Refusal::argument(
            "if_none_match",
            "leave it out together with hash: a version never changes",
        )
        .into());
    }
    let mut part = read_part::asked(&mut arguments)?;
    let page_of = read_part::go_on(&mut part, &mut arguments)?;
    if path.is_asset() {
        let named = if version.is_some() { Some("hash") } else { named_part(&part) };
        if let Some(name) = named {
            let why = "assets are not read here: leave it out to learn whether one exists";
            return Err(Refusal::argument(name, why).into());
        }
        return probe_asset(call, &access, &path, unless).await;
    }
    let read = ReadFile { access, path, version: version.or(page_of), unless, part };
    let file = call.read_file(&read).await?;
    let base_change = file.base_change;
    let mut output = match &file.content {
        FileContent::Unchanged => unchanged(&file.record).into(),
        FileContent::Binary => binary(app, call, read.access.book().clone(), file.record).into(),
        FileContent::Text(_) | FileContent::Excerpt(_) | FileContent::Outline(_) => {
            let size = text_size(&file);
            ToolOutput { body: rendered(file), size }
        }
    };
    if let Some(change) = base_change {
        read_part::put_base_change(&mut output.body, change);
    }
    Ok(output)
}

/// Name of the argument that asks for a part of a file.
fn named_part(part: &ReadPart) -> Option<&'static str> {
    (*part != ReadPart::Whole).then(|| part.argument())
}

/// Bytes of text in an answer.
fn text_size(file: &FileRead) -> Option<u64> {
    match &file.content {
        FileContent::Text(_) => Some(file.record.size),
        FileContent::Excerpt(excerpt) => Some(excerpt.text.len() as u64),
        FileContent::Unchanged | FileContent::Outline(_) | FileContent::Binary => None,
    }
}

fn unchanged(record: &FileRecord) -> Value {
    let hash = record.hash.to_string();
    json!({ "path": record.path.as_str(), "unchanged": true, "file_hash_sha256": hash })
}

/// A file that is not text, as JSON: the fields of an asset, its type, and a link to its bytes.
fn binary(app: &AppState, call: &Call, book: BookId, record: FileRecord) -> Value {
    let mut body = json!({
        "path": record.path.as_str(),
        "exists": true,
        "file_hash_sha256": record.hash.to_string(),
        "mime_type": media::type_of(&record.path),
    });
    let file = FileKey { book, path: record.path, layer: record.layer };
    put_link(
        &mut body,
        "download_url",
        app.links.content_url(&file, record.hash, &call.caller.principal.agent),
    );
    body
}

async fn probe_asset(
    call: &Call,
    access: &ReadAccess,
    path: &BookPath,
    unless: Option<ContentHash>,
) -> ToolResult {
    let hash = call.hash_of(access, path).await?;
    let mut body = json!({ "path": path.as_str(), "exists": hash.is_some() });
    if let Some(hash) = hash {
        body["file_hash_sha256"] = hash.to_string().into();
        if unless == Some(hash) {
            body["unchanged"] = true.into();
        }
    }
    Ok(body.into())
}

async fn read_folder(
    call: &Call,
    access: &ReadAccess,
    mut arguments: Arguments,
    scope: &'static str,
    depth: usize,
) -> ToolResult {
    let of_one_file =
        |name: &str| Refusal::argument(name, format!("it goes with scope=file only, not with scope={scope}"));
    for name in ["hash", "if_none_match"] {
        if arguments.text(name)?.is_some() {
            return Err(of_one_file(name).into());
        }
    }
    if let Some(name) = named_part(&read_part::asked(&mut arguments)?) {
        return Err(of_one_file(name).into());
    }
    let path = arguments.text("path")?;
    let folder =
        if depth == 1 { Folder::content() } else { folder_of(&needed("path", path)?, scope, depth)? };
    let after = arguments.cursor::<String>()?.map(|raw| BookPath::parse(&raw)).transpose();
    let after = after.map_err(|_| bad_cursor())?;
    let page = call.read_folder(access, &folder, after.as_ref()).await?;
    let size = page.files.iter().filter_map(text_size).sum();
    let files: Vec<_> = page.files.into_iter().map(rendered).collect();
    let mut body = JsonObject::new();
    body.insert("files".to_owned(), Value::Array(files));
    if let Some(next) = page.next {
        body.insert("next_cursor".to_owned(), cursor(&next.as_str()));
    }
    Ok(ToolOutput { body: Value::Object(body), size: Some(size) })
}

/// The part or chapter that contains the path or is named by it.
fn folder_of(raw: &str, scope: &str, depth: usize) -> Result<Folder, Refusal> {
    let path = BookPath::parse(raw.strip_suffix('/').unwrap_or(raw))?;
    let mut folders: Vec<_> = path.segments().collect();
    folders.pop_if(|last| path.is_page() || last.starts_with("_category_."));
    if folders.first() != Some(&"content") || folders.len() < depth {
        let form = if depth == 2 { "content/{part}" } else { "content/{part}/{chapter}" };
        let why = format!("for scope={scope} it must name {form} or a file in it");
        return Err(Refusal::argument("path", why));
    }
    Folder::prefix_of(&path, depth).ok_or_else(|| Refusal::argument("path", "it is too short"))
}

/// A file of a wider scope, a text, or a part of one, as JSON. A file that is not text has its type instead
/// of content.
fn rendered(file: FileRead) -> Value {
    let FileRead { record, content, .. } = file;
    let mut fields = JsonObject::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("path", record.path.as_str().into());
    put("file_size", record.size.into());
    put("last_modified", record.written_at.to_string().into());
    put("storage_backend", record.storage.into());
    put("file_hash_sha256", record.hash.to_string().into());
    put("source", record.layer.kind().into());
    match content {
        FileContent::Text(text) => drop(put("content", text.into())),
        FileContent::Binary => drop(put("mime_type", media::type_of(&record.path).into())),
        FileContent::Unchanged => drop(put("unchanged", true.into())),
        FileContent::Excerpt(excerpt) => read_part::put_excerpt(&mut fields, excerpt),
        FileContent::Outline(outline) => read_part::put_outline(&mut fields, outline, record.hash),
    }
    Value::Object(fields)
}

pub(super) async fn write(app: &AppState, call: &mut Call, arguments: Arguments) -> ToolResult {
    let written = write_now(call, arguments).await;
    count_write(app, call, written.as_ref()).await;
    let written = written?;
    Ok(ToolOutput { body: written_body(&written, &call.layer), size: Some(written.size) })
}

/// Body of the answer to a write.
pub(super) fn written_body(written: &Applied, layer: &Layer) -> Value {
    json!({
        "status": "success",
        "mode": written.mode(),
        "path": written.path.as_str(),
        "file_size": written.size,
        "file_hash": written.hash.map(|hash| hash.to_string()),
        "namespace": layer.kind(),
    })
}

async fn write_now(call: &mut Call, mut arguments: Arguments) -> Result<Applied, Error> {
    let book = needed("book_id", arguments.book()?)?;
    let path = needed("path", arguments.path()?)?;
    let access = call.may_write(book, Layer::of(arguments.user()?))?;
    let content = needed("content", arguments.text("content")?)?;
    let expected = arguments.hash("expected_hash")?;
    let merges = arguments.choice("on_conflict", &[("fail", false), ("merge", true)])?.unwrap_or(false);
    let write = Write { access, path, content, expected };
    if merges { call.write_merged(write).await } else { call.write_content(write).await }
}

pub(super) async fn delete(_: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let book = needed("book_id", arguments.book()?)?;
    let path = needed("path", arguments.path()?)?;
    let access = call.may_write(book, Layer::of(arguments.user()?))?;
    let expected = arguments.hash("expected_hash")?;
    let existed = call.delete_content(&access, &path, expected).await?;
    let body = json!({
        "status": "success",
        "path": path.as_str(),
        "existed": existed,
        "namespace": access.layer().kind(),
    });
    Ok(body.into())
}
