//! What the fake serves beside the tools: archives, assets, and a place to put uploads. Links have
//! to be signed, ranges are of one version, and downloads break off where a hook says so.

use std::fmt::Write as _;
use std::io::{self, Cursor, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, IF_RANGE, RANGE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::book::{Book, Files, change, error, hash};
use super::{PUBLIC, Twist, World, failed, kept};

/// A large asset that was announced.
pub(super) struct Upload {
    path: String,
    expected: Option<String>,
    size: u64,
    sha256: String,
    arrived: Option<Bytes>,
    done: Option<Value>,
}

impl Upload {
    pub(super) fn new(path: String, expected: Option<&str>, arguments: &Value) -> Self {
        Self {
            path,
            expected: expected.map(str::to_owned),
            size: arguments["file_size"].as_u64().unwrap(),
            sha256: arguments["sha256"].as_str().unwrap().to_owned(),
            arrived: None,
            done: None,
        }
    }

    pub(super) fn complete(&mut self, book: &mut Book) -> Result<Value, Value> {
        if let Some(done) = &self.done {
            return Ok(done.clone());
        }
        let arrived = self.arrived.take().filter(|arrived| arrived.len() as u64 == self.size);
        let bytes = arrived.filter(|arrived| hash(arrived) == self.sha256);
        let bytes = bytes.ok_or_else(|| error("UPLOAD_INCOMPLETE", "other bytes were announced"))?;
        let done = kept(&change(book, &self.path, Some(&bytes), self.expected.as_deref())?);
        self.done = Some(done.clone());
        Ok(done)
    }
}

/// What `get_book_archive` answers.
pub(super) fn link(book: &Book, id: &str, scope: &str, manifest: &str, key: usize) -> Result<Value, Value> {
    let files = in_scope(book, scope, manifest).ok_or_else(|| error("NOT_FOUND", "no such manifest"))?;
    let query = format!("manifest={manifest}&scope={scope}&signature={key}");
    Ok(json!({
        "status": "success",
        "archive_url": format!("{PUBLIC}/books/{id}/archive.zip?{query}"),
        "archive_size_bytes": zipped(&files, false).len(),
        "manifest_hash": manifest,
        "last": files.keys().next_back(),
    }))
}

fn in_scope(book: &Book, scope: &str, manifest: &str) -> Option<Files> {
    let is_in = |path: &str| match scope {
        "content" => path.starts_with("content/"),
        "assets" => path.starts_with("static/"),
        _ => true,
    };
    let files = book.manifests.get(manifest)?.clone();
    Some(files.into_iter().filter(|(path, _)| is_in(path)).collect())
}

/// A lying archive is as long as an honest one. The last file is missing, the first holds other
/// bytes, and there is more than there should be.
fn zipped(files: &Files, lie: bool) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    let mut put = |name: &str, bytes: &[u8]| {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    };
    for (n, (path, bytes)) in files.iter().enumerate() {
        match n {
            _ if !lie => put(path, bytes),
            0 => put(path, &[b'?'; 7]),
            _ if n + 1 == files.len() => put("../x", b"x"),
            _ => put(path, bytes),
        }
    }
    let mut bytes = zip.finish().unwrap().into_inner();
    if lie {
        // Padded by a comment that ends the file.
        let honest = zipped(files, false).len();
        let room = honest.checked_sub(bytes.len()).expect("a longer honest archive");
        let at = bytes.len() - 2;
        bytes[at..].copy_from_slice(&u16::try_from(room).unwrap().to_le_bytes());
        bytes.resize(honest, b' ');
    }
    bytes
}

pub(super) async fn archive(
    State(world): State<Arc<Mutex<World>>>,
    Path(book): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let of = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(given, _)| *given == name).map_or("", |(_, value)| value).to_owned()
    };
    let (twist, bytes) = {
        let mut world = world.lock().unwrap();
        let twist = world.twist(&route("archive.zip", &headers), String::new());
        if twist == Twist::Over {
            world.key += 1;
        }
        if of("signature") != world.key.to_string() {
            return StatusCode::FORBIDDEN.into_response();
        }
        let files = in_scope(&world.books[&book], &of("scope"), &of("manifest")).unwrap();
        (twist, Bytes::from(zipped(&files, twist == Twist::Corrupt)))
    };
    let version = hash(&bytes);
    send(twist, bytes, &version, &headers).await
}

pub(super) async fn asset(
    State(world): State<Arc<Mutex<World>>>,
    Path((book, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let path = format!("static/{path}");
    let (twist, bytes) = {
        let mut world = world.lock().unwrap();
        let twist = world.twist(&route("static", &headers), path.clone());
        (twist, world.books.get(&book).and_then(|book| book.files.get(&path)).cloned())
    };
    let Some(bytes) = bytes else { return StatusCode::NOT_FOUND.into_response() };
    let honest = hash(&bytes);
    let sent = if twist == Twist::Corrupt { Bytes::from(vec![b'?'; bytes.len()]) } else { bytes };
    send(twist, sent, &honest, &headers).await
}

/// `archive.zip`, or `archive.zip from 9`.
fn route(name: &str, headers: &HeaderMap) -> String {
    let mut route = name.to_owned();
    if let Some(from) = from(headers) {
        let _ = write!(route, " from {from}");
    }
    route
}

fn from(headers: &HeaderMap) -> Option<usize> {
    headers.get(RANGE)?.to_str().unwrap().strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// Sends bytes, or a range of them, as those of the version `honest`.
async fn send(twist: Twist, bytes: Bytes, honest: &str, headers: &HeaderMap) -> Response {
    if let Some(response) = failed(twist).await {
        return response;
    }
    let etag = format!("\"{honest}\"");
    let is_it = |name| headers.get(name).is_none_or(|given| given.to_str().unwrap() == etag);
    if !is_it(IF_MATCH) {
        return StatusCode::PRECONDITION_FAILED.into_response();
    }
    let (length, start) = (bytes.len(), from(headers).filter(|_| is_it(IF_RANGE)));
    if start.is_some_and(|start| start >= length) {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    }
    let rest = bytes.slice(start.unwrap_or(0)..);
    let mut response = Response::builder().header(ETAG, etag).header(CONTENT_LENGTH, rest.len());
    if let Some(start) = start {
        let range = format!("bytes {start}-{}/{length}", length - 1);
        response = response.status(StatusCode::PARTIAL_CONTENT).header(CONTENT_RANGE, range);
    }
    let body = match twist {
        Twist::Cut(after) => {
            let sent = rest.slice(..after.min(rest.len()));
            // What was sent has to leave before the connection is cut.
            let cut = stream::once(async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(io::Error::other("cut"))
            });
            Body::from_stream(stream::iter([Ok(sent)]).chain(cut))
        }
        _ => Body::from(rest),
    };
    response.body(body).unwrap()
}

pub(super) async fn upload(
    State(world): State<Arc<Mutex<World>>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let twist = world.lock().unwrap().twist("upload", id.clone());
    if let Some(response) = failed(twist).await {
        return response;
    }
    let mut world = world.lock().unwrap();
    if twist == Twist::Over {
        world.key += 1;
    }
    let is_signed = query == Some(format!("X-Amz-Signature={}", world.key));
    if !is_signed || !headers.contains_key("x-must-be-there") {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Some(upload) = world.uploads.get_mut(&id) else { return StatusCode::FORBIDDEN.into_response() };
    if headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok()) != Some(upload.size) {
        return StatusCode::LENGTH_REQUIRED.into_response();
    }
    upload.arrived = Some(if twist == Twist::Corrupt { Bytes::from_static(b"?") } else { body });
    StatusCode::OK.into_response()
}
