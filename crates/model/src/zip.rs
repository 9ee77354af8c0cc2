//! ZIP archives as virtual files: from what is known of the entries follow the length of the whole
//! and every byte of it that is no entry's data, without building it anywhere.
//!
//! # Format
//! PKWARE's *.ZIP File Format Specification* (APPNOTE.TXT 6.3.10). Entries in the order of their
//! path bytes; for each a local header (4.3.7) and its data, then the *tail*: the central directory
//! (4.3.12) and the end records (4.3.14 to 4.3.16). Everything a writer is free to choose is fixed:
//! no data descriptors, no comments, names in UTF-8 (bit 11 of the flags), made on Unix, regular
//! files of mode 0644, 1 January 1980. So the same entries give the same bytes anywhere.
//!
//! # Zip64
//! A number that does not fit its field, or equals the mark that says so (all bits set), stands in
//! the Zip64 extra field (4.5.3) or the Zip64 end record. In the central directory and in the end
//! that is decided field by field; in a local header both sizes go there if one of them has to, as
//! 4.5.3 demands.

mod records;

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::hash::ContentHash;

/// What an archive is named by, so that another form of the same entries has another name.
const FORMAT: &[u8] = b"panaversity-zip-1";

/// How the data of an entry are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// As they are.
    Plain,
    /// As one raw deflate stream of so many bytes.
    Deflated(u64),
}

/// A file in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZipEntry {
    /// Its path; at most 65,535 bytes.
    pub name: String,
    /// What it holds.
    pub hash: ContentHash,
    /// Bytes before compression.
    pub size: u64,
    /// CRC-32 of the bytes before compression.
    pub crc32: u32,
    /// How its data are stored.
    pub method: Method,
}

impl ZipEntry {
    /// Bytes of its data in the archive.
    pub fn stored(&self) -> u64 {
        match self.method {
            Method::Plain => self.size,
            Method::Deflated(bytes) => bytes,
        }
    }
}

/// A stretch of an archive that comes from one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// These bytes of the local header of an entry.
    Header(usize, Range<u64>),
    /// These bytes of the data of an entry, as they are stored.
    Data(usize, Range<u64>),
    /// These bytes of the tail.
    Tail(Range<u64>),
}

impl Piece {
    /// Its bytes.
    pub fn len(&self) -> u64 {
        let (Self::Header(_, range) | Self::Data(_, range) | Self::Tail(range)) = self;
        range.end - range.start
    }

    /// Has it no bytes?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy)]
struct EntryOffsets {
    /// The first byte of its local header, from the beginning of the archive.
    header: u64,
    /// The first byte of its data.
    data: u64,
    /// The first byte of its record in the tail, from the beginning of the tail.
    listed: u64,
}

/// Where everything stands in an archive. About 130 bytes per entry, and its name.
#[derive(Debug)]
pub struct Layout {
    entries: Vec<ZipEntry>,
    places: Vec<EntryOffsets>,
    /// The first byte of the tail.
    tail: u64,
    /// Bytes of the central directory.
    directory: u64,
    hash: ContentHash,
}

impl Layout {
    /// The layout of an archive of these entries, which come in the order of their names.
    pub fn new(entries: Vec<ZipEntry>) -> Self {
        let mut places = Vec::with_capacity(entries.len());
        let (mut at, mut listed) = (0, 0);
        for entry in &entries {
            let data = at + records::local_header_bytes(entry);
            places.push(EntryOffsets { header: at, data, listed });
            listed += records::listing_bytes(entry, at);
            at = data + entry.stored();
        }
        let hash = name_of(&entries);
        Self { entries, places, tail: at, directory: listed, hash }
    }

    /// The entries.
    pub fn entries(&self) -> &[ZipEntry] {
        &self.entries
    }

    /// The name of the bytes: a SHA-256 over all they depend on. Archives of the same name are the
    /// same, byte for byte, as long as the data of their entries are.
    pub fn hash(&self) -> ContentHash {
        self.hash
    }

