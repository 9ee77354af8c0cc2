//! Test harness: environments (a database, a storage), servers that are the real binary running in
//! them, and an MCP client. Contains no tests.
//!
//! # Lifetime of a server
//! A server ends with its `Server`, by [`Server::terminate`] or [`Server::kill9`]; and with the
//! test process, however that ends: the kernel kills it when the thread that started it is gone,
//! and that thread reads its log until there is no more.

mod backend;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use panaversity_testkit::{postgres, s3};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use backend::StoredFiles;
pub(crate) use backend::{Db, Storage, TestBackend};

/// Timeout of every wait in a test, after which it counts as hung.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_mins(1);

/// Environment of a test: a database and a storage, both empty at first, for any number of servers.
pub(crate) struct TestEnv {
    folder: TempDir,
    files: StoredFiles,
    database: String,
    settings: BTreeMap<String, String>,
}

impl TestEnv {
    pub(crate) fn new(backend: impl Into<TestBackend>) -> Self {
        let TestBackend { db, storage } = backend.into();
        let folder = tempfile::Builder::new().prefix("panaversity-test-").tempdir().unwrap();
        let database = match db {
            Db::Sqlite => format!("sqlite:{}", folder.path().join("journal.db").display()),
            Db::Postgres => postgres::shared().create_database(),
        };
        let files = StoredFiles::new(storage, folder.path());
        Self { folder, files, database, settings: BTreeMap::new() }
    }

    /// The same database, with another storage that is empty.
    pub(crate) fn on_another_storage(&self, storage: Storage) -> Self {
        let folder = tempfile::Builder::new().prefix("panaversity-test-").tempdir().unwrap();
        let files = StoredFiles::new(storage, folder.path());
        Self { folder, files, database: self.database.clone(), settings: self.settings.clone() }
    }

    /// Sets a variable in the environment of every server that starts from now on.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A temporary folder of this environment that no server reads, for a test's own files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The storage's folder; panics for a bucket.
    pub(crate) fn storage_root(&self) -> PathBuf {
        match &self.files {
            StoredFiles::Folder(root) => root.clone(),
            StoredFiles::Bucket(_) => panic!("this env stores in a bucket"),
        }
    }

    /// The storage's bucket; panics for a folder.
    pub(crate) fn bucket(&self) -> &s3::TestBucket {
        match &self.files {
            StoredFiles::Folder(_) => panic!("this env stores in a folder"),
            StoredFiles::Bucket(bucket) => bucket,
        }
    }

    /// Content of the object with this hash.
    pub(crate) fn object(&self, hash: &str) -> Option<Vec<u8>> {
        self.files.below(".panaversity/objects/").remove(&format!("{}/{hash}", &hash[..2]))
    }

    /// The URL of its database.
    pub(crate) fn database_url(&self) -> &str {
        &self.database
    }

