//! Archives. Proves that a link yields the promised bytes, from any server, or nothing (R2, R5, I9), in
//! bounded memory (R4).

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use panaversity_model::blob::{BlobState, CHUNK_BYTES};
use panaversity_model::ports::{AuditLog, Blobs, GarbageCollection, Objects, PageStream, Staging};
use panaversity_model::storage_listing::ObjectEntry;
use panaversity_model::{ContentHash, Error, ErrorCode, Fault, Layer};
use panaversity_service::archive::{Archive, ArchiveScope, Made};
use panaversity_service::uploads::Announce;
use panaversity_service::{Call, Service};
use panaversity_testkit::MemoryObjects;
use panaversity_testkit::samples::{lesson, overlay, path};
use zip::ZipArchive;

use crate::fixture::{PROBE_TIMEOUT, ServiceFixture, long, reading, want};
use crate::trees::TEST_TIMEOUT;

const HOUR: Duration = Duration::from_hours(1);

/// Files of an unpacked archive, by path.
type Unzipped = BTreeMap<String, Vec<u8>>;

/// Makes a link to the archive of a state.
async fn make_of(
    fixture: &ServiceFixture,
    server: &Service,
    scope: ArchiveScope,
    manifest: Option<ContentHash>,
) -> Result<Made, Error> {
    let make = async |call: &mut Call| {
        let access = call.may_read(fixture.book.clone(), Layer::Base)?;
        call.make_archive(&access, scope, manifest, HOUR).await
    };
    reading(server, make).await
}

async fn make(fixture: &ServiceFixture, server: &Service, manifest: Option<ContentHash>) -> Made {
    make_of(fixture, server, ArchiveScope::All, manifest).await.unwrap()
}

async fn open(fixture: &ServiceFixture, server: &Service, made: &Made) -> Option<Arc<Archive>> {
    open_link(fixture, server, made.manifest, ArchiveScope::All, made.archive.hash()).await
}

/// Opens a link by its parts; `None`: it is not given.
async fn open_link(
    fixture: &ServiceFixture,
    server: &Service,
    manifest: ContentHash,
    scope: ArchiveScope,
    layout: ContentHash,
) -> Option<Arc<Archive>> {
    let open = async |call: &mut Call| {
        let access = call.may_read(fixture.book.clone(), Layer::Base)?;
        Ok(call.open_archive(&access, manifest, scope, layout).await?)
    };
    reading(server, open).await.unwrap()
}

async fn fetch(server: &Service, archive: &Arc<Archive>, range: Range<u64>) -> Result<Vec<u8>, Fault> {
    let (mut download, mut bytes) = (server.download(archive.clone(), range), Vec::new());
    while let Some(some) = tokio::time::timeout(TEST_TIMEOUT, download.next()).await.unwrap()? {
        bytes.extend_from_slice(&some);
    }
    Ok(bytes)
}

async fn whole(server: &Service, archive: &Arc<Archive>) -> Vec<u8> {
    let bytes = fetch(server, archive, 0..u64::MAX).await.unwrap();
    assert_eq!(bytes.len() as u64, archive.bytes());
    bytes
}

fn unzipped(bytes: &[u8]) -> Unzipped {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut files = Unzipped::new();
    for number in 0..archive.len() {
        let mut file = archive.by_index(number).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        files.insert(file.name().unwrap().into_owned(), bytes);
    }
    files
}

fn texts<'a>(files: impl IntoIterator<Item = (usize, &'a str)>) -> Unzipped {
    files.into_iter().map(|(n, text)| (lesson(n).to_string(), text.as_bytes().to_vec())).collect()
}

/// A fixture with a small file, a large one, and overlays of both and beside them.
async fn with_two_files() -> (ServiceFixture, Service, [String; 2]) {
    let fixture = ServiceFixture::new();
    let (server, texts) = (fixture.server(), ["short".to_owned(), long("large")]);
    for (n, text) in texts.iter().enumerate() {
        fixture.put(&server, &Layer::Base, &lesson(n), text).await;
        fixture.put(&server, &overlay("ann"), &lesson(n), &long("hers")).await;
    }
    fixture.put(&server, &overlay("ann"), &lesson(7), "hers").await;
    fixture.idle(&server).await;
    (fixture, server, texts)
}

