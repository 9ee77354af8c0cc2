//! The two commands that move a whole book between a folder and a server: [`ingest`] and
//! [`hydrate`]. Invariant of both: success is only what the server or the disk confirmed, and a
//! run that was killed is completed by the next one.

use std::sync::atomic::{AtomicUsize, Ordering};

use panaversity_model::{BookId, Refusal, Schema};

use crate::client::{CallError, Client};

mod digest;
pub(crate) mod hydrate;
pub(crate) mod ingest;
mod progress;
mod report;
mod state;
mod workspace;

#[cfg(test)]
mod fake;

/// The server when neither `--url` nor `PANAVERSITY_URL` names one.
const DEFAULT_URL: &str = "http://127.0.0.1:8000";
/// The folder of a book that a pipeline's folder of pages stands for.
const CONTENT: &str = "content/";
/// The same of assets.
const STATIC: &str = "static/";
/// Calls that may fail for good before the rest is not even tried.
const MOST_FAILURES: usize = 3;

/// Which server to talk to.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ServerArgs {
    /// The server's URL [default: env `PANAVERSITY_URL`, else local port 8000]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

impl ServerArgs {
    fn client(&self, agent: &'static str) -> Result<Client, Failure> {
        let by_flag = self.url.clone().map(|url| ("--url", url));
        let given = by_flag.or_else(|| Some(("PANAVERSITY_URL", std::env::var("PANAVERSITY_URL").ok()?)));
        let (name, url) =
            given.filter(|(_, url)| !url.is_empty()).unwrap_or_else(|| ("--url", DEFAULT_URL.to_owned()));
        Client::new(&url, agent).map_err(|why| Failure::usage(format!("{name} {why}")))
    }
}

/// Why a command stopped as a whole.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    /// The files it is about, if any.
    files: Vec<report::Problem>,
    is_usage: bool,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), files: Vec::new(), is_usage: false }
    }

    fn usage(message: impl Into<String>) -> Self {
        Self { is_usage: true, ..Self::new(message) }
    }

    fn about(message: impl Into<String>, files: Vec<report::Problem>) -> Self {
        Self { files, ..Self::new(message) }
    }

    /// A disk operation on `what` failed.
    fn disk(doing: &str, what: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(format!("cannot {doing} {}: {error}", what.display()))
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::new(error.to_string())
    }
}

/// Runs blocking work off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Failure::new("a worker stopped; run again"))
}

/// Opens when too many calls failed for good: a server that is down is not asked 700 times.
#[derive(Debug, Default)]
struct Breaker {
    failures: AtomicUsize,
}

impl Breaker {
    fn is_open(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= MOST_FAILURES
    }

    fn note(&self, error: &CallError) {
        if !matches!(error, CallError::ServerError(_)) {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// `1 file`, `724 files`.
fn files(count: usize) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

fn parse_book(raw: &str) -> Result<BookId, Refusal> {
    BookId::parse(raw)
}

fn parse_schema(raw: &str) -> Result<Schema, Refusal> {
    Schema::parse(raw)
}
