//! An archive on its way to a client. Invariant: whatever ends it, it is counted once, by what
//! ended it, and its time is over when the operator said.
//!
//! It is under way until the last of its bytes was taken or dropped: they may lie with the
//! connection long after the archive was read to its end. Every frame keeps the [`TransferRecord`], which
//! counts when it is dropped; and bytes that went down with their connection did not arrive.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::body::{Body, Bytes};
use futures::stream;
use panaversity_model::fault::FaultKind;
use panaversity_model::{BookId, Fault};
use panaversity_service::Call;
use panaversity_service::archive::{Archive, Download, Scope};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::app::App;
use crate::memory_budget::with_guard;

/// What is sent, and what ends it.
pub(crate) struct ArchiveBody {
    download: Download,
    first: Option<Bytes>,
    tally: Arc<TransferRecord>,
}

impl ArchiveBody {
    /// Nothing is sent yet. After the operator's time its connection ends, whoever waits for what
    /// then.
    pub(crate) fn new(download: Download, tally: TransferRecord) -> Self {
        let (over, timeout) = (tally.over.clone(), tally.app.archive_timeout);
        let tally = Arc::new(tally);
        let timed = Arc::downgrade(&tally);
        tokio::spawn(async move {
            if tokio::time::timeout(timeout, over.cancelled()).await.is_err()
                && let Some(tally) = timed.upgrade()
            {
                tally.ends("timeout");
                tally.abort.cancel();
            }
        });
        Self { download, first: None, tally }
    }

    /// Reads the first bytes.
    pub(crate) async fn begin(&mut self) -> Result<(), Fault> {
        self.first = self.next().await?;
        Ok(())
    }

    /// It ends before anything was sent.
    pub(crate) fn failed(&self) {
        self.tally.ends("failed");
    }

    /// What was begun, as a body.
    pub(crate) fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut sending| async move {
            let next = match sending.first.take() {
                Some(first) => Ok(Some(first)),
                None => sending.next().await,
            };
            match next {
                Ok(Some(bytes)) => {
                    sending.tally.left.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
                    Some((Ok(with_guard(bytes, sending.tally.clone())), sending))
                }
                Ok(None) => None,
                Err(fault) => Some((Err(fault), sending)),
            }
        }))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let next = tokio::select! {
            biased;
            () = self.tally.abort.cancelled() => {
                return Err(Fault::new(FaultKind::Timeout, "the download took too long"));
            }
            next = self.download.next() => next,
        };
        if let Err(fault) = &next {
            self.tally.ends(if fault.kind == FaultKind::Corrupt { "corrupt" } else { "failed" });
            tracing::warn!(target: "panaversity_fs.http", request_id = %self.tally.call.request,
                error = %fault, "an archive was cut off");
        }
        next
    }
}

/// How a download ends, for metrics and log.
pub(crate) struct TransferRecord {
    app: App,
    call: Call,
    scope: Scope,
    /// The archive does without some files.
    is_partial: bool,
    asked: u64,
    left: AtomicU64,
    ended: OnceLock<&'static str>,
    /// Ends the connection; cancelled when that is gone.
    abort: CancellationToken,
    over: CancellationToken,
    _timer: DropGuard,
}

impl TransferRecord {
    /// Of a download of so many bytes, which `abort` ends.
    pub(crate) fn new(
        app: &App,
        call: &Call,
        scope: Scope,
        archive: &Archive,
        bytes: u64,
        abort: CancellationToken,
    ) -> Self {
        let over = CancellationToken::new();
        Self {
            app: app.clone(),
            call: call.clone(),
            scope,
            is_partial: !archive.left_out().is_empty(),
            asked: bytes,
            left: AtomicU64::new(bytes),
            ended: OnceLock::new(),
            abort,
            over: over.clone(),
            _timer: over.drop_guard(),
        }
    }

    /// What came first counts.
    fn ends(&self, how: &'static str) {
        let _ = self.ended.set(how);
    }

    fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    fn status(&self) -> &'static str {
        let whole = self.left() == 0 && !self.abort.is_cancelled();
        match self.ended.get() {
            Some(ended) => ended,
            None if whole && self.is_partial => "partial",
            None if whole => "success",
            None => "cut",
        }
    }
}

impl Drop for TransferRecord {
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

    use axum::extract::connect_info::ConnectInfo;
    use axum::routing::get;
    use axum::{Extension, Router};
    use panaversity_model::audit::Operation;
    use panaversity_model::{AgentId, BookPath, Layer};
    use panaversity_service::write::Write;
    use panaversity_testkit::Faults;
    use tokio::io::{AsyncReadExt, DuplexStream};

    use super::*;
    use crate::http::ConnectionAbort;
    use crate::http::listener::tests::{HANGS, asked};

    /// A client that has asked for a small archive.
    async fn asking(app: &App) -> DuplexStream {
        let book = BookId::parse("ai-python").unwrap();
        let mut call = app.service.begin(AgentId::unnamed(), Operation::Archive);
        let path = BookPath::parse("content/01-Part/01-Chapter/01-lesson.md").unwrap();
        let content =
            (0..20_000u32).map(|n| char::from(b'!' + (n.wrapping_mul(2_654_435_761) >> 26) as u8)).collect();
        let write = Write { book: book.clone(), path, layer: Layer::Base, content, expected: None };
        app.service.write_content(&mut call, write).await.unwrap();
        let made = app.service.make_archive(&book, Scope::All, None, HANGS).await.unwrap();
        let (archive, app) = (made.archive, app.clone());
        let bytes = archive.bytes();
        let serve = move |Extension(ConnectInfo(ConnectionAbort(abort))): Extension<
            ConnectInfo<ConnectionAbort>,
        >| async move {
            let call = app.service.begin(AgentId::unnamed(), Operation::Archive);
            let tally = TransferRecord::new(&app, &call, Scope::All, &archive, bytes, abort);
            let mut sending = ArchiveBody::new(app.service.download(archive, 0..bytes), tally);
            sending.begin().await.unwrap();
            sending.into_body()
        };
        asked(Router::new().route("/", get(serve)), HANGS, "/").await
    }

    /// Waits until so many downloads have ended like this.
    async fn ended(app: &App, status: &str, count: usize) {
        let series =
            format!("archive_total{{book_id=\"unknown\",scope=\"all\",status=\"{status}\"}} {count}\n");
        let counted = async {
            while !app
                .metrics
                .scrape(&app.service)
                .await
                .windows(series.len())
                .any(|w| w == series.as_bytes())
            {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(HANGS, counted).await.is_err() {
            let text = String::from_utf8(app.metrics.scrape(&app.service).await).unwrap();
            panic!("{series} is not in\n{text}");
        }
    }

    #[tokio::test]
    async fn a_download_is_over_when_its_last_bytes_are_taken_or_their_time_is_up() {
        let mut app = crate::mcp::tests::app(&Faults::new());
        asking(&app).await.read_to_end(&mut Vec::new()).await.unwrap();
        ended(&app, "success", 1).await;
        // All of it lies with the connection when they go or stop.
        let mut client = asking(&app).await;
        client.read_exact(&mut [0; 100]).await.unwrap();
        drop(client);
        ended(&app, "cut", 1).await;
        app.archive_timeout = Duration::from_millis(20);
        let mut client = asking(&app).await;
        ended(&app, "timeout", 1).await;
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert!(got.len() <= 1 << 10, "the connection has ended");
        ended(&app, "success", 1).await;
    }
}