    /// The binary with the variables of this environment and nothing else, for any command.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_panaversity-fs")]);
        command.env_clear().current_dir(self.folder.path()).stdin(Stdio::null());
        for kept in ["HOME", "PATH"] {
            command.envs(std::env::var_os(kept).map(|value| (kept, value)));
        }
        command.env("DATABASE_URL", &self.database);
        self.files.configure(&mut command);
        command.envs(&self.settings);
        command
    }

    /// Starts a server and waits until it serves.
    pub(crate) async fn start(&self) -> Server {
        self.start_until("listening on ").await
    }

    /// Starts a server and waits until it waits for a dependency.
    pub(crate) async fn start_waiting(&self) -> Server {
        self.start_until("waiting for ").await
    }

    /// Starts a server and waits for a log line that begins with `says`, followed by its address.
    async fn start_until(&self, says: &'static str) -> Server {
        let mut command = self.command();
        command.args(["serve", "--server-port", "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let (log, (listening, address), (started, child)) =
            (Log::default(), oneshot::channel(), oneshot::channel());
        let lines = log.clone();
        std::thread::spawn(move || {
            let mut child = command.spawn().expect("`setpriv` of util-linux is needed to start a server");
            let stderr = child.stderr.take().expect("a piped stderr");
            let _ = started.send(child);
            lines.collect(BufReader::new(stderr), says, listening);
        });
        let child = Some(child.await.expect("the server's process"));
        let mut server = Server { child, client: TestClient::to(String::new()), log };
        match tokio::time::timeout(TEST_TIMEOUT, address).await {
            Ok(Ok(address)) => server.client = TestClient::to(format!("http://{address}")),
            _ => panic!("the server is not {says}it:\n{}", server.log().join("\n")),
        }
        server
    }

    /// All files of the storage.
    pub(crate) fn everything(&self) -> BTreeMap<String, Vec<u8>> {
        self.files.below("")
    }

    /// All published files: those below `books/`, by the rest of their path.
    pub(crate) fn published(&self) -> BTreeMap<String, Vec<u8>> {
        self.files.below("books/")
    }

    /// Files that servers have begun to write; their locks do not count.
    pub(crate) fn temporary_files(&self) -> Vec<String> {
        let files = self.files.below(".panaversity/tmp/").into_keys();
        files.filter(|name| Path::new(name).extension().is_none_or(|end| end != "lock")).collect()
    }
}

/// The stderr of a server so far.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Collects lines until there are no more; sends the address in the first that begins with
    /// `begins`.
    fn collect(&self, stderr: impl BufRead, begins: &str, listening: oneshot::Sender<String>) {
        let mut listening = Some(listening);
        for line in stderr.split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).into_owned();
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            let listens = said["message"].as_str().is_some_and(|text| text.starts_with(begins));
            if let Some(address) = said["address"].as_str().filter(|_| listens)
                && let Some(listening) = listening.take()
            {
                let _ = listening.send(address.to_owned());
            }
        }
    }
}

/// A running server; dropping it kills it.
pub(crate) struct Server {
    child: Option<Child>,
    client: TestClient,
    log: Log,
}

impl Server {
    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> &str {
        &self.client.url
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// Every line of its log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A client of it, which may outlive it.
    pub(crate) fn client(&self) -> TestClient {
        self.client.clone()
    }

    /// Calls a tool; see [`TestClient::call`].
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.client.call(tool, arguments).await
    }

    /// Sends a JSON-RPC message; see [`TestClient::rpc`].
    pub(crate) async fn rpc(&self, message: Value) -> Value {
        self.client.rpc(message).await
    }

