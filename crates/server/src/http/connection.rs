//! Connection I/O with timeouts, and the token that aborts a connection.
//!
//! A handler can't end a response whose client has stopped reading, for nobody asks its body for more:
//! the rest lies with the connection. Invariants: an aborted connection fails its pending reads and
//! writes at once; no client keeps bytes of a response for longer than the write timeout without
//! reading some; no client takes longer than the header timeout for the head of a request, counted
//! from the connection's start or from the head's first byte; when the token of a connection is
//! cancelled, the connection is over or about to be.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use crate::http::middleware::client_address::PeerAddress;
use crate::limits::ConnectionLimits;

/// Token that aborts its connection, and is cancelled when the connection is gone. It is an extension
/// of every request.
#[derive(Clone)]
pub(crate) struct ConnectionAbort(pub(crate) CancellationToken);

/// Number of requests of a connection that are being answered, and whether there was any. Clones share
/// them.
#[derive(Clone, Default)]
pub(super) struct RunningRequests(Arc<RequestCounts>);

#[derive(Default)]
struct RequestCounts {
    running: AtomicUsize,
    began: AtomicUsize,
    /// Bytes of a response wait for the client.
    write_pending: AtomicBool,
    /// The client had sent nothing more, since the last request.
    was_read_empty: AtomicBool,
}

/// A running request, until its response has been read or dropped.
pub(super) struct RunningRequest(RunningRequests);

impl RunningRequests {
    pub(super) fn begin(&self) -> RunningRequest {
        self.0.running.fetch_add(1, Ordering::AcqRel);
        self.0.began.fetch_add(1, Ordering::AcqRel);
        RunningRequest(self.clone())
    }

    /// Whether the connection waits for the head of a request.
    pub(super) fn is_none(&self) -> bool {
        self.0.running.load(Ordering::Acquire) == 0 && !self.0.write_pending.load(Ordering::Acquire)
    }

    /// Yields to other connections if this request arrived together with the one before it. A client
    /// that sends requests without waiting for their answers would otherwise have many answered in a row.
    pub(super) async fn let_others_go_first(&self) {
        if !self.0.was_read_empty.swap(false, Ordering::AcqRel) {
            tokio::task::yield_now().await;
        }
    }

    /// Number of requests whose heads have arrived.
    pub(super) fn began(&self) -> usize {
        self.0.began.load(Ordering::Acquire)
    }
}

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.0.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

impl RunningRequest {
    /// The response, which keeps the request running until the end of its body.
    pub(super) fn until_sent(self, response: Response<Body>) -> Response<Body> {
        if response.body().is_end_stream() {
            return response;
        }
        response.map(|body| Body::new(SentBody { body, _request: self }))
    }
}

/// A response body with its running request.
struct SentBody {
    body: Body,
    _request: RunningRequest,
}

impl HttpBody for SentBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection with timeouts.
pub(super) struct Connection<S> {
    stream: S,
    limits: ConnectionLimits,
    requests: RunningRequests,
    /// Runs while the head of a request is awaited.
    head: Option<Pin<Box<Sleep>>>,
    /// Requests that had begun when the timer was last looked at.
    began: usize,
    /// Runs while a write waits for the client.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Address of the peer, if there is one.
    peer: Option<PeerAddress>,
    abort: ConnectionAbort,
    aborted: Pin<Box<WaitForCancellationFutureOwned>>,
    _gone: DropGuard,
}

impl<S> Connection<S> {
    pub(super) fn new(stream: S, limits: ConnectionLimits) -> Self {
        let token = CancellationToken::new();
        Self {
            stream,
            head: Some(Box::pin(tokio::time::sleep(limits.header_timeout))),
            limits,
            requests: RunningRequests::default(),
            began: 0,
            peer: None,
            stalled: None,
            aborted: Box::pin(token.clone().cancelled_owned()),
            abort: ConnectionAbort(token.clone()),
            _gone: token.drop_guard(),
        }
    }

    /// The same connection, of a peer at this address.
    pub(super) fn with_peer(self, address: IpAddr) -> Self {
        Self { peer: Some(PeerAddress(address)), ..self }
    }

    /// Address of the peer, if there is one.
    pub(super) fn peer(&self) -> Option<PeerAddress> {
        self.peer
    }

    /// The token of this connection.
    pub(super) fn abort(&self) -> ConnectionAbort {
        self.abort.clone()
    }

    /// Its running requests.
    pub(super) fn requests(&self) -> RunningRequests {
        self.requests.clone()
    }

