//! An archive that lies.

use std::io::{Cursor, Write as _};

use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

/// An archive as long as the honest one. The last file is missing, the first holds other bytes, and
/// there is more than there should be.
pub(super) fn lying(honest: &[u8]) -> Vec<u8> {
    let mut archive = ZipArchive::new(Cursor::new(honest)).unwrap();
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let (options, last) = (SimpleFileOptions::default(), archive.len() - 1);
    for n in 0..archive.len() {
        let entry = archive.by_index_raw(n).unwrap();
        let (name, bytes) = match n {
            0 => (entry.name().unwrap().into_owned(), [b'?'; 7].as_slice()),
            n if n == last => ("../x".to_owned(), b"x".as_slice()),
            _ => {
                zip.raw_copy_file(entry).unwrap();
                continue;
            }
        };
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    let mut bytes = zip.finish().unwrap().into_inner();
    // Padded by a comment that ends the file.
    let room = honest.len().checked_sub(bytes.len()).expect("a longer honest archive");
    let at = bytes.len() - 2;
    bytes[at..].copy_from_slice(&u16::try_from(room).unwrap().to_le_bytes());
    bytes.resize(honest.len(), b' ');
    bytes
}
