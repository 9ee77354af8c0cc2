//! Uploads: one that differs from its announcement never becomes an asset, and a completed one stays as
//! it was.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use panaversity_model::audit::Operation;
use panaversity_model::ids::UploadId;
use panaversity_model::ports::{AuditLog, GarbageCollection, Objects, PageStream, Staging, Uploads};
use panaversity_model::precondition::Effect;
use panaversity_model::storage_listing::ObjectEntry;
use panaversity_model::{BookPath, ContentHash, Error, ErrorCode, Fault, Layer, Refusal};
use panaversity_service::authorize::WriteAccess;
use panaversity_service::uploads::Announce;
use panaversity_service::{Call, Service};
use panaversity_testkit::samples::{path, upload_id};
use panaversity_testkit::{MemoryObjects, TestJournal};

use crate::fixture::{ServiceFixture, long, unrecorded, want};
use crate::invariants::hold;

fn asset() -> BookPath {
    path("static/videos/a.mp4")
}

async fn begun(
    fixture: &ServiceFixture,
    server: &Service,
    bytes: &[u8],
    sha256: Option<ContentHash>,
) -> UploadId {
    let size = bytes.len() as u64;
    fixture
        .begin(server, |access| Announce {
            access,
            path: asset(),
            size,
            sha256,
            expected: None,
            own_route: true,
        })
        .await
}

#[tokio::test]
async fn what_is_not_as_announced_is_removed_and_may_be_put_again() {
    let (fixture, bytes) = (ServiceFixture::new(), long("whole").into_bytes());
    let server = fixture.server();
    let id = begun(&fixture, &server, &bytes, Some(ContentHash::of(&bytes))).await;
    let refused = async |what: Option<&[u8]>| {
        if let Some(what) = what {
            fixture.upload_store.plant(id, what);
        }
        let error = fixture.complete(&server, id).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::UploadIncomplete);
        assert!(fixture.upload_store.contents().is_empty());
        assert_eq!(fixture.holds(&Layer::Base, &asset()).await, None);
        assert!(fixture.objects.contents().is_empty());
    };
    refused(None).await;
    refused(Some(&bytes[1..])).await;
    refused(Some(&[&bytes[..], b"!"].concat())).await;
    refused(Some(&bytes.iter().rev().copied().collect::<Vec<_>>())).await;
    fixture.upload_store.plant(id, &bytes);
    let kept = fixture.complete(&server, id).await.unwrap();
    assert_eq!(
        (kept.effect, kept.hash.unwrap(), kept.size),
        (Effect::Created, ContentHash::of(&bytes), bytes.len() as u64)
    );
    hold(&fixture, &server).await;
}

#[tokio::test]
async fn a_completed_upload_answers_the_same_whatever_happens_afterwards() {
    let (fixture, bytes) = (ServiceFixture::new(), long("one").into_bytes());
    let server = fixture.server();
    let id = begun(&fixture, &server, &bytes, None).await;
    fixture.upload_store.plant(id, &bytes);
    let first = fixture.complete(&server, id).await.unwrap();
    // The URL stays valid, and its holder may put again.
    fixture.upload_store.plant(id, b"something else");
    assert_eq!(fixture.complete(&server, id).await.unwrap(), first);
    assert_eq!(fixture.read(&server, &Layer::Base, &asset()).await.unwrap(), Some(bytes));
    fixture.delete(&server, &Layer::Base, &asset()).await.unwrap();
    assert_eq!(fixture.complete(&server, id).await.unwrap(), first);
    assert_eq!(fixture.holds(&Layer::Base, &asset()).await, None, "it does not come back");
}

