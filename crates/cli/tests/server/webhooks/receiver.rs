//! Receiver of webhooks, which behaves as it is told: byte by byte on a socket, so that it can lie. Contains no
//! tests.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// Greatest difference of a delivery's timestamp to this clock, in seconds.
const MOST_AGE: u64 = 30;

/// Reaction to a delivery.
#[derive(Debug, Clone)]
pub(super) enum Reaction {
    /// An answer with this status.
    Status(u16),
    /// An answer that names another URL.
    Redirect(String),
    /// No answer, on a connection that stays open.
    Hang,
    /// The end of the connection before an answer.
    Close,
    /// 200, and the end of the connection before the body that was announced.
    CutBody,
    /// 200, and a body that never ends.
    EndlessBody,
}

/// A delivery as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) path: String,
    pub(super) id: String,
    pub(super) body: Value,
    timestamp: String,
    signature: String,
    bytes: Vec<u8>,
    is_accepted: bool,
}

/// A receiver on a free port; dropping it ends it.
pub(super) struct Receiver {
    address: SocketAddr,
    shared: Arc<ReceiverState>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct ReceiverState {
    /// Reactions to the next deliveries; the ones after them are accepted.
    reactions: Mutex<VecDeque<Reaction>>,
    deliveries: Mutex<Vec<Delivery>>,
}

impl Receiver {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (address, shared) = (listener.local_addr().unwrap(), Arc::<ReceiverState>::default());
        let state = shared.clone();
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, state.clone()));
            }
        });
        Self { address, shared, _serving: AbortOnDropHandle::new(serving) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Reacts so to the next deliveries.
    pub(super) fn react(&self, reactions: impl IntoIterator<Item = Reaction>) {
        self.shared.reactions.lock().unwrap().extend(reactions);
    }

    /// All deliveries, each time that they were sent.
    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        self.shared.deliveries.lock().unwrap().clone()
    }

    /// The change sets that were accepted.
    pub(super) fn accepted(&self) -> Vec<Value> {
        let deliveries = self.deliveries().into_iter().filter(|delivery| delivery.is_accepted);
        deliveries.map(|delivery| delivery.body).collect()
    }
}

impl Delivery {
    /// Fails if it is not signed with this secret, or not now.
    pub(super) fn require_signature(&self, secret: &str) {
        let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let signed = [format!("{}.{}.", self.id, self.timestamp).as_bytes(), &self.bytes].concat();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &signed);
        assert_eq!(self.signature, format!("v1,{}", BASE64_STANDARD.encode(tag)));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(now.abs_diff(self.timestamp.parse().unwrap()) < MOST_AGE, "{}", self.timestamp);
    }
}

/// Answers the requests of a connection until it ends.
async fn serve(stream: TcpStream, shared: Arc<ReceiverState>) {
    let mut stream = BufReader::new(stream);
    while let Ok(Some(mut delivery)) = request(&mut stream).await {
        let reaction = shared.reactions.lock().unwrap().pop_front().unwrap_or(Reaction::Status(200));
        delivery.is_accepted = match &reaction {
            Reaction::Status(status) => status / 100 == 2,
            Reaction::CutBody | Reaction::EndlessBody => true,
            Reaction::Redirect(_) | Reaction::Hang | Reaction::Close => false,
        };
        shared.deliveries.lock().unwrap().push(delivery);
        if !matches!(answer(&mut stream, reaction).await, Ok(true)) {
            return;
        }
    }
}

/// Reads a request; `None`: there is none any more.
async fn request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Delivery>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: HashMap<_, _> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    assert!(lines[0].starts_with("POST ") && headers["content-type"] == "application/json", "{lines:?}");
    let mut bytes = vec![0; headers["content-length"].parse().unwrap()];
    stream.read_exact(&mut bytes).await?;
    Ok(Some(Delivery {
        path: lines[0].split(' ').nth(1).unwrap().to_owned(),
        id: headers["webhook-id"].clone(),
        body: serde_json::from_slice(&bytes).unwrap(),
        timestamp: headers["webhook-timestamp"].clone(),
        signature: headers["webhook-signature"].clone(),
        bytes,
        is_accepted: false,
    }))
}

/// Answers; true: the connection can be used again.
async fn answer(stream: &mut BufReader<TcpStream>, reaction: Reaction) -> io::Result<bool> {
    let head = |status: u16, more: &str| format!("HTTP/1.1 {status} -\r\n{more}\r\n");
    match reaction {
        Reaction::Status(status) => {
            let whole = format!("{}ok", head(status, "Content-Length: 2\r\n"));
            stream.write_all(whole.as_bytes()).await?;
            return Ok(true);
        }
        Reaction::Redirect(to) => {
            let whole = head(302, &format!("Location: {to}\r\nContent-Length: 0\r\n"));
            stream.write_all(whole.as_bytes()).await?;
            return Ok(true);
        }
        Reaction::Hang => std::future::pending::<()>().await,
        Reaction::Close => {}
        Reaction::CutBody => {
            stream.write_all(format!("{}o", head(200, "Content-Length: 100\r\n")).as_bytes()).await?;
        }
        Reaction::EndlessBody => {
            stream.write_all(head(200, "Transfer-Encoding: chunked\r\n").as_bytes()).await?;
            loop {
                stream.write_all(b"4\r\nlies\r\n").await?;
            }
        }
    }
    Ok(false)
}
