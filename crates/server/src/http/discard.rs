//! Reading away the body of a refused request, so that a client which sends first and listens later still
//! gets the answer.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures::StreamExt;

/// Most bytes of the body of a request to `/mcp` that are read, and longest time for it.
const MOST_BYTES: u64 = 32 << 20;
const LONGEST: Duration = Duration::from_secs(5);

/// Reads the body of a refused request to `/mcp`, within limits.
pub(super) async fn discard(body: Body) {
    discard_rest(body.into_data_stream(), MOST_BYTES, LONGEST).await;
}

/// Reads the rest of a body, up to so many bytes and for so long.
pub(super) async fn discard_rest(mut frames: BodyDataStream, most: u64, within: Duration) {
    let reading = async {
        let mut seen = 0;
        while let Some(Ok(frame)) = frames.next().await {
            seen += frame.len() as u64;
            if seen > most {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(within, reading).await;
}
