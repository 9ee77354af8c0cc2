//! Faults of dependencies: the database frozen, killed, cut off, exhausted; disks full; power cut.
//! In each of them: the right code in bounded time, no half change and no lost one, readiness that
//! follows, and recovery without a restart.

mod disk;
mod load;
mod postgres;
mod power;

use std::io::{Write, stderr};
use std::time::{Duration, Instant};

use panaversity_testkit::disk::Disk;
use serde_json::json;

use crate::harness::{Answer, TestClient, until};

/// Maximum time of an answer during any fault. The server's own limits are, with the settings of
/// these tests: 2 s for a connection, 6 s for a statement, 5 s for the outcome of a lost COMMIT, 3
/// s for the entry of a call that failed.
const BOUND: Duration = Duration::from_secs(20);

/// The answer of the call, which must take at most [`BOUND`].
async fn in_time(call: impl Future<Output = Answer>) -> Answer {
    let began = Instant::now();
    let answer = call.await;
    assert!(began.elapsed() < BOUND, "{:?} for {}", began.elapsed(), answer.value);
    answer
}

/// Asserts that this is the error, and that the call had no effect.
#[track_caller]
fn assert_failed(answer: &Answer, code: &str) {
    assert_eq!(answer.code(), code, "{}", answer.value);
    assert_eq!(answer.value["error"].get("outcome"), None, "{}", answer.value);
}

async fn is_ready(server: &TestClient) -> bool {
    server.get("/health/ready").await.status == 200
}

/// Waits for 503 from readiness, while the server stays live.
async fn gets_unready(server: &TestClient) {
    until("it is unready", async || !is_ready(server).await).await;
    let began = Instant::now();
    assert_eq!(server.get("/health/live").await.status, 200);
    assert!(began.elapsed() < Duration::from_secs(1), "live touches nothing");
}

async fn gets_ready(server: &TestClient) {
    until("it is ready again", async || is_ready(server).await).await;
}

/// Asserts that every chain is whole.
async fn assert_chained(server: &TestClient) {
    let verified = server.call("verify_audit_chain", json!({})).await.expect_ok();
    assert_eq!(verified["valid"], true, "{verified}");
}

/// The disk, or `None` after printing why there is none.
pub(crate) fn or_skip(disk: Result<Disk, String>) -> Option<Disk> {
    // Not by a macro: their output is hidden in a test that passes.
    let tell = |why: &String| writeln!(stderr(), "skipped, for a disk of its own cannot be had here: {why}");
    disk.inspect_err(|why| tell(why).unwrap()).ok()
}
