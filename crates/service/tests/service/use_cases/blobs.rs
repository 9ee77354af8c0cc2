//! Damaged blobs. Proves R2 when the storage violates it: a blob that differs from what was stored is
//! never served, is marked and counted, and a write of the same bytes repairs it, whatever fails
//! meanwhile.

use std::sync::atomic::Ordering;

use panaversity_model::blob::BlobState;
use panaversity_model::ids::UploadId;
use panaversity_model::ports::Blobs;
use panaversity_model::precondition::Effect;
use panaversity_model::{ContentHash, Error, ErrorCode, Layer};
use panaversity_service::Service;
use panaversity_service::uploads::Announce;
use panaversity_testkit::FaultMode;
use panaversity_testkit::samples::{lesson, path};

use crate::fixture::{PROBE_TIMEOUT, ServiceFixture, long};
use crate::invariants::hold;

/// Damage that a broken disk does to a file.
type Damage = fn(&str) -> Option<Vec<u8>>;

/// A fixture with a large file whose object was damaged without the service.
async fn damaged(damage: Damage) -> (ServiceFixture, String) {
    let fixture = ServiceFixture::new();
    let text = long("whole");
    let server = fixture.server();
    let written = fixture.put(&server, &Layer::Base, &lesson(1), &text).await;
    fixture.idle(&server).await;
    fixture.objects.damage(written.hash.unwrap(), damage(&text));
    (fixture, text)
}

/// Other bytes of the same number.
const SCRAMBLED: Damage = |text| Some(text.bytes().rev().collect());
const GONE: Damage = |_| None;
const SHORTER: Damage = |text| text.as_bytes().split_last().map(|(_, rest)| rest.to_vec());
const LONGER: Damage = |text| Some(format!("{text}!").into_bytes());
const DAMAGES: [Damage; 4] = [SCRAMBLED, GONE, SHORTER, LONGER];

#[tokio::test]
async fn r2_a_damaged_blob_is_never_served_but_marked_and_counted_until_it_is_written_again() {
    for damage in DAMAGES {
        let (fixture, text) = damaged(damage).await;
        let server = fixture.server();
        assert_eq!(server.health(PROBE_TIMEOUT).await.damaged_blobs, Some(0), "nobody has noticed");
        for _ in 0..2 {
            let read = fixture.read(&server, &Layer::Base, &lesson(1)).await;
            assert_eq!(read.unwrap_err().code(), ErrorCode::Corrupt);
            assert_eq!(server.health(PROBE_TIMEOUT).await.damaged_blobs, Some(1));
        }
        assert_eq!(server.stats().damaged_reads.load(Ordering::Relaxed), 2);

        let again = fixture.write(&server, &Layer::Base, &lesson(1), &text, None).await.unwrap();
        assert_eq!(again.effect, Effect::Unchanged);
        let read = fixture.read(&server, &Layer::Base, &lesson(1)).await.unwrap();
        assert_eq!(read, Some(text.into_bytes()));
        assert_eq!(server.health(PROBE_TIMEOUT).await.damaged_blobs, Some(0));
        hold(&fixture, &server).await;
    }
}

#[tokio::test]
async fn r2_an_object_nobody_knows_to_be_missing_is_put_again_by_an_unchanged_write() {
    for damage in [GONE, SHORTER, LONGER] {
        let (fixture, text) = damaged(damage).await;
        let server = fixture.server();
        let again = fixture.write(&server, &Layer::Base, &lesson(1), &text, None).await.unwrap();
        assert_eq!(again.effect, Effect::Unchanged);
        assert_eq!(fixture.objects.contents()[&again.hash.unwrap()], text.into_bytes());
    }
}

#[tokio::test]
async fn an_object_that_is_whole_is_not_put_again() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    fixture.put(&server, &Layer::Base, &lesson(1), &long("a")).await;
    fixture.idle(&server).await;
    fixture.faults.reset();
    fixture.put(&server, &Layer::Base, &lesson(1), &long("a")).await;
    assert_eq!(fixture.faults.calls(), ["journal.book", "journal.current_metadata", "objects.stat"]);
}

#[tokio::test]
async fn i9_a_damaged_blob_is_healed_by_the_write_that_is_acknowledged_whichever_call_breaks() {
    for damage in DAMAGES {
        for failure in FaultMode::ALL {
            for call in 0.. {
                let (fixture, text) = damaged(damage).await;
                let server = fixture.server();
                assert!(fixture.read(&server, &Layer::Base, &lesson(1)).await.is_err(), "it is noticed");
                fixture.faults.reset();
                fixture.faults.arm(call, failure);
                let first = fixture.write(&server, &Layer::Base, &lesson(1), &text, None).await;
                let reached = fixture.faults.calls().len() > call;
                fixture.faults.revive();
                let server = fixture.server();
                if first.is_err() {
                    fixture.write(&server, &Layer::Base, &lesson(1), &text, None).await.unwrap();
                }
                let read = fixture.read(&server, &Layer::Base, &lesson(1)).await;
                assert_eq!(read, Ok(Some(text.into_bytes())), "call {call}: {failure:?}");
                assert_eq!(
                    server.health(PROBE_TIMEOUT).await.damaged_blobs,
                    Some(0),
                    "call {call}: {failure:?}"
                );
                if !reached {
                    assert!(call >= 4, "there are calls to break");
                    break;
                }
            }
        }
    }
}

