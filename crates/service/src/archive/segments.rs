//! Segments: the units in which an archive is streamed. A segment has at most about a chunk of stored
//! bytes, or one small file of any size, and is made independently, so several are made concurrently.
//! Keeps R2: bytes read for a segment are checked before they become part of it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use panaversity_model::blob::{BlobLocation, CHUNK_BYTES, StoredBlob};
use panaversity_model::zip::{Method, Piece};
use panaversity_model::{ContentHash, Fault};
use tokio::sync::OnceCell;

use super::cache::Archive;
use crate::service::Service;

/// Most bytes read for a segment: a chunk, and the headers before it.
const SEGMENT_BYTES: u64 = CHUNK_BYTES as u64 + (64 << 10);
/// Most blobs of a segment: the rows of small ones are read in one statement.
const SEGMENT_BLOBS: usize = 64;
/// Bytes of the central directory generated at once.
const TAIL_BYTES: u64 = 64 << 10;
/// Objects of a segment that are read concurrently.
const SIDE_BY_SIDE: usize = 4;

/// The row of a blob of several chunks, read once for all of them.
type Row = Arc<OnceCell<StoredBlob>>;

/// Source of the bytes of a segment, in order.
enum Part {
    /// Bytes generated from the layout.
    Made(Vec<u8>),
    /// A range of an inline blob's deflated bytes, whose number is `deflated`.
    Inline { hash: ContentHash, deflated: u64, range: Range<u64> },
    /// A range within a chunk of an object.
    Chunk { hash: ContentHash, number: u64, range: Range<u64>, row: Option<Row> },
}

/// Unit of a download.
#[derive(Default)]
pub(super) struct Segment {
    parts: Vec<Part>,
    /// Bytes in memory while it is made and until it is sent.
    pub(super) bytes: u64,
}

/// Splits a range of an archive into segments.
pub(super) struct Segmenter {
    archive: Arc<Archive>,
    at: u64,
    end: u64,
    /// The row of the large blob in which the last segment ended.
    row: Option<(usize, Row)>,
}

impl Segmenter {
    pub(super) fn new(archive: Arc<Archive>, range: Range<u64>) -> Self {
        let end = range.end.min(archive.bytes());
        Self { archive, at: range.start, end, row: None }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.end
    }

    /// The next segment; `None`: the end.
    pub(super) fn next(&mut self) -> Option<Segment> {
        let (archive, mut segment, mut blobs) = (self.archive.clone(), Segment::default(), 0);
        while let Some(piece) = archive.layout.pieces(self.at..self.end).next() {
            let (part, taken, bytes) = self.part(&archive, piece);
            blobs += usize::from(!matches!(part, Part::Made(_)));
            if segment.bytes > 0 && (segment.bytes + bytes > SEGMENT_BYTES || blobs > SEGMENT_BLOBS) {
                break;
            }
            self.at += taken;
            segment.bytes += bytes;
            segment.parts.push(part);
        }
        (!segment.parts.is_empty()).then_some(segment)
    }

    /// The first part of a piece, its length in the archive, and the memory it needs, in bytes.
    fn part(&mut self, archive: &Archive, piece: Piece) -> (Part, u64, u64) {
        match piece {
            Piece::Header(entry, range) => {
                let mut header = archive.layout.header(entry);
                let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(header.len());
                let (from, to) = (within(range.start), within(range.end));
                header.truncate(to);
                header.drain(..from);
                (Part::Made(header), range.end - range.start, range.end)
            }
            Piece::Tail(range) => {
                let range = range.start..range.end.min(range.start + TAIL_BYTES);
                let bytes = range.end - range.start;
                (Part::Made(archive.layout.tail(range)), bytes, bytes)
            }
            Piece::Data(number, range) => {
                let entry = &archive.layout.entries()[number];
                let taken = range.end - range.start;
                match entry.method {
                    Method::Deflated(deflated) => {
                        (Part::Inline { hash: entry.hash, deflated, range }, taken, deflated)
                    }
                    Method::Plain => self.chunk(number, entry.hash, entry.size, &range),
                }
            }
        }
    }