#[tokio::test]
async fn r5_an_archive_holds_the_base_and_nothing_else() {
    let (fixture, server, [short, large]) = with_two_files().await;
    let made = make(&fixture, &server, None).await;
    let bytes = whole(&server, &made.archive).await;
    assert_eq!(unzipped(&bytes), texts([(0, short.as_str()), (1, &large)]));
    assert_eq!((made.archive.files(), made.archive.left_out()), (2, [].as_slice()));
    assert_eq!(made.archive.content_bytes(), (short.len() + large.len()) as u64);
    let plan = reading(&server, async |call: &mut Call| {
        let access = call.may_read(fixture.book.clone(), Layer::Base)?;
        call.plan_build(&access, None, None).await
    })
    .await
    .unwrap();
    assert_eq!(made.manifest, plan.manifest);
}

#[tokio::test]
async fn an_archive_has_the_files_of_its_scope() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let picture = path("static/img/a.png");
    fixture
        .change(
            &server,
            &Layer::Base,
            vec![want(&lesson(1), Some("text"), None), want(&picture, Some("img"), None)],
        )
        .await;
    let mut names = Vec::new();
    for scope in ArchiveScope::ALL {
        let made = make_of(&fixture, &server, scope, None).await.unwrap();
        let files = unzipped(&whole(&server, &made.archive).await);
        names.push(files.into_keys().collect::<Vec<_>>());
    }
    let (text, picture) = (lesson(1).to_string(), picture.to_string());
    assert_eq!(names, [vec![text.clone()], vec![picture.clone()], vec![text, picture]]);
}

/// A text of `count` numbers, eight bytes each.
fn numbers(count: usize) -> String {
    let words: Vec<String> = (0..count).map(|n| format!("{n:07} ")).collect();
    words.concat()
}

#[tokio::test]
async fn any_server_gives_the_same_bytes_in_any_parts() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let large = numbers(3 * CHUNK_BYTES / 8 + 5);
    let mut wanted: Vec<_> = (0..150).map(|n| want(&lesson(n), Some(&format!("text {n}")), None)).collect();
    wanted.push(want(&lesson(700), Some(&large), None));
    wanted.push(want(&lesson(701), Some(&long("the last")), None));
    fixture.change(&server, &Layer::Base, wanted).await;
    let made = make(&fixture, &server, None).await;
    let bytes = whole(&server, &made.archive).await;
    let other = fixture.server();
    let archive = open(&fixture, &other, &made).await.unwrap();
    assert_eq!(archive.hash(), make(&fixture, &other, None).await.archive.hash());
    let (mut at, mut step, mut joined) = (0, 1, Vec::new());
    while at < archive.bytes() {
        joined.extend(fetch(&other, &archive, at..at + step).await.unwrap());
        (at, step) = (at + step, step * 7 % 400_009 + 1);
    }
    assert!(joined == bytes, "parts of many sizes join to the whole");
    let end = archive.bytes();
    for (from, to) in [(end, end + 9), (5, 5), (end - 1, end), (0, 1)] {
        assert_eq!(fetch(&other, &archive, from..to).await.unwrap().len() as u64, to.min(end) - from);
    }
}

