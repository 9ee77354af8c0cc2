//! Archives are read back by an independent ZIP reader, including virtual ones whose data are
//! generated on read.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use proptest::prelude::*;
use zip::ZipArchive;

use super::*;
use crate::blob::{Blob, BlobLocation};
use crate::hash::HashedBytes;

const GIB: u64 = 1 << 30;

/// Archive whose entry data are generated on read.
struct Imagined {
    layout: Layout,
    at: u64,
    /// Cached part of the tail and its offset there.
    tail: (u64, Vec<u8>),
}

impl Imagined {
    fn new(layout: Layout) -> Self {
        Self { layout, at: 0, tail: (0, Vec::new()) }
    }

    /// Copies from the tail at `at`, through a cache, because readers read a few bytes at a time.
    fn copy_tail(&mut self, at: u64, into: &mut [u8]) {
        let (begins, held) = &self.tail;
        if at < *begins || at + into.len() as u64 > begins + held.len() as u64 {
            self.tail = (at, self.layout.tail(at..at + into.len().max(1 << 16) as u64));
        }
        let from = usize::try_from(at - self.tail.0).unwrap();
        into.copy_from_slice(&self.tail.1[from..from + into.len()]);
    }
}

/// Value of every data byte of entry `entry`.
fn imagined(entry: usize) -> u8 {
    u8::try_from(entry % 251).unwrap()
}

/// CRC-32 of `size` equal bytes, in logarithmic time.
fn crc_of(byte: u8, size: u64) -> u32 {
    let (mut whole, mut doubled) = (crc32fast::Hasher::new(), crc32fast::Hasher::new());
    doubled.update(&[byte]);
    for bit in 0..64 - size.leading_zeros() {
        if size >> bit & 1 == 1 {
            whole.combine(&doubled);
        }
        doubled.combine(&doubled.clone());
    }
    whole.finalize()
}

fn plain(number: usize, name: String, size: u64) -> ZipEntry {
    let crc32 = crc_of(imagined(number), size);
    ZipEntry { name, hash: ContentHash::of(&[imagined(number)]), size, crc32, method: Method::Plain }
}

impl Read for Imagined {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.layout.pieces(self.at..self.at + into.len() as u64).next() else {
            return Ok(0);
        };
        let length = usize::try_from(piece.len()).unwrap();
        let cut =
            |range: Range<u64>| usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        match piece {
            Piece::Header(entry, range) => {
                into[..length].copy_from_slice(&self.layout.header(entry)[cut(range)]);
            }
            Piece::Data(entry, _) => into[..length].fill(imagined(entry)),
            Piece::Tail(range) => self.copy_tail(range.start, &mut into[..length]),
        }
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for Imagined {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let moved = |from: u64, by: i64| from.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput);
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(by) => moved(self.layout.bytes(), by)?,
            SeekFrom::Current(by) => moved(self.at, by)?,
        };
        Ok(self.at)
    }
}

/// Complete archive of these files, and its layout.
fn archive(files: &[(String, Vec<u8>)], inline_limit: usize) -> (Layout, Vec<u8>) {
    let blobs: Vec<_> =
        files.iter().map(|(_, bytes)| Blob::pack(&HashedBytes::new(bytes.clone()), inline_limit)).collect();
    let entries = files.iter().zip(&blobs).map(|((name, _), blob)| ZipEntry {
        name: name.clone(),
        hash: blob.hash,
        size: blob.size,
        crc32: blob.crc32,
        method: match &blob.location {
            BlobLocation::Inline(deflated) => Method::Deflated(deflated.len() as u64),
            BlobLocation::Object(_) => Method::Plain,
        },
    });
    let layout = Layout::new(entries.collect());
    let mut whole = Vec::new();
    for (number, (_, bytes)) in files.iter().enumerate() {
        whole.extend(layout.header(number));
        whole.extend(match &blobs[number].location {
            BlobLocation::Inline(deflated) => deflated,
            BlobLocation::Object(_) => bytes,
        });
    }
    whole.extend(layout.tail(0..u64::MAX));
    (layout, whole)
}

/// Bytes of the pieces of a range, copied from the whole archive.
fn put_together(layout: &Layout, whole: &[u8], range: Range<u64>) -> Vec<u8> {
    let cut = |at: u64, range: Range<u64>| {
        usize::try_from(at + range.start).unwrap()..usize::try_from(at + range.end).unwrap()
    };
    let mut bytes = Vec::new();
    for piece in layout.pieces(range) {
        assert!(!piece.is_empty());
        bytes.extend(match piece {
            Piece::Header(entry, range) => layout.header(entry)[cut(0, range)].to_vec(),
            Piece::Data(entry, range) => whole[cut(layout.places[entry].data, range)].to_vec(),
            Piece::Tail(range) => layout.tail(range),
        });
    }
    bytes
}

fn files() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    prop::collection::btree_map("[a-z0-9é本/]{1,40}", bytes, 0..12)
        .prop_map(|files| files.into_iter().collect())
}

