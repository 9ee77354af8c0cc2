//! Record of the download of an archive. Invariant: however a download ends, it is counted once, with the
//! cause, and it ends at the operator's timeout.
//!
//! A download lasts until the last of its bytes was sent or dropped. Every frame keeps the
//! [`TransferRecord`] alive, which counts when it is dropped; bytes that were lost with their connection
//! count as not sent.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::body::Bytes;
use futures::{StreamExt, stream};
use panaversity_model::fault::FaultKind;
use panaversity_model::{BookId, Fault};
use panaversity_service::archive::{Archive, ArchiveScope, Download};
use panaversity_service::{Call, Caller};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::DownloadBody;
use crate::AppState;
use crate::memory_budget::with_guard;

/// Record of a download for metrics and log, written when it is dropped.
pub(crate) struct TransferRecord {
    app: AppState,
    caller: Caller,
    book: Option<BookId>,
    began: Instant,
    scope: ArchiveScope,
    /// True if the archive leaves some files out.
    is_partial: bool,
    asked: u64,
    left: AtomicU64,
    ended: OnceLock<&'static str>,
    /// False: it is refused, for it could not be recorded.
    is_sent: AtomicBool,
    /// Aborts the connection; cancelled when that is closed.
    abort: CancellationToken,
    over: CancellationToken,
    _timer: DropGuard,
}

impl TransferRecord {
    /// A record of a download of so many bytes; `abort` ends its connection.
    pub(crate) fn new(
        app: &AppState,
        call: &Call,
        scope: ArchiveScope,
        archive: &Archive,
        bytes: u64,
        abort: CancellationToken,
    ) -> Self {
        let over = CancellationToken::new();
        Self {
            app: app.clone(),
            caller: call.caller.clone(),
            book: call.book.clone(),
            began: Instant::now().checked_sub(call.elapsed()).unwrap_or_else(Instant::now),
            scope,
            is_partial: !archive.left_out().is_empty(),
            asked: bytes,
            left: AtomicU64::new(bytes),
            ended: OnceLock::new(),
            is_sent: AtomicBool::new(false),
            abort,
            over: over.clone(),
            _timer: over.drop_guard(),
        }
    }

    /// Begins the download. After the operator's timeout its connection is aborted, in whatever state it
    /// is.
    pub(crate) async fn begin(self, download: Download) -> Result<DownloadBody, Fault> {
        let (over, timeout) = (self.over.clone(), self.app.limits.archive_timeout);
        let record = Arc::new(self);
        let timed = Arc::downgrade(&record);
        tokio::spawn(async move {
            if tokio::time::timeout(timeout, over.cancelled()).await.is_err()
                && let Some(record) = timed.upgrade()
            {
                record.ends("timeout");
                record.abort.cancel();
            }
        });
        let frames = stream::try_unfold((download, record.clone()), |(mut download, record)| async move {
            record.next(&mut download).await.map(|next| next.map(|bytes| (bytes, (download, record))))
        });
        DownloadBody::begin(frames.boxed(), Some(record)).await
    }

    async fn next(&self, download: &mut Download) -> Result<Option<Bytes>, Fault> {
        let next = tokio::select! {
            biased;
            () = self.abort.cancelled() => {
                return Err(Fault::new(FaultKind::Timeout, "the download took too long"));
            }
            next = download.next() => next,
        };
        if let Err(fault) = &next {
            self.ends(if fault.kind == FaultKind::Corrupt { "corrupt" } else { "failed" });
            tracing::warn!(target: "panaversity_fs.http", request_id = %self.caller.request,
                trace_id = self.app.trace.as_ref().map(tracing::field::display),
                error = %fault, "an archive was cut off");
        }
        next
    }

    /// Notes that it is sent from now on.
    pub(super) fn mark_sent(&self) {
        self.is_sent.store(true, Ordering::Relaxed);
    }

    /// A frame that is sent now, and that keeps this record alive.
    pub(super) fn counted(self: &Arc<Self>, frame: Bytes) -> Bytes {
        self.left.fetch_sub(frame.len() as u64, Ordering::Relaxed);
        with_guard(frame, self.clone())
    }

    /// Sets the cause of the end; the first one counts.
    fn ends(&self, how: &'static str) {
        let _ = self.ended.set(how);
    }

    fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    fn status(&self) -> &'static str {
        let whole = self.left() == 0;
        match self.ended.get() {
            Some(ended) => ended,
            None if self.abort.is_cancelled() => "cut",
            None if !self.is_sent.load(Ordering::Relaxed) => "failed",
            None if whole && self.is_partial => "partial",
            None if whole => "success",
            None => "cut",
        }
    }
}

impl Drop for TransferRecord {
    fn drop(&mut self) {
        let (status, elapsed) = (self.status(), self.began.elapsed());
        let book = self.book.as_ref().map_or(crate::metrics::UNKNOWN, BookId::as_str);
        self.app.metrics.archive_sent(book, self.scope.as_str(), status, elapsed);
        tracing::info!(
            target: "panaversity_fs.http",
            request_id = %self.caller.request,
            trace_id = self.app.trace.as_ref().map(tracing::field::display),
            agent_id = self.caller.principal.agent.as_str(),
            book_id = book,
            scope = self.scope.as_str(),
            size = self.asked - self.left(),
            duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            status,
            "GET archive.zip"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::routing::get;
    use axum::{Extension, Router};
    use panaversity_model::audit::Operation;
    use panaversity_model::permission::Principal;
    use panaversity_model::{AgentId, BookPath, Layer};
    use panaversity_service::write::Write;
    use panaversity_testkit::Faults;
    use tokio::io::{AsyncReadExt, DuplexStream};

    use super::*;
    use crate::http::ConnectionAbort;
    use crate::http::connection::tests::{HANGS, asked, limits};

    /// A client that has requested a small archive.
    async fn asking(app: &AppState) -> DuplexStream {
        let book = BookId::parse("ai-python").unwrap();
        let path = BookPath::parse("content/01-Part/01-Chapter/01-lesson.md").unwrap();
        let content =
            (0..20_000u32).map(|n| char::from(b'!' + (n.wrapping_mul(2_654_435_761) >> 26) as u8)).collect();
        let caller = app.service.caller(Principal::unrestricted(AgentId::unnamed()));
        let ended = app.service.run(caller.clone(), Operation::Archive, async |call| {
            let access = call.may_write(book, Layer::Base)?;
            call.write_content(Write { access: access.clone(), path, content, expected: None }).await?;
            call.make_archive(&access, ArchiveScope::All, None, HANGS).await
        });
        let (archive, app) = (ended.await.result.unwrap().archive, app.clone());
        let bytes = archive.bytes();
        let serve = move |Extension(ConnectionAbort(abort)): Extension<ConnectionAbort>| async move {
            let ended = app.service.run(caller, Operation::Archive, async |call| {
                let record = TransferRecord::new(&app, call, ArchiveScope::All, &archive, bytes, abort);
                Ok(record.begin(app.service.download(archive.clone(), 0..bytes)).await?)
            });
            ended.await.result.unwrap().into_body()
        };
        asked(Router::new().route("/", get(serve)), limits(), "/").await
    }

    /// Waits until this number of downloads has ended with this status.
    async fn ended(app: &AppState, status: &str, count: usize) {
        let series =
            format!("archive_total{{book_id=\"unknown\",scope=\"all\",status=\"{status}\"}} {count}\n");
        let counted = async {
            while !app
                .metrics
                .scrape(&app.service, app.limits.scrape_timeout)
                .await
                .windows(series.len())
                .any(|w| w == series.as_bytes())
            {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(HANGS, counted).await.is_err() {
            let text =
                String::from_utf8(app.metrics.scrape(&app.service, app.limits.scrape_timeout).await).unwrap();
            panic!("{series} is not in\n{text}");
        }
    }

    #[tokio::test]
    async fn a_download_is_over_when_its_last_bytes_are_taken_or_their_time_is_up() {
        let mut app = crate::mcp::tests::app(&Faults::new());
        asking(&app).await.read_to_end(&mut Vec::new()).await.unwrap();
        ended(&app, "success", 1).await;
        // All bytes are buffered by the connection when the client disconnects or stops reading.
        let mut client = asking(&app).await;
        client.read_exact(&mut [0; 100]).await.unwrap();
        drop(client);
        ended(&app, "cut", 1).await;
        app.limits.archive_timeout = Duration::from_millis(20);
        let mut client = asking(&app).await;
        ended(&app, "timeout", 1).await;
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert!(got.len() <= 1 << 10, "the connection has ended");
        ended(&app, "success", 1).await;
    }
}
