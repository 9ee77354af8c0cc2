//! `upload_asset`, `complete_upload`, `get_asset`, `list_assets` and `delete_asset`.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use panaversity_model::asset::{Asset, AssetType};
use panaversity_model::ids::UploadId;
use panaversity_model::precondition::Effect;
use panaversity_model::upload::{SignedPut, Upload};
use panaversity_model::{BookId, BookPath, Error, Layer, Refusal, media};
use panaversity_service::Call;
use panaversity_service::assets::{AssetKept, PutAsset};
use panaversity_service::uploads::{Announce, Announcement};
use rmcp::model::JsonObject;
use serde_json::{Value, json};

use crate::app::App;
use crate::mcp::arguments::{Arguments, bad_cursor, cursor, needed};
use crate::mcp::calls::{Answer, Ending};
use crate::mcp::content::count_write;

/// Base64 as RFC 4648 has it; who leaves the padding out means the same.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What an asset of these bytes costs as an answer, in bytes of memory for one of its own: a third
/// more as base64, that in a text beside it, and both once more as they are written out.
pub(super) const COST_OF_AN_ANSWER: u64 = 6;

/// How the bytes of an upload come.
enum Source {
    Direct(Vec<u8>),
    Announced(u64),
}

pub(super) async fn upload(app: &App, call: &mut Call, arguments: Arguments) -> Ending {
    match upload_now(app, call, arguments).await {
        Ok(Announcement::Held(kept)) => {
            count_write(app, call, Ok(kept.effect)).await;
            Ok(kept_answer(app, call, &kept, "direct"))
        }
        Ok(Announcement::Begun(upload, put)) => Ok(begun(app, &upload, put)),
        Err(error) => {
            count_write(app, call, Err(&error)).await;
            Err(error)
        }
    }
}

async fn upload_now(app: &App, call: &mut Call, mut arguments: Arguments) -> Result<Announcement, Error> {
    let (book, path) = subject(&mut arguments)?;
    let (sha256, expected) = (arguments.hash("sha256")?, arguments.hash("expected_hash")?);
    let bytes = match source(app, &mut arguments)? {
        Source::Direct(bytes) => bytes,
        Source::Announced(size) => {
            let announce = Announce { book, path, size, sha256, expected };
            return app.service.begin_upload(call, announce, app.links.valid_for()).await;
        }
    };
    if sha256.is_some() {
        let why = "it goes with file_size: leave it out beside binary_data";
        return Err(Refusal::argument("sha256", why).into());
    }
    let put = PutAsset { book, path, bytes, expected };
    Ok(Announcement::Held(app.service.put_asset(call, put).await?))
}

fn source(app: &App, arguments: &mut Arguments) -> Result<Source, Refusal> {
    match (arguments.text("binary_data")?, arguments.count("file_size", usize::MAX)?) {
        (Some(_), Some(_)) => {
            Err(Refusal::argument("file_size", "pass either binary_data or file_size, not both"))
        }
        (None, None) => Err(Refusal::argument("binary_data", "pass either binary_data or file_size")),
        (None, Some(size)) => Ok(Source::Announced(size as u64)),
        (Some(text), None) => {
            app.service.check_direct("binary_data", least_bytes(&text))?;
            decoded(text).map(Source::Direct)
        }
    }
}

/// How many bytes a text in base64 is at least: four letters are three bytes, the last one or two of
/// which may be padding. Line breaks are none of it.
fn least_bytes(text: &str) -> u64 {
    let letters = text.bytes().filter(|letter| !matches!(letter, b'\n' | b'\r')).count();
    (letters as u64 / 4 * 3).saturating_sub(2)
}

fn decoded(mut text: String) -> Result<Vec<u8>, Refusal> {
    // Many tools break the lines.
    if text.contains(['\n', '\r']) {
        text.retain(|c| !matches!(c, '\n' | '\r'));
    }
    let why = "it must be the bytes in base64 (RFC 4648)";
    BASE64.decode(text).map_err(|_| Refusal::argument("binary_data", why))
}

fn subject(arguments: &mut Arguments) -> Result<(BookId, BookPath), Refusal> {
    let book = needed("book_id", arguments.book()?)?;
    let kind = needed("asset_type", arguments.asset_type()?)?;
    let filename = needed("filename", arguments.text("filename")?)?;
    Ok((book, kind.path_of(&filename)?))
}

fn begun(app: &App, upload: &Upload, put: Option<SignedPut>) -> Answer {
    let announced = &upload.announced;
    let SignedPut { url, headers } = put.unwrap_or_else(|| {
        let size = announced.size.to_string();
        let (url, _) = app.links.signed(&format!("/uploads/{}", announced.id), &[("size", &size)]);
        SignedPut { url, headers: Vec::new() }
    });
    let headers: JsonObject = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
    json!({
        "status": "presigned_url",
        "method": "presigned",
        "path": announced.path.as_str(),
        "upload_id": announced.id.to_string(),
        "upload_url": url,
        "headers": headers,
        "cdn_url": app.links.asset_url(&announced.book, &announced.path),
        "expires_in_seconds": app.links.valid_for().as_secs(),
    })
    .into()
}

