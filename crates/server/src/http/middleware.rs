//! Middleware of the routes, one file for each thing that is checked or observed.

pub(crate) mod allowed_hosts;
pub(crate) mod auth;
pub(crate) mod body_limit;
pub(crate) mod client_address;
pub(crate) mod observe;
pub(crate) mod rate_limit;

use std::time::Duration;

use axum::body::Body;
use futures::StreamExt;

/// Most bytes of a refused request's body that are read and thrown away, and longest time for it.
const DISCARDED_BYTES: usize = 32 << 20;
const DISCARDED_WITHIN: Duration = Duration::from_secs(5);

/// Reads a refused request's body away, within limits, so that a client which sends first and listens later
/// still gets the answer.
async fn discard(body: Body) {
    let (mut seen, mut chunks) = (0, body.into_data_stream());
    let reading = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            seen += chunk.len();
            if seen > DISCARDED_BYTES {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DISCARDED_WITHIN, reading).await;
}
