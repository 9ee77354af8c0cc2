//! A server of the tools that the pipeline calls, in memory, with hooks to misbehave. It keeps the
//! agent contract for writing, so that a client that breaks it is found out.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::stream;
use panaversity_model::Schema;
use panaversity_model::asset::AssetType;
use serde_json::{Value, json};

mod book;
mod routes;

pub(crate) use book::Files;
use book::{Book, change, error, hash, plan};
use routes::{Upload, archive, asset, link, upload};

/// Where the links of this server say that it is; nobody gets there.
const PUBLIC: &str = "https://nowhere.invalid/fs";

/// How the server answers a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twist {
    Honest,
    /// Somebody else writes this text at this path of the book just before.
    Overtaken(&'static str, &'static str),
    /// HTTP 500, nothing done.
    Fault,
    /// The call is done, the answer lost.
    LostAnswer,
    /// The content differs from what was asked for; a list has lost its last file; an archive lacks
    /// its last, and lies.
    Corrupt,
    /// So many bytes of a download come, then nothing more.
    Cut(usize),
    /// The link is over, and all others given before.
    Over,
    /// No answer, ever.
    Hang,
}

/// A call as a hook sees it: its number from 1, the tool or route and the path.
pub(crate) struct Call {
    pub(crate) number: usize,
    pub(crate) tool: String,
    pub(crate) path: String,
}

type Hook = Box<dyn FnMut(&Call) -> Twist + Send>;

struct World {
    books: BTreeMap<String, Book>,
    calls: Vec<String>,
    page: usize,
    /// Largest asset inside a call.
    direct: usize,
    archives: bool,
    /// What links must be signed with.
    key: usize,
    uploads: HashMap<String, Upload>,
    url: String,
    hook: Hook,
}

/// A running fake.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) url: String,
    world: Arc<Mutex<World>>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let hook: Hook = Box::new(|_| Twist::Honest);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let world = World {
            books: BTreeMap::new(),
            calls: Vec::new(),
            page: 1_000,
            direct: 10 << 20,
            archives: true,
            key: 1,
            uploads: HashMap::new(),
            url: url.clone(),
            hook,
        };
        let world = Arc::new(Mutex::new(world));
        let app = Router::new()
            .route("/mcp", post(serve))
            .route("/books/{book}/archive.zip", get(archive))
            .route("/books/{book}/static/{*path}", get(asset))
            .route("/bucket/uploads/{id}", put(upload))
            .with_state(world.clone());
        let app = app.layer(axum::extract::DefaultBodyLimit::disable());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, world }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(crate) fn on_call(&self, hook: impl FnMut(&Call) -> Twist + Send + 'static) {
        self.world().hook = Box::new(hook);
    }

    pub(crate) fn honest(&self) {
        self.on_call(|_| Twist::Honest);
    }

    pub(crate) fn page_size(&self, page: usize) {
        self.world().page = page;
    }

    /// Larger assets do not go inside a call.
    pub(crate) fn direct_limit(&self, bytes: usize) {
        self.world().direct = bytes;
    }

    /// A server that gives no archives.
    pub(crate) fn no_archives(&self) {
        self.world().archives = false;
    }

    pub(crate) fn forget_manifests(&self) {
        self.world().books.values_mut().for_each(|book| book.manifests.clear());
    }

    /// Sets the files of a book, as somebody else's writes.
    pub(crate) fn put<T: AsRef<[u8]>>(&self, book: &str, files: &[(&str, T)]) {
        let mut world = self.world();
        let book = world.books.entry(book.to_owned()).or_default();
        for (path, bytes) in files {
            book.keep(path, Bytes::copy_from_slice(bytes.as_ref()));
        }
    }

    pub(crate) fn remove(&self, book: &str, path: &str) {
        self.world().books.get_mut(book).unwrap().files.remove(path);
    }

    pub(crate) fn files(&self, book: &str) -> Files {
        self.world().books.get(book).map(|book| book.files.clone()).unwrap_or_default()
    }

    /// The tools called since the last time this was asked.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.world().calls)
    }
}

async fn serve(State(world): State<Arc<Mutex<World>>>, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap();
    let tool = request["params"]["name"].as_str().unwrap().to_owned();
    let arguments = request["params"]["arguments"].clone();
    let (twist, answer) = {
        let mut world = world.lock().unwrap();
        let path = arguments["path"].as_str().unwrap_or_default().to_owned();
        let twist = world.twist(&tool, path);
        if let (Twist::Overtaken(path, text), Some(book)) = (twist, arguments["book_id"].as_str()) {
            world.books.entry(book.to_owned()).or_default().keep(path, Bytes::from_static(text.as_bytes()));
        }
        let answer = match twist {
            Twist::Fault | Twist::Hang => json!({}),
            _ => world.answer(&tool, &arguments, twist == Twist::Corrupt),
        };
        (twist, answer)
    };
    if twist == Twist::LostAnswer {
        let lost = stream::iter([Err::<Bytes, _>(io::Error::other("cut"))]);
        return Response::new(Body::from_stream(lost));
    }
    failed(twist).await.unwrap_or_else(|| axum::Json(answer).into_response())
}

/// The answer of a server that does nothing.
async fn failed(twist: Twist) -> Option<Response> {
    match twist {
        Twist::Fault => Some((StatusCode::INTERNAL_SERVER_ERROR, "down").into_response()),
        Twist::Hang => {
            tokio::time::sleep(Duration::from_hours(1)).await;
            Some(StatusCode::GATEWAY_TIMEOUT.into_response())
        }
        _ => None,
    }
}