pub(super) async fn complete(app: &App, call: &mut Call, mut arguments: Arguments) -> Ending {
    let book = needed("book_id", arguments.book()?)?;
    let raw = needed("upload_id", arguments.text("upload_id")?)?;
    let why = "it must be the upload_id that upload_asset gave";
    let id = UploadId::from_stored(&raw).ok_or_else(|| Refusal::argument("upload_id", why))?;
    let kept = app.service.complete_upload(call, &book, id).await;
    count_write(app, call, kept.as_ref().map(|kept| kept.effect)).await;
    Ok(kept_answer(app, call, &kept?, "presigned"))
}

fn kept_answer(app: &App, call: &Call, kept: &AssetKept, method: &str) -> Answer {
    let status = if kept.effect == Effect::Unchanged { "skipped" } else { "success" };
    let body = json!({
        "status": status,
        "method": method,
        "path": kept.path.as_str(),
        "cdn_url": call.book.as_ref().map(|book| app.links.asset_url(book, &kept.path)),
        "file_size": kept.size,
        "mime_type": media::type_of(&kept.path),
        "file_hash_sha256": kept.hash.to_string(),
    });
    Answer { body, size: Some(kept.size) }
}

pub(super) async fn get(app: &App, _: &mut Call, mut arguments: Arguments) -> Ending {
    let (book, path) = subject(&mut arguments)?;
    let with_bytes = arguments.flag("include_binary")?;
    let (asset, _) = app.service.get_asset(&book, &path, false).await?;
    if !with_bytes {
        return Ok(rendered(app, &book, &asset).into());
    }
    app.service.check_direct("the asset", asset.record.size)?;
    app.hold.take(asset.record.size * COST_OF_AN_ANSWER).await;
    let (asset, bytes) = app.service.get_asset(&book, &path, true).await?;
    let mut body = rendered(app, &book, &asset);
    body["binary_data"] = BASE64_STANDARD.encode(bytes.unwrap_or_default()).into();
    Ok(Answer { body, size: Some(asset.record.size) })
}

pub(super) async fn list(app: &App, _: &mut Call, mut arguments: Arguments) -> Ending {
    let book = needed("book_id", arguments.book()?)?;
    let kind = arguments.asset_type()?;
    let after = arguments.cursor::<String>()?.map(|raw| BookPath::parse(&raw)).transpose();
    let page = app.service.list_assets(&book, kind, after.map_err(|_| bad_cursor())?).await?;
    let assets: Vec<_> = page.assets.iter().map(|asset| rendered(app, &book, asset)).collect();
    let mut body = json!({ "assets": assets });
    if let Some(next) = page.next {
        body["next_cursor"] = cursor(&next.as_str());
    }
    Ok(body.into())
}

fn rendered(app: &App, book: &BookId, asset: &Asset) -> Value {
    let record = &asset.record;
    let (kind, filename) = AssetType::of(&record.path).unwrap_or((AssetType::Static, ""));
    json!({
        "path": record.path.as_str(),
        "asset_type": kind.as_str(),
        "filename": filename,
        "cdn_url": app.links.asset_url(book, &record.path),
        "file_size": record.size,
        "mime_type": media::type_of(&record.path),
        "file_hash_sha256": record.hash.to_string(),
        "upload_timestamp": record.written_at.to_string(),
        "uploaded_by_agent_id": asset.agent.as_str(),
    })
}

pub(super) async fn delete(app: &App, call: &mut Call, mut arguments: Arguments) -> Ending {
    let (book, path) = subject(&mut arguments)?;
    let expected = arguments.hash("expected_hash")?;
    let existed = app.service.delete_content(call, &book, &path, &Layer::Base, expected).await?;
    let body = json!({ "status": "success", "path": path.as_str(), "existed": existed, "namespace": Layer::Base.kind() });
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_make_no_asset_larger() {
        for bytes in 0..300 {
            let text = BASE64_STANDARD.encode(vec![7; bytes]);
            let broken: Vec<_> =
                text.as_bytes().chunks(4).map(|line| std::str::from_utf8(line).unwrap()).collect();
            for text in [&text, &broken.join("\n"), &broken.join("\r\n"), text.trim_end_matches('=')] {
                let least = least_bytes(text);
                assert!(least <= bytes as u64 && bytes as u64 <= least + 4, "{bytes}: {least}");
            }
        }
    }

    #[test]
    fn base64_is_read_with_or_without_padding_and_line_breaks() {
        for text in ["aGVsbG8=", "aGVsbG8", "aGVs\r\nbG8=\n"] {
            assert_eq!(decoded(text.to_owned()).unwrap(), b"hello");
        }
        assert_eq!(decoded(String::new()).unwrap(), b"");
        for bad in ["aGVsbG8!", "data:image/png;base64,aGVsbG8=", "aGVsb", "_-8="] {
            assert!(decoded(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