#[tokio::test]
async fn i9_a_link_to_an_old_state_gives_that_state_whatever_gc_and_writers_do() {
    let (fixture, server, [short, large]) = with_two_files().await;
    let made = make(&fixture, &server, None).await;
    let before = whole(&server, &made.archive).await;
    for n in 0..2 {
        fixture.put(&server, &Layer::Base, &lesson(n), &long(&format!("new {n}"))).await;
    }
    fixture.delete(&server, &Layer::Base, &lesson(1)).await.unwrap();
    fixture.idle(&server).await;
    // A gc that read the manifests before this one was kept knows only the pins.
    let now = fixture.journal.now().await.unwrap();
    fixture.journal.forget_versions(now, 99).await.unwrap();
    fixture.journal.age(HOUR);
    server.gc(Duration::ZERO, false).await.unwrap();
    let fresh = fixture.server();
    let archive = open(&fixture, &fresh, &made).await.expect("what a link names is kept");
    assert_eq!(whole(&fresh, &archive).await, before);
    assert_eq!(unzipped(&before), texts([(0, short.as_str()), (1, &large)]));
    let again = make(&fixture, &fresh, Some(made.manifest)).await;
    assert_eq!(again.archive.hash(), made.archive.hash(), "and can be linked to again");
    assert_ne!(make(&fixture, &fresh, None).await.archive.hash(), made.archive.hash());
}

#[tokio::test]
async fn i9_a_link_to_a_small_upload_opens_when_somebody_has_written_the_same_bytes() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let (picture, size) = (path("static/img/a.png"), 5);
    let announce =
        |access| Announce { access, path: picture, size, sha256: None, expected: None, own_route: true };
    let id = fixture.begin(&server, announce).await;
    fixture.upload_store.plant(id, b"small");
    fixture.complete(&server, id).await.unwrap();
    let made = make(&fixture, &server, None).await;
    let before = whole(&server, &made.archive).await;
    fixture.put(&server, &overlay("ann"), &lesson(1), "small").await;
    let fresh = fixture.server();
    let archive = open(&fixture, &fresh, &made).await.expect("the link still opens");
    assert_eq!(whole(&fresh, &archive).await, before);
}

#[tokio::test]
async fn a_second_link_to_a_state_writes_nothing() {
    let (fixture, server, _) = with_two_files().await;
    fixture.faults.reset();
    make(&fixture, &server, None).await;
    assert!(fixture.faults.calls().contains(&"journal.pin"));
    fixture.faults.reset();
    make(&fixture, &server, None).await;
    fixture.journal.age(Duration::from_hours(20));
    make(&fixture, &server, None).await;
    let calls = fixture.faults.calls();
    assert!(!calls.contains(&"journal.pin") && !calls.contains(&"journal.keep"), "{calls:?}");
    fixture.journal.age(Duration::from_hours(5));
    make(&fixture, &server, None).await;
    assert!(fixture.faults.calls().contains(&"journal.pin"), "near the end the pin is made longer");
}

#[tokio::test]
async fn an_archive_that_was_never_made_or_is_let_go_is_not_given() {
    let (fixture, server, _) = with_two_files().await;
    let unknown = ContentHash::of(b"no manifest");
    let refused = make_of(&fixture, &server, ArchiveScope::All, Some(unknown)).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::NotFound);
    let made = make(&fixture, &server, None).await;
    let gone = async |manifest, scope, layout| {
        open_link(&fixture, &fixture.server(), manifest, scope, layout).await.is_none()
    };
    assert!(!gone(made.manifest, ArchiveScope::All, made.archive.hash()).await);
    assert!(gone(made.manifest, ArchiveScope::Assets, made.archive.hash()).await);
    assert!(gone(unknown, ArchiveScope::All, made.archive.hash()).await);
    assert!(gone(made.manifest, ArchiveScope::All, unknown).await);
    fixture.put(&server, &Layer::Base, &lesson(0), "new").await;
    fixture.idle(&server).await;
    fixture.journal.age(Duration::from_hours(24 * 40));
    server.gc(Duration::ZERO, false).await.unwrap();
    assert!(gone(made.manifest, ArchiveScope::All, made.archive.hash()).await, "after forty days");
    let refused = make_of(&fixture, &fixture.server(), ArchiveScope::All, Some(made.manifest)).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn many_who_open_an_archive_at_once_make_it_once() {
    let (fixture, server, _) = with_two_files().await;
    let made = make(&fixture, &server, None).await;
    let restarted = fixture.server();
    fixture.faults.reset();
    fixture.faults.side_by_side();
    let opened = futures::future::join_all((0..16).map(|_| open(&fixture, &restarted, &made))).await;
    assert!(opened.iter().all(|archive| archive.as_ref().unwrap().hash() == made.archive.hash()));
    let looks = fixture.faults.calls().into_iter().filter(|call| *call == "journal.blob_metadata").count();
    assert_eq!(looks, 1);
}

