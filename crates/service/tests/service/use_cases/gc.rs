//! `gc` concurrent with writers, step by step. Proves I9 in the critical windows of its protocol: a
//! writer waits for a deletion of its blob; a `gc` that slept through its guard loses nothing; and which
//! versions it deletes.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use panaversity_model::ports::{Objects, PageStream, Staging};
use panaversity_model::storage_listing::ObjectEntry;
use panaversity_model::{ContentHash, ErrorCode, Fault, Layer};
use panaversity_service::read::ReadFile;
use panaversity_service::{Call, Service};
use panaversity_testkit::MemoryObjects;
use panaversity_testkit::samples::lesson;
use tokio::sync::Semaphore;

use crate::fixture::{PROBE_TIMEOUT, ServiceFixture, long, reading};
use crate::invariants::hold;
use crate::trees::TEST_TIMEOUT;

/// One server's access to the objects; a deletion is delayed, as in a network.
struct SlowDeletions {
    inner: Arc<MemoryObjects>,
    arrived: Semaphore,
    let_through: Semaphore,
}

impl SlowDeletions {
    fn over(fixture: &ServiceFixture) -> Arc<Self> {
        let (arrived, let_through) = (Semaphore::new(0), Semaphore::new(0));
        Arc::new(Self { inner: fixture.objects.clone(), arrived, let_through })
    }

    async fn somebody_waits(&self) {
        tokio::time::timeout(TEST_TIMEOUT, self.arrived.acquire()).await.unwrap().unwrap().forget();
    }
}

#[async_trait]
impl Objects for SlowDeletions {
    async fn put(&self, hash: ContentHash, bytes: &[u8]) -> Result<(), Fault> {
        self.inner.put(hash, bytes).await
    }

    async fn stage(&self) -> Result<Box<dyn Staging>, Fault> {
        self.inner.stage().await
    }

    async fn stat(&self, hash: ContentHash) -> Result<Option<u64>, Fault> {
        self.inner.stat(hash).await
    }

    async fn get(&self, hash: ContentHash, range: Range<u64>) -> Result<Option<Vec<u8>>, Fault> {
        self.inner.get(hash, range).await
    }

    async fn delete(&self, hash: ContentHash) -> Result<(), Fault> {
        self.arrived.add_permits(1);
        tokio::time::timeout(TEST_TIMEOUT, self.let_through.acquire()).await.unwrap().unwrap().forget();
        self.inner.delete(hash).await
    }

    fn list_objects(&self) -> PageStream<ObjectEntry> {
        self.inner.list_objects()
    }
}

/// A large file that was written and deleted, a while ago.
async fn with_garbage() -> (Arc<ServiceFixture>, Service, String) {
    let fixture = Arc::new(ServiceFixture::new());
    let (server, text) = (fixture.server(), long("the same"));
    fixture.put(&server, &Layer::Base, &lesson(1), &text).await;
    fixture.delete(&server, &Layer::Base, &lesson(1)).await.unwrap();
    fixture.idle(&server).await;
    fixture.journal.age(Duration::from_secs(1));
    (fixture, server, text)
}

#[tokio::test]
async fn i9_a_writer_of_what_is_being_deleted_waits_until_it_is() {
    let (fixture, server, text) = with_garbage().await;
    let slow = SlowDeletions::over(&fixture);
    let collector = fixture.server_with(slow.clone());
    let collecting = tokio::spawn(async move { collector.gc(Duration::ZERO, false).await });
    slow.somebody_waits().await;
    let (writer, write_text) = (fixture.clone(), text.clone());
    let writing = tokio::spawn(async move {
        writer.write(&server, &Layer::Base, &lesson(2), &write_text, None).await.unwrap();
        server
    });
    fixture.quiet().await;
    assert!(!writing.is_finished());
    assert_eq!(fixture.holds(&Layer::Base, &lesson(2)).await, None, "nothing is acknowledged yet");
    slow.let_through.add_permits(1);
    assert_eq!(collecting.await.unwrap().unwrap().removed.blobs, 1);
    let server = writing.await.unwrap();
    fixture.idle(&server).await;
    assert_eq!(fixture.read(&server, &Layer::Base, &lesson(2)).await, Ok(Some(text.into_bytes())));
    hold(&fixture, &server).await;
}