    /// Longest time between two requests.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.limits.idle_timeout
    }

    /// What the socket returned; a wait for it ends with the connection.
    fn unless_aborted<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_pending() && self.aborted.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        polled
    }

    /// Aborts the connection if the head of a request takes too long. `has_read`: bytes came just now.
    fn watch_head(&mut self, has_read: bool, cx: &mut Context<'_>) {
        let began = self.requests.began();
        if !self.requests.is_none() || began != std::mem::replace(&mut self.began, began) {
            self.head = None;
        }
        if self.requests.is_none() && self.head.is_none() && has_read {
            self.head = Some(Box::pin(tokio::time::sleep(self.limits.header_timeout)));
        }
        if let Some(head) = &mut self.head
            && head.as_mut().poll(cx).is_ready()
        {
            self.abort.0.cancel();
        }
    }

    /// What the socket returned to a write; a wait for it ends when no write made progress in time.
    fn unless_stalled<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        self.requests.0.write_pending.store(polled.is_pending(), Ordering::Release);
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let deadline = Instant::now() + self.limits.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if stalled.as_mut().poll(cx).is_ready() {
            self.abort.0.cancel();
        }
        self.unless_aborted(polled, cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        self.watch_head(into.filled().len() > before, cx);
        if polled.is_pending() {
            self.requests.0.was_read_empty.store(true, Ordering::Release);
        }
        self.unless_aborted(polled, cx)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, from);
        self.unless_stalled(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, from);
        self.unless_stalled(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::pin::pin;

    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::http::listener::serve_connection;
    use crate::memory_budget::with_guard;

    /// Longer than anything takes that a test waits for.
    pub(in crate::http) const HANGS: Duration = Duration::from_secs(10);

    pub(in crate::http) fn limits() -> ConnectionLimits {
        ConnectionLimits { write_timeout: HANGS, ..ConnectionLimits::for_descriptors(1_024) }
    }

    /// The client's end of a connection to the routes, which takes what it reads and no more: nothing
    /// lies in between.
    fn connected(router: Router, limits: ConnectionLimits) -> DuplexStream {
        let (client, server) = duplex(1 << 10);
        tokio::spawn(serve_connection(Connection::new(server, limits), router, CancellationToken::new()));
        client
    }

    /// The same, on which `path` was asked for.
    pub(in crate::http) async fn asked(router: Router, limits: ConnectionLimits, path: &str) -> DuplexStream {
        let mut client = connected(router, limits);
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        client
    }

    #[tokio::test]
    async fn bytes_that_nobody_reads_are_kept_no_longer_than_the_write_timeout() {
        let (kept, gone) = tokio::sync::oneshot::channel::<()>();
        let kept = Arc::new(std::sync::Mutex::new(Some(kept)));
        let answer = move || async move {
            // It is all handed over at once: no body is left that could be asked for more.
            let kept = kept.lock().unwrap().take().unwrap();
            with_guard(Bytes::from(vec![7; 100_000]), Arc::new(kept))
        };
        let router = Router::new().route("/", get(answer));
        let limits = ConnectionLimits { write_timeout: Duration::from_millis(20), ..limits() };
        let mut client = asked(router, limits, "/").await;
        assert!(tokio::time::timeout(HANGS, gone).await.expect("it is dropped").is_err());
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert!(got.len() <= 1 << 10, "the connection has ended");
    }

    #[tokio::test]
    async fn a_client_that_reads_something_has_all_the_time_again() {
        let (mut client, server) = duplex(10);
        let mut connection = Connection::new(server, limits());
        connection.write_all(&[7; 10]).await.unwrap();
        assert!(connection.stalled.is_none());
        assert!(futures::poll!(pin!(connection.write(&[7; 10]))).is_pending());
        let first = connection.stalled.as_ref().unwrap().deadline();
        assert!(futures::poll!(pin!(connection.write(&[7; 10]))).is_pending());
        assert_eq!(connection.stalled.as_ref().unwrap().deadline(), first, "asking moves nothing");
        client.read_exact(&mut [0; 5]).await.unwrap();
        assert_eq!(connection.write(&[7; 10]).await.unwrap(), 5);
        assert!(connection.stalled.is_none());
    }

    #[tokio::test]
    async fn the_token_of_a_connection_that_is_gone_is_cancelled() {
        let (_client, server) = duplex(10);
        let connection = Connection::new(server, limits());
        let ConnectionAbort(over) = connection.abort();
        assert!(!over.is_cancelled());
        drop(connection);
        assert!(over.is_cancelled());
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const ANSWER: &str = "answered";

    fn routes() -> Router {
        Router::new().route("/", get(|| async { ANSWER }))
    }

    /// Reads one answer.
    async fn answer(client: &mut DuplexStream) {
        let mut read = Vec::new();
        while !read.ends_with(ANSWER.as_bytes()) {
            assert!(client.read_buf(&mut read).await.unwrap() > 0, "{}", String::from_utf8_lossy(&read));
        }
    }

    /// Seconds until the server closes the connection.
    async fn seconds_until_closed(client: &mut DuplexStream) -> u64 {
        let start = Instant::now();
        client.read_to_end(&mut Vec::new()).await.unwrap();
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_never_ends_closes_its_connection_within_the_header_timeout() {
        for sent in [&b""[..], b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "] {
            let mut client = connected(routes(), limits());
            client.write_all(sent).await.unwrap();
            assert_eq!(seconds_until_closed(&mut client).await, 10, "{sent:?}");
        }
        // One byte a second changes nothing.
        let (mut reader, mut writer) = tokio::io::split(connected(routes(), limits()));
        let dripping = tokio::spawn(async move {
            while writer.write_all(b"G").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let start = Instant::now();
        reader.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 10);
        dripping.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_lives_longer_than_a_load_balancer_s_and_not_for_ever() {
        let mut client = connected(routes(), limits());
        for _ in 0..3 {
            client.write_all(REQUEST).await.unwrap();
            answer(&mut client).await;
            tokio::time::sleep(Duration::from_mins(1)).await;
        }
        client.write_all(REQUEST).await.unwrap();
        answer(&mut client).await;
        assert_eq!(seconds_until_closed(&mut client).await, 75);
    }

    #[tokio::test(start_paused = true)]
    async fn the_head_of_a_later_request_has_no_more_time_than_the_first() {
        let mut client = connected(routes(), limits());
        client.write_all(REQUEST).await.unwrap();
        answer(&mut client).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        client.write_all(&REQUEST[..20]).await.unwrap();
        assert_eq!(seconds_until_closed(&mut client).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_answered_slowly_is_not_cut_off() {
        let slow = get(|| async {
            tokio::time::sleep(Duration::from_mins(2)).await;
            ANSWER
        });
        let mut client = connected(Router::new().route("/", slow), limits());
        client.write_all(REQUEST).await.unwrap();
        answer(&mut client).await;
    }
}
