//! TCP proxy with fault injection, for databases and buckets alike.
//!
//! # Faults
//! - **latency**: every chunk of bytes is delayed before it is forwarded.
//! - **hold**: a black hole. Connections are accepted, bytes wait in the kernel; [`Proxy::heal`]
//!   forwards them.
//! - **refuse**: new connections are accepted and reset at once.
//! - **cut** and **reset**: every connection ends now, with FIN or with RST.
//! - **a trap**: triggered once, by the first chunk from a client that contains a phrase (`COMMIT`), which
//!   the server's answer repeats; see [`Trap`]. A phrase split over two chunks is not seen.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// Effect of a trap on the bytes that trigger it. The client's connection is reset in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trap {
    /// They are not forwarded.
    Before,
    /// They are forwarded, and the answer that repeats the phrase is discarded.
    After,
    /// As `After`, and new connections are refused from then on.
    AfterAndRefuse,
}

#[derive(Debug, Clone, Copy, Default)]
struct Rules {
    latency: Duration,
    hold: bool,
    refuse: bool,
    /// Number of times all connections were ended. A connection made before the latest one ends.
    endings: u64,
    /// True if the last time was by RST.
    by_reset: bool,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    rules: watch::Sender<Rules>,
    trap: Mutex<Option<(Vec<u8>, Trap)>>,
    /// Number of chunks that came from clients.
    questions: AtomicU64,
}

/// A proxy in front of one address; dropping it ends it and its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy on a free port, which forwards everything.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (rules, _) = watch::channel(Rules::default());
        let shared = Arc::new(Shared { target, rules, trap: Mutex::new(None), questions: AtomicU64::new(0) });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, task }
    }

    /// Address to which clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Delays every chunk of bytes by this time.
    pub fn delay(&self, latency: Duration) {
        self.shared.rules.send_modify(|rules| rules.latency = latency);
    }

    /// Forwards nothing until it is healed.
    pub fn hold(&self) {
        self.shared.rules.send_modify(|rules| rules.hold = true);
    }

    /// Resets new connections until it is healed.
    pub fn refuse(&self) {
        self.shared.rules.send_modify(|rules| rules.refuse = true);
    }

    /// Forwards everything again, withheld bytes first.
    pub fn heal(&self) {
        self.shared.rules.send_modify(|rules| {
            *rules = Rules { endings: rules.endings, by_reset: rules.by_reset, ..Rules::default() };
        });
    }

    /// Ends every connection with FIN.
    pub fn cut(&self) {
        self.shared.end_all(false);
    }

    /// Ends every connection with RST.
    pub fn reset(&self) {
        self.shared.end_all(true);
    }

    /// Sets the trap; it replaces one that was not triggered.
    pub fn set_trap(&self, phrase: &str, trap: Trap) {
        *self.shared.trap() = Some((phrase.as_bytes().to_vec(), trap));
    }

    /// Number of chunks of bytes that clients have sent.
    pub fn questions(&self) -> u64 {
        self.shared.questions.load(Ordering::Relaxed)
    }

    /// Returns true if the trap that was set has been triggered.
    pub fn has_sprung(&self) -> bool {
        self.shared.trap().is_none()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.end_all(true);
    }
}

impl Shared {
    fn trap(&self) -> std::sync::MutexGuard<'_, Option<(Vec<u8>, Trap)>> {
        self.trap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_all(&self, by_reset: bool) {
        self.rules.send_modify(|rules| {
            rules.endings += 1;
            rules.by_reset = by_reset;
        });
    }

    /// The trap with its phrase, if these bytes trigger it.
    fn spring(&self, bytes: &[u8]) -> Option<(Vec<u8>, Trap)> {
        let mut trap = self.trap();
        let (phrase, _) = trap.as_ref()?;
        if contains(bytes, phrase) { trap.take() } else { None }
    }
}

fn contains(bytes: &[u8], phrase: &[u8]) -> bool {
    bytes.windows(phrase.len()).any(|piece| piece == phrase)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        if shared.rules.borrow().refuse {
            let _ = client.set_zero_linger();
            continue;
        }
        let shared = shared.clone();
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(shared.target).await else { return };
            let mut client = client;
            let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
            if carry(&mut client, &mut server, &shared).await == End::Reset {
                let _ = client.set_zero_linger();
            }
        });
    }
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Quietly,
    Reset,
}

