//! The crash matrix of `gc` (I9): whichever call of it fails, no version that can be requested is lost,
//! writers of the same bytes continue, and a later `gc` completes the work.

use std::collections::BTreeSet;
use std::time::Duration;

use panaversity_model::blob::Blob;
use panaversity_model::hash::HashedBytes;
use panaversity_model::ports::Blobs;
use panaversity_model::{ContentHash, Layer};
use panaversity_service::Service;
use panaversity_testkit::samples::{lesson, overlay, staging};

use super::cells;
use crate::fixture::{LIMITS, ServiceFixture, long, reading};
use crate::invariants::hold;

const GARBAGE: [&str; 3] = ["replaced", "deleted", "of an overlay"];

/// A fixture with current files, large and small, beside versions, blobs and an object that can no
/// longer be requested, and a version that only a manifest keeps.
async fn store() -> ServiceFixture {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let ann = overlay("ann");
    fixture.put(&server, &Layer::Base, &lesson(1), &long("kept by a plan")).await;
    reading(&server, async |call| {
        let access = call.may_read(fixture.book.clone(), Layer::Base)?;
        call.plan_build(&access, None, None).await
    })
    .await
    .unwrap();
    for text in [&long("replaced"), &long("held"), "small", &long("held")] {
        fixture.put(&server, &Layer::Base, &lesson(1), text).await;
    }
    fixture.put(&server, &Layer::Base, &lesson(2), &long("deleted")).await;
    fixture.delete(&server, &Layer::Base, &lesson(2)).await.unwrap();
    fixture.put(&server, &ann, &lesson(3), &long("of an overlay")).await;
    fixture.put(&server, &ann, &lesson(3), &long("mine")).await;
    fixture.journal.stage(&Blob::pack(&HashedBytes::new(b"abandoned".to_vec()), 0), staging()).await.unwrap();
    fixture.objects.damage(ContentHash::of(b"unknown"), Some(b"unknown".to_vec()));
    fixture.idle(&server).await;
    server.fsync_checkpoint().await.unwrap();
    // Ends the guard of the staged and abandoned blob.
    fixture.journal.age(Duration::from_hours(2));
    fixture
}

async fn gc(server: &Service) -> Result<panaversity_service::gc::Swept, panaversity_model::Fault> {
    server.gc(Duration::ZERO, false).await
}

/// The only objects that must remain: those of current files and of a plan's files.
fn objects_due() -> BTreeSet<ContentHash> {
    ["kept by a plan", "held", "mine"].map(|text| ContentHash::of(long(text).as_bytes())).into()
}

fn objects(fixture: &ServiceFixture) -> BTreeSet<ContentHash> {
    fixture.objects.contents().into_keys().collect()
}

#[tokio::test]
async fn i9_nothing_held_is_lost_whichever_call_of_gc_breaks() {
    let store = store().await;
    let fixture = store.copy();
    let server = fixture.server();
    let before = hold(&fixture, &server).await;
    fixture.faults.reset();
    let swept = gc(&server).await.unwrap();
    let calls = fixture.faults.calls();
    assert_eq!((swept.removed.versions, swept.removed.blobs, swept.unknown_objects), (5, 5, 1), "{calls:?}");
    assert_eq!((objects(&fixture), hold(&fixture, &server).await), (objects_due(), before.clone()));
    for name in
        ["journal.pin", "journal.condemn", "objects.delete", "journal.purge", "journal.condemn_unknown"]
    {
        assert!(calls.contains(&name), "{name} is among {calls:?}");
    }
    assert_eq!(gc(&server).await.unwrap().removed.blobs, 0, "a second run finds nothing");

    let mut count = 0;
    for (call, failure, recovery) in cells(calls.len()) {
        let at = format!("call {call}, {}: {failure:?}, then {recovery:?}", calls[call]);
        let fixture = store.copy();
        let server = fixture.server();
        fixture.faults.reset();
        fixture.faults.arm(call, failure);
        let _ = gc(&server).await;
        assert!(fixture.faults.calls().len() > call, "{at}: the call was reached");
        let server = recovery.recover(&fixture, server).await;
        assert_eq!(hold(&fixture, &server).await, before, "{at}");
        // Blobs condemned by a crashed gc are guarded for a while.
        fixture.expire_leases();
        for (n, text) in GARBAGE.iter().enumerate() {
            fixture.put(&server, &Layer::Base, &lesson(10 + n), &long(text)).await;
        }
        fixture.idle(&server).await;
        assert_eq!(hold(&fixture, &server).await.len(), before.len() + GARBAGE.len(), "{at}: writers go on");
        for n in 0..GARBAGE.len() {
            fixture.delete(&server, &Layer::Base, &lesson(10 + n)).await.unwrap();
        }
        fixture.idle(&server).await;
        gc(&server).await.unwrap();
        assert_eq!(hold(&fixture, &server).await, before, "{at}: after another gc");
        assert_eq!(objects(&fixture), objects_due(), "{at}: and it has finished the work");
        count += 1;
    }
    assert!(count >= 200, "the matrix has only {count} cells");
    assert!(LIMITS.inline_bytes < long("").len(), "large files are objects");
}
