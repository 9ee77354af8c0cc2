//! Somebody else who writes books: calls tools of the real server, past the proxy, and looks at what it
//! publishes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::{StreamExt, stream};
use panaversity_model::asset::AssetType;
use panaversity_model::{BookPath, ContentHash};
use serde_json::{Value, json};

/// Longer than anything takes that is waited for.
const PATIENCE: Duration = Duration::from_mins(1);
/// Calls in flight.
const IN_FLIGHT: usize = 16;

/// Files of a book by path.
pub(crate) type Files = BTreeMap<String, Bytes>;

/// A client of the server itself.
#[derive(Clone)]
pub(crate) struct Author {
    server: String,
    storage: PathBuf,
    http: reqwest::Client,
}

impl Author {
    pub(crate) fn new(server: SocketAddr, storage: PathBuf) -> Self {
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().timeout(PATIENCE);
        let http = http.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { server: format!("http://{server}"), storage, http }
    }

    /// The address of the server.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// An HTTP client that changes nothing of what it sends and gets.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Calls a tool; an error is what the tool said.
    pub(crate) async fn try_call(&self, tool: &str, arguments: Value) -> Result<Value, Value> {
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": tool, "arguments": arguments},
        });
        let sent = self.http.post(format!("{}/mcp", self.server)).json(&message).send();
        let answer: Value = sent.await.unwrap().json().await.unwrap();
        let result = &answer["result"];
        let structured = result["structuredContent"].clone();
        if result["isError"] == false { Ok(structured) } else { Err(answer) }
    }

    /// Calls a tool that must succeed.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.try_call(tool, arguments).await.unwrap_or_else(|said| panic!("{tool}: {said}"))
    }

    /// Creates a book that admits nearly all names.
    pub(crate) async fn create_docusaurus(&self, book: &str) {
        self.call("create_book", json!({"book_id": book, "schema": "docusaurus"})).await;
    }

    /// The files of a book by hash; none, if there is no such book.
    async fn hashes(&self, book: &str) -> BTreeMap<String, String> {
        let (mut arguments, mut hashes) = (json!({"book_id": book}), BTreeMap::new());
        loop {
            let page = match self.try_call("plan_build", arguments.clone()).await {
                Err(said) if said.to_string().contains("BOOK_NOT_FOUND") => return hashes,
                page => page.unwrap_or_else(|said| panic!("plan_build: {said}")),
            };
            for file in page["files"].as_array().unwrap() {
                let text = |name: &str| file[name].as_str().unwrap().to_owned();
                hashes.insert(text("path"), text("current_hash"));
            }
            let Some(cursor) = page.get("next_cursor") else { return hashes };
            arguments["cursor"] = cursor.clone();
        }
    }

    /// Writes files of a book, whatever they hold now, and waits until they are published.
    pub(crate) async fn put<T: AsRef<[u8]>>(&self, book: &str, files: &[(&str, T)]) {
        let held = self.hashes(book).await;
        let calls = files.iter().map(|(path, bytes)| {
            let (tool, mut arguments) = write(book, path, bytes.as_ref());
            if let Some(hash) = held.get(*path) {
                arguments["expected_hash"] = hash.as_str().into();
            }
            self.call(tool, arguments)
        });
        let calls: Vec<_> = calls.collect();
        stream::iter(calls).buffer_unordered(IN_FLIGHT).collect::<Vec<_>>().await;
        for (path, bytes) in files {
            self.until_published(book, path, Some(&ContentHash::of(bytes.as_ref()).to_string())).await;
        }
    }

    /// Deletes a file of a book, and waits until it is no longer published.
    pub(crate) async fn remove(&self, book: &str, path: &str) {
        let parsed = BookPath::parse(path).unwrap();
        let (tool, arguments) = if parsed.is_page() {
            ("delete_content", json!({"book_id": book, "path": path}))
        } else {
            ("delete_asset", asset(book, &parsed))
        };
        let answer = self.call(tool, arguments).await;
        assert_eq!(answer["existed"], true, "{path}");
        self.until_published(book, path, None).await;
    }

    /// The files of a book, as they are published.
    pub(crate) async fn files(&self, book: &str) -> Files {
        let mut files = Files::new();
        for (path, hash) in self.hashes(book).await {
            let bytes = self.until_published(book, &path, Some(&hash)).await.expect("a file");
            files.insert(path, bytes.into());
        }
        files
    }

    /// What a link of the server's own leads to: its `ETag`, without quotes, and its bytes.
    pub(crate) async fn download(&self, link: &str) -> (String, Vec<u8>) {
        let at = link.find("/books/").expect("a link to a book");
        let answer = self.http.get(format!("{}{}", self.server, &link[at..])).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let etag = answer.headers()["etag"].to_str().unwrap().trim_matches('"').to_owned();
        (etag, answer.bytes().await.unwrap().to_vec())
    }

    /// Deletes the object of these bytes behind the server's back.
    pub(crate) fn lose_object(&self, hash: &str) {
        std::fs::remove_file(self.storage.join(".panaversity/objects").join(&hash[..2]).join(hash)).unwrap();
    }

    /// Waits until the file of this hash, or none, is published at a path; gives its bytes.
    async fn until_published(&self, book: &str, path: &str, hash: Option<&str>) -> Option<Vec<u8>> {
        let (file, start) = (self.storage.join("books").join(book).join(path), Instant::now());
        loop {
            let bytes = std::fs::read(&file).ok();
            let there = bytes.as_ref().map(|bytes| ContentHash::of(bytes).to_string());
            if there.as_deref() == hash {
                return bytes;
            }
            assert!(start.elapsed() < PATIENCE, "{path} is not published");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The call that writes a file: pages are text, everything else is uploaded.
fn write(book: &str, path: &str, bytes: &[u8]) -> (&'static str, Value) {
    let parsed = BookPath::parse(path).unwrap();
    if parsed.is_page() {
        let content = std::str::from_utf8(bytes).unwrap();
        return ("write_content", json!({"book_id": book, "path": path, "content": content}));
    }
    let mut arguments = asset(book, &parsed);
    if bytes.is_empty() {
        arguments["file_size"] = 0.into();
    } else {
        arguments["binary_data"] = BASE64_STANDARD.encode(bytes).into();
    }
    ("upload_asset", arguments)
}

/// The arguments that name an asset.
fn asset(book: &str, path: &BookPath) -> Value {
    let (kind, filename) = AssetType::of(path).unwrap();
    json!({"book_id": book, "asset_type": kind.as_str(), "filename": filename})
}