proptest! {
    #[test]
    fn an_archive_reads_back_as_its_files(files in files(), inline_limit in 0usize..400) {
        let (layout, whole) = archive(&files, inline_limit);
        prop_assert_eq!(layout.bytes(), whole.len() as u64);
        let mut read = ZipArchive::new(Cursor::new(&whole)).unwrap();
        prop_assert_eq!(read.len(), files.len());
        for (number, (name, bytes)) in files.iter().enumerate() {
            let mut file = read.by_index(number).unwrap();
            prop_assert_eq!(file.name().unwrap(), name.as_str());
            prop_assert_eq!(file.unix_mode(), Some(0o100_644));
            let mut back = Vec::new();
            file.read_to_end(&mut back).unwrap();
            prop_assert_eq!(&back, bytes);
        }
    }

    #[test]
    fn any_range_is_what_its_pieces_say(
        files in files(), a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>(),
    ) {
        let (layout, whole) = archive(&files, 200);
        let (a, b) = (a.index(whole.len() + 1), b.index(whole.len() + 1));
        let (from, to) = (a.min(b), a.max(b));
        let found = put_together(&layout, &whole, from as u64..to as u64);
        prop_assert_eq!(&found, &whole[from..to]);
        // Ranges of one byte each, to find a byte that no piece covers.
        let one_by_one: Vec<u8> =
            (from as u64..to as u64).flat_map(|at| put_together(&layout, &whole, at..at + 1)).collect();
        prop_assert_eq!(&one_by_one, &found);
    }

    #[test]
    fn whatever_changes_a_byte_changes_the_name(files in files().prop_filter("one", |f| !f.is_empty()), what in 0..5) {
        let (layout, _) = archive(&files, 200);
        let mut entries = layout.entries().to_vec();
        let entry = entries.last_mut().unwrap();
        match what {
            0 => entry.name.push('x'),
            1 => entry.size += 1,
            2 => entry.crc32 ^= 1,
            3 => entry.hash = ContentHash::of(b"another"),
            _ => entry.method = Method::Deflated(entry.stored() + 1),
        }
        prop_assert_ne!(Layout::new(entries).hash(), layout.hash());
        prop_assert_eq!(Layout::new(layout.entries().to_vec()).hash(), layout.hash());
    }
}

#[test]
fn an_archive_beyond_4_gib_reads_back() {
    let sizes = [3, 5 * GIB, u64::from(u32::MAX), u64::from(u32::MAX) - 1, 7, 0];
    let named = sizes.iter().enumerate();
    let entries = named.map(|(n, size)| plain(n, format!("static/videos/{n}.bin"), *size)).collect();
    let layout = Layout::new(entries);
    assert!(layout.bytes() > 13 * GIB - 2 && layout.bytes() < 13 * GIB + 2_000);
    let mut read = ZipArchive::new(Imagined::new(layout)).unwrap();
    assert_eq!(read.len(), sizes.len());
    for (number, size) in sizes.into_iter().enumerate() {
        let file = read.by_index(number).unwrap();
        assert_eq!((file.size(), file.compressed_size()), (size, size), "file {number}");
        drop(file);
        // The last bytes, which the reader finds by its own sums of sizes and offsets.
        let mut file = read.by_index_seek(number).unwrap();
        file.seek(SeekFrom::Start(size.saturating_sub(10))).unwrap();
        let mut last = Vec::new();
        file.read_to_end(&mut last).unwrap();
        assert_eq!(last, vec![imagined(number); usize::try_from(size.min(10)).unwrap()]);
    }
    // An entry beyond 4 GiB, read completely, with its checksum.
    let mut small = read.by_index(4).unwrap();
    let mut bytes = Vec::new();
    small.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, [imagined(4); 7]);
}

#[test]
fn a_file_that_shrinks_below_4_gib_still_says_its_size() {
    let method = Method::Deflated(5_000_000);
    let zeros = ZipEntry { method, ..plain(0, "static/zeros.bin".to_owned(), 5 * GIB) };
    let layout = Layout::new(vec![zeros]);
    let mut read = ZipArchive::new(Imagined::new(layout)).unwrap();
    let file = read.by_index_raw(0).unwrap();
    assert_eq!((file.size(), file.compressed_size()), (5 * GIB, 5_000_000));
}

#[test]
fn more_files_than_16_bits_count_read_back() {
    for number in [65_534usize, 65_535, 66_000] {
        let entries = (0..number).map(|n| plain(n, format!("content/{n:05}.md"), n as u64 % 3)).collect();
        let layout = Layout::new(entries);
        let mut read = ZipArchive::new(Imagined::new(layout)).unwrap();
        assert_eq!(read.len(), number);
        let (mut last, mut bytes) = (read.by_index(number - 1).unwrap(), Vec::new());
        last.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, vec![imagined(number - 1); (number - 1) % 3]);
    }
}

#[test]
fn an_archive_without_files_is_an_archive() {
    let layout = Layout::new(Vec::new());
    assert_eq!(layout.bytes(), 22);
    assert_eq!(ZipArchive::new(Imagined::new(layout)).unwrap().len(), 0);
}

#[test]
fn an_archive_keeps_its_bytes_over_versions_of_this_program() {
    let (layout, whole) = archive(&[("a/é.md".to_owned(), b"hello".to_vec())], 0);
    assert_eq!(
        ContentHash::of(&whole).to_string(),
        "e1894d0b77c76f23e57cae4f99b34c0776d4c8aab40b925fa2484b27a03ab2e9",
        "if these bytes change, FORMAT must change with them"
    );
    assert_eq!(layout.hash().to_string(), "00ad3708627e0a12c133ffa0b323d09ed9077f4eaf124ff9935ffeceaa53ca53");
}
