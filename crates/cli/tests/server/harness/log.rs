//! Log of servers: the lines that the binary writes to stderr, of a process, or of the servers of a test in
//! this process.

use std::io::{self, BufRead, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tracing::dispatcher::{self, Dispatch};

use super::client::TestClient;
use super::{log_watch, until};

/// The lines so far.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

/// Runs a test with the log, from this level on, of the servers that it starts in this process. Every thread
/// of its runtime sends its events to that log, so tests beside it have no lines in it.
pub(crate) fn logged<T>(level: &str, test: impl AsyncFnOnce(Log) -> T) -> T {
    let log = Log::default();
    let settings = [("PANAVERSITY_LOG_LEVEL", level), ("PANAVERSITY_LOG_FORMAT", "json")];
    let writer = log.clone();
    let subscriber = panaversity_fs::log_subscriber(&settings, move || writer.clone());
    let dispatch = Dispatch::new(subscriber.unwrap_or_else(|failure| panic!("{failure}")));
    let of_threads = dispatch.clone();
    let runtime = Builder::new_multi_thread()
        .enable_all()
        // The thread sends them there until it ends.
        .on_thread_start(move || std::mem::forget(dispatcher::set_default(&of_threads)))
        .build()
        .unwrap();
    dispatcher::with_default(&dispatch, || runtime.block_on(test(log)))
}

impl Log {
    /// Every line so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Number of lines with a text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(text)).count()
    }

    /// The server that is starting in this process and waits for a dependency.
    pub(crate) async fn waiting(&self) -> TestClient {
        let address = || self.lines().iter().find_map(|line| address_in(line, "waiting for "));
        until("a server waits", async || address().is_some()).await;
        TestClient::to(address().expect("it waits"))
    }

    /// Collects lines until there are no more; sends the address in the first whose message begins with
    /// `begins`.
    pub(super) fn collect(&self, stderr: impl BufRead, begins: &str, listening: oneshot::Sender<String>) {
        let mut listening = Some(listening);
        for line in stderr.split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).into_owned();
            let address = address_in(&line, begins);
            self.push(line);
            if let Some(address) = address
                && let Some(listening) = listening.take()
            {
                let _ = listening.send(address);
            }
        }
    }

    fn push(&self, line: String) {
        log_watch::search(&line);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// The field `address` of a line whose message begins with `begins`.
fn address_in(line: &str, begins: &str) -> Option<String> {
    let said: Value = serde_json::from_str(line).ok()?;
    said["message"].as_str().filter(|text| text.starts_with(begins))?;
    Some(said["address"].as_str()?.to_owned())
}

/// Takes the lines of servers in this process; each is written at once.
impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        String::from_utf8_lossy(bytes).lines().for_each(|line| self.push(line.to_owned()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
