//! A download: a range of an archive on its way to one client, in bounded memory. Keeps R4.
//!
//! A download may always hold one segment; it makes the next when that has left. Beyond it segments are
//! made ahead, a few, as long as the downloads together hold no more of them than they share. So
//! one fast download is never idle, and many slow ones hold little more than a chunk each. What a
//! download waits for is its own client, never another's; only its first bytes wait for a turn, if
//! very many are under way.
//!
//! Bytes count as held until whoever got them has dropped them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use panaversity_model::Fault;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::cache::{Archive, Held};
use super::segments::{Segment, Segmenter};
use crate::service::Service;

/// Segments that one download makes ahead.
const AHEAD: usize = 4;

/// A range of an archive, on its way.
pub struct Download {
    service: Service,
    archive: Arc<Archive>,
    segmenter: Segmenter,
    own: Arc<Semaphore>,
    /// One of those that may be under way; taken when the first bytes are asked for.
    turn: Option<OwnedSemaphorePermit>,
    ahead: VecDeque<Prefetch>,
    ready: VecDeque<Bytes>,
}

/// A segment that is being made; nobody waits for it any more when this is dropped.
struct Prefetch(JoinHandle<Result<Vec<Bytes>, Fault>>);

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What counts as long as any bytes of a segment are there.
struct Load {
    _held: Held,
    _turn: OwnedSemaphorePermit,
}

/// Bytes with their load.
struct Frame {
    bytes: Vec<u8>,
    _load: Arc<Load>,
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Service {
    /// Streams a range of an archive.
    pub fn download(&self, archive: Arc<Archive>, range: Range<u64>) -> Download {
        Download {
            service: self.clone(),
            segmenter: Segmenter::new(archive.clone(), range),
            archive,
            own: Arc::new(Semaphore::new(1)),
            turn: None,
            ahead: VecDeque::with_capacity(AHEAD),
            ready: VecDeque::new(),
        }
    }
}

impl Download {
    /// The next bytes, a chunk at most; `None`: that was all. Waits until most of what it gave
    /// before was dropped.
    ///
    /// # Errors
    /// What could not be read or was not as stored. Nothing may be sent after that: the archive
    /// can't be given as it was promised.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.turn.is_none() {
            self.turn = Some(turn_of(&self.service.inner.archives.downloads).await?);
        }
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(bytes));
            }
            self.make_ahead();
            if self.ahead.is_empty() {
                if self.segmenter.is_done() {
                    return Ok(None);
                }
                let turn = turn_of(&self.own).await?;
                self.make(turn);
            }
            let Some(mut first) = self.ahead.pop_front() else { return Ok(None) };
            match (&mut first.0).await {
                Ok(Ok(frames)) => self.ready.extend(frames),
                Ok(Err(fault)) => return Err(self.given_up(fault)),
                Err(error) => return Err(self.given_up(Fault::internal(error.to_string()))),
            }
            self.make_ahead();
        }
    }

    fn given_up(&mut self, fault: Fault) -> Fault {
        self.service.inner.archives.forget(self.archive.hash());
        self.ahead.clear();
        fault
    }

    fn make_ahead(&mut self) {
        while self.ahead.len() < AHEAD && !self.segmenter.is_done() {
            let own = self.own.clone().try_acquire_owned();
            let turn = own.or_else(|_| self.service.inner.archives.shared.clone().try_acquire_owned());
            let Ok(turn) = turn else { return };
            self.make(turn);
        }
    }

    fn make(&mut self, turn: OwnedSemaphorePermit) {
        let Some(segment) = self.segmenter.next() else { return };
        let load = Load { _held: self.service.inner.archives.hold(segment.bytes), _turn: turn };
        let making = make(self.service.clone(), segment, Arc::new(load));
        self.ahead.push_back(Prefetch(tokio::spawn(making)));
    }
}

/// Nobody closes it.
async fn turn_of(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Fault> {
    turns.clone().acquire_owned().await.map_err(|_| Fault::internal("there are no turns any more"))
}

async fn make(service: Service, segment: Segment, load: Arc<Load>) -> Result<Vec<Bytes>, Fault> {
    let parts = segment.made(&service).await?;
    let filled = parts.into_iter().filter(|bytes| !bytes.is_empty());
    Ok(filled.map(|bytes| Bytes::from_owner(Frame { bytes, _load: load.clone() })).collect())
}
