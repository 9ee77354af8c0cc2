//! Records of a ZIP archive, field by field; numbers are little-endian. Section numbers refer to the
//! specification named in the parent module.

use super::{Method, ZipEntry};

/// Marker in a 32-bit field whose number is stored in a Zip64 field.
const BEYOND: u32 = u32::MAX;
/// Marker in a 16-bit field whose number is stored in a Zip64 record.
const BEYOND_SHORT: u16 = u16::MAX;
/// 4.4.3: version needed to extract: deflate, and Zip64.
const VERSION_DEFLATE: u16 = 20;
const VERSION_ZIP64: u16 = 45;
/// 4.4.2: made on Unix, according to version 4.5.
const MADE_BY: u16 = 3 << 8 | VERSION_ZIP64;
/// 4.4.4, bit 11: the name is UTF-8.
const FLAGS: u16 = 1 << 11;
/// 4.4.6: midnight, 1 January 1980.
const TIME: u16 = 0;
const DATE: u16 = 1 << 5 | 1;
/// 4.4.15: a regular file, `rw-r--r--`.
const ATTRIBUTES: u32 = 0o100_644 << 16;
/// 4.5.3: header id of the Zip64 extra field.
const ZIP64_FIELD: u16 = 1;

const LOCAL_HEADER: u64 = 30;
const LISTING: u64 = 46;
const FIELD_HEADER: u64 = 4;

/// The number if it fits a 32-bit field, else the marker.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(BEYOND)
}

fn narrow_short(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(BEYOND_SHORT)
}

/// True if the number is stored in a Zip64 field; one equal to the marker is as well.
fn is_beyond(number: u64) -> bool {
    narrow(number) == BEYOND
}

/// True if the local header has an extra field, which contains both sizes.
fn sizes_beyond(entry: &ZipEntry) -> bool {
    is_beyond(entry.size) || is_beyond(entry.stored())
}

/// Numbers in the extra field of a central directory record.
fn listed_beyond(entry: &ZipEntry, header: u64) -> impl Iterator<Item = u64> {
    [entry.size, entry.stored(), header].into_iter().filter(|number| is_beyond(*number))
}

fn field_bytes(numbers: u64) -> u64 {
    if numbers == 0 { 0 } else { FIELD_HEADER + 8 * numbers }
}

pub(super) fn local_header_bytes(entry: &ZipEntry) -> u64 {
    let numbers = if sizes_beyond(entry) { 2 } else { 0 };
    LOCAL_HEADER + entry.name.len() as u64 + field_bytes(numbers)
}

pub(super) fn listing_bytes(entry: &ZipEntry, header: u64) -> u64 {
    LISTING + entry.name.len() as u64 + field_bytes(listed_beyond(entry, header).count() as u64)
}

/// Writer of little-endian fields.
struct RecordWriter<'a>(&'a mut Vec<u8>);

impl RecordWriter<'_> {
    fn short(&mut self, number: u16) -> &mut Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn word(&mut self, number: u32) -> &mut Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn long(&mut self, number: u64) -> &mut Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    /// Fields common to a local header and a central directory record: version needed to extract, up to
    /// the length of the extra field.
    fn shared(&mut self, entry: &ZipEntry, sizes: [u64; 2], numbers: u64) -> &mut Self {
        let version = if numbers > 0 { VERSION_ZIP64 } else { VERSION_DEFLATE };
        let method = if entry.method == Method::Plain { 0 } else { 8 };
        self.short(version).short(FLAGS).short(method).short(TIME).short(DATE).word(entry.crc32);
        self.word(narrow(sizes[0])).word(narrow(sizes[1]));
        self.short(narrow_short(entry.name.len() as u64)).short(narrow_short(field_bytes(numbers)))
    }

    fn field(&mut self, numbers: &[u64]) {
        if !numbers.is_empty() {
            self.short(ZIP64_FIELD).short(narrow_short(8 * numbers.len() as u64));
            for number in numbers {
                self.long(*number);
            }
        }
    }
}

/// Local header (4.3.7).
pub(super) fn local_header(entry: &ZipEntry) -> Vec<u8> {
    let length = usize::try_from(local_header_bytes(entry)).unwrap_or(0);
    let (mut bytes, beyond) = (Vec::with_capacity(length), sizes_beyond(entry));
    let (stored, numbers) = (entry.stored(), if beyond { 2 } else { 0 });
    let sizes = if beyond { [u64::MAX; 2] } else { [stored, entry.size] };
    let mut record = RecordWriter(&mut bytes);
    record.word(0x0403_4b50).shared(entry, sizes, numbers);
    record.0.extend_from_slice(entry.name.as_bytes());
    if beyond {
        record.field(&[entry.size, stored]);
    }
    bytes
}

/// Central directory record of an entry (4.3.12).
pub(super) fn push_listing(bytes: &mut Vec<u8>, entry: &ZipEntry, header: u64) {
    let numbers: Vec<u64> = listed_beyond(entry, header).collect();
    let mut record = RecordWriter(bytes);
    record.word(0x0201_4b50).short(MADE_BY);
    record.shared(entry, [entry.stored(), entry.size], numbers.len() as u64);
    // No comment, on the first disk, not known to be text.
    record.short(0).short(0).short(0).word(ATTRIBUTES).word(narrow(header));
    record.0.extend_from_slice(entry.name.as_bytes());
    record.field(&numbers);
}

/// End records: 4.3.14 and 4.3.15 if a number needs them, and 4.3.16.
pub(super) fn end(entries: u64, directory: u64, directory_at: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(98);
    let mut record = RecordWriter(&mut bytes);
    if narrow_short(entries) == BEYOND_SHORT || is_beyond(directory) || is_beyond(directory_at) {
        // The length of the record excludes its first twelve bytes.
        record.word(0x0606_4b50).long(44).short(MADE_BY).short(VERSION_ZIP64).word(0).word(0);
        record.long(entries).long(entries).long(directory).long(directory_at);
        record.word(0x0706_4b50).word(0).long(directory_at + directory).word(1);
    }
    record.word(0x0605_4b50).short(0).short(0).short(narrow_short(entries)).short(narrow_short(entries));
    record.word(narrow(directory)).word(narrow(directory_at)).short(0);
    bytes
}
