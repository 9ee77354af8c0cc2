//! Download of a range of an archive to one client, in bounded memory. Keeps R4.
//!
//! A download may always have one segment in memory; it makes the next when that is dropped. Beyond it a
//! few segments are prefetched, as long as the downloads together use no more than the shared permits.
//! So one fast download is never idle, and many slow ones use little more than a chunk each. A download
//! waits only for its own client, never for another's; only its first bytes wait for a permit, if very
//! many downloads are in progress.
//!
//! Bytes count as used until their receiver drops them.

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

/// Segments that one download prefetches.
const AHEAD: usize = 4;

/// Stream of a range of an archive.
pub struct Download {
    service: Service,
    archive: Arc<Archive>,
    segmenter: Segmenter,
    own: Arc<Semaphore>,
    /// Permit among all downloads; acquired when the first bytes are requested.
    turn: Option<OwnedSemaphorePermit>,
    ahead: VecDeque<Prefetch>,
    ready: VecDeque<Bytes>,
}

/// Task that makes a segment; aborted when this is dropped.
struct Prefetch(JoinHandle<Result<Vec<Bytes>, Fault>>);

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Gauge guard and permit of a segment, kept until all of its bytes are dropped.
struct Load {
    _held: Held,
    _turn: OwnedSemaphorePermit,
}

/// Bytes with the load of their segment.
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
    /// The next bytes, at most a chunk; `None`: the end. Waits until most of the bytes returned before
    /// are dropped.
    ///
    /// # Errors
    /// Bytes that can't be read or differ from those stored. Nothing may be sent after that: the
    /// promised archive can't be completed.
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

/// Acquires a permit. The semaphore is never closed.
async fn turn_of(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Fault> {
    turns.clone().acquire_owned().await.map_err(|_| Fault::internal("there are no turns any more"))
}

async fn make(service: Service, segment: Segment, load: Arc<Load>) -> Result<Vec<Bytes>, Fault> {
    let parts = segment.made(&service).await?;
    let filled = parts.into_iter().filter(|bytes| !bytes.is_empty());
    Ok(filled.map(|bytes| Bytes::from_owner(Frame { bytes, _load: load.clone() })).collect())
}
