//! Connections that can be ended from inside, and that end by themselves when their client takes
//! nothing. A handler can't end an answer whose client has stopped reading, for nobody asks its
//! body for more: what is left of it lies with the connection. Invariants: an ended connection
//! fails whoever waits for it, at once; no client holds bytes of an answer for longer than
//! [`WRITE_TIMEOUT`] without taking some; when the token of a connection is cancelled, the connection
//! is over or about to be.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

/// How long a client may take nothing.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Ends its connection when it is cancelled, and is cancelled when that is gone. A request has it
/// as its connection's info.
#[derive(Clone)]
pub(crate) struct ConnectionAbort(pub(crate) CancellationToken);

/// Accepts connections that can be ended.
pub(crate) struct TimeoutListener(pub(crate) TcpListener);

/// A connection that can be ended.
pub(crate) struct Connection<S> {
    stream: S,
    write_timeout: Duration,
    /// Runs while a write waits for the client.
    stalled: Option<Pin<Box<Sleep>>>,
    abort: ConnectionAbort,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    _gone: DropGuard,
}

impl Listener for TimeoutListener {
    type Io = Connection<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection<TcpStream>, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Without it a streamed answer waits for the acknowledgement of its first half.
        let _ = stream.set_nodelay(true);
        (Connection::new(stream, WRITE_TIMEOUT), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, TimeoutListener>> for ConnectionAbort {
    fn connect_info(stream: IncomingStream<'_, TimeoutListener>) -> Self {
        stream.io().abort.clone()
    }
}

impl<S> Connection<S> {
    /// Its client may take nothing for so long.
    fn new(stream: S, write_timeout: Duration) -> Self {
        let over = CancellationToken::new();
        let (abort, ended) = (ConnectionAbort(over.clone()), Box::pin(over.clone().cancelled_owned()));
        Self { stream, write_timeout, stalled: None, abort, ended, _gone: over.drop_guard() }
    }

    /// What the socket answered; a wait for it ends with the connection.
    fn unless_ended<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_pending() && self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        polled
    }

    /// What the socket answered to a write; a wait for it ends when nothing has moved for too long.
    fn unless_stalled<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let write_timeout = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(write_timeout)));
        if stalled.as_mut().poll(cx).is_ready() {
            self.abort.0.cancel();
        }
        self.unless_ended(polled, cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        self.unless_ended(polled, cx)
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
    use std::sync::Arc;

    use axum::Router;
    use axum::body::Bytes;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::memory_budget::with_guard;

    /// A server for one client, that takes what it reads and no more: nothing lies in between.
    struct OneClient(Option<Connection<DuplexStream>>);

    impl Listener for OneClient {
        type Io = Connection<DuplexStream>;
        type Addr = ();

        async fn accept(&mut self) -> (Connection<DuplexStream>, ()) {
            match self.0.take() {
                Some(connection) => (connection, ()),
                None => std::future::pending().await,
            }
        }

        fn local_addr(&self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Connected<IncomingStream<'_, OneClient>> for ConnectionAbort {
        fn connect_info(stream: IncomingStream<'_, OneClient>) -> Self {
            stream.io().abort.clone()
        }
    }

    /// The client's end of a connection to the routes, on which `path` was asked for.
    pub(in crate::http) async fn asked(router: Router, write_timeout: Duration, path: &str) -> DuplexStream {
        let (mut client, server) = duplex(1 << 10);
        let listener = OneClient(Some(Connection::new(server, write_timeout)));
        let router = router.into_make_service_with_connect_info::<ConnectionAbort>();
        tokio::spawn(axum::serve(listener, router).into_future());
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        client
    }

    /// Longer than anything takes that a test waits for.
    pub(in crate::http) const HANGS: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn what_nobody_takes_is_held_no_longer_than_the_patience() {
        let (kept, gone) = tokio::sync::oneshot::channel::<()>();
        let kept = Arc::new(std::sync::Mutex::new(Some(kept)));
        let answer = move || async move {
            // It is all handed over at once: no body is left that could be asked for more.
            let kept = kept.lock().unwrap().take().unwrap();
            with_guard(Bytes::from(vec![7; 100_000]), Arc::new(kept))
        };
        let router = Router::new().route("/", get(answer));
        let mut client = asked(router, Duration::from_millis(20), "/").await;
        assert!(tokio::time::timeout(HANGS, gone).await.expect("it is let go").is_err());
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert!(got.len() <= 1 << 10, "the connection has ended");
    }

    #[tokio::test]
    async fn who_takes_something_has_all_the_time_again() {
        let (mut client, server) = duplex(10);
        let mut connection = Connection::new(server, HANGS);
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
        let connection = Connection::new(server, HANGS);
        let ConnectionAbort(over) = connection.abort.clone();
        assert!(!over.is_cancelled());
        drop(connection);
        assert!(over.is_cancelled());
    }
}
