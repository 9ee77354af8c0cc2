//! An archive on its way to a client. Invariant: whatever ends it, it is counted once, by what
//! ended it, and its time is over when the operator said.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use panaversity_model::fault::FaultKind;
use panaversity_model::{BookId, Fault};
use panaversity_service::Call;
use panaversity_service::archive::{Archive, Download, Scope};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::app::App;

/// What is sent, and what ends it.
pub(super) struct Sending {
    download: Download,
    first: Option<Bytes>,
    tally: Tally,
    /// Ends the connection.
    hangup: CancellationToken,
    /// Ends the timer.
    over: Option<DropGuard>,
}

impl Sending {
    /// Nothing is sent yet.
    pub(super) fn new(download: Download, tally: Tally, hangup: CancellationToken) -> Self {
        Self { download, first: None, tally, hangup, over: None }
    }

    /// Reads the first bytes. After `timeout` the connection ends, whoever waits for what then.
    pub(super) async fn begin(&mut self, timeout: Duration) -> Result<(), Fault> {
        let (hangup, over) = (self.hangup.clone(), CancellationToken::new());
        self.over = Some(over.clone().drop_guard());
        tokio::spawn(async move {
            if tokio::time::timeout(timeout, over.cancelled()).await.is_err() {
                hangup.cancel();
            }
        });
        self.first = self.next().await?;
        Ok(())
    }

    /// It ends before anything was sent.
    pub(super) fn failed(&mut self) {
        self.tally.ended = Some("failed");
    }

    /// What was begun, as a body.
    pub(super) fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut sending| async move {
            let next = match sending.first.take() {
                Some(first) => Ok(Some(first)),
                None => sending.next().await,
            };
            match next {
                Ok(Some(bytes)) => {
                    sending.tally.left = sending.tally.left.saturating_sub(bytes.len() as u64);
                    Some((Ok(bytes), sending))
                }
                Ok(None) => None,
                Err(fault) => Some((Err(fault), sending)),
            }
        }))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let next = tokio::select! {
            biased;
            () = self.hangup.cancelled() => {
                self.tally.ended = Some("timeout");
                return Err(Fault::new(FaultKind::Timeout, "the download took too long"));
            }
            next = self.download.next() => next,
        };
        if let Err(fault) = &next {
            self.tally.ended = Some(if fault.kind == FaultKind::Corrupt { "corrupt" } else { "failed" });
            tracing::warn!(target: "panaversity_fs.http", request_id = %self.tally.call.request,
                error = %fault, "an archive was cut off");
        }
        next
    }
}

/// How a download ends, for metrics and log.
pub(super) struct Tally {
    app: App,
    call: Call,
    scope: Scope,
    /// The archive does without some files.
    is_partial: bool,
    asked: u64,
    left: u64,
    ended: Option<&'static str>,
}

impl Tally {
    /// Of a download of so many bytes.
    pub(super) fn new(app: &App, call: &Call, scope: Scope, archive: &Archive, bytes: u64) -> Self {
        let is_partial = !archive.left_out().is_empty();
        Self {
            app: app.clone(),
            call: call.clone(),
            scope,
            is_partial,
            asked: bytes,
            left: bytes,
            ended: None,
        }
    }

    fn status(&self) -> &'static str {
        match self.ended {
            Some(ended) => ended,
            None if self.left == 0 && self.is_partial => "partial",
            None if self.left == 0 => "success",
            None if self.app.service.elapsed(&self.call) >= self.app.archive_timeout => "timeout",
            None => "cut",
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let (status, elapsed) = (self.status(), self.app.service.elapsed(&self.call));
        let book = self.call.book.as_ref().map_or(crate::metrics::UNKNOWN, BookId::as_str);
        self.app.metrics.archive_sent(book, self.scope.as_str(), status, elapsed);
        tracing::info!(
            target: "panaversity_fs.http",
            request_id = %self.call.request,
            agent_id = self.call.agent.as_str(),
            book_id = book,
            scope = self.scope.as_str(),
            size = self.asked - self.left,
            duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            status,
            "GET archive.zip"
        );
    }
}
