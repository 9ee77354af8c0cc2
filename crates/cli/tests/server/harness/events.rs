//! Reader of a stream of changes.

use serde_json::Value;
use tokio::time::timeout;

use super::{TEST_TIMEOUT, TestClient};

/// An open stream of changes.
pub(crate) struct Events {
    response: reqwest::Response,
    text: String,
    /// Id of the last event.
    pub(crate) last_id: String,
}

impl Events {
    /// Opens a stream that must be accepted.
    pub(crate) async fn open(client: &TestClient, path: &str, headers: &[(&str, &str)]) -> Self {
        let headers: Vec<_> = headers.iter().copied().chain([("accept", "text/event-stream")]).collect();
        let response = client.open("GET", path, &headers).await.expect("the server answers");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let mut events = Self::of(response);
        // The first block has the cursor of the beginning and no change.
        assert!(events.block().await.expect("a beginning").contains("retry: "));
        events
    }

    /// The events of an answer.
    pub(crate) fn of(response: reqwest::Response) -> Self {
        Self { response, text: String::new(), last_id: String::new() }
    }

    /// The data of the next event that has any, of whatever kind; `None`: the stream has ended.
    pub(crate) async fn data(&mut self) -> Option<Value> {
        loop {
            let block = self.block().await?;
            let data = block.lines().find_map(|line| line.strip_prefix("data:")).map(str::trim);
            if let Some(data) = data.filter(|data| !data.is_empty()) {
                return Some(serde_json::from_str(data).unwrap());
            }
        }
    }

    /// The next change set; `None`: the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            let block = self.block().await?;
            if let Some(data) = block.lines().find_map(|line| line.strip_prefix("data: ")) {
                assert!(block.contains("event: change\n"), "{block}");
                return Some(serde_json::from_str(data).unwrap());
            }
        }
    }

    /// Waits until the server ends the stream.
    pub(crate) async fn ended(mut self) {
        while self.next().await.is_some() {}
    }

    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                if let Some(id) = block.lines().find_map(|line| line.strip_prefix("id: ")) {
                    id.clone_into(&mut self.last_id);
                }
                return Some(block);
            }
            let chunk = timeout(TEST_TIMEOUT, self.response.chunk()).await.expect("it hangs");
            let chunk = chunk.expect("the stream is not broken off")?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}