#[tokio::test]
async fn r2_what_is_known_to_be_lost_is_left_out_and_listed() {
    let short = |text: &str| Some(text.as_bytes()[1..].to_vec());
    for damage in [|_: &str| None, short] {
        let (fixture, server, [small, large]) = with_two_files().await;
        fixture.objects.damage(ContentHash::of(large.as_bytes()), damage(&large));
        let made = make(&fixture, &server, None).await;
        assert_eq!(unzipped(&whole(&server, &made.archive).await), texts([(0, small.as_str())]));
        let left_out = made.archive.left_out();
        assert_eq!((left_out.len(), left_out[0].path.as_str()), (1, lesson(1).as_str()));
        assert_eq!(left_out[0].state, BlobState::Missing);
        assert_eq!(server.health(PROBE_TIMEOUT).await.damaged_blobs, Some(1), "it is marked");
        let other = open(&fixture, &fixture.server(), &made).await.expect("any server finds the same layout");
        assert_eq!(other.left_out(), left_out);
        fixture.write(&server, &Layer::Base, &lesson(1), &large, None).await.unwrap();
        let mended = make(&fixture, &server, None).await;
        assert_eq!(mended.archive.left_out(), []);
        assert_eq!(unzipped(&whole(&server, &mended.archive).await).len(), 2);
    }
}

#[tokio::test]
async fn what_was_missing_for_a_while_is_back_in_the_next_archive() {
    let (fixture, server, [_, large]) = with_two_files().await;
    let hash = ContentHash::of(large.as_bytes());
    let whole = make(&fixture, &server, None).await.archive.hash();
    for back in [None, Some(b"shorter".to_vec())] {
        fixture.objects.damage(hash, back);
        for _ in 0..2 {
            assert_eq!(make(&fixture, &server, None).await.archive.left_out().len(), 1);
        }
    }
    assert_eq!(server.stats().damaged_reads.load(Ordering::Relaxed), 1, "it is noticed once");
    fixture.objects.damage(hash, Some(large.clone().into_bytes()));
    assert_eq!(make(&fixture, &server, None).await.archive.hash(), whole);
    assert_eq!(server.health(PROBE_TIMEOUT).await.damaged_blobs, Some(0));
    // A blob that was corrupt once is checked only by a full read.
    fixture.journal.mark(hash, BlobState::Corrupt).await.unwrap();
    assert_eq!(make(&fixture, &server, None).await.archive.left_out()[0].state, BlobState::Corrupt);
}

/// Objects that are not found at the first lookup.
struct Blinking {
    inner: Arc<MemoryObjects>,
    blinked: AtomicBool,
}

#[async_trait]
impl Objects for Blinking {
    async fn put(&self, hash: ContentHash, bytes: &[u8]) -> Result<(), Fault> {
        self.inner.put(hash, bytes).await
    }

    async fn stage(&self) -> Result<Box<dyn Staging>, Fault> {
        self.inner.stage().await
    }

    async fn stat(&self, hash: ContentHash) -> Result<Option<u64>, Fault> {
        if self.blinked.swap(true, Ordering::Relaxed) { self.inner.stat(hash).await } else { Ok(None) }
    }

    async fn get(&self, hash: ContentHash, range: Range<u64>) -> Result<Option<Vec<u8>>, Fault> {
        self.inner.get(hash, range).await
    }

    async fn delete(&self, hash: ContentHash) -> Result<(), Fault> {
        self.inner.delete(hash).await
    }

