//! Bad input: every answer has the right code, nothing is stored, and the server still answers the
//! next caller. R1, tested through the client.

mod arguments;
mod paths;
mod random;
mod requests;

use std::collections::BTreeMap;

use serde_json::json;

use crate::fixtures::{LESSON, created, entries, manifest};
use crate::harness::{Db, Server, TestClient, TestEnv};

/// State of another user that bad input must not change.
struct Untouched {
    env: TestEnv,
    server: Server,
    client: TestClient,
    manifest: String,
    changes: usize,
    published: BTreeMap<String, Vec<u8>>,
}

impl Untouched {
    /// A book with a file in the base and one in an overlay.
    async fn new(db: Db) -> Self {
        let env = TestEnv::new(db);
        let server = env.start().await;
        let client = server.client();
        created(&client, LESSON, "the lesson", json!({})).await;
        created(&client, LESSON, "hers", json!({ "user_id": "eve" })).await;
        server.all_published().await;
        let (manifest, changes, published) =
            (manifest(&client).await, changes(&client).await, env.published());
        Self { env, server, client, manifest, changes, published }
    }

    /// Asserts that the state is unchanged and the server healthy.
    async fn nothing_happened(self) {
        assert_eq!(manifest(&self.client).await, self.manifest);
        assert_eq!(changes(&self.client).await, self.changes, "no change was recorded");
        self.server.all_published().await;
        assert_eq!(self.env.published(), self.published);
        let books = self.client.call("list_books", json!({})).await.expect_ok();
        assert_eq!(books["books"].as_array().unwrap().len(), 1, "{books}");
        self.is_well().await;
    }

    /// Asserts that no call failed and nothing is broken.
    async fn is_well(&self) {
        for user in [json!({}), json!({ "user_id": "eve" })] {
            let failed = crate::fixtures::with(user, json!({ "status": "failed" }));
            assert_eq!(entries(&self.client, failed).await, Vec::<serde_json::Value>::new());
        }
        assert_eq!(self.server.get("/health/ready").await.status, 200);
        // A fault, or a panic, that no answer showed is counted.
        let metrics = self.server.get("/metrics").await.text();
        let is_failure = |line: &&str| {
            (line.starts_with("panaversityfs_tool_calls_total") && line.contains("status=\"failed\""))
                || (line.starts_with("panaversityfs_http_requests_total") && line.contains("status=\"5"))
        };
        let failures: Vec<_> =
            metrics.lines().filter(is_failure).filter(|line| !line.ends_with(" 0")).collect();
        assert_eq!(failures, Vec::<&str>::new());
    }
}

/// Number of changes in the audit log.
async fn changes(client: &TestClient) -> usize {
    let mut count = 0;
    for user in [json!({}), json!({ "user_id": "eve" })] {
        let log = entries(client, user).await;
        count += log.iter().filter(|entry| entry.get("change_id").is_some()).count();
    }
    count
}
