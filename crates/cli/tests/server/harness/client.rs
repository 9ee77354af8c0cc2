//! MCP and HTTP client of a server under test.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::OnceLock;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{TEST_TIMEOUT, until};

/// A client of one server, under one agent's name. Clones share its connections.
#[derive(Clone)]
pub(crate) struct TestClient {
    url: String,
    http: reqwest::Client,
    agent: Option<String>,
    token: Option<String>,
}

impl TestClient {
    pub(super) fn to(address: impl Display) -> Self {
        static PROVIDER: OnceLock<()> = OnceLock::new();
        PROVIDER.get_or_init(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let http = Self::http(reqwest::redirect::Policy::default());
        Self { url: format!("http://{address}"), http, agent: None, token: None }
    }

    fn http(redirects: reqwest::redirect::Policy) -> reqwest::Client {
        let client = reqwest::Client::builder().tls_certs_only([]).no_proxy().timeout(TEST_TIMEOUT);
        client.redirect(redirects).build().unwrap()
    }

    /// The same client, which shows redirects instead of following them.
    #[must_use]
    pub(crate) fn following_no_redirects(mut self) -> Self {
        self.http = Self::http(reqwest::redirect::Policy::none());
        self
    }

    /// The same client, which may outlive the server.
    pub(crate) fn client(&self) -> Self {
        self.clone()
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The same client, for calls of this agent (`X-Agent-Id`).
    #[must_use]
    pub(crate) fn of_agent(mut self, agent: &str) -> Self {
        self.agent = Some(agent.to_owned());
        self
    }

    /// The same client, with this bearer token.
    #[must_use]
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(format!("Bearer {token}"));
        self
    }

    /// The token of this client.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()?.strip_prefix("Bearer ")
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
        all.extend(self.token.iter().map(|token| ("authorization".into(), token.as_str())));
        all.extend(headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), *value)));
        let mut request = self.http.post(format!("{}{path}", self.url)).body(body);
        for (name, value) in all {
            request = request.header(name, value);
        }
        Reply::to(request).await
    }

    /// Waits until no path is pending: the tree has the journal's content.
    pub(crate) async fn all_published(&self) {
        until("everything is published", async || {
            self.get("/health").await.json()["pending_publications"] == 0
        })
        .await;
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

    /// Requests a path under this client's agent and token; the answer's body is not read yet. `None`: there
    /// is no answer.
    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Option<reqwest::Response> {
        self.open_with(method, path, headers, "").await
    }

    /// The same, with a body.
    pub(crate) async fn open_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Option<reqwest::Response> {
        let mut request =
            self.http.request(method.parse().unwrap(), format!("{}{path}", self.url)).body(body);
        if let Some(agent) = &self.agent {
            request = request.header("x-agent-id", agent);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.ok()
    }

    /// The same of a form, with the whole answer.
    pub(crate) async fn send_as_caller(&self, method: &str, path: &str, form: &'static str) -> Reply {
        let response = self.open_with(method, path, &[], form).await.expect("the server answers");
        Reply::read(response).await.expect("a whole answer")
    }

    /// The same, with the whole answer.
    pub(crate) async fn try_get(&self, path: &str) -> Option<Reply> {
        Reply::read(self.open("GET", path, &[]).await?).await
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
        Self::read(response).await
    }

    pub(crate) async fn read(response: reqwest::Response) -> Option<Self> {
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