#[tokio::test]
async fn an_upload_belongs_to_its_book_and_expires() {
    let (fixture, bytes) = (ServiceFixture::new(), long("one").into_bytes());
    let server = fixture.server();
    let id = begun(&fixture, &server, &bytes, None).await;
    fixture.upload_store.plant(id, &bytes);
    let stranger = ServiceFixture { book: panaversity_testkit::samples::book(), ..ServiceFixture::new() };
    let foreign = stranger.complete(&server, id).await.unwrap_err();
    let unknown = fixture.complete(&server, upload_id()).await.unwrap_err();
    assert_eq!((&foreign, foreign.code()), (&unknown, ErrorCode::NotFound), "they tell nothing apart");
    fixture.journal.age(Duration::from_hours(24));
    assert_eq!(fixture.complete(&server, id).await.unwrap_err().code(), ErrorCode::NotFound);
    let open = async |call: &mut Call| {
        let upload = call.linked_upload(id).await?;
        Ok(call.require_open(&upload).await)
    };
    assert!(unrecorded(&server, Operation::Upload, open).await.unwrap().is_err());
    assert_eq!(server.remove_abandoned(false).await.unwrap(), 0, "it may still arrive");
    fixture.journal.age(Duration::from_mins(61));
    assert_eq!(server.remove_abandoned(true).await.unwrap(), 1);
    assert!(!fixture.upload_store.contents().is_empty(), "a dry run removes nothing");
    assert_eq!(server.remove_abandoned(false).await.unwrap(), 1);
    assert!(fixture.upload_store.contents().is_empty());
    assert_eq!(server.remove_abandoned(false).await.unwrap(), 0);
}

#[tokio::test]
async fn what_belongs_to_no_upload_goes_and_what_an_open_one_needs_stays() {
    let (fixture, bytes) = (ServiceFixture::new(), long("one").into_bytes());
    let server = fixture.server();
    let id = begun(&fixture, &server, &bytes, None).await;
    fixture.upload_store.plant(id, &bytes);
    fixture.upload_store.plant(upload_id(), b"nobody's");
    assert_eq!(server.remove_abandoned(false).await.unwrap(), 1);
    assert!(fixture.complete(&server, id).await.is_ok());
}

#[tokio::test]
async fn rows_of_uploads_go_with_gc_when_they_are_cleared_and_old() {
    let (fixture, bytes) = (ServiceFixture::new(), long("one").into_bytes());
    let server = fixture.server();
    let id = begun(&fixture, &server, &bytes, None).await;
    fixture.upload_store.plant(id, &bytes);
    fixture.complete(&server, id).await.unwrap();
    fixture.journal.age(Duration::from_hours(26));
    let retention = Duration::from_hours(24);
    assert_eq!(server.gc(retention, false).await.unwrap().uploads, 1);
    assert!(fixture.journal.upload(id).await.unwrap().is_some());
    fixture.journal.age(retention);
    server.gc(retention, false).await.unwrap();
    assert_eq!(fixture.journal.upload(id).await.unwrap(), None);
    hold(&fixture, &server).await;
}

#[tokio::test]
async fn the_agent_contract_decides_at_both_ends() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let (one, two) = (long("one"), long("two"));
    let announce = |expected, sha256| {
        let size = two.len() as u64;
        move |access| Announce { access, path: asset(), size, sha256, expected, own_route: true }
    };
    let begin = async |announce: Box<dyn FnOnce(WriteAccess) -> Announce>| {
        let use_case = async |call: &mut Call| {
            let access = call.may_write(fixture.book.clone(), Layer::Base)?;
            call.begin_upload(announce(access), Duration::from_hours(1)).await
        };
        let begun = unrecorded(&server, Operation::Upload, use_case).await;
        begun.err().map(|error| error.code())
    };
    let hash = |text: &str| Some(ContentHash::of(text.as_bytes()));
    assert_eq!(begin(Box::new(announce(hash(&one), None))).await, Some(ErrorCode::NotFound));
    let early = begun(&fixture, &server, two.as_bytes(), None).await;
    fixture.change(&server, &Layer::Base, vec![want(&asset(), Some(&one), None)]).await;
    assert_eq!(begin(Box::new(announce(None, None))).await, Some(ErrorCode::HashRequired));
    assert_eq!(begin(Box::new(announce(hash(&two), None))).await, Some(ErrorCode::Conflict));
    assert_eq!(begin(Box::new(announce(None, hash(&one)))).await, None, "it has these bytes");
    assert_eq!(begin(Box::new(announce(hash(&one), None))).await, None);
    fixture.upload_store.plant(early, two.as_bytes());
    assert_eq!(
        fixture.complete(&server, early).await.unwrap_err().code(),
        ErrorCode::HashRequired,
        "somebody was first"
    );
    let plain = announce(None, None);
    let outside = move |access| Announce { path: path("static/fonts/x.woff"), ..plain(access) };
    assert_eq!(begin(Box::new(outside)).await, Some(ErrorCode::SchemaViolation));
    let plain = announce(None, None);
    let large = move |access| Announce { size: 1 << 40, ..plain(access) };
    assert_eq!(begin(Box::new(large)).await, Some(ErrorCode::TooLarge));
    hold(&fixture, &server).await;
}