    /// Gets a path; see [`TestClient::get`].
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.client.get(path).await
    }

    /// Waits until no path is pending: the tree has the journal's content.
    pub(crate) async fn all_published(&self) {
        until("everything is published", async || {
            self.get("/health").await.json()["pending_publications"] == 0
        })
        .await;
    }

    /// Kills it (SIGKILL).
    pub(crate) async fn kill9(mut self) {
        let mut child = self.child.take().expect("a running server");
        child.kill().unwrap();
        tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    }

    /// Requests a stop (SIGTERM) and waits for the end.
    pub(crate) async fn terminate(self) -> ExitStatus {
        self.signal("-TERM");
        self.ended().await
    }

    /// Sends it a signal, as `kill` names it.
    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.pid().to_string()]).status().unwrap().success());
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a running server");
        let start = Instant::now();
        loop {
            match child.try_wait().unwrap() {
                Some(status) => return status,
                None if start.elapsed() < TEST_TIMEOUT => tokio::time::sleep(Duration::from_millis(5)).await,
                None => {
                    let _ = child.kill();
                    panic!("the server does not stop:\n{}", self.log().join("\n"));
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A client of one server, under one agent's name. Clones share its connections.
#[derive(Clone)]
pub(crate) struct TestClient {
    url: String,
    http: reqwest::Client,
    agent: Option<String>,
}

impl TestClient {
    fn to(url: String) -> Self {
        static PROVIDER: OnceLock<()> = OnceLock::new();
        PROVIDER.get_or_init(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let http =
            reqwest::Client::builder().tls_certs_only([]).no_proxy().timeout(TEST_TIMEOUT).build().unwrap();
        Self { url, http, agent: None }
    }

    /// The same client, for calls of this agent (`X-Agent-Id`).
    #[must_use]
    pub(crate) fn of_agent(mut self, agent: &str) -> Self {
        self.agent = Some(agent.to_owned());
        self
    }

    /// Calls a tool.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.try_call(tool, arguments).await.expect("the server answers")
    }

    /// Calls a tool of a server that may die meanwhile: then there is no answer.
    pub(crate) async fn try_call(&self, tool: &str, arguments: Value) -> Option<Answer> {
        let params = json!({ "name": tool, "arguments": arguments });
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let reply = self.try_post("/mcp", message.to_string(), &[]).await?;
        Some(Answer::of(&reply.json()))
    }

    /// Sends a JSON-RPC message; returns the whole answer.
    pub(crate) async fn rpc(&self, message: Value) -> Value {
        self.post("/mcp", message.to_string(), &[]).await.json()
    }

    /// Posts any bytes, as JSON unless `headers` say otherwise.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: impl Into<reqwest::Body>,
        headers: &[(&str, &str)],
    ) -> Reply {
        self.try_post(path, body, headers).await.expect("the server answers")
    }

    async fn try_post(
        &self,
        path: &str,
        body: impl Into<reqwest::Body>,
        headers: &[(&str, &str)],
    ) -> Option<Reply> {
        let mut all: BTreeMap<String, &str> = BTreeMap::from([("content-type".into(), "application/json")]);
        all.extend(self.agent.iter().map(|agent| ("x-agent-id".into(), agent.as_str())));
        all.extend(headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), *value)));
        let mut request = self.http.post(format!("{}{path}", self.url)).body(body);
        for (name, value) in all {
            request = request.header(name, value);
        }
        Reply::to(request).await
    }

    /// Gets a path.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }

    /// Sends any request, to a path or to a whole URL.
    pub(crate) async fn send(
        &self,
        method: &str,
        to: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Reply {
        let url = if to.starts_with('/') { format!("{}{to}", self.url) } else { to.to_owned() };
        let mut request = self.http.request(method.parse().unwrap(), url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Reply::to(request).await.expect("the server answers")
    }

    /// Sends a request whose path is left exactly as it is; returns the answer's text.
    pub(crate) async fn raw(&self, method: &str, path: &str) -> String {
        let host = self.url.strip_prefix("http://").expect("a plain URL");
        let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// A whole HTTP answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    async fn to(request: reqwest::RequestBuilder) -> Option<Self> {
        let response = request.send().await.inspect_err(|why| eprintln!("no answer: {why:?}")).ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.ok()?.to_vec();
        Some(Self { status, headers, body })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        let parsed = serde_json::from_slice(&self.body);
        parsed.unwrap_or_else(|why| {
            panic!("no JSON ({why}): HTTP {} {:?}\n{}", self.status, self.headers, self.text())
        })
    }
}

/// Answer of a tool: its structured content, and whether it is a result or an error.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) ok: bool,
    pub(crate) value: Value,
}

impl Answer {
    /// Reads a JSON-RPC answer; one without a result is an error with the code in its data.
    fn of(answer: &Value) -> Self {
        let Some(result) = answer.get("result") else {
            let error = &answer["error"];
            let code = error["data"].get("code").unwrap_or(&error["code"]);
            return Self {
                ok: false,
                value: json!({ "error": { "code": code, "message": error["message"] } }),
            };
        };
        Self { ok: result["isError"] != true, value: result["structuredContent"].clone() }
    }

    /// The result of a call that must succeed.
    #[track_caller]
    pub(crate) fn expect_ok(self) -> Value {
        assert!(self.ok, "{}", self.value);
        self.value
    }

    /// The error's code; empty for a result.
    pub(crate) fn code(&self) -> &str {
        self.value["error"]["code"].as_str().filter(|_| !self.ok).unwrap_or_default()
    }
}

/// Polls a condition until it holds.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < TEST_TIMEOUT, "not within {TEST_TIMEOUT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
