//! Line transport: one message per line, read from stdin and written to stdout.
//!
//! 1. A line that is no message is logged, and answered if a client waits for an answer. The session
//!    continues with the next line.
//! 2. A line may have the size of an HTTP request. Of a longer one the start is kept until its id is
//!    known; the rest is discarded.
//! 3. Before the first request no other message is passed on: rmcp would end the session.
//! 4. Text after the last newline is a line too.
//!
//! `receive` is cancel-safe, because rmcp waits for other events concurrently: a line that is partly
//! read, and an answer that is being written, stay in the transport.

use std::io;
use std::sync::Arc;

use axum::body::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use panaversity_model::ErrorCode;
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, GetExtensions, GetMeta, ProtocolVersion, ServerJsonRpcMessage,
};
use rmcp::transport::Transport;
use rmcp::{ErrorData, RoleServer};
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::Mutex;

use super::envelope::Envelope;
use super::message::{self, INVALID_REQUEST, ParsedText, Rejection};
use super::methods;
use crate::error;

/// Line transport of one client.
pub(super) struct Lines<R, W> {
    input: BufReader<R>,
    /// Part of the current line that is already read.
    line: Vec<u8>,
    most: usize,
    /// True while the rest of a line that is too long is discarded.
    is_skipping: bool,
    has_begun: bool,
    output: Arc<Mutex<W>>,
    /// An answer of the transport itself that is being written.
    answer: Option<BoxFuture<'static, io::Result<()>>>,
}

/// Result of reading a line.
enum Step {
    Line(Vec<u8>),
    /// The start of a line that is too long.
    Start(Vec<u8>),
    End,
}

impl<R: AsyncRead + Send + Unpin, W: AsyncWrite + Send + Unpin + 'static> Lines<R, W> {
    /// A transport for lines of at most `most` bytes.
    pub(super) fn new(input: R, output: W, most: usize) -> Self {
        Self {
            input: BufReader::new(input),
            line: Vec::new(),
            most,
            is_skipping: false,
            has_begun: false,
            output: Arc::new(Mutex::new(output)),
            answer: None,
        }
    }

    async fn next_line(&mut self) -> io::Result<Step> {
        loop {
            let available = self.input.fill_buf().await?;
            if available.is_empty() {
                let rest = std::mem::take(&mut self.line);
                return Ok(if rest.is_empty() { Step::End } else { Step::Line(rest) });
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..newline.unwrap_or(available.len())];
            let taken = part.len() + usize::from(newline.is_some());
            let was_skipping = self.is_skipping;
            if !was_skipping {
                let room = (self.most + 1).saturating_sub(self.line.len());
                self.line.extend_from_slice(&part[..part.len().min(room)]);
            }
            self.input.consume(taken);
            self.is_skipping = newline.is_none() && (was_skipping || self.line.len() > self.most);
            if was_skipping {
                continue;
            }
            if self.line.len() > self.most {
                return Ok(Step::Start(std::mem::take(&mut self.line)));
            }
            if newline.is_some() {
                return Ok(Step::Line(std::mem::take(&mut self.line)));
            }
        }
    }

    /// The message on a line; `None` if it is not passed on, answered or not.
    fn read(&mut self, line: Vec<u8>) -> Option<ClientJsonRpcMessage> {
        if line.trim_ascii().is_empty() {
            return None;
        }
        let (text, unreadable) = match message::arrive(line.into()) {
            ParsedText::Sound(text) => (text, None),
            ParsedText::Unreadable(text, unreadable) => {
                unreadable.log();
                (text, Some(unreadable))
            }
            ParsedText::Rejected(rejection) => return self.reject(&rejection),
        };
        let Ok(mut message) = serde_json::from_slice(&text) else {
            return self.reject(&message::reject(&text));
        };
        if let (ClientJsonRpcMessage::Request(request), Some(unreadable)) = (&mut message, unreadable) {
            request.request.extensions_mut().insert(unreadable);
        }
        if self.has_begun { Some(message) } else { self.before_begin(message, &text) }
    }

    /// The message, if it may come before a session has begun.
    fn before_begin(&mut self, message: ClientJsonRpcMessage, text: &Bytes) -> Option<ClientJsonRpcMessage> {
        let ClientJsonRpcMessage::Request(request) = &message else {
            tracing::warn!(target: "panaversity_fs.server", "a message before the first request was dropped");
            return None;
        };
        self.has_begun = begins(&request.request);
        if let (ClientRequest::CustomRequest(custom), false) = (&request.request, self.has_begun) {
            let error = match custom.method.as_str() {
                "initialize" => methods::invalid_params("initialize", custom.params.as_ref()),
                unknown if !methods::is_known(unknown, false) => methods::not_found(unknown),
                _ => return Some(message),
            };
            let id = Envelope::read(text).0.answerable_id();
            self.say(error::rpc_answer(&id, &error));
            return None;
        }
        Some(message)
    }

    fn reject(&mut self, rejection: &Rejection) -> Option<ClientJsonRpcMessage> {
        rejection.log();
        if !rejection.is_silent {
            self.say(rejection.body());
        }
        None
    }

    fn reject_long(&mut self, start: &[u8]) {
        let id = Envelope::read(start).0.answerable_id();
        let message = message::too_large(self.most);
        tracing::warn!(target: "panaversity_fs.server", "a line was too long: {message}");
        self.say(error::rpc_error(&id, INVALID_REQUEST, &message, ErrorCode::TooLarge));
    }

    fn say(&mut self, answer: Value) {
        self.answer = Some(written(self.output.clone(), answer).boxed());
    }
}

impl<R, W> Transport<RoleServer> for Lines<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        mut message: ServerJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        if let ServerJsonRpcMessage::Error(answer) = &mut message {
            explain(&mut answer.error, self.has_begun);
        }
        written(self.output.clone(), message)
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            if let Some(answer) = &mut self.answer {
                let said = answer.await;
                self.answer = None;
                said.inspect_err(report).ok()?;
            }
            match self.next_line().await.inspect_err(report).ok()? {
                Step::End => return None,
                Step::Start(start) => self.reject_long(&start),
                Step::Line(line) => {
                    if let Some(message) = self.read(line) {
                        return Some(message);
                    }
                }
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        if let Some(answer) = self.answer.take() {
            answer.await?;
        }
        self.output.lock().await.flush().await
    }
}

/// True if the request begins a session: a handshake, or a call of the revisions without one.
fn begins(request: &ClientRequest) -> bool {
    match request {
        ClientRequest::InitializeRequest(_) => true,
        ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_) => false,
        other => {
            let meta = other.get_meta();
            let is_complete = meta.missing_required_keys(&ProtocolVersion::V_2026_07_28).is_empty();
            is_complete && meta.protocol_version().is_some_and(|version| methods::speaks(version.as_str()))
        }
    }
}

/// Adds to rmcp's refusal of a first message what the client can do.
fn explain(error: &mut ErrorData, has_begun: bool) {
    if !methods::clarify(error) && !has_begun && error.message.starts_with("request _meta") {
        let message = format!("{}; or begin with `initialize`, as earlier revisions do", error.message);
        error.message = message.into();
    }
}

fn report(error: &io::Error) {
    tracing::warn!(target: "panaversity_fs.server", %error, "the client can't be reached");
}

/// Writes a message as one line, while others may be written concurrently.
async fn written<W: AsyncWrite + Unpin>(output: Arc<Mutex<W>>, message: impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(&message)?;
    line.push(b'\n');
    let mut output = output.lock().await;
    output.write_all(&line).await?;
    output.flush().await
}
