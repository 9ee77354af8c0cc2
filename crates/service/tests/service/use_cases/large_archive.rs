//! An archive beyond 4 GiB, of generated objects. Proves that it streams through an independent ZIP
//! reader, checked to the last byte, in bounded memory (R4).

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use panaversity_model::blob::{Blob, BlobHasher, CHUNK_BYTES};
use panaversity_model::gc::Staged;
use panaversity_model::ports::{Blobs, Changes, Objects, PageStream, Staging};
use panaversity_model::storage_listing::ObjectEntry;
use panaversity_model::{ContentHash, Fault, Layer};
use panaversity_service::archive::{Archive, ArchiveScope, Download};
use panaversity_service::{Call, Service};
use panaversity_testkit::samples::{change_set, path, staging, write_staged};
use tokio::runtime::Handle;
use zip::ZipArchive;

use crate::fixture::{ServiceFixture, reading};

/// Bytes of one video, and number of videos: 4.1 GiB in all.
const VIDEO: u64 = 100 << 20;
const VIDEOS: usize = 42;
/// Most bytes in memory beside the layout.
const MOST_HELD: u64 = 16 << 20;

/// Objects that repeat one byte.
struct Imagined;

#[async_trait]
impl Objects for Imagined {
    async fn put(&self, _: ContentHash, _: &[u8]) -> Result<(), Fault> {
        Err(Fault::storage("nothing is put here"))
    }

    async fn stage(&self) -> Result<Box<dyn Staging>, Fault> {
        Err(Fault::storage("nothing is staged here"))
    }

    async fn stat(&self, _: ContentHash) -> Result<Option<u64>, Fault> {
        Ok(Some(VIDEO))
    }

    async fn get(&self, _: ContentHash, range: Range<u64>) -> Result<Option<Vec<u8>>, Fault> {
        Ok(Some(vec![7; usize::try_from(range.end.min(VIDEO) - range.start).unwrap()]))
    }

    async fn delete(&self, _: ContentHash) -> Result<(), Fault> {
        Err(Fault::storage("nothing is deleted here"))
    }

    fn list_objects(&self) -> PageStream<ObjectEntry> {
        unimplemented!("nobody lists them")
    }
}

fn video() -> Blob {
    let (chunk, mut measure) = (vec![7; CHUNK_BYTES], BlobHasher::default());
    (0..VIDEO / CHUNK_BYTES as u64).for_each(|_| measure.add(&chunk));
    measure.finish()
}

/// An archive as a file: sequential reads continue the download, a seek starts another.
struct Remote {
    service: Service,
    archive: Arc<Archive>,
    handle: Handle,
    at: u64,
    download: Option<Download>,
    rest: Bytes,
    most_held: u64,
}

impl Read for Remote {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            let download = self
                .download
                .get_or_insert_with(|| self.service.download(self.archive.clone(), self.at..u64::MAX));
            let next = self.handle.block_on(download.next()).map_err(io::Error::other)?;
            self.rest = next.unwrap_or_default();
            self.most_held = self.most_held.max(self.service.archive_memory());
        }
        let length = into.len().min(self.rest.len());
        into[..length].copy_from_slice(&self.rest.split_to(length));
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for Remote {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let moved = |from: u64, by: i64| from.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput);
        let at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(by) => moved(self.archive.bytes(), by)?,
            SeekFrom::Current(by) => moved(self.at, by)?,
        };
        if at != self.at {
            (self.at, self.download, self.rest) = (at, None, Bytes::new());
        }
        Ok(at)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r4_an_archive_beyond_4_gib_is_read_by_another_s_reader_and_never_held() {
    let (fixture, blob) = (ServiceFixture::new(), video());
    let server = fixture.server_with(Arc::new(Imagined));
    let Staged::Ready(staged) = fixture.journal.stage(&blob, staging()).await.unwrap() else {
        panic!("staged")
    };
    let names: Vec<_> = (0..VIDEOS).map(|n| path(&format!("static/videos/{n:02}.mp4"))).collect();
    let changes = names.iter().map(|name| write_staged(name, &blob, staged)).collect();
    fixture.journal.commit(change_set(&fixture.book, &Layer::Base, changes)).await.unwrap();
    let link_to_all = async |call: &mut Call| {
        let access = call.may_read(fixture.book.clone(), Layer::Base)?;
        call.make_archive(&access, ArchiveScope::All, None, Duration::from_hours(1)).await
    };
    let made = reading(&server, link_to_all).await.unwrap();
    assert!(made.archive.bytes() > VIDEO * VIDEOS as u64 && made.archive.bytes() > 1 << 32);

    let handle = Handle::current();
    let reading = tokio::task::spawn_blocking(move || {
        let (archive, rest) = (made.archive, Bytes::new());
        let remote = Remote { service: server, archive, handle, at: 0, download: None, rest, most_held: 0 };
        let mut zip = ZipArchive::new(remote).unwrap();
        for (number, name) in names.iter().enumerate() {
            let mut file = zip.by_index(number).unwrap();
            // The reader compares the checksum at the end.
            let read = io::copy(&mut file, &mut io::sink()).unwrap();
            assert_eq!((read, file.name().unwrap().as_ref()), (VIDEO, name.as_str()));
        }
        zip.into_inner().most_held
    });
    let most_held = reading.await.unwrap();
    assert!(most_held > CHUNK_BYTES as u64 && most_held < MOST_HELD, "{most_held} bytes were held");
}