#[tokio::test]
async fn i9_a_deletion_that_comes_after_its_guard_has_ended_costs_nothing() {
    let (fixture, server, text) = with_garbage().await;
    let slow = SlowDeletions::over(&fixture);
    let collector = fixture.server_with(slow.clone());
    let collecting = tokio::spawn(async move { collector.gc(Duration::ZERO, false).await });
    slow.somebody_waits().await;
    fixture.expire_leases();
    let written = fixture.write(&server, &Layer::Base, &lesson(2), &text, None).await.unwrap();
    fixture.idle(&server).await;
    slow.let_through.add_permits(1);
    assert_eq!(collecting.await.unwrap().unwrap().removed.blobs, 0, "it was not its own any more");
    assert!(fixture.objects.contents().contains_key(&written.hash.unwrap()), "it is put again from the tree");
    hold(&fixture, &server).await;
    assert_eq!(server.health(PROBE_TIMEOUT).await.damaged_blobs, Some(0));
}

#[tokio::test]
async fn i9_a_commit_that_gc_overtook_is_staged_again() {
    let (fixture, server, text) = with_garbage().await;
    // The writer's server is delayed between the put and the commit by a gc that completes.
    for _ in 0..3 {
        fixture.write(&server, &Layer::Base, &lesson(3), &text, None).await.unwrap();
        fixture.delete(&server, &Layer::Base, &lesson(3)).await.unwrap();
        fixture.journal.age(Duration::from_secs(1));
        let path = lesson(4);
        let (swept, written) = tokio::join!(
            server.gc(Duration::ZERO, false),
            fixture.write(&server, &Layer::Base, &path, &text, None)
        );
        swept.unwrap();
        written.unwrap();
        fixture.idle(&server).await;
        hold(&fixture, &server).await;
        fixture.delete(&server, &Layer::Base, &lesson(4)).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_younger_than_the_retention_goes() {
    let (fixture, server, text) = with_garbage().await;
    let days = |n: u64| Duration::from_hours(24 * n);
    let hash = ContentHash::of(text.as_bytes());
    assert_eq!(server.gc(days(30), false).await.unwrap(), panaversity_service::gc::Swept::default());
    fixture.journal.age(days(29));
    assert_eq!(server.gc(days(30), false).await.unwrap().removed.versions, 0);
    assert!(fixture.objects.contents().contains_key(&hash));
    fixture.journal.age(days(2));
    let announced = server.gc(days(30), true).await.unwrap();
    assert!(fixture.objects.contents().contains_key(&hash), "a dry run lets nothing go");
    let swept = server.gc(days(30), false).await.unwrap();
    assert_eq!((swept.removed.versions, swept.removed.blobs), (1, 1));
    assert_eq!(announced, swept, "it does what the dry run told");
    assert!(!fixture.objects.contents().contains_key(&hash));
}

#[tokio::test]
async fn what_a_plan_named_is_readable_for_thirty_days() {
    let fixture = ServiceFixture::new();
    let (server, days) = (fixture.server(), |n: u64| Duration::from_hours(24 * n));
    let planned = async |server: &Service, target| {
        let plan = async |call: &mut Call| {
            let access = call.may_read(fixture.book.clone(), Layer::Base)?;
            call.plan_build(&access, target, None).await
        };
        reading(server, plan).await.unwrap()
    };
    let old = fixture.put(&server, &Layer::Base, &lesson(1), &long("planned")).await.hash.unwrap();
    let plan = planned(&server, None).await;
    fixture.put(&server, &Layer::Base, &lesson(1), &long("new")).await;
    let read = async |call: &mut Call| {
        let access = call.may_read(fixture.book.clone(), Layer::Base)?;
        call.read_file(&ReadFile { version: Some(old), ..ReadFile::whole(access, lesson(1)) }).await
    };
    let read = async || reading(&server, read).await;
    for _ in 0..29 {
        fixture.journal.age(days(1));
        server.gc(Duration::ZERO, false).await.unwrap();
        let file = read().await.unwrap();
        assert_eq!(file.content.into_text(), Some(long("planned")));
    }
    fixture.journal.age(days(2));
    let swept = server.gc(Duration::ZERO, false).await.unwrap();
    assert_eq!((swept.removed.manifests, swept.removed.versions, swept.removed.blobs), (1, 1, 1));
    assert_eq!(read().await.unwrap_err().code(), ErrorCode::NotFound);
    let again = planned(&fixture.server(), Some(plan.manifest)).await;
    assert!(again.target_unknown, "the plan lists everything and says why");
}
