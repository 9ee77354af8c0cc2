//! Load generator for tests and benchmarks: clients on connections of their own that call tools without
//! a pause. HTTP/1.1 with keep-alive on a plain socket, which leaves the machine's cores to the server.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// A connection to the HTTP endpoint of a server.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Lines of further headers.
    headers: String,
}

/// Where and as whom a load calls: `HOST:PORT`, and a bearer token if there is one.
#[derive(Debug, Clone, Default)]
pub struct Endpoint {
    /// `HOST:PORT`.
    pub address: String,
    /// The token.
    pub token: Option<String>,
}

impl From<&String> for Endpoint {
    fn from(address: &String) -> Self {
        Self { address: address.clone(), token: None }
    }
}

impl Connection {
    /// Connects to `HOST:PORT`.
    pub async fn open(address: &str) -> Self {
        Self::open_from(Ipv4Addr::LOCALHOST, address).await
    }

    /// Connects to `HOST:PORT` from a local address, by which a server tells its callers apart.
    pub async fn open_from(local: Ipv4Addr, address: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((local, 0).into()).expect("a local address");
        let address = address.parse().expect("an address and a port");
        let stream = socket.connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("nodelay");
        Self { stream, buffer: Vec::with_capacity(1 << 16), headers: String::new() }
    }

    /// Connects to an endpoint, with its token.
    pub async fn to(endpoint: &Endpoint) -> Self {
        let headers = endpoint
            .token
            .as_ref()
            .map(|token| format!("Authorization: Bearer {token}\r\n"))
            .unwrap_or_default();
        Self { headers, ..Self::open(&endpoint.address).await }
    }

    /// Posts a body to `/mcp`; returns the answer's body.
    pub async fn post(&mut self, body: &str) -> &[u8] {
        let request = format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{}Content-Length: {}\r\n\r\n{body}",
            self.headers,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.expect("the server reads");
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await.expect("the server answers");
            assert!(read > 0, "the server closed the connection");
            if let Some((from, to)) = body_of(&self.buffer)
                && self.buffer.len() >= to
            {
                return &self.buffer[from..to];
            }
        }
    }

    /// Calls a tool; panics unless it succeeds.
    pub async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let body = call_body(tool, arguments);
        let answer: Value = serde_json::from_slice(self.post(&body).await).expect("JSON");
        let result = &answer["result"];
        assert!(result["isError"] != true, "{tool}: {answer}");
        result["structuredContent"].clone()
    }
}

/// The body of a tool call.
#[allow(clippy::needless_pass_by_value, reason = "callers build it in place")]
pub fn call_body(tool: &str, arguments: Value) -> String {
    let params = json!({"name": tool, "arguments": arguments});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string()
}

fn body_of(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&bytes[..head]).expect("headers");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    let length = text
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned));
    let length: usize = length.expect("a length").trim().parse().expect("a number");
    Some((head + 4, head + 4 + length))
}

/// Results of a load.
pub struct RequestLoad {
    /// Calls per second.
    pub rate: f64,
    each: Vec<f64>,
}

impl RequestLoad {
    /// Number of calls.
    pub fn calls(&self) -> usize {
        self.each.len()
    }

    /// The latency, in milliseconds, that this share of the calls did not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let at = (self.each.len() as f64 * share) as usize;
        self.each[at.min(self.each.len() - 1)]
    }
}

/// Runs `clients` connections for a while, each posting `body(client, n)` as its `n`-th call
/// without a pause.
pub async fn load(
    endpoint: impl Into<Endpoint>,
    clients: usize,
    lasting: Duration,
    body: impl Fn(usize, usize) -> String + Send + Sync + Clone + 'static,
) -> RequestLoad {
    let (began, endpoint) = (Instant::now(), endpoint.into());
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let (endpoint, body) = (endpoint.clone(), body.clone());
            tokio::spawn(async move {
                let mut connection = Connection::to(&endpoint).await;
                let mut each = Vec::new();
                while began.elapsed() < lasting {
                    let body = body(client, each.len());
                    let start = Instant::now();
                    let answer = connection.post(&body).await;
                    let took = start.elapsed().as_secs_f64() * 1e3;
                    let refused = answer.windows(14).any(|some| some == b"\"isError\":true");
                    assert!(!refused, "{}", String::from_utf8_lossy(answer));
                    each.push(took);
                }
                each
            })
        })
        .collect();
    let mut each = Vec::new();
    for task in tasks {
        each.extend(task.await.expect("a client"));
    }
    let total = began.elapsed().as_secs_f64();
    each.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss)]
    let rate = each.len() as f64 / total;
    RequestLoad { rate, each }
}
