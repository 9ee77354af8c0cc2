//! Connections that can be ended from inside. A handler can't end an answer whose client has
//! stopped reading, for nobody asks its body for more; it can end the connection. Invariant: an
//! ended connection fails whoever waits for it, at once.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Ends its connection when it is cancelled. A request has it as its connection's info.
#[derive(Clone)]
pub(crate) struct Hangup(pub(crate) CancellationToken);

/// Accepts connections that can be ended.
pub(crate) struct Endable(pub(crate) TcpListener);

/// A connection that can be ended.
pub(crate) struct Connection {
    stream: TcpStream,
    hangup: Hangup,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Listener for Endable {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Without it a streamed answer waits for the acknowledgement of its first half.
        let _ = stream.set_nodelay(true);
        let hangup = Hangup(CancellationToken::new());
        let ended = Box::pin(hangup.0.clone().cancelled_owned());
        (Connection { stream, hangup, ended }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Endable>> for Hangup {
    fn connect_info(stream: IncomingStream<'_, Endable>) -> Self {
        stream.io().hangup.clone()
    }
}

impl Connection {
    /// What the socket answered; a wait for it ends with the connection.
    fn unless_ended<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            return polled;
        }
        ready!(self.ended.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        self.unless_ended(polled, cx)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, from);
        self.unless_ended(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, from);
        self.unless_ended(polled, cx)
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