    /// Bytes of the whole archive.
    pub fn bytes(&self) -> u64 {
        self.tail + self.directory + self.end().len() as u64
    }

    /// Bytes of all files before compression.
    pub fn content_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }

    /// About how many bytes of memory this layout takes.
    pub fn held_bytes(&self) -> usize {
        let names: usize = self.entries.iter().map(|entry| entry.name.capacity()).sum();
        names
            + self.entries.capacity() * size_of::<ZipEntry>()
            + self.places.capacity() * size_of::<EntryOffsets>()
            + size_of::<Self>()
    }

    /// The pieces that a range of the archive consists of, in order; what lies beyond the end is
    /// left out.
    pub fn pieces(&self, range: Range<u64>) -> Pieces<'_> {
        let end = range.end.min(self.bytes());
        // The entry that the range begins in: the last whose header begins no later.
        let entry = self.places.partition_point(|place| place.header <= range.start).saturating_sub(1);
        Pieces { layout: self, at: range.start, end, entry }
    }

    /// The local header of an entry.
    pub fn header(&self, entry: usize) -> Vec<u8> {
        records::local_header(&self.entries[entry])
    }

    /// Bytes of the tail, counted from its beginning; only what is asked for is built.
    pub fn tail(&self, range: Range<u64>) -> Vec<u8> {
        let length = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let end = range.end.min(self.bytes() - self.tail);
        let start = range.start.min(end);
        // The last listing that begins no later than the range.
        let first = self.places.partition_point(|place| place.listed <= start).saturating_sub(1);
        let begins = self.places.get(first).map_or(0, |place| place.listed);
        let mut bytes = Vec::with_capacity(length(end - begins) + 512);
        let listings = self.entries.iter().zip(&self.places).skip(first);
        for (entry, place) in listings.take_while(|(_, place)| place.listed < end) {
            records::push_listing(&mut bytes, entry, place.header);
        }
        if end > self.directory {
            bytes.extend_from_slice(&self.end());
        }
        bytes.truncate(length(end - begins));
        bytes.drain(..length(start - begins));
        bytes
    }

    fn end(&self) -> Vec<u8> {
        records::end(self.entries.len() as u64, self.directory, self.tail)
    }
}

/// The pieces of a range, in order.
pub struct Pieces<'a> {
    layout: &'a Layout,
    at: u64,
    end: u64,
    entry: usize,
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let layout = self.layout;
        while self.at < self.end {
            let Some(place) = layout.places.get(self.entry).filter(|_| self.at < layout.tail) else {
                let piece = Piece::Tail(self.at - layout.tail..self.end - layout.tail);
                self.at = self.end;
                return Some(piece);
            };
            let ends = layout.places.get(self.entry + 1).map_or(layout.tail, |next| next.header);
            let (at, entry, in_header) = (self.at, self.entry, self.at < place.data);
            let (base, until) = if in_header { (place.header, place.data) } else { (place.data, ends) };
            let until = until.min(self.end);
            self.at = until;
            if until == ends {
                self.entry += 1;
            }
            if at < until {
                let range = at - base..until - base;
                return Some(if in_header { Piece::Header(entry, range) } else { Piece::Data(entry, range) });
            }
        }
        None
    }
}

fn name_of(entries: &[ZipEntry]) -> ContentHash {
    let mut digest = Sha256::new();
    digest.update(FORMAT);
    for entry in entries {
        digest.update((entry.name.len() as u64).to_le_bytes());
        digest.update(entry.name.as_bytes());
        digest.update(entry.hash.as_bytes());
        digest.update(entry.size.to_le_bytes());
        digest.update(entry.crc32.to_le_bytes());
        digest.update([u8::from(entry.method != Method::Plain)]);
        digest.update(entry.stored().to_le_bytes());
    }
    ContentHash::from_bytes(digest.finalize().into())
}

#[cfg(test)]
mod tests;
