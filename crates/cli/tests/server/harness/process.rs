//! A server that is a process of the binary: for signals, draining, memory and crashes.
//!
//! # Lifetime
//! It ends with its [`ServerProcess`], by [`terminate`](ServerProcess::terminate) or
//! [`kill9`](ServerProcess::kill9); and with the test process, however that ends: the kernel kills it
//! when the thread that started it is gone, and that thread reads its log until there is no more.

use std::io::BufReader;
use std::ops::Deref;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::TEST_TIMEOUT;
use super::client::TestClient;
use super::log::Log;

/// A running process of the binary; dropping it kills it.
pub(crate) struct ServerProcess {
    child: Option<Child>,
    client: TestClient,
    log: Log,
}

impl ServerProcess {
    /// Spawns `panaversity-fs serve` and waits for a log line that begins with `says`, followed by the
    /// address it listens on.
    pub(super) async fn spawn(mut command: Command, says: &'static str) -> Self {
        command.args(["serve", "--server-port", "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let (log, (listening, address), (started, child)) =
            (Log::default(), oneshot::channel(), oneshot::channel());
        let lines = log.clone();
        std::thread::spawn(move || {
            let mut child = command.spawn().expect("`setpriv` of util-linux is needed to start a server");
            let stderr = child.stderr.take().expect("a piped stderr");
            let _ = started.send(child);
            lines.collect(BufReader::new(stderr), says, listening);
        });
        let mut child = child.await.expect("the server's process");
        let Ok(Ok(address)) = tokio::time::timeout(TEST_TIMEOUT, address).await else {
            let _ = child.kill();
            panic!("the server is not {says}it:\n{}", log.lines().join("\n"));
        };
        Self { child: Some(child), client: TestClient::to(address), log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// Every line of its log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Kills it (SIGKILL).
    pub(crate) async fn kill9(mut self) {
        let mut child = self.child.take().expect("a running server");
        child.kill().unwrap();
        tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    }

    /// Requests a stop (SIGTERM) and waits for the end.
    pub(crate) async fn terminate(self) -> ExitStatus {
        self.signal("-TERM");
        self.ended().await
    }

    /// Sends it a signal, as `kill` names it.
    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.pid().to_string()]).status().unwrap().success());
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a running server");
        let start = Instant::now();
        loop {
            match child.try_wait().unwrap() {
                Some(status) => return status,
                None if start.elapsed() < TEST_TIMEOUT => tokio::time::sleep(Duration::from_millis(5)).await,
                None => {
                    let _ = child.kill();
                    panic!("the server does not stop:\n{}", self.log().join("\n"));
                }
            }
        }
    }
}

impl Deref for ServerProcess {
    type Target = TestClient;

    fn deref(&self) -> &TestClient {
        &self.client
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
