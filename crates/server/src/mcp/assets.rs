//! `upload_asset`, `complete_upload`, `get_asset`, `list_assets` and `delete_asset`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use panaversity_model::asset::{Asset, AssetType};
use panaversity_model::change::Applied;
use panaversity_model::ids::UploadId;
use panaversity_model::precondition::Effect;
use panaversity_model::publication::FileKey;
use panaversity_model::upload::{SignedPut, Upload};
use panaversity_model::{AgentId, BookId, BookPath, ContentHash, Error, Layer, Refusal, media};
use panaversity_service::Call;
use panaversity_service::uploads::{Announce, Announcement};
use panaversity_service::write::Write;
use rmcp::model::JsonObject;
use serde_json::{Value, json};

use crate::AppState;
use crate::mcp::arguments::{Arguments, needed};
use crate::mcp::base64_data::{decoded, least_bytes};
use crate::mcp::cursor::{bad_cursor, cursor};
use crate::mcp::tool_output::{ToolOutput, ToolResult, put_link};
use crate::mcp::write_metrics::count_write;
use crate::signed_url::{UPLOAD_FIELDS, upload_path};

/// Memory per byte of an asset in an answer, in bytes: a third more as base64, that again in the text
/// copy, and both once more when they are serialised.
pub(super) const COST_OF_AN_ANSWER: u64 = 6;

/// Source of an upload's bytes.
enum Source {
    /// No bytes: `file_size` is 0.
    Empty,
    Direct(Vec<u8>),
    Announced(u64),
}

pub(super) async fn upload(app: &AppState, call: &mut Call, arguments: Arguments) -> ToolResult {
    match upload_now(app, call, arguments).await {
        Ok(Announcement::Held(kept)) => {
            count_write(app, call, Ok(&kept)).await;
            Ok(kept_answer(app, call, &kept, "direct"))
        }
        Ok(Announcement::Begun(upload, put)) => Ok(begun(app, &upload, put)?),
        Err(error) => {
            count_write(app, call, Err(&error)).await;
            Err(error)
        }
    }
}

async fn upload_now(
    app: &AppState,
    call: &mut Call,
    mut arguments: Arguments,
) -> Result<Announcement, Error> {
    let (book, path) = subject(&mut arguments)?;
    let access = call.may_write(book, Layer::Base)?;
    let (sha256, expected) = (arguments.hash("sha256")?, arguments.hash("expected_hash")?);
    let bytes = match source(call, &mut arguments)? {
        Source::Empty => {
            if let Some(sha256) = sha256.filter(|sha256| *sha256 != ContentHash::of(b"")) {
                let why = format!("no bytes have another hash than {sha256}");
                return Err(Refusal::argument("sha256", why).into());
            }
            let put = Write { access, path, content: Vec::new(), expected };
            return Ok(Announcement::Held(call.put_asset(put).await?));
        }
        Source::Direct(bytes) => bytes,
        Source::Announced(size) => {
            let own_route = app.links.are_served();
            let announce = Announce { access, path, size, sha256, expected, own_route };
            return call.begin_upload(announce, app.links.valid_for()).await;
        }
    };
    if sha256.is_some() {
        let why = "it goes with file_size: leave it out beside binary_data";
        return Err(Refusal::argument("sha256", why).into());
    }
    let put = Write { access, path, content: bytes, expected };
    Ok(Announcement::Held(call.put_asset(put).await?))
}

fn source(call: &Call, arguments: &mut Arguments) -> Result<Source, Refusal> {
    const EITHER: &str =
        "pass either binary_data, which must not be empty, or file_size, which is 0 for an empty file";
    let text = arguments.text("binary_data")?.filter(|text| !text.is_empty());
    match (text, arguments.count("file_size", 0, usize::MAX)?) {
        (Some(_), Some(_)) => {
            Err(Refusal::argument("file_size", "pass either binary_data or file_size, not both"))
        }
        (None, None) => Err(Refusal::argument("binary_data", EITHER)),
        (None, Some(0)) => Ok(Source::Empty),
        (None, Some(size)) => Ok(Source::Announced(size as u64)),
        (Some(text), None) => {
            call.check_direct("binary_data", least_bytes(&text))?;
            match decoded(text)? {
                bytes if bytes.is_empty() => Err(Refusal::argument("binary_data", EITHER)),
                bytes => Ok(Source::Direct(bytes)),
            }
        }
    }
}

/// Adds the link to a file of the base: `cdn_url` of an asset, a signed `download_url` of a file beside
/// pages.
fn put_file_link(
    body: &mut Value,
    app: &AppState,
    agent: &AgentId,
    (book, path): (&BookId, &BookPath),
    hash: ContentHash,
) {
    if path.is_asset() {
        return put_link(body, "cdn_url", app.links.asset_url(book, path));
    }
    let file = FileKey { book: book.clone(), path: path.clone(), layer: Layer::Base };
    put_link(body, "download_url", app.links.content_url(&file, hash, agent));
}

fn subject(arguments: &mut Arguments) -> Result<(BookId, BookPath), Refusal> {
    let book = needed("book_id", arguments.book()?)?;
    let kind = needed("asset_type", arguments.asset_type()?)?;
    let filename = needed("filename", arguments.text("filename")?)?;
    Ok((book, kind.path_of(&filename)?))
}

