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
use axum::routing::post;
use futures::stream;
use panaversity_model::{BookPath, ContentHash, Refusal, Schema};
use serde_json::{Value, json};

/// How the server answers a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twist {
    Honest,
    /// HTTP 500, nothing done.
    Fault,
    /// The call is done, the answer lost.
    LostAnswer,
    /// The content differs from what was asked for; a list has lost its last file.
    Corrupt,
    /// No answer, ever.
    Hang,
}

/// A call as a hook sees it: its number from 1, the tool and the path.
pub(crate) struct Call {
    pub(crate) number: usize,
    pub(crate) tool: String,
    pub(crate) path: String,
}

type Files = BTreeMap<String, String>;
type Hook = Box<dyn FnMut(&Call) -> Twist + Send>;

#[derive(Default)]
struct Book {
    schema: Schema,
    files: Files,
    versions: HashMap<(String, String), String>,
    manifests: HashMap<String, Files>,
}

struct World {
    books: BTreeMap<String, Book>,
    calls: Vec<String>,
    page: usize,
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
        let world = World { books: BTreeMap::new(), calls: Vec::new(), page: 1_000, hook };
        let world = Arc::new(Mutex::new(world));
        let app = Router::new().route("/mcp", post(serve)).with_state(world.clone());
        let app = app.layer(axum::extract::DefaultBodyLimit::disable());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
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

    pub(crate) fn forget_manifests(&self) {
        self.world().books.values_mut().for_each(|book| book.manifests.clear());
    }

    /// Sets the files of a book, as somebody else's writes.
    pub(crate) fn put(&self, book: &str, files: &[(&str, &str)]) {
        let mut world = self.world();
        let book = world.books.entry(book.to_owned()).or_default();
        for (path, text) in files {
            book.keep(path, text);
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

impl Book {
    fn keep(&mut self, path: &str, text: &str) {
        self.versions.insert((path.to_owned(), hash(text)), text.to_owned());
        self.files.insert(path.to_owned(), text.to_owned());
    }
}

fn hash(text: &str) -> String {
    ContentHash::of(text.as_bytes()).to_string()
}

async fn serve(State(world): State<Arc<Mutex<World>>>, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap();
    let tool = request["params"]["name"].as_str().unwrap().to_owned();
    let arguments = request["params"]["arguments"].clone();
    let (twist, answer) = {
        let mut world = world.lock().unwrap();
        world.calls.push(tool.clone());
        let path = arguments["path"].as_str().unwrap_or_default().to_owned();
        let call = Call { number: world.calls.len(), tool: tool.clone(), path };
        let twist = (world.hook)(&call);
        let answer = match twist {
            Twist::Fault | Twist::Hang => json!({}),
            _ => world.answer(&tool, &arguments, twist == Twist::Corrupt),
        };
        (twist, answer)
    };
    match twist {
        Twist::Fault => (StatusCode::INTERNAL_SERVER_ERROR, "down").into_response(),
        Twist::Hang => {
            tokio::time::sleep(Duration::from_hours(1)).await;
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        Twist::LostAnswer => {
            let lost = stream::iter([Err::<Bytes, _>(io::Error::other("cut"))]);
            Response::new(Body::from_stream(lost))
        }
        Twist::Honest | Twist::Corrupt => axum::Json(answer).into_response(),
    }
}

impl World {
    fn answer(&mut self, tool: &str, arguments: &Value, corrupt: bool) -> Value {
        match self.act(tool, arguments) {
            Ok(mut done) => {
                if corrupt {
                    done["content"] = json!("somebody else's text");
                    if let Some(files) = done["files"].as_array_mut() {
                        files.pop();
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
                Ok(json!({"path": version.0, "content": found, "file_hash_sha256": version.1}))
            }
            "write_content" | "delete_content" => {
                let book = self.books.entry(id).or_default();
                let content = (tool == "write_content").then(|| text("content"));
                change(book, text("path"), content, arguments["expected_hash"].as_str())
            }
            other => panic!("no tool {other}"),
        }
    }
}

fn error(code: &str, message: &str) -> Value {
    json!({"code": code, "message": message, "hint": "look again"})
}

fn change(
    book: &mut Book,
    path: &str,
    content: Option<&str>,
    expected: Option<&str>,
) -> Result<Value, Value> {
    let parsed = BookPath::parse(path).map_err(|refusal| error(refusal.code(), &refusal.to_string()))?;
    book.schema.admit(&parsed).map_err(|refusal| {
        let mut value = error(refusal.code(), &refusal.to_string());
        if let Refusal::SchemaViolation { suggestion: Some(name), .. } = refusal {
            value["suggestion"] = name.into();
        }
        value
    })?;
    let current = book.files.get(path).map(|text| hash(text));
    let Some(content) = content else {
        if current.is_some() && expected.is_some() && expected != current.as_deref() {
            return Err(error("CONFLICT", "it changed"));
        }
        let existed = book.files.remove(path).is_some();
        return Ok(json!({"status": "success", "path": path, "existed": existed}));
    };
    let mode = match (&current, expected) {
        (Some(current), _) if *current == hash(content) => "unchanged",
        (Some(current), Some(expected)) if current == expected => "updated",
        (Some(_), Some(_)) => return Err(error("CONFLICT", "it changed")),
        (Some(_), None) => return Err(error("HASH_REQUIRED", "it exists")),
        (None, Some(_)) => return Err(error("NOT_FOUND", "it is gone")),
        (None, None) if book.files.keys().any(|other| other.eq_ignore_ascii_case(path)) => {
            return Err(error("CONFLICT", "differs only by case"));
        }
        (None, None) => "created",
    };
    book.keep(path, content);
    Ok(json!({"status": "success", "mode": mode, "path": path, "file_hash": hash(content)}))
}

fn plan(book: &mut Book, arguments: &Value, page: usize) -> Value {
    let lines: Vec<_> = book.files.iter().map(|(path, text)| format!("{path}:{}", hash(text))).collect();
    let manifest = hash(&lines.join("\n"));
    book.manifests.insert(manifest.clone(), book.files.clone());
    let wanted = arguments["target_manifest_hash"].as_str();
    let target = wanted.and_then(|target| book.manifests.get(target));
    let none = Files::new();
    let other = target.unwrap_or(&none);
    let mut paths: Vec<&String> = book.files.keys().chain(other.keys()).collect();
    paths.sort();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        let (now, then) = (book.files.get(path), other.get(path));
        if now != then {
            files.push(json!({"path": path, "current_hash": now.map(|t| hash(t)),
                "target_hash": then.map(|t| hash(t)), "size": now.map_or(0, String::len)}));
        }
    }
    let from: usize = arguments["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap());
    let to = files.len().min(from + page);
    let mut answer = json!({"status": "changed", "manifest_hash": manifest, "files": files[from..to]});
    if to < files.len() {
        answer["next_cursor"] = to.to_string().into();
    }
    if wanted.is_some() && target.is_none() {
        answer["warning"] = "the manifest is unknown".into();
    }
    answer
}
