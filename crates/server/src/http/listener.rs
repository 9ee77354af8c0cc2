//! Listener: accepts connections within their limits and serves the routes on them.
//!
//! # A new connection
//! 1. Below both limits it is served.
//! 2. At the limit of its address a connection from there that waits for a request is aborted in its
//!    favour; at the limit of all, one of any address. Most of those that wait have either sent a
//!    request before or none yet: the oldest of these is aborted. So clients that connect and send
//!    nothing keep nobody out and cut off no connection that is used, and a burst of new connections
//!    to a server with many idle ones takes their place.
//! 3. If every one of them is answering a request, the new one is closed.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::connection::{Connection, ConnectionAbort, RunningRequests};
use crate::limits::ConnectionLimits;

/// Pause after an error that is not a connection's own, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Time for which connections are still accepted once the listener is to close, and for which each waits for
/// its first request: those in the backlog would be reset.
const BACKLOG_TIME: Duration = Duration::from_millis(100);

/// Serves routes on a listener until `closing` is cancelled and the running requests have ended. Clients that
/// had connected by then are still served, one request each.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    closing: CancellationToken,
) -> io::Result<()> {
    let (table, tasks) = (ConnectionTable::new(limits), TaskTracker::new());
    let nothing = RunningRequests::default();
    let mut closed = pin!(closed(&closing, &nothing));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut closed => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(target: "panaversity_fs.http", error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Without it a streamed response waits for the acknowledgement of its first half.
        let _ = stream.set_nodelay(true);
        let connection = Connection::new(stream, limits).with_peer(peer.ip().to_canonical());
        let Some(entry) = table.admit(peer, connection.abort(), connection.requests()) else { continue };
        let (router, closing) = (router.clone(), closing.clone());
        tasks.spawn(async move {
            serve_connection(connection, router, closing).await;
            drop(entry);
        });
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// Serves requests on one connection until it ends; after `closing` not beyond the running one.
pub(super) async fn serve_connection<S>(connection: Connection<S>, router: Router, closing: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (abort, requests, peer) = (connection.abort(), connection.requests(), connection.peer());
    let begun = requests.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (running, router, abort) = (requests.begin(), router.clone(), abort.clone());
        let connection = requests.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(abort);
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        async move {
            connection.let_others_go_first().await;
            router.oneshot(request).await.map(|response| running.until_sent(response))
        }
    });
    let mut http = http1::Builder::new();
    // The head's own, shorter timeout is the connection's.
    http.timer(TokioTimer::new()).header_read_timeout(connection.idle_timeout());
    let mut serving = pin!(http.serve_connection(TokioIo::new(connection), service));
    tokio::select! {
        // A connection's error is its client's, who is gone.
        _ = serving.as_mut() => return,
        () = closed(&closing, &begun) => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

/// Waits for `closing`, and then for the first request of a connection that has sent none yet.
async fn closed(closing: &CancellationToken, begun: &RunningRequests) {
    closing.cancelled().await;
    if begun.began() == 0 {
        tokio::time::sleep(BACKLOG_TIME).await;
    }
}

/// Whether an error of `accept` is that of the connection it would have returned.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Table of the open connections, by age.
#[derive(Clone)]
struct ConnectionTable {
    limits: ConnectionLimits,
    open: Arc<Mutex<OpenConnections>>,
}

#[derive(Default)]
struct OpenConnections {
    next: u64,
    /// Ascending numbers are ascending ages.
    all: BTreeMap<u64, OpenConnection>,
    of_address: HashMap<IpAddr, usize>,
}

struct OpenConnection {
    address: IpAddr,
    abort: ConnectionAbort,
    requests: RunningRequests,
}

/// Entry of a connection in the table, until it is dropped.
struct TableEntry {
    table: ConnectionTable,
    number: u64,
}

impl ConnectionTable {
    fn new(limits: ConnectionLimits) -> Self {
        Self { limits, open: Arc::default() }
    }

    /// Enters a connection, by the protocol above; `None`: it must be closed.
    fn admit(
        &self,
        peer: SocketAddr,
        abort: ConnectionAbort,
        requests: RunningRequests,
    ) -> Option<TableEntry> {
        let address = peer.ip().to_canonical();
        let mut open = self.open();
        if open.of_address.get(&address).is_some_and(|count| *count >= self.limits.per_address) {
            open.evict(|connection| connection.address == address)?;
        } else if open.all.len() >= self.limits.total {
            open.evict(|_| true)?;
        }
        let number = open.next;
        open.next += 1;
        *open.of_address.entry(address).or_default() += 1;
        open.all.insert(number, OpenConnection { address, abort, requests });
        Some(TableEntry { table: self.clone(), number })
    }

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnections {
    /// Aborts the oldest of these connections that waits for a request and is one of the majority: of
    /// those that have sent one before, or of those that have not.
    fn evict(&mut self, of: impl Fn(&OpenConnection) -> bool) -> Option<()> {
        let (mut used, mut unused) = ((0, None), (0, None));
        for (number, open) in self.all.iter().filter(|(_, open)| of(open) && open.requests.is_none()) {
            let (count, oldest) = if open.requests.began() > 0 { &mut used } else { &mut unused };
            *count += 1;
            oldest.get_or_insert(*number);
        }
        let number = if used.0 > unused.0 { used.1 } else { unused.1 }?;
        let connection = self.remove(number)?;
        connection.abort.0.cancel();
        Some(())
    }

    fn remove(&mut self, number: u64) -> Option<OpenConnection> {
        let connection = self.all.remove(&number)?;
        if let Some(count) = self.of_address.get_mut(&connection.address) {
            *count -= 1;
            if *count == 0 {
                self.of_address.remove(&connection.address);
            }
        }
        Some(connection)
    }
}

impl Drop for TableEntry {
    fn drop(&mut self) {
        self.table.open().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    const LIMITS: ConnectionLimits = ConnectionLimits {
        total: 4,
        per_address: 2,
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(75),
        write_timeout: Duration::from_secs(30),
    };

    struct Opened {
        entry: Option<TableEntry>,
        abort: ConnectionAbort,
        requests: RunningRequests,
    }

    impl Opened {
        fn is_served(&self) -> bool {
            self.entry.is_some() && !self.abort.0.is_cancelled()
        }
    }

    fn open(table: &ConnectionTable, host: u8) -> Opened {
        let (abort, requests) = (ConnectionAbort(CancellationToken::new()), RunningRequests::default());
        let peer = SocketAddr::from(([10, 0, 0, host], 1));
        let entry = table.admit(peer, abort.clone(), requests.clone());
        Opened { entry, abort, requests }
    }

    #[test]
    fn at_the_limit_of_an_address_its_oldest_waiting_connection_makes_room() {
        let table = ConnectionTable::new(LIMITS);
        let other = open(&table, 2);
        let (first, second) = (open(&table, 1), open(&table, 1));
        let _running = first.requests.begin();
        let third = open(&table, 1);
        assert!(first.is_served() && third.is_served() && other.is_served());
        assert!(!second.is_served(), "the first is older, but answers a request");
        let _too = third.requests.begin();
        assert!(!open(&table, 1).is_served(), "both are answering");
        assert!(first.is_served() && third.is_served());
    }

    const MANY: ConnectionLimits = ConnectionLimits { total: 100, per_address: 10, ..LIMITS };

    #[test]
    fn a_flood_of_connections_that_send_nothing_cuts_off_none_that_is_used() {
        let table = ConnectionTable::new(MANY);
        let used = open(&table, 1);
        drop(used.requests.begin());
        let mut silent: Vec<_> = (0..9).map(|_| open(&table, 1)).collect();
        for _ in 0..100 {
            silent.push(open(&table, 1));
            assert!(silent.last().unwrap().is_served() && used.is_served());
        }
    }

    #[test]
    fn a_burst_of_connections_takes_the_place_of_idle_ones_and_not_its_own() {
        let table = ConnectionTable::new(MANY);
        let idle: Vec<_> = (0..10).map(|_| open(&table, 1)).collect();
        for used in &idle {
            drop(used.requests.begin());
        }
        let burst: Vec<_> = (0..5).map(|_| open(&table, 1)).collect();
        assert!(burst.iter().all(Opened::is_served));
        assert_eq!(idle.iter().filter(|used| used.is_served()).count(), 5);
    }

    #[test]
    fn at_the_limit_of_all_the_oldest_waiting_connection_makes_room() {
        let table = ConnectionTable::new(LIMITS);
        let mut all: Vec<_> = (1..=4).map(|host| open(&table, host)).collect();
        let late = open(&table, 9);
        assert!(late.is_served() && !all[0].is_served() && all[1].is_served());
        all.remove(1);
        assert!(open(&table, 8).is_served() && all[1].is_served(), "a closed one leaves room");
    }

    #[tokio::test]
    async fn half_sent_requests_keep_nobody_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, closing) = (listener.local_addr().unwrap(), CancellationToken::new());
        let router = Router::new().route("/", axum::routing::get(|| async { "answered" }));
        let serving = tokio::spawn(serve(listener, router, LIMITS, closing.clone()));
        let mut half_sent = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
            half_sent.push(stream);
            let mut client = TcpStream::connect(address).await.unwrap();
            let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            client.write_all(request).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with("answered"), "{answer}");
        }
        let mut first = half_sent.swap_remove(0);
        assert!(matches!(first.read(&mut [0; 1]).await, Ok(0) | Err(_)), "it made room");
        closing.cancel();
        drop(half_sent);
        serving.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_had_connected_before_the_stop_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, closing) = (listener.local_addr().unwrap(), CancellationToken::new());
        let router = Router::new().route("/", axum::routing::get(|| async { "answered" }));
        let mut waiting = Vec::new();
        for _ in 0..LIMITS.per_address {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            waiting.push(client);
        }
        closing.cancel();
        serve(listener, router, LIMITS, closing).await.unwrap();
        for mut client in waiting {
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with("answered"), "{answer}");
        }
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }

    #[test]
    fn closed_connections_leave_nothing_in_the_table() {
        let table = ConnectionTable::new(LIMITS);
        for _ in 0..10 {
            drop((open(&table, 1), open(&table, 1), open(&table, 1)));
        }
        let left = table.open();
        assert!(left.all.is_empty() && left.of_address.is_empty());
    }
}