/// Writes the same bytes elsewhere, or uploads them.
async fn bring(fixture: &ServiceFixture, server: &Service, text: &str, upload: Option<UploadId>) {
    match upload {
        Some(id) => _ = fixture.complete(server, id).await,
        None => _ = fixture.write(server, &Layer::Base, &lesson(2), text, None).await,
    }
}

#[tokio::test]
async fn r2_damage_is_not_forgotten_whichever_call_breaks_of_a_change_that_brings_the_bytes() {
    for (failure, by_upload) in
        FaultMode::ALL.into_iter().flat_map(|failure| [(failure, false), (failure, true)])
    {
        for call in 0.. {
            let (fixture, text) = damaged(SCRAMBLED).await;
            let (server, hash) = (fixture.server(), ContentHash::of(text.as_bytes()));
            assert!(fixture.read(&server, &Layer::Base, &lesson(1)).await.is_err(), "it is noticed");
            let upload = if by_upload {
                let (path, size) = (path("static/img/a.png"), text.len() as u64);
                let announce =
                    |access| Announce { access, path, size, sha256: None, expected: None, own_route: true };
                let id = fixture.begin(&server, announce).await;
                fixture.upload_store.plant(id, text.as_bytes());
                Some(id)
            } else {
                None
            };
            fixture.faults.reset();
            fixture.faults.arm(call, failure);
            bring(&fixture, &server, &text, upload).await;
            fixture.quiet().await;
            let reached = fixture.faults.calls().len() > call;
            fixture.faults.revive();
            let row = fixture.journal.blobs(&[hash]).await.unwrap().pop().unwrap();
            let is_right = fixture.objects.contents()[&hash] == text.as_bytes();
            assert!(
                is_right || row.state != BlobState::Live,
                "call {call}: {failure:?}, upload: {by_upload}"
            );
            let server = fixture.server();
            bring(&fixture, &server, &text, upload).await;
            let read = fixture.read(&server, &Layer::Base, &lesson(1)).await;
            assert_eq!(read, Ok(Some(text.into_bytes())), "call {call}: {failure:?}, upload: {by_upload}");
            if !reached {
                assert!(call >= 6, "there are calls to break");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_storage_that_does_not_answer_is_no_damage() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    fixture.put(&server, &Layer::Base, &lesson(1), &long("a")).await;
    fixture.idle(&server).await;
    fixture.faults.reset();
    fixture.faults.arm(1, FaultMode::FailBefore);
    let read = fixture.read(&server, &Layer::Base, &lesson(1)).await;
    assert_eq!(fixture.faults.calls()[1], "objects.get");
    assert_eq!(read.unwrap_err().code(), ErrorCode::StorageUnavailable);
    assert_eq!(server.health(PROBE_TIMEOUT).await.damaged_blobs, Some(0));
    assert!(fixture.read(&server, &Layer::Base, &lesson(1)).await.is_ok());
}

#[tokio::test]
async fn a_change_that_fails_after_an_object_was_put_is_counted() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    for (call, rollbacks) in [(5, 1), (4, 1)] {
        fixture.faults.reset();
        fixture.faults.arm(call, FaultMode::FailBefore);
        let text = long(&format!("text {call}"));
        let answer = fixture.write(&server, &Layer::Base, &lesson(1), &text, None).await;
        assert!(matches!(answer, Err(Error::Broken(_))));
        assert_eq!(fixture.holds(&Layer::Base, &lesson(1)).await, None::<ContentHash>);
        assert_eq!(server.stats().rollbacks.load(Ordering::Relaxed), rollbacks, "call {call}");
    }
}

#[tokio::test]
async fn r2_a_damaged_file_keeps_no_other_from_being_published() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let publications_at_once = 64;
    for n in 0..=publications_at_once {
        fixture.faults.reset();
        fixture.faults.arm(6, FaultMode::FailBefore);
        let text = long(&format!("text {n}"));
        let written = fixture.put(&server, &Layer::Base, &lesson(n), &text).await;
        fixture.quiet().await;
        assert_eq!(fixture.faults.calls()[6], "tree.put");
        fixture.objects.damage(written.hash.unwrap(), None);
    }
    fixture.faults.reset();
    let last = panaversity_testkit::samples::path("content/99-Last/01-Chapter/01-lesson.md");
    fixture.faults.arm(1, FaultMode::FailBefore);
    fixture.put(&server, &Layer::Base, &last, "small").await;
    fixture.quiet().await;
    assert_eq!(fixture.faults.calls()[1], "tree.put");
    for _ in 0..3 {
        server.publish_pending().await.unwrap();
    }
    let published: Vec<_> = fixture.tree.files().into_values().collect();
    assert_eq!(published, [b"small"], "it does not wait for those that cannot be published");
}