    fn list_objects(&self) -> PageStream<ObjectEntry> {
        self.inner.list_objects()
    }
}

#[tokio::test]
async fn an_object_is_not_missing_because_one_look_did_not_find_it() {
    let (fixture, ..) = with_two_files().await;
    let objects = Blinking { inner: fixture.objects.clone(), blinked: AtomicBool::new(false) };
    let server = fixture.server_with(Arc::new(objects));
    assert_eq!(make(&fixture, &server, None).await.archive.left_out(), []);
    assert_eq!(server.health(PROBE_TIMEOUT).await.damaged_blobs, Some(0));
}

#[tokio::test]
async fn r2_what_turns_out_bad_on_the_way_ends_the_download_and_is_left_out_next_time() {
    let (fixture, server, [small, large]) = with_two_files().await;
    let before = make(&fixture, &server, None).await;
    let right = whole(&server, &before.archive).await;
    fixture.objects.damage(ContentHash::of(large.as_bytes()), Some(large.bytes().rev().collect()));
    let made = make(&fixture, &server, None).await;
    assert_eq!(made.archive.hash(), before.archive.hash(), "nobody has noticed");

    let (mut download, mut sent) = (server.download(made.archive.clone(), 0..u64::MAX), Vec::new());
    let fault = loop {
        match download.next().await {
            Ok(Some(bytes)) => sent.extend_from_slice(&bytes),
            Ok(None) => panic!("bad bytes were let through"),
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault.kind.code(), ErrorCode::Corrupt);
    assert!(right.starts_with(&sent), "nothing wrong has left");
    assert_eq!(server.health(PROBE_TIMEOUT).await.damaged_blobs, Some(1));
    for server in [server, fixture.server()] {
        assert!(open(&fixture, &server, &made).await.is_none(), "that archive is gone");
        let next = make(&fixture, &server, None).await;
        assert_eq!(next.archive.left_out()[0].state, BlobState::Corrupt);
        assert_eq!(unzipped(&whole(&server, &next.archive).await), texts([(0, small.as_str())]));
    }
}

#[tokio::test]
async fn r4_many_slow_downloads_hold_little_and_a_fast_one_goes_on() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let large = numbers(12 * CHUNK_BYTES / 8);
    fixture.change(&server, &Layer::Base, vec![want(&lesson(1), Some(&large), None)]).await;
    let archive = make(&fixture, &server, None).await.archive;
    let resting = server.archive_memory();
    let mut slow = Vec::new();
    for _ in 0..32 {
        let mut download = server.download(archive.clone(), 0..u64::MAX);
        let first = download.next().await.unwrap().unwrap();
        slow.push((download, first));
    }
    fixture.quiet().await;
    let held = server.archive_memory() - resting;
    assert!((32 << 20..44 << 20).contains(&held), "{held} bytes are held for 32 downloads");
    assert_eq!(whole(&server, &archive).await.len() as u64, archive.bytes(), "beside them all");
    // One of them continues as soon as its received bytes are dropped.
    let (mut download, first) = slow.pop().unwrap();
    let mut bytes = first.len() as u64;
    drop(first);
    while let Some(some) = tokio::time::timeout(TEST_TIMEOUT, download.next()).await.unwrap().unwrap() {
        bytes += some.len() as u64;
    }
    assert_eq!(bytes, archive.bytes());
    drop((download, slow));
    // With very many downloads the last one waits, and starts when another has ended.
    let mut many = Vec::new();
    while many.len() < 64 {
        let mut download = server.download(archive.clone(), 0..9);
        many.push((download.next().await.unwrap(), download));
    }
    let mut late = server.download(archive.clone(), 0..9);
    let mut waiting = Box::pin(late.next());
    assert!(futures::poll!(&mut waiting).is_pending());
    many.pop();
    assert_eq!(waiting.await.unwrap().unwrap().len(), 9);
    drop((many, late));
    fixture.quiet().await;
    assert_eq!(server.archive_memory(), resting, "nothing is left");
}