/// Objects that `gc` deletes once, between their staging and the commit.
struct TakenAway {
    inner: Arc<MemoryObjects>,
    journal: TestJournal,
    again: Arc<AtomicBool>,
}

struct Hindered {
    inner: Box<dyn Staging>,
    journal: TestJournal,
    again: Arc<AtomicBool>,
}

#[async_trait]
impl Staging for Hindered {
    async fn write(&mut self, part: &[u8]) -> Result<(), Fault> {
        self.inner.write(part).await
    }

    async fn promote(self: Box<Self>, hash: ContentHash) -> Result<(), Fault> {
        self.inner.promote(hash).await?;
        if !self.again.swap(true, Ordering::Relaxed) {
            self.journal.age(Duration::from_hours(2));
            let now = self.journal.now().await?;
            let condemned = self.journal.condemn(now, None, 100).await?.condemned;
            self.journal.purge(&condemned).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Objects for TakenAway {
    async fn put(&self, hash: ContentHash, bytes: &[u8]) -> Result<(), Fault> {
        self.inner.put(hash, bytes).await
    }

    async fn stage(&self) -> Result<Box<dyn Staging>, Fault> {
        let (inner, journal) = (self.inner.stage().await?, self.journal.clone());
        Ok(Box::new(Hindered { inner, journal, again: self.again.clone() }))
    }

    async fn stat(&self, hash: ContentHash) -> Result<Option<u64>, Fault> {
        self.inner.stat(hash).await
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
async fn i9_an_upload_whose_object_gc_took_away_is_looked_at_again() {
    let (fixture, bytes) = (ServiceFixture::new(), long("one").into_bytes());
    let again = Arc::new(AtomicBool::new(false));
    let objects =
        TakenAway { inner: fixture.objects.clone(), journal: fixture.journal.clone(), again: again.clone() };
    let server = fixture.server_with(Arc::new(objects));
    let id = begun(&fixture, &server, &bytes, None).await;
    fixture.upload_store.plant(id, &bytes);
    assert_eq!(fixture.complete(&server, id).await.unwrap().effect, Effect::Created);
    assert!(again.load(Ordering::Relaxed));
    hold(&fixture, &server).await;
}

#[tokio::test]
async fn a_page_that_is_no_text_is_removed_and_may_be_put_again() {
    let (fixture, path) = (ServiceFixture::new(), path("content/01-Part/01-Chapter/01-lesson.md"));
    let server = fixture.server();
    // The character is split between two parts, and the text is too long for the database.
    let text = format!("{}é", "x".repeat(1 << 20 | 3)).into_bytes();
    let announce = |access| Announce {
        access,
        path: path.clone(),
        size: text.len() as u64,
        sha256: None,
        expected: None,
        own_route: true,
    };
    let id = fixture.begin(&server, announce).await;
    for bad in [[&text[..text.len() - 1], b"x"].concat(), vec![0xff; text.len()]] {
        fixture.upload_store.plant(id, &bad);
        let error = fixture.complete(&server, id).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        assert!(error.to_string().contains("no UTF-8"), "{error}");
        assert!(fixture.upload_store.contents().is_empty());
        assert_eq!(fixture.holds(&Layer::Base, &path).await, None);
    }
    fixture.upload_store.plant(id, &text);
    let kept = fixture.complete(&server, id).await.unwrap();
    assert_eq!((kept.effect, kept.hash.unwrap()), (Effect::Created, ContentHash::of(&text)));
    assert_eq!(fixture.read(&server, &Layer::Base, &path).await.unwrap(), Some(text));
}

#[tokio::test]
async fn an_upload_that_nobody_could_receive_is_not_begun() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let use_case = async |call: &mut Call| {
        let (access, path) = (call.may_write(fixture.book.clone(), Layer::Base)?, asset());
        let announce = Announce { access, path, size: 9, sha256: None, expected: None, own_route: false };
        call.begin_upload(announce, Duration::from_hours(1)).await
    };
    let begun = unrecorded(&server, Operation::Upload, use_case).await;
    assert!(matches!(begun, Err(Error::Refused(Refusal::NoLinks))));
}
