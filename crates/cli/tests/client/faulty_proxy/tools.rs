//! Tool calls that are changed on their way, and their answers.

use axum::body::Bytes;
use axum::response::{IntoResponse, Json, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use panaversity_model::ContentHash;
use panaversity_model::manifest::{Item, Manifest};
use serde_json::{Value, json};

use super::{Exchange, Options, Shared, Twist};

/// A hash of no manifest.
const UNKNOWN: &str = "00000000000000000000000000000000000000000000000000000000000000aa";
/// What cursors of the proxy's own pages begin with.
const CURSOR: &str = "from ";

/// The page of a plan that was asked for: which files, and at most how many.
pub(super) struct Page {
    from: usize,
    files: usize,
}

/// The refusal of a tool that the server is said not to offer in this way.
pub(super) fn refused(exchange: &Exchange) -> Option<Response> {
    let (tool, arguments) = call(exchange)?;
    let too_large = |limit: usize| {
        let data = arguments["binary_data"].as_str().unwrap_or_default();
        BASE64_STANDARD.decode(data).unwrap().len() > limit
    };
    let (code, message) = match tool.as_str() {
        "get_book_archive" if !exchange.options.archives => ("NOT_FOUND", "there are no archives"),
        "upload_asset" if exchange.options.direct.is_some_and(too_large) => {
            ("TOO_LARGE", "it is too large for a call")
        }
        _ => return None,
    };
    let error = json!({"error": {"code": code, "message": message, "hint": "do without"}});
    let result = json!({"structuredContent": error, "content": [], "isError": true});
    Some(Json(json!({"jsonrpc": "2.0", "id": 1, "result": result})).into_response())
}

/// Changes what is asked for; gives the page of a plan that is to be answered.
pub(super) fn alter_request(exchange: &mut Exchange) -> Option<Page> {
    let (tool, mut arguments) = call(exchange)?;
    if tool != "plan_build" {
        return None;
    }
    if !exchange.options.manifests && arguments["target_manifest_hash"].is_string() {
        arguments["target_manifest_hash"] = UNKNOWN.into();
    }
    let page = exchange.options.page.map(|files| {
        let cursor = arguments.as_object_mut().unwrap().remove("cursor");
        let from = cursor.map_or(0, |cursor| {
            cursor.as_str().and_then(|cursor| cursor.strip_prefix(CURSOR)).unwrap().parse().unwrap()
        });
        Page { from, files }
    });
    let mut request: Value = serde_json::from_slice(&exchange.body).unwrap();
    request["params"]["arguments"] = arguments;
    exchange.body = request.to_string().into();
    page
}

/// The tool and its arguments, if the request is a call.
fn call(exchange: &Exchange) -> Option<(String, Value)> {
    (exchange.parts.uri.path() == "/mcp").then(|| {
        let mut request: Value = serde_json::from_slice(&exchange.body).unwrap();
        let tool = request["params"]["name"].as_str().unwrap().to_owned();
        (tool, request["params"]["arguments"].take())
    })
}

/// Changes what a tool answered.
pub(super) fn alter_answer(
    shared: &Shared,
    twist: Twist,
    options: Options,
    page: Option<Page>,
    body: &[u8],
) -> Bytes {
    let mut answer: Value = serde_json::from_slice(body).unwrap();
    let Some(done) = answer["result"].get_mut("structuredContent") else { return body.to_vec().into() };
    number_links(shared, options, done);
    if let Twist::Listed(path) = twist {
        add_to_list(done, path);
    }
    if let Some(page) = page {
        take_page(done, &page);
    }
    if twist == Twist::Corrupt {
        if done["content"].is_string() {
            done["content"] = json!("somebody else's text");
        }
        if let Some(files) = done.get_mut("files").and_then(Value::as_array_mut) {
            files.pop();
        }
    }
    answer.to_string().into()
}

fn number_links(shared: &Shared, options: Options, done: &mut Value) {
    let mut rules = shared.rules();
    for name in ["archive_url", "download_url", "upload_url"] {
        let Some(link) = done[name].as_str().map(str::to_owned) else { continue };
        let id = done["upload_id"].as_str().map(str::to_owned);
        if let Some(id) = id.filter(|_| name == "upload_url" && options.bucket) {
            let at = link.find("/uploads/").unwrap();
            let elsewhere = format!("{}/bucket/uploads/{id}?X-Amz-Signature=yes", shared.url);
            done[name] = rules.numbered(&elsewhere).into();
            done["headers"] = json!({"x-must-be-there": "yes"});
            rules.uploads.insert(id, link[at..].to_owned());
        } else {
            done[name] = rules.numbered(&link).into();
        }
    }
}

fn add_to_list(done: &mut Value, path: &str) {
    let hash = ContentHash::of(b"evil");
    let Some(files) = done.get_mut("files").and_then(Value::as_array_mut) else { return };
    files.push(json!({"path": path, "current_hash": hash.to_string(), "size": 4}));
    let item = |file: &Value| {
        let hash = ContentHash::from_hex(file["current_hash"].as_str().unwrap()).unwrap();
        (file["path"].as_str().unwrap().to_owned(), Item { hash, size: 0, version: 0 })
    };
    let manifest = Manifest { files: files.iter().map(item).collect() };
    done["manifest_hash"] = manifest.hash().to_string().into();
}

fn take_page(done: &mut Value, page: &Page) {
    let Some(files) = done.get_mut("files").and_then(Value::as_array_mut) else { return };
    let to = files.len().min(page.from + page.files);
    let next = (to < files.len()).then(|| format!("{CURSOR}{to}"));
    *files = files[page.from..to].to_vec();
    if let Some(next) = next {
        done["next_cursor"] = next.into();
    }
}