impl World {
    /// Notes a call and asks the hook what to do with it.
    fn twist(&mut self, tool: &str, path: String) -> Twist {
        self.calls.push(tool.to_owned());
        (self.hook)(&Call { number: self.calls.len(), tool: tool.to_owned(), path })
    }

    fn answer(&mut self, tool: &str, arguments: &Value, corrupt: bool) -> Value {
        match self.act(tool, arguments) {
            Ok(mut done) => {
                if corrupt {
                    done["content"] = json!("somebody else's text");
                    if let Some(files) = done["files"].as_array_mut() {
                        files.pop();
                    }
                    if let Some(last) = done["last"].as_str() {
                        done["error_manifest"] = json!([{"path": last, "error": "its blob is missing"}]);
                        done["status"] = json!("partial");
                    }
                }
                json!({"jsonrpc": "2.0", "id": 1, "result":
                    {"structuredContent": done, "content": [], "isError": false}})
            }
            Err(error) => json!({"jsonrpc": "2.0", "id": 1, "result":
                {"structuredContent": {"error": error}, "content": [], "isError": true}}),
        }
    }

    fn act(&mut self, tool: &str, arguments: &Value) -> Result<Value, Value> {
        let text = |name: &str| arguments[name].as_str().unwrap_or_default();
        let id = text("book_id").to_owned();
        match tool {
            "list_books" => {
                let book = self.books.get(&id).ok_or_else(|| error("BOOK_NOT_FOUND", "no such book"))?;
                Ok(json!({"books": [{"book_id": id, "schema": book.schema.as_str()}]}))
            }
            "create_book" => {
                let book = self.books.entry(id).or_default();
                if let Some(schema) = arguments["schema"].as_str() {
                    let schema = Schema::parse(schema).unwrap();
                    if schema != book.schema && !book.files.is_empty() {
                        return Err(error("CONFLICT", "the book keeps its schema"));
                    }
                    book.schema = schema;
                }
                Ok(json!({"status": "success", "schema": book.schema.as_str()}))
            }
            "plan_build" => {
                let page = self.page;
                let book = self.books.get_mut(&id).ok_or_else(|| error("BOOK_NOT_FOUND", "no such book"))?;
                Ok(plan(book, arguments, page))
            }
            "read_content" => {
                let book = self.books.get(&id).ok_or_else(|| error("BOOK_NOT_FOUND", "no such book"))?;
                let version = (text("path").to_owned(), text("hash").to_owned());
                let found = book.versions.get(&version).ok_or_else(|| error("NOT_FOUND", "no version"))?;
                let found = std::str::from_utf8(found).unwrap();
                Ok(json!({"path": version.0, "content": found, "file_hash_sha256": version.1}))
            }
            "write_content" | "delete_content" => {
                let book = self.books.entry(id).or_default();
                let content = (tool == "write_content").then(|| text("content").as_bytes());
                change(book, text("path"), content, arguments["expected_hash"].as_str())
            }
            "get_book_archive" if !self.archives => Err(error("NOT_FOUND", "no archives here")),
            "get_book_archive" => {
                let book = self.books.get(&id).ok_or_else(|| error("BOOK_NOT_FOUND", "no such book"))?;
                link(book, &id, text("scope"), text("manifest_hash"), self.key)
            }
            "delete_asset" => {
                let book = self.books.entry(id).or_default();
                change(book, &asset_path(arguments), None, arguments["expected_hash"].as_str())
            }
            "upload_asset" => self.upload_asset(id, arguments),
            "complete_upload" => {
                let upload = self.uploads.get_mut(text("upload_id"));
                let upload = upload.ok_or_else(|| error("NOT_FOUND", "no such upload"))?;
                upload.complete(self.books.entry(id).or_default())
            }
            other => panic!("no tool {other}"),
        }
    }

    fn upload_asset(&mut self, id: String, arguments: &Value) -> Result<Value, Value> {
        let (path, expected) = (asset_path(arguments), arguments["expected_hash"].as_str());
        let book = self.books.entry(id).or_default();
        let empty = (arguments["file_size"] == 0).then_some("");
        if let Some(data) = arguments["binary_data"].as_str().or(empty) {
            let bytes = BASE64_STANDARD.decode(data).unwrap();
            if bytes.len() > self.direct {
                return Err(error("TOO_LARGE", "too large for a call"));
            }
            return change(book, &path, Some(&bytes), expected).map(|changed| kept(&changed));
        }
        if let Some(held) = book.files.get(&path)
            && arguments["sha256"] == hash(held)
        {
            return change(book, &path, Some(&held.clone()), expected).map(|changed| kept(&changed));
        }
        let upload_id = format!("upload-{}", self.uploads.len() + 1);
        let url = format!("{}/bucket/uploads/{upload_id}?X-Amz-Signature={}", self.url, self.key);
        let upload = Upload::new(path, expected, arguments);
        self.uploads.insert(upload_id.clone(), upload);
        Ok(json!({"status": "presigned_url", "method": "presigned", "upload_id": upload_id,
            "upload_url": url, "headers": {"x-must-be-there": "yes"}}))
    }
}

fn asset_path(arguments: &Value) -> String {
    let kind = arguments["asset_type"].as_str().unwrap();
    let kind = AssetType::ALL.into_iter().find(|one| one.as_str() == kind).unwrap();
    kind.path_of(arguments["filename"].as_str().unwrap()).unwrap().to_string()
}

/// A change as the asset tools tell of it.
fn kept(changed: &Value) -> Value {
    let status = if changed["mode"] == "unchanged" { "skipped" } else { "success" };
    json!({"status": status, "method": "direct", "path": changed["path"],
        "file_hash_sha256": changed["file_hash"]})
}