fn begun(app: &AppState, upload: &Upload, put: Option<SignedPut>) -> Result<ToolOutput, Refusal> {
    let announced = &upload.announced;
    let SignedPut { url, headers } = if let Some(put) = put {
        put
    } else {
        let (path, size) = (upload_path(&announced.id.to_string()), announced.size.to_string());
        let fields: Vec<_> = UPLOAD_FIELDS.into_iter().zip([size.as_str()]).collect();
        let (url, _) = app.links.signed(&path, &fields)?;
        SignedPut { url, headers: Vec::new() }
    };
    let headers: JsonObject = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
    let mut body = json!({
        "status": "presigned_url",
        "method": "presigned",
        "path": announced.path.as_str(),
        "upload_id": announced.id.to_string(),
        "upload_url": url,
        "headers": headers,
        "expires_in_seconds": app.links.valid_for().as_secs(),
    });
    // A link to a file beside pages names its version, which does not exist yet: complete_upload returns
    // it.
    if announced.path.is_asset() {
        put_link(&mut body, "cdn_url", app.links.asset_url(&announced.book, &announced.path));
    }
    Ok(body.into())
}

pub(super) async fn complete(app: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let book = needed("book_id", arguments.book()?)?;
    let access = call.may_write(book, Layer::Base)?;
    let raw = needed("upload_id", arguments.text("upload_id")?)?;
    let why = "it must be the upload_id that upload_asset gave";
    let id = UploadId::from_stored(&raw).ok_or_else(|| Refusal::argument("upload_id", why))?;
    let kept = call.complete_upload(&access, id).await;
    count_write(app, call, kept.as_ref()).await;
    Ok(kept_answer(app, call, &kept?, "presigned"))
}

fn kept_answer(app: &AppState, call: &Call, kept: &Applied, method: &str) -> ToolOutput {
    let status = if kept.effect == Effect::Unchanged { "skipped" } else { "success" };
    let mut body = json!({
        "status": status,
        "method": method,
        "path": kept.path.as_str(),
        "file_size": kept.size,
        "mime_type": media::type_of(&kept.path),
        "file_hash_sha256": kept.hash.map(|hash| hash.to_string()),
    });
    if let (Some(book), Some(hash)) = (&call.book, kept.hash) {
        put_file_link(&mut body, app, &call.caller.principal.agent, (book, &kept.path), hash);
    }
    ToolOutput { body, size: Some(kept.size) }
}

pub(super) async fn get(app: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let (book, path) = subject(&mut arguments)?;
    let access = call.may_read(book, Layer::Base)?;
    let with_bytes = arguments.flag("include_binary")?;
    if !with_bytes {
        let asset = call.get_asset(&access, &path).await?;
        return Ok(linked(app, call, access.book(), &asset).into());
    }
    let found = call.find_asset(&access, &path).await?;
    app.hold.take(found.asset.record.size * COST_OF_AN_ANSWER).await;
    let (asset, bytes) = call.asset_bytes(&access, found).await?;
    let mut body = linked(app, call, access.book(), &asset);
    body["binary_data"] = BASE64_STANDARD.encode(bytes).into();
    Ok(ToolOutput { body, size: Some(asset.record.size) })
}

pub(super) async fn list(app: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let access = call.may_read(needed("book_id", arguments.book()?)?, Layer::Base)?;
    let kind = arguments.asset_type()?;
    let after = arguments.cursor::<String>()?.map(|raw| BookPath::parse(&raw)).transpose();
    let page = call.list_assets(&access, kind, after.map_err(|_| bad_cursor())?).await?;
    let mut assets: Vec<_> =
        page.assets.iter().map(|asset| linked(app, call, access.book(), asset)).collect();
    // The hint appears once per answer.
    let hints: Vec<_> = assets.iter_mut().filter_map(|asset| asset.as_object_mut()?.remove("hint")).collect();
    let mut body = json!({ "assets": assets });
    if let Some(hint) = hints.into_iter().next() {
        body["hint"] = hint;
    }
    if let Some(next) = page.next {
        body["next_cursor"] = cursor(&next.as_str());
    }
    Ok(body.into())
}

fn linked(app: &AppState, call: &Call, book: &BookId, asset: &Asset) -> Value {
    let record = &asset.record;
    let mut body = rendered(asset);
    put_file_link(&mut body, app, &call.caller.principal.agent, (book, &record.path), record.hash);
    body
}

fn rendered(asset: &Asset) -> Value {
    let record = &asset.record;
    let (kind, filename) = AssetType::of(&record.path).unwrap_or((AssetType::Static, "".into()));
    json!({
        "path": record.path.as_str(),
        "asset_type": kind.as_str(),
        "filename": filename,
        "file_size": record.size,
        "mime_type": media::type_of(&record.path),
        "file_hash_sha256": record.hash.to_string(),
        "upload_timestamp": record.written_at.to_string(),
        "uploaded_by_agent_id": asset.agent.as_str(),
    })
}

pub(super) async fn delete(_: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let (book, path) = subject(&mut arguments)?;
    let access = call.may_write(book, Layer::Base)?;
    let expected = arguments.hash("expected_hash")?;
    let existed = call.delete_content(&access, &path, expected).await?;
    let body = json!({ "status": "success", "path": path.as_str(), "existed": existed, "namespace": Layer::Base.kind() });
    Ok(body.into())
}
