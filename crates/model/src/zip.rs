//! ZIP archives as virtual files: computes the length of an archive and all its bytes other than entry
//! data from the entries' metadata, without building the archive.
//!
//! # Format
//! PKWARE's *.ZIP File Format Specification* (APPNOTE.TXT 6.3.10). Entries in the order of their
//! path bytes; for each a local header (4.3.7) and its data, then the *tail*: the central directory
//! (4.3.12) and the end records (4.3.14 to 4.3.16). Everything a writer is free to choose is fixed:
//! no data descriptors, no comments, names in UTF-8 (bit 11 of the flags), made on Unix, regular
//! files of mode 0644, 1 January 1980. Equal entries therefore give equal bytes everywhere.
//!
//! # Zip64
//! A number that does not fit its field, or equals the marker of overflow (all bits set), is stored in
//! the Zip64 extra field (4.5.3) or the Zip64 end record. In the central directory and the end record
//! this is decided field by field; in a local header both sizes are stored there if one of them has to
//! be, as 4.5.3 demands.

mod records;

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::hash::ContentHash;

/// Prefix of the hashed data, so that another form of the same entries has another hash.
const FORMAT: &[u8] = b"panaversity-zip-1";

/// Compression method of an entry's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Stored uncompressed.
    Plain,
    /// One raw deflate stream of this length in bytes.
    Deflated(u64),
}

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZipEntry {
    /// Path of the file; at most 65,535 bytes.
    pub name: String,
    /// Content hash.
    pub hash: ContentHash,
    /// Size in bytes before compression.
    pub size: u64,
    /// CRC-32 of the bytes before compression.
    pub crc32: u32,
    /// Compression method.
    pub method: Method,
}

impl ZipEntry {
    /// Size in bytes of its data in the archive.
    pub fn stored(&self) -> u64 {
        match self.method {
            Method::Plain => self.size,
            Method::Deflated(bytes) => bytes,
        }
    }
}

/// A contiguous range of an archive that comes from one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Range of the local header of an entry.
    Header(usize, Range<u64>),
    /// Range of the data of an entry, in stored form.
    Data(usize, Range<u64>),
    /// Range of the tail.
    Tail(Range<u64>),
}

impl Piece {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        let (Self::Header(_, range) | Self::Data(_, range) | Self::Tail(range)) = self;
        range.end - range.start
    }

    /// True if it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Offsets of an entry.
#[derive(Debug, Clone, Copy)]
struct EntryOffsets {
    /// Offset of its local header, from the beginning of the archive.
    header: u64,
    /// Offset of its data, from the beginning of the archive.
    data: u64,
    /// Offset of its central directory record, from the beginning of the tail.
    listed: u64,
}

/// Layout of an archive: entries and offsets. Takes about 130 bytes per entry, plus its name.
#[derive(Debug)]
pub struct Layout {
    entries: Vec<ZipEntry>,
    places: Vec<EntryOffsets>,
    /// Offset of the tail.
    tail: u64,
    /// Size of the central directory in bytes.
    directory: u64,
    hash: ContentHash,
}

impl Layout {
    /// Layout of an archive of these entries, which must be sorted by name.
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

    /// SHA-256 over everything that determines the bytes. Archives with equal hashes are equal byte for
    /// byte, provided the data of their entries are.
    pub fn hash(&self) -> ContentHash {
        self.hash
    }

    /// Size of the whole archive in bytes.
    pub fn bytes(&self) -> u64 {
        self.tail + self.directory + self.end().len() as u64
    }

    /// Total size of all files in bytes, before compression.
    pub fn content_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }

    /// Approximate memory size of this layout in bytes.
    pub fn held_bytes(&self) -> usize {
        let names: usize = self.entries.iter().map(|entry| entry.name.capacity()).sum();
        names
            + self.entries.capacity() * size_of::<ZipEntry>()
            + self.places.capacity() * size_of::<EntryOffsets>()
            + size_of::<Self>()
    }

    /// Pieces that make up a range of the archive, in order; anything beyond the end is omitted.
    pub fn pieces(&self, range: Range<u64>) -> Pieces<'_> {
        let end = range.end.min(self.bytes());
        // The entry that contains the start of the range: the last whose header begins no later.
        let entry = self.places.partition_point(|place| place.header <= range.start).saturating_sub(1);
        Pieces { layout: self, at: range.start, end, entry }
    }

    /// Local header of an entry.
    pub fn header(&self, entry: usize) -> Vec<u8> {
        records::local_header(&self.entries[entry])
    }

    /// Bytes of a range of the tail, relative to its beginning; only the records needed are built.
    pub fn tail(&self, range: Range<u64>) -> Vec<u8> {
        let length = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let end = range.end.min(self.bytes() - self.tail);
        let start = range.start.min(end);
        // The last record that begins no later than the range.
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

/// Iterator over the pieces of a range, in order.
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
