//! Answers that keep what their call holds until they are sent: its caller's share, and its memory.
//!
//! 1. An answer of up to [`BUFFERED_BYTES`] for which no memory was set aside fits into the buffers of its
//!    connection, and keeps nothing. Nor does a stream, or a download, which have limits of their own.
//! 2. Another is passed on in pieces, each of which keeps what the call holds, because a piece may wait for a
//!    slow client.
//! 3. A client that takes longer than the timeout for all of it loses its connection, so that others get what
//!    the call held.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::Response;
use futures::{StreamExt, stream};
use tokio::sync::oneshot;

use super::caller_share::CallerShare;
use crate::http::ConnectionAbort;
use crate::memory_budget::{HeldMemory, MemoryPermit, with_guard};

/// Most bytes of an answer that keeps nothing.
const BUFFERED_BYTES: u64 = 64 << 10;
/// What of a large answer is handed on at once.
const PIECE_BYTES: usize = 256 << 10;

/// The answer, with the memory that its call has set aside in its extensions.
pub(crate) fn with_memory(mut answer: Response, hold: &MemoryPermit) -> Response {
    if let Some(memory) = hold.transfer() {
        answer.extensions_mut().insert(memory);
    }
    answer
}

/// The answer, which keeps its caller's share until it is sent.
pub(super) fn held_until_sent(
    mut answer: Response,
    share: CallerShare,
    timeout: Duration,
    abort: Option<ConnectionAbort>,
) -> Response {
    let memory = answer.extensions_mut().remove::<Arc<HeldMemory>>();
    let length = answer.body().size_hint().exact();
    let is_buffered = memory.is_none() && length.is_none_or(|bytes| bytes <= BUFFERED_BYTES);
    if is_buffered || is_stream(&answer) {
        return answer;
    }
    if let Some(length) = length {
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    let (over, wait) = oneshot::channel::<()>();
    tokio::spawn(async move {
        if tokio::time::timeout(timeout, wait).await.is_err()
            && let Some(ConnectionAbort(abort)) = abort
        {
            abort.cancel();
        }
    });
    let kept = Arc::new((memory, share, over));
    answer.map(|body| {
        let frames = body.into_data_stream().flat_map(|frame| stream::iter(in_pieces(frame)));
        Body::from_stream(frames.map(move |piece| piece.map(|bytes| with_guard(bytes, kept.clone()))))
    })
}

/// Whether an answer is a stream of events, which may go on for hours.
fn is_stream(answer: &Response) -> bool {
    answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

fn in_pieces(frame: Result<Bytes, axum::Error>) -> Vec<Result<Bytes, axum::Error>> {
    let mut rest = match frame {
        Ok(frame) => frame,
        Err(error) => return vec![Err(error)],
    };
    let mut pieces = Vec::with_capacity(rest.len().div_ceil(PIECE_BYTES));
    while !rest.is_empty() {
        pieces.push(Ok(rest.split_to(rest.len().min(PIECE_BYTES))));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::middleware::caller_share::tests::one_call;
    use crate::memory_budget::MemoryBudget;

    #[tokio::test]
    async fn memory_and_share_last_until_the_last_piece_of_the_answer_has_gone() {
        let budget = MemoryBudget::of(2 << 20);
        let hold = MemoryPermit::new(budget.clone(), None);
        hold.take(2 << 20).await;
        let (shares, share) = one_call();
        let answer = with_memory(Response::new(Body::from(vec![7; 600 << 10])), &hold);
        let answer = held_until_sent(answer, share, Duration::from_mins(1), None);
        let mut pieces: Vec<_> = answer.into_body().into_data_stream().collect().await;
        assert_eq!(pieces.len(), 3);
        let mut next = Box::pin(budget.acquire(2 << 20));
        pieces.truncate(1);
        assert!(futures::poll!(&mut next).is_pending(), "a piece keeps all of the answer in memory");
        assert!(shares.is_full(), "a piece keeps the call");
        drop(pieces);
        assert!(next.await.is_some());
        assert!(!shares.is_full());
    }

    #[tokio::test]
    async fn a_small_answer_keeps_nothing() {
        let (shares, share) = one_call();
        let answer = Response::new(Body::from(vec![7; 64 << 10]));
        let _answer = held_until_sent(answer, share, Duration::from_mins(1), None);
        assert!(!shares.is_full());
    }
}