async fn carry(client: &mut TcpStream, server: &mut TcpStream, shared: &Shared) -> End {
    let (mut rules, born) = (shared.rules.subscribe(), shared.rules.borrow().endings);
    let ended = async {
        let ended = rules.wait_for(|rules| rules.endings > born).await;
        if ended.is_ok_and(|rules| rules.by_reset) { End::Reset } else { End::Quietly }
    };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    // The phrase of a trap that was triggered, and whether an answer has repeated it.
    let (awaited, repeated) = (OnceLock::new(), Notify::new());
    let questions = async {
        let mut piece = vec![0; 64 << 10];
        while let Some(bytes) = next(&mut from_client, &mut piece, shared).await {
            shared.questions.fetch_add(1, Ordering::Relaxed);
            let trap = shared.spring(bytes).map(|(phrase, trap)| {
                let _ = awaited.set(phrase);
                trap
            });
            if trap == Some(Trap::Before) || to_server.write_all(bytes).await.is_err() {
                return End::Reset;
            }
            if let Some(trap) = trap {
                // The answer shows that the request was carried out.
                repeated.notified().await;
                if trap == Trap::AfterAndRefuse {
                    shared.rules.send_modify(|rules| rules.refuse = true);
                }
                return End::Reset;
            }
        }
        let _ = to_server.shutdown().await;
        std::future::pending().await
    };
    tokio::select! {
        // In this order: an answer is noted before it would be forwarded.
        biased;
        end = ended => end,
        end = questions => end,
        end = pass_answers(&mut from_server, &mut to_client, (&awaited, &repeated), shared) => end,
    }
}

async fn pass_answers(
    from_server: &mut ReadHalf<'_>,
    to_client: &mut WriteHalf<'_>,
    (awaited, repeated): (&OnceLock<Vec<u8>>, &Notify),
    shared: &Shared,
) -> End {
    let mut piece = vec![0; 64 << 10];
    while let Some(bytes) = next(from_server, &mut piece, shared).await {
        if awaited.get().is_some_and(|phrase| contains(bytes, phrase)) {
            repeated.notify_one();
            // The trap ends the connection.
            std::future::pending::<()>().await;
        }
        if to_client.write_all(bytes).await.is_err() {
            return End::Quietly;
        }
    }
    End::Quietly
}

/// The next chunk of bytes, once the rules allow it to be forwarded.
async fn next<'p>(from: &mut ReadHalf<'_>, piece: &'p mut [u8], shared: &Shared) -> Option<&'p [u8]> {
    let mut rules = shared.rules.subscribe();
    let _ = rules.wait_for(|rules| !rules.hold).await;
    let length = from.read(piece).await.ok().filter(|length| *length > 0)?;
    let _ = rules.wait_for(|rules| !rules.hold).await;
    let latency = rules.borrow().latency;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    Some(&piece[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that echoes its input, behind a proxy.
    async fn echo() -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = socket.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        Proxy::to(address).await
    }

    async fn ask(socket: &mut TcpStream, text: &str) -> std::io::Result<String> {
        socket.write_all(text.as_bytes()).await?;
        let mut answer = vec![0; text.len()];
        socket.read_exact(&mut answer).await?;
        Ok(String::from_utf8(answer).unwrap())
    }

    #[tokio::test]
    async fn it_passes_bytes_on_and_holds_them_until_it_is_healed() {
        let proxy = echo().await;
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut socket, "one").await.unwrap(), "one");
        proxy.hold();
        socket.write_all(b"two").await.unwrap();
        let mut answer = [0; 3];
        let held = tokio::time::timeout(Duration::from_millis(50), socket.read_exact(&mut answer)).await;
        assert!(held.is_err(), "{answer:?}");
        proxy.heal();
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"two");
    }

    #[tokio::test]
    async fn it_ends_connections_and_takes_none() {
        let proxy = echo().await;
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        ask(&mut socket, "one").await.unwrap();
        proxy.cut();
        assert_eq!(socket.read(&mut [0]).await.unwrap(), 0);
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        ask(&mut socket, "one").await.unwrap();
        proxy.reset();
        assert_eq!(socket.read(&mut [0]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        proxy.refuse();
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        ask(&mut socket, "one").await.unwrap_err();
        proxy.heal();
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut socket, "two").await.unwrap(), "two");
    }

    #[tokio::test]
    async fn a_trap_springs_once_for_its_phrase() {
        let proxy = echo().await;
        for trap in [Trap::Before, Trap::After, Trap::AfterAndRefuse] {
            let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
            proxy.set_trap("PUT /", trap);
            assert_eq!(ask(&mut socket, "GET /").await.unwrap(), "GET /");
            assert!(!proxy.has_sprung());
            ask(&mut socket, "PUT /").await.unwrap_err();
            assert!(proxy.has_sprung());
        }
        let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
        ask(&mut socket, "GET /").await.unwrap_err();
    }
}