    /// The part of a range of an object that lies in the range's first chunk.
    fn chunk(&mut self, entry: usize, hash: ContentHash, size: u64, range: &Range<u64>) -> (Part, u64, u64) {
        let number = range.start / CHUNK_BYTES as u64;
        let begins = number * CHUNK_BYTES as u64;
        let ends = (begins + CHUNK_BYTES as u64).min(size);
        let (from, to) = (range.start, range.end.min(ends));
        let row = (size > CHUNK_BYTES as u64).then(|| match &self.row {
            Some((of, row)) if *of == entry => row.clone(),
            _ => self.row.insert((entry, Row::default())).1.clone(),
        });
        let part = Part::Chunk { hash, number, range: from - begins..to - begins, row };
        (part, to - from, ends - begins)
    }
}

impl Segment {
    /// Bytes of the segment, in order, all checked.
    pub(super) async fn made(self, service: &Service) -> Result<Vec<Vec<u8>>, Fault> {
        let loose = self.parts.iter().filter_map(|part| match part {
            Part::Inline { hash, .. } | Part::Chunk { hash, row: None, .. } => Some(*hash),
            Part::Made(_) | Part::Chunk { .. } => None,
        });
        let loose: Vec<_> = loose.collect();
        let mut rows = HashMap::with_capacity(loose.len());
        if !loose.is_empty() {
            let found = service.inner.journal.blobs(&loose).await?;
            rows.extend(found.into_iter().map(|stored| (stored.blob.hash, stored)));
        }
        let rows = &rows;
        let making = self.parts.into_iter().map(|part| part.made(service, rows));
        futures::stream::iter(making).buffered(SIDE_BY_SIDE).try_collect().await
    }
}

impl Part {
    async fn made(
        self,
        service: &Service,
        rows: &HashMap<ContentHash, StoredBlob>,
    ) -> Result<Vec<u8>, Fault> {
        match self {
            Self::Made(bytes) => Ok(bytes),
            Self::Inline { hash, deflated, range } => {
                let stored = rows.get(&hash).ok_or_else(|| purged(hash))?;
                // Checks the inflated bytes against the blob's hash.
                service.bytes_of(stored).await?.ok_or_else(|| purged(hash))?;
                match &stored.blob.location {
                    BlobLocation::Inline(bytes) if bytes.len() as u64 == deflated => {
                        cut(bytes.clone(), range)
                    }
                    _ => Err(stored_otherwise(hash)),
                }
            }
            Self::Chunk { hash, number, range, row: None } => {
                let stored = rows.get(&hash).ok_or_else(|| purged(hash))?;
                chunk(service, stored, number, range).await
            }
            Self::Chunk { hash, number, range, row: Some(row) } => {
                let read = async {
                    let found = service.inner.journal.blobs(&[hash]).await?;
                    found.into_iter().next().ok_or_else(|| purged(hash))
                };
                chunk(service, row.get_or_try_init(|| read).await?, number, range).await
            }
        }
    }
}

async fn chunk(
    service: &Service,
    stored: &StoredBlob,
    number: u64,
    range: Range<u64>,
) -> Result<Vec<u8>, Fault> {
    if matches!(stored.blob.location, BlobLocation::Inline(_)) {
        return Err(stored_otherwise(stored.blob.hash));
    }
    let bytes = service.chunk_of(stored, number).await?.ok_or_else(|| purged(stored.blob.hash))?;
    cut(bytes, range)
}

fn cut(mut bytes: Vec<u8>, range: Range<u64>) -> Result<Vec<u8>, Fault> {
    let (from, to) = (usize::try_from(range.start), usize::try_from(range.end));
    let (Ok(from), Ok(to)) = (from, to) else { return Err(Fault::internal("a part of no size")) };
    if to > bytes.len() {
        return Err(Fault::internal("a part has fewer bytes than the layout says"));
    }
    bytes.truncate(to);
    bytes.drain(..from);
    Ok(bytes)
}

fn purged(hash: ContentHash) -> Fault {
    Fault::storage(format!("the blob {hash} was deleted while it was read"))
}

fn stored_otherwise(hash: ContentHash) -> Fault {
    Fault::storage(format!("the blob {hash} is not stored any more as the archive says"))
}
